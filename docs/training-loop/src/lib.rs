//! The phases of the tutorial beside this crate, `README.md`, one file per step.

mod bare;
mod default_epoch;
mod forward;
mod low_loss;
mod training;
mod updating;
mod validation;

use fluxbay_plugin::prelude::*;

plugin! {
    summary: "The phases of the training-loop tutorial.",
    phase "bare" => bare::Bare { summary: "Step 1: dispatches step-begin and step-end.", phase_kind: "training" },
    phase "forward" => forward::Forward { summary: "Step 2: a forward pass and a loss.", phase_kind: "training" },
    phase "updating" => updating::Updating { summary: "Step 3: updates the parameters.", phase_kind: "training" },
    phase "full-training" => training::FullTraining { summary: "Step 4: dispatches every event.", phase_kind: "training" },
    phase "full-validation" => validation::FullValidation { summary: "Step 5: validation.", phase_kind: "validation" },
    phase "default-epoch" => default_epoch::DefaultEpoch { summary: "Step 6: the default epoch loop.", phase_kind: "training" },
    phase "until-low-loss" => low_loss::LowLoss {
        summary: "Step 7: ends the fit when the mean loss of an epoch is low.",
        phase_kind: "training",
        example: "[[phase]]\ncomponent = \"until-low-loss\"\nbelow = 0.2\n",
    },
}
