#![doc = include_str!("../README.md")]

mod audio;
mod decode;
mod mel;
mod resample;

use audio::Audio;
use fluxbay_plugin::prelude::*;

plugin! {
    summary: "Sound files as data.",
    dataset "audio" => Audio {
        summary: "Folders of WAV and FLAC files, one folder for each class, as log-mel spectrograms or samples.",
        details: "xs is [mels, frames] for spectrograms, as an image, or [samples] with features = \"samples\"; ys is the class. Channels are averaged, other rates are resampled, longer sounds are cut and shorter ones end in silence. The classes are kept with the run.",
        learns: true,
        example: "[data]\ncomponent = \"audio\"\nfolder = \"commands\"\nseconds = 1.0\n\n[model]\ncomponent = \"cnn\"\n",
    },
}
