//! The standard models.

mod cnn;
mod gpt;
mod mlp;
mod sequential;

use cnn::Cnn;
use fluxbay_plugin::prelude::*;
use gpt::Gpt;
use mlp::Mlp;
use sequential::Sequential;

plugin! {
    summary: "The standard models: mlp, cnn, sequential, gpt.",
    model "mlp" => Mlp {
        summary: "Fully connected layers with an activation between them.",
        details: "Inputs of any shape are flattened. The last layer has one output per class, or per value of the target.",
        example: "[model]\ncomponent = \"mlp\"\nhidden = [128, 64]\nactivation = \"relu\"\ndropout = 0.1\n",
    },
    model "cnn" => Cnn {
        summary: "Convolution and pooling blocks, then fully connected layers, in the manner of LeNet.",
        details: "Inputs are [channels, height, width] or [height, width]. A block whose map has become too small to pool does not pool.",
        example: "[model]\ncomponent = \"cnn\"\nchannels = [16, 32]\nkernel = 3\nhidden = [128]\n",
    },
    model "sequential" => Sequential {
        summary: "Layers one after the other, listed in the run file.",
        details: "Input sizes of layers follow from the layer before. The model must end with the outputs that the target needs.",
        example: "[model]\ncomponent = \"sequential\"\n\n[[model.layers]]\ntype = \"flatten\"\n\n[[model.layers]]\ntype = \"linear\"\nout = 10\n",
    },
    model "gpt" => Gpt {
        summary: "A causal transformer that predicts the next token.",
        details: "Inputs are token ids [time]; the predictions are logits [time, vocabulary].",
        example: "[model]\ncomponent = \"gpt\"\nlayers = 4\nwidth = 128\nheads = 4\n",
    },
}
