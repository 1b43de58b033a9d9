#![doc = include_str!("../README.md")]

mod adam;
mod lion;
mod rmsprop;
mod sgd;

use adam::{Adam, AdamW};
use fluxbay_plugin::prelude::*;
use lion::Lion;
use rmsprop::RmsProp;
use sgd::Sgd;

plugin! {
    summary: "The standard optimizers: SGD, Adam, AdamW, RMSprop, Lion.",
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
}
