//! Model `mlp`: fully connected layers.

use fluxbay_plugin::{
    nn::{Dropout, Linear, dropout, linear},
    prelude::*,
};

config! {
    /// Hidden layers, input and output sizes.
    pub struct Config {
        /// Width of each hidden layer.
        hidden: Vec<usize> = [128],
        /// Activation function after each hidden layer.
        activation: Activation = "relu",
        /// Dropout probability after each hidden layer.
        dropout: f64 = 0.0 => 0.0..1.0,
        /// Inputs per sample; by default the number of values in `xs`.
        inputs: Option<usize> = null => 1..,
        /// Outputs per sample; by default the number that the target needs.
        outputs: Option<usize> = null => 1..,
    }
}

/// The model `mlp`.
pub struct Mlp(Config);

pub struct Network {
    hidden: Vec<Linear>,
    dropout: Dropout,
    output: Linear,
}

impl Component for Mlp {
    type Config = Config;

    fn new(config: Config, _: &mut Setup) -> Result<Self> {
        if config.hidden.contains(&0) {
            bail!("hidden = {:?}: a layer needs a width of at least 1", config.hidden);
        }
        Ok(Mlp(config))
    }
}

impl Model for Mlp {
    type Network = Network;

    fn build(&self, data: &DataSpec, params: Params) -> Result<Network> {
        let mut width = match self.0.inputs {
            Some(inputs) => inputs,
            None => data.xs()?.elements(),
        };
        let outputs = match self.0.outputs {
            Some(outputs) => outputs,
            None => data.outputs()?,
        };
        let mut hidden = Vec::new();
        for (index, outputs) in self.0.hidden.iter().enumerate() {
            hidden.push(
                linear(width, *outputs, params.pp("hidden").pp(index))?
                    .with_activation(self.0.activation),
            );
            width = *outputs;
        }
        Ok(Network {
            hidden,
            dropout: dropout(self.0.dropout),
            output: linear(width, outputs, params.pp("output"))?,
        })
    }

    fn forward(&self, network: &Network, xs: &Tensor) -> Result<Tensor> {
        let Some((first, others)) = network.hidden.split_first() else {
            return network.output.forward_flat(xs);
        };
        let mut xs = network.dropout.forward(&first.forward_flat(xs)?)?;
        for layer in others {
            xs = network.dropout.forward(&layer.forward(&xs)?)?;
        }
        network.output.forward(&xs)
    }
}
