//! The model `{{name}}`: one hidden layer.

use fluxbay_plugin::{
    nn::{Linear, linear},
    prelude::*,
};

config! {
    /// What can be set in a run file.
    struct Config {
        /// Width of the hidden layer.
        width: usize = 64 => 1..,
    }
}

struct {{Type}} {
    width: usize,
}

/// The layers; the host keeps their parameters, trains and saves them.
struct Network {
    hidden: Linear,
    output: Linear,
}

/// Inputs and outputs of the two layers.
fn sizes(inputs: usize, width: usize, outputs: usize) -> [(usize, usize); 2] {
    [(inputs, width), (width, outputs)]
}

impl Component for {{Type}} {
    type Config = Config;

    fn new(config: Config, _setup: &mut Setup) -> Result<Self> {
        Ok({{Type}} { width: config.width })
    }
}

impl Model for {{Type}} {
    type Network = Network;

    fn build(&self, data: &DataSpec, params: Params) -> Result<Network> {
        let [hidden, output] = sizes(data.xs()?.elements(), self.width, data.outputs()?);
        Ok(Network {
            hidden: linear(hidden.0, hidden.1, params.pp("hidden"))?,
            output: linear(output.0, output.1, params.pp("output"))?,
        })
    }

    fn forward(&self, network: &Network, xs: &Tensor) -> Result<Tensor> {
        network.output.forward(&network.hidden.forward(&xs.flatten_from(1)?)?.relu()?)
    }
}

plugin! {
    summary: "The model {{name}}.",
    model "{{name}}" => {{Type}} {
        summary: "One hidden layer with rectified linear units.",
    },
}

#[cfg(test)]
mod tests {
    use fluxbay_plugin::Config as _;

    use super::*;

    #[test]
    fn the_layers_fit_together() {
        let width = Config::from_json("{}").unwrap().width;
        assert_eq!(sizes(8, width, 3), [(8, 64), (64, 3)]);
    }
}
