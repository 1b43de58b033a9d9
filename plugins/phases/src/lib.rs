//! The standard phases: supervised, adversarial and self-supervised training, and validation.
//!
//! The host calls `step` of a phase for each batch, or `epoch` for a custom loop. The phase runs
//! models and losses through the step that it gets, and dispatches the events at which callbacks
//! run. After each dispatch it reads the values again, because callbacks may have changed them.
//! `docs/training-loop` builds a phase step by step.
//!
//! | module | phases |
//! |---|---|
//! | `training`, `validation` | training, validation |
//! | `sam` | sam |
//! | `low_loss` | low-loss, an example of a custom epoch |
//! | `gan` | gan |
//! | `masked` | masked-reconstruction |
//! | `probe` | linear-probe, linear-probe-validation |

mod gan;
mod low_loss;
mod masked;
mod probe;
mod sam;
mod training;
mod validation;

use fluxbay_plugin::prelude::*;
use gan::Gan;
use low_loss::LowLoss;
use masked::MaskedReconstruction;
use probe::{LinearProbe, LinearProbeValidation};
use sam::Sam;
use training::Training;
use validation::Validation;

plugin! {
    summary: "The standard phases: training, sam, validation, low-loss, gan, masked-reconstruction, linear-probe.",
    phase "training" => Training {
        summary: "Forward pass, loss, backward pass, update: one optimizer step per batch.",
        phase_kind: "training",
        example: "[[phase]]\ncomponent = \"training\"\n",
    },
    phase "sam" => Sam {
        summary: "Sharpness-aware minimisation: training with the gradient at a nearby point of higher loss.",
        details: "Each step runs the model twice. Callbacks get each event once: loss-begin in the first pass, backward-begin in the second, and backward-end with the gradients of the update. Targets that a callback changes at loss-begin are used in both passes. At step-end, step.yhats and step.loss are those of the first pass. Running statistics are updated in the first pass only.",
        phase_kind: "training",
        writes: ["params", "model"],
        example: "[[phase]]\ncomponent = \"sam\"\nrho = 0.05\n",
    },
    phase "validation" => Validation {
        summary: "Forward pass and loss without gradients or updates.",
        phase_kind: "validation",
        example: "[[phase]]\ncomponent = \"validation\"\n",
    },
    phase "low-loss" => LowLoss {
        summary: "Training that ends the fit when the mean loss of an epoch is low.",
        phase_kind: "training",
        example: "[[phase]]\ncomponent = \"low-loss\"\nbelow = 0.1\n",
    },
    phase "gan" => Gan {
        summary: "Adversarial training of model.generator against model.critic.",
        details: "The generator maps noise [batch, latent] to samples in the shape of xs; the critic returns one logit per sample. Each step updates the critic, dispatches critic-end, then updates the generator.",
        phase_kind: "training",
        emits: ["critic-end"],
        example: "[model.generator]\ncomponent = \"mlp\"\ninputs = 8\noutputs = 2\n\n[model.critic]\ncomponent = \"mlp\"\noutputs = 1\n\n[[phase]]\ncomponent = \"gan\"\nlatent = 8\n",
    },
    phase "masked-reconstruction" => MaskedReconstruction {
        summary: "Self-supervised training: model.decoder reconstructs masked values of xs from the features of model.encoder.",
        phase_kind: "training",
        example: "[model.encoder]\ncomponent = \"mlp\"\noutputs = 32\n\n[model.decoder]\ncomponent = \"mlp\"\ninputs = 32\noutputs = 64\n\n[[phase]]\ncomponent = \"masked-reconstruction\"\nmask = 0.5\n",
    },
    phase "linear-probe" => LinearProbe {
        summary: "Trains only model.probe, on the features of model.encoder.",
        phase_kind: "training",
        example: "[[phase]]\ncomponent = \"linear-probe\"\n",
    },
    phase "linear-probe-validation" => LinearProbeValidation {
        summary: "Measures model.probe on the features of model.encoder.",
        phase_kind: "validation",
        example: "[[phase]]\ncomponent = \"linear-probe-validation\"\n",
    },
}
