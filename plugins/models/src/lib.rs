#![doc = include_str!("../README.md")]

mod bag;
mod cnn;
mod gpt;
mod mlp;
mod sequential;

use bag::Bag;
use cnn::Cnn;
use fluxbay_plugin::prelude::*;
use gpt::Gpt;
use mlp::Mlp;
use sequential::Sequential;

plugin! {
    summary: "The standard models: mlp, cnn, sequential, gpt, bag-of-embeddings.",
    model "mlp" => Mlp {
        summary: "Fully connected layers with an activation between them.",
        details: "Inputs of any shape are flattened. The last layer has one output per class, or per value of the target.",
        example: "[model]\ncomponent = \"mlp\"\nhidden = [128, 64]\nactivation = \"relu\"\ndropout = 0.1\n",
    },
    model "cnn" => Cnn {
        summary: "Convolution and pooling blocks, then fully connected layers, similar to LeNet.",
        details: "Inputs are [channels, height, width] or [height, width]. Pooling is skipped in a block whose feature map is smaller than the window.",
        example: "[model]\ncomponent = \"cnn\"\nchannels = [16, 32]\nkernel = 3\nhidden = [128]\n",
    },
    model "sequential" => Sequential {
        summary: "A sequence of layers listed in the run file.",
        details: "The input size of a layer follows from the layer before it. The last layer must have as many outputs as the target needs.",
        example: "[model]\ncomponent = \"sequential\"\n\n[[model.layers]]\ntype = \"flatten\"\n\n[[model.layers]]\ntype = \"linear\"\nout = 10\n",
    },
    model "gpt" => Gpt {
        summary: "A causal transformer that predicts the next token.",
        details: "Inputs are token ids [time]; the predictions are logits [time, vocabulary].",
        example: "[model]\ncomponent = \"gpt\"\nlayers = 4\nwidth = 128\nheads = 4\n",
    },
    model "bag-of-embeddings" => Bag {
        summary: "The mean of the tokens' embeddings, then fully connected layers: a fast classifier of texts.",
        details: "Inputs are token ids [time]; padding is left out of the mean. The last layer has one output per class, or per value of the target.",
        example: "[model]\ncomponent = \"bag-of-embeddings\"\nwidth = 64\nhidden = [64]\ndropout = 0.1\n",
    },
}
