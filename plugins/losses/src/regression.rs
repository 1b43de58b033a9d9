//! Losses of regression: `mse`, `mae`, `huber`.

use fluxbay_plugin::prelude::*;

use crate::targets::matched;

config! {
    /// Limit of the quadratic part.
    pub struct HuberConfig {
        /// Largest difference in the quadratic part; larger ones are linear.
        delta: f64 = 1.0 => 0.0..,
    }
}

macro_rules! losses {
    ($($(#[$doc:meta])* $name:ident($config:ty) => |$self:ident, $yhats:ident, $ys:ident| $value:expr),+ $(,)?) => { $(
        $(#[$doc])*
        pub struct $name($config);

        impl Component for $name {
            type Config = $config;

            fn new(config: $config, _: &mut Setup) -> Result<Self> {
                Ok($name(config))
            }
        }

        impl Loss for $name {
            fn forward(&$self, yhats: &Tensor, ys: &Tensor) -> Result<Tensor> {
                let ($yhats, $ys) = (yhats, &matched(yhats, ys)?);
                $value
            }
        }
    )+ };
}

losses! {
    /// The loss `mse`: mean of `(yhat - y)^2`.
    MeanSquaredError(NoConfig) => |self, yhats, ys| yhats.mse(ys),
    /// The loss `mae`: mean of `|yhat - y|`.
    MeanAbsoluteError(NoConfig) => |self, yhats, ys| yhats.mae(ys),
    /// The loss `huber`: mean of `d^2 / 2` where `d = |yhat - y|` is at most `delta`, else `delta
    /// (d - delta / 2)` (Huber 1964).
    Huber(HuberConfig) => |self, yhats, ys| yhats.huber(ys, self.0.delta),
}
