#![doc = include_str!("../README.md")]

mod adafactor;
mod adagrad;
mod adam;
mod average;
mod in_place;
mod lion;
mod muon;
mod rmsprop;
mod schedule_free;
mod sgd;

use adafactor::Adafactor;
use adagrad::AdaGrad;
use adam::{Adam, AdamW};
use average::ScheduleFreeAverage;
use fluxbay_plugin::prelude::*;
use lion::Lion;
use muon::Muon;
use rmsprop::RmsProp;
use schedule_free::ScheduleFree;
use sgd::Sgd;

plugin! {
    summary: "The standard optimizers: SGD, Adam, AdamW, RMSprop, Lion, AdaGrad, Adafactor, Muon, schedule-free AdamW.",
    optimizer "sgd" => Sgd {
        summary: "Stochastic gradient descent with momentum, Nesterov momentum and weight decay.",
        hyper_parameters: ["learning-rate", "momentum", "weight-decay"],
        example: "[optimizer]\ncomponent = \"sgd\"\nlearning-rate = 0.1\nmomentum = 0.9\n",
    },
    optimizer "adam" => Adam {
        summary: "Adaptive moments; weight decay is added to the gradient.",
        hyper_parameters: ["learning-rate", "beta1", "beta2", "weight-decay"],
        example: "[optimizer]\ncomponent = \"adam\"\nlearning-rate = 1e-3\n",
    },
    optimizer "adamw" => AdamW {
        summary: "Adaptive moments with decoupled weight decay.",
        hyper_parameters: ["learning-rate", "beta1", "beta2", "weight-decay"],
        example: "[optimizer]\ncomponent = \"adamw\"\nlearning-rate = 1e-3\nweight-decay = 0.01\n",
    },
    optimizer "rmsprop" => RmsProp {
        summary: "Gradients divided by a running root mean square.",
        hyper_parameters: ["learning-rate", "alpha", "momentum", "weight-decay"],
        example: "[optimizer]\ncomponent = \"rmsprop\"\nlearning-rate = 1e-3\n",
    },
    optimizer "lion" => Lion {
        summary: "Sign of an interpolated momentum, with decoupled weight decay.",
        hyper_parameters: ["learning-rate", "beta1", "beta2", "weight-decay"],
        example: "[optimizer]\ncomponent = \"lion\"\nlearning-rate = 1e-4\n",
    },
    optimizer "adagrad" => AdaGrad {
        summary: "Gradients divided by the root of the sum of their squares.",
        hyper_parameters: ["learning-rate", "weight-decay"],
        example: "[optimizer]\ncomponent = \"adagrad\"\nlearning-rate = 0.01\n",
    },
    optimizer "adafactor" => Adafactor {
        summary: "Adaptive moments with mean squares by row and column, relative to the size of each parameter.",
        hyper_parameters: ["learning-rate", "weight-decay"],
        example: "[optimizer]\ncomponent = \"adafactor\"\nlearning-rate = 0.01\n",
    },
    optimizer "muon" => Muon {
        summary: "Orthogonal momentum for matrices, AdamW for other parameters.",
        details: "Embeddings and output layers are better updated by AdamW: rule = \"adamw\".",
        hyper_parameters: ["learning-rate", "momentum", "weight-decay", "adamw-learning-rate"],
        example: "[optimizer]\ncomponent = \"muon\"\nlearning-rate = 0.02\nadamw-learning-rate = 1e-3\n",
    },
    optimizer "schedule-free-adamw" => ScheduleFree {
        summary: "AdamW whose averaging replaces the learning rate schedule.",
        details: "Add the callback schedule-free-average, which validates with the average and leaves it in the model.",
        hyper_parameters: ["learning-rate", "beta1", "beta2", "weight-decay", "warmup-steps", "weight-step-power", "weight-rate-power"],
        example: "[optimizer]\ncomponent = \"schedule-free-adamw\"\nlearning-rate = 0.0025\n",
    },
    callback "schedule-free-average" => ScheduleFreeAverage {
        summary: "Validates with the average of a schedule-free optimizer, and leaves it in the model.",
        on: [EpochBegin, StepEnd, EpochEnd, EpochCancelled, FitEnd, Error],
        reads: ["step.update-skipped", "optimizer.learning-rate", "optimizer.beta1", "optimizer.warmup-steps", "optimizer.weight-step-power", "optimizer.weight-rate-power"],
        writes: ["params"],
        example: "[optimizer]\ncomponent = \"schedule-free-adamw\"\n\n[[callback]]\ncomponent = \"schedule-free-average\"\n",
    },
}
