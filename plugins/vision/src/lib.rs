#![doc = include_str!("../README.md")]

mod architectures;
mod clip;
mod convnext;
mod patches;
mod residual;
mod resnet;
mod unet;
mod vit;

use clip::Clip;
use convnext::ConvNext;
use fluxbay_plugin::{Family, prelude::*};
use resnet::ResNet;
use unet::UNet;
use vit::Vit;

plugin! {
    summary: "Published image models: resnet, vit, convnext, clip, unet.",
    model "resnet" => ResNet {
        summary: "ResNet under the names of torchvision and timm.",
        details: "Inputs are [channels, height, width] or [height, width]. With `from`, sizes and weights come from a folder with config.json and safetensors files.",
        example: "[model]\ncomponent = \"resnet\"\ndepth = 18\n",
    },
    model "vit" => Vit {
        summary: "Vision transformer under timm's names.",
        details: "Inputs are [channels, height, width] or [height, width]. With `from`, sizes and weights come from a folder with config.json and safetensors files, of timm or transformers.",
        example: "[model]\ncomponent = \"vit\"\nfrom = \"vit_tiny_patch16_224\"\n",
    },
    model "convnext" => ConvNext {
        summary: "ConvNeXt under timm's names.",
        details: "Inputs are [channels, height, width] or [height, width]. With `from`, sizes and weights come from a folder with config.json and safetensors files.",
        example: "[model]\ncomponent = \"convnext\"\nfrom = \"convnext_tiny\"\n",
    },
    model "unet" => UNet {
        summary: "U-Net over a residual network under the names of segmentation_models_pytorch.",
        details: "Classes of pixels: inputs are [channels, height, width] or [height, width], predictions logits [classes, height, width]; targets are labels [height, width], or values [height, width] or [channels, height, width]. With `from`, sizes and weights come from a folder with config.json and safetensors files, of a U-Net or of a `resnet`, which then is the encoder.",
        example: "[model]\ncomponent = \"unet\"\nencoder = \"resnet34\"\n",
    },
    model "clip" => Clip {
        summary: "The image or the text encoder of CLIP under its published names.",
        details: "Predictions are vectors [projection-dim], not of length 1. Inputs are images [channels, height, width], or token ids [time]. With `from`, sizes and weights come from a folder with config.json and safetensors files; the other encoder in them is left out. The phase contrastive trains two of them.",
        example: "[model]\ncomponent = \"clip\"\ntower = \"image\"\nfrom = \"clip-vit-base-patch32\"\n",
    },
}

/// Channels, height and width of data whose samples are images.
fn image(data: &DataSpec) -> Result<[usize; 3]> {
    match data.xs()?.shape[..] {
        [height, width] => Ok([1, height, width]),
        [channels, height, width] => Ok([channels, height, width]),
        _ => bail!(
            "this model takes images [channels, height, width], the data set has {:?} per sample",
            data.xs()?.shape
        ),
    }
}

/// A batch of images `[batch, channels, height, width]`, also of those without channels.
fn images(xs: &Tensor) -> Result<Tensor> {
    if xs.rank()? == 3 { xs.unsqueeze(1) } else { Ok(xs.clone()) }
}

/// The number of classes, or of numbers, that the data asks for. It is written to `config.json`.
fn classes(family: &Family, data: &DataSpec) -> Result<usize> {
    let outputs = data.outputs()?;
    family.found_labels(outputs);
    family.found("num_classes", outputs);
    Ok(outputs)
}
