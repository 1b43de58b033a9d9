//! The standard phases: `training` and `validation`.

mod training;
mod validation;

use fluxbay_plugin::prelude::*;
use training::Training;
use validation::Validation;

plugin! {
    summary: "The standard phases: training and validation.",
    phase "training" => Training {
        summary: "Forward pass, loss, backward pass, update: one optimizer step per batch.",
        phase_kind: "training",
        example: "[[phase]]\ncomponent = \"training\"\n",
    },
    phase "validation" => Validation {
        summary: "Forward pass and loss without gradients; parameters stay as they are.",
        phase_kind: "validation",
        example: "[[phase]]\ncomponent = \"validation\"\n",
    },
}
