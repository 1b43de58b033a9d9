//! Optimizers `adam` and `adamw`, which differ in the weight decay.

use fluxbay_plugin::{abi::operation::op, prelude::*};

macro_rules! adaptive_moments {
    ($(#[$doc:meta])* $name:ident, $config:ident, $code:ident, $decay:literal) => {
        config! {
            /// Hyper-parameters, as in PyTorch.
            pub struct $config {
                /// Learning rate.
                learning_rate: f64 = 1e-3 => 0.0..,
                /// Decay rate of the first moment.
                beta1: f64 = 0.9 => 0.0..1.0,
                /// Decay rate of the second moment.
                beta2: f64 = 0.999 => 0.0..1.0,
                /// Added to the square root of the second moment.
                epsilon: f64 = 1e-8 => 0.0..,
                /// Weight decay.
                weight_decay: f64 = $decay => 0.0..,
            }
        }

        $(#[$doc])*
        pub struct $name {
            epsilon: f64,
            rates: [Read<f64>; 4],
            now: [f64; 5],
        }

        impl Component for $name {
            type Config = $config;

            fn new(config: $config, setup: &mut Setup) -> Result<Self> {
                setup.optimizer_state("first-moment")?;
                setup.optimizer_state("second-moment")?;
                Ok($name {
                    epsilon: config.epsilon,
                    rates: [
                        setup.hyper_parameter("learning-rate", config.learning_rate)?,
                        setup.hyper_parameter("beta1", config.beta1)?,
                        setup.hyper_parameter("beta2", config.beta2)?,
                        setup.hyper_parameter("weight-decay", config.weight_decay)?,
                    ],
                    now: [0.0; 5],
                })
            }
        }

        impl Optimizer for $name {
            fn begin(&mut self, learner: &Learner) -> Result<()> {
                let [learning_rate, beta1, beta2, weight_decay] = &self.rates;
                self.now = [
                    learner.get(learning_rate)?,
                    learner.get(beta1)?,
                    learner.get(beta2)?,
                    self.epsilon,
                    learner.get(weight_decay)?,
                ];
                Ok(())
            }

            fn update(&mut self, update: &Update<'_>) -> Result<()> {
                let inputs = [update.parameter, update.gradient, update.state(0)?, update.state(1)?];
                Tensor::apply_in_place(op::$code, &inputs, &[update.step as i64], &self.now)
            }
        }
    };
}

adaptive_moments! {
    /// The optimizer `adam` (Kingma and Ba 2015, arXiv:1412.6980).
    Adam, AdamConfig, ADAM_UPDATE, 0.0
}

adaptive_moments! {
    /// The optimizer `adamw` (Loshchilov and Hutter 2019, arXiv:1711.05101).
    AdamW, AdamWConfig, ADAMW_UPDATE, 0.01
}
