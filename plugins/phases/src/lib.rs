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
//! | `language` | causal-language, masked-language |
//! | `contrastive` | contrastive |
//! | `distillation` | distillation |
//! | `preference` | preference |
//! | `task` | what the last four share: each has a phase `NAME-validation`, too |

mod contrastive;
mod distillation;
mod gan;
mod language;
mod low_loss;
mod masked;
mod preference;
mod probe;
mod sam;
mod task;
mod training;
mod validation;

use contrastive::Contrastive;
use distillation::Distillation;
use fluxbay_plugin::prelude::*;
use gan::Gan;
use language::{CausalLanguage, MaskedLanguage};
use low_loss::LowLoss;
use masked::MaskedReconstruction;
use preference::Preference;
use probe::{LinearProbe, LinearProbeValidation};
use sam::Sam;
use task::{Measure, Train};
use training::Training;
use validation::Validation;

plugin! {
    summary: "The standard phases: training, sam, validation, low-loss, gan, masked-reconstruction, linear-probe, causal-language, masked-language, contrastive, distillation, preference.",
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
    phase "causal-language" => Train<CausalLanguage> {
        summary: "Next-token training whose loss counts the tokens of responses only.",
        details: "The loss is the mean over the targets that count: those whose field `mask` is 1, those behind the tokens `after` up to `until`, and those that are no padding. Without settings all count. With `begin`, the model turns one sequence into another. The loss of the run is not used.",
        phase_kind: "training",
        example: "[[phase]]\ncomponent = \"causal-language\"\nmask = \"response\"\n",
    },
    phase "causal-language-validation" => Measure<CausalLanguage> {
        summary: "Measures the loss of causal-language without training.",
        phase_kind: "validation",
        example: "[[phase]]\ncomponent = \"causal-language-validation\"\n",
    },
    phase "masked-language" => Train<MaskedLanguage> {
        summary: "Training to predict masked tokens from all others, as BERT.",
        details: "Of the tokens that are predicted, 80 % are replaced by the mask token, 10 % by a random one, and the rest stays. The model predicts a token at each place, such as bert with head = \"masked-language\". Neither the targets of the data nor the loss of the run are used.",
        phase_kind: "training",
        example: "[[phase]]\ncomponent = \"masked-language\"\nmask-token = 4\nspecial = [0, 2, 3]\n",
    },
    phase "masked-language-validation" => Measure<MaskedLanguage> {
        summary: "Measures the loss of masked-language without training.",
        phase_kind: "validation",
        example: "[[phase]]\ncomponent = \"masked-language-validation\"\nmask-token = 4\n",
    },
    phase "contrastive" => Train<Contrastive> {
        summary: "Training that brings the vectors of pairs together and drives those of different pairs apart: CLIP, SimCLR, SimCSE.",
        details: "The first of each pair is xs, the second another field of the data set. One model runs both, or two models with a common width run one each. step.yhats are the similarities [batch, batch] and step.ys the places of the partners, so the metric accuracy says how often the partner is found. The loss of the run is not used.",
        phase_kind: "training",
        example: "[[phase]]\ncomponent = \"contrastive\"\npair = \"ys\"\ntemperature = 0.05\n",
    },
    phase "contrastive-validation" => Measure<Contrastive> {
        summary: "Measures the loss of contrastive without training.",
        phase_kind: "validation",
        example: "[[phase]]\ncomponent = \"contrastive-validation\"\n",
    },
    phase "distillation" => Train<Distillation> {
        summary: "Training of model.student on the predictions of model.teacher, which is not trained, and on the targets.",
        details: "The loss is weight * temperature^2 * KL(teacher, student) + (1 - weight) * the loss of the run. The teacher runs in evaluation mode and gets no gradients; its parameters come from a file, by from or [fine-tuning].",
        phase_kind: "training",
        example: "[model.student]\ncomponent = \"mlp\"\n\n[model.teacher]\ncomponent = \"mlp\"\nhidden = [512]\n\n[[phase]]\ncomponent = \"distillation\"\ntemperature = 2.0\n",
    },
    phase "distillation-validation" => Measure<Distillation> {
        summary: "Measures the loss of distillation without training.",
        phase_kind: "validation",
        example: "[[phase]]\ncomponent = \"distillation-validation\"\n",
    },
    phase "preference" => Train<Preference> {
        summary: "Direct preference optimisation: model.policy learns to prefer chosen texts to rejected ones, measured against model.reference.",
        details: "xs is the chosen text [time], another field the rejected one, both with their prompt. step.yhats are the rewards [batch, 2] and step.ys is 0, so the metric accuracy says how often the chosen text has the larger reward. The figure reward-margin is the mean difference. The loss of the run is not used.",
        phase_kind: "training",
        example: "[model.policy]\ncomponent = \"gpt2\"\nfrom = \"weights\"\n\n[model.reference]\ncomponent = \"gpt2\"\nfrom = \"weights\"\n\n[[phase]]\ncomponent = \"preference\"\nbeta = 0.1\n",
    },
    phase "preference-validation" => Measure<Preference> {
        summary: "Measures the loss of preference without training.",
        phase_kind: "validation",
        example: "[[phase]]\ncomponent = \"preference-validation\"\n",
    },
}
