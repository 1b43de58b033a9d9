#![doc = include_str!("../README.md")]

mod affine;
mod augment;
mod bad;
mod buffers;
mod colour;
mod decode;
mod folder;
mod form;
mod geometry;
mod images;
mod index;
mod keys;
mod listing;
mod planes;
#[cfg(test)]
mod reference;
mod resample;
mod shards;
mod tar;
mod values;

use augment::{RandAugment, TrivialAugment};
use colour::ColorJitter;
use fluxbay_plugin::prelude::*;
use geometry::{CenterCrop, Flip, RandomCrop, RandomResizedCrop, Resize, Rotation};
use images::Images;
use shards::Shards;
use values::{Normalize, RandomErasing};

plugin! {
    summary: "Images in files as data, and transforms of images.",
    dataset "images" => Images {
        summary: "Images in folders, one per class, or listed with their labels in a CSV or JSONL file.",
        details: "JPEG, PNG, WebP, BMP, GIF (the first picture) and TIFF; grey, colour, palette, CMYK, alpha, 16 bits; turned as EXIF says. xs is [channels, height, width], ys the class, or 1 and 0 for each class with `label-separator`. Images are decoded on the loader's threads when they are needed. The classes are those of the training images, in alphabetical order.",
        learns: true,
        context: true,
        predicts: true,
        example: "[data]\ncomponent = \"images\"\nfolder = \"photos\"\nsize = [224, 224]\n",
    },
    dataset "shards" => Shards {
        summary: "Images in tar archives, as WebDataset writes them.",
        details: "Files of one name that follow each other are a sample: an image, and a file with its class. The formats and the form of a sample are those of `images`. Nothing is unpacked: images are read from their places in the archives when they are needed. An index is written beside each archive when it is opened for the first time.",
        learns: true,
        context: true,
        predicts: true,
        example: "[data]\ncomponent = \"shards\"\npath = \"train-{000..146}.tar\"\nsize = [224, 224]\n",
    },
    transform "resize" => Resize {
        summary: "Resizes images, antialiased.",
        example: "[[transform]]\ncomponent = \"resize\"\nsize = [256]\n",
    },
    transform "center-crop" => CenterCrop {
        summary: "Cuts out the middle of images.",
        example: "[[transform]]\ncomponent = \"center-crop\"\nsize = [8, 8]\n",
    },
    transform "random-crop" => RandomCrop {
        summary: "Cuts a window out at a random place, with padding if wanted.",
        augments: true,
        example: "[[transform]]\ncomponent = \"random-crop\"\nsize = [8, 8]\npadding = 1\n",
    },
    transform "random-resized-crop" => RandomResizedCrop {
        summary: "Cuts out a window of random area, ratio and place, and resizes it.",
        augments: true,
        example: "[[transform]]\ncomponent = \"random-resized-crop\"\nsize = [8, 8]\n",
    },
    transform "flip" => Flip {
        summary: "Exchanges left and right, or top and bottom, at random.",
        augments: true,
        example: "[[transform]]\ncomponent = \"flip\"\n",
    },
    transform "rotation" => Rotation {
        summary: "Turns images by a random angle; what comes from outside is 0.",
        augments: true,
        example: "[[transform]]\ncomponent = \"rotation\"\ndegrees = 10\n",
    },
    transform "color-jitter" => ColorJitter {
        summary: "Changes brightness, contrast, saturation and hue at random.",
        details: "Expects values from 0 to 1, or bytes, so it comes before `normalize`.",
        augments: true,
        example: "[[transform]]\ncomponent = \"color-jitter\"\nbrightness = 0.2\n",
    },
    transform "rand-augment" => RandAugment {
        summary: "RandAugment: some random operations of one strength.",
        details: "Expects values from 0 to 1, or bytes, so it comes before `normalize`.",
        augments: true,
        example: "[[transform]]\ncomponent = \"rand-augment\"\nmagnitude = 9\n",
    },
    transform "trivial-augment" => TrivialAugment {
        summary: "TrivialAugment: one random operation of random strength.",
        details: "Expects values from 0 to 1, or bytes, so it comes before `normalize`.",
        augments: true,
        example: "[[transform]]\ncomponent = \"trivial-augment\"\n",
    },
    transform "random-erasing" => RandomErasing {
        summary: "Erases a random part of an image.",
        augments: true,
        example: "[[transform]]\ncomponent = \"random-erasing\"\n",
    },
    transform "normalize" => Normalize {
        summary: "Subtracts a mean and divides by a deviation, by channel; bytes become f32.",
        example: "[[transform]]\ncomponent = \"normalize\"\nvalues = \"half\"\n",
    },
}
