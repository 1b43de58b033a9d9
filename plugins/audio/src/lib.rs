#![doc = include_str!("../README.md")]

mod audio;
mod decode;
mod mel;
mod resample;
mod spec_augment;

use audio::Audio;
use fluxbay_plugin::prelude::*;
use spec_augment::SpecAugment;

plugin! {
    summary: "Sound files as data.",
    dataset "audio" => Audio {
        summary: "Folders of WAV and FLAC files, one folder for each class, as log-mel spectrograms or samples.",
        details: "xs is [mels, frames] for spectrograms, as an image, or [samples] with features = \"samples\"; ys is the class. Channels are averaged, other rates are resampled, longer sounds are cut and shorter ones end in silence. The classes are kept with the run.",
        learns: true,
        context: true,
        predicts: true,
        example: "[data]\ncomponent = \"audio\"\nfolder = \"commands\"\nseconds = 1.0\n\n[model]\ncomponent = \"cnn\"\n",
    },
    transform "spec-augment" => SpecAugment {
        summary: "SpecAugment: silences random bands of frequencies and spans of time.",
        augments: true,
        example: "[[transform]]\ncomponent = \"spec-augment\"\nfrequency-width = 8\ntime-width = 16\n",
    },
}
