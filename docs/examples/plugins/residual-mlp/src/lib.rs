//! A fully connected network with residual blocks (He et al. 2015) and layer normalisation in front
//! of each block.
//!
//! It shows how a model makes its parameters once, in `build`, under dotted paths, and uses them in
//! `forward`.

use fluxbay_plugin::{
    nn::{LayerNorm, Linear, layer_norm, linear},
    prelude::*,
};

config! {
    /// Size of the network.
    struct Config {
        /// Width of the residual stream.
        width: usize = 64 => 1..,
        /// Number of blocks.
        blocks: usize = 3 => 0..,
    }
}

struct ResidualMlp(Config);

struct Block {
    norm: LayerNorm,
    up: Linear,
    down: Linear,
}

struct Network {
    input: Linear,
    blocks: Vec<Block>,
    output: Linear,
}

impl Component for ResidualMlp {
    type Config = Config;

    fn new(config: Config, _: &mut Setup) -> Result<Self> {
        Ok(ResidualMlp(config))
    }
}

impl Model for ResidualMlp {
    type Network = Network;

    fn build(&self, data: &DataSpec, params: Params) -> Result<Network> {
        let width = self.0.width;
        let block = |index: usize| -> Result<Block> {
            let params = params.pp("blocks").pp(index);
            Ok(Block {
                norm: layer_norm(width, 1e-5, params.pp("norm"))?,
                up: linear(width, 2 * width, params.pp("up"))?.with_activation(Activation::Gelu),
                down: linear(2 * width, width, params.pp("down"))?,
            })
        };
        Ok(Network {
            input: linear(data.xs()?.elements(), width, params.pp("input"))?,
            blocks: (0..self.0.blocks).map(block).collect::<Result<_>>()?,
            output: linear(width, data.outputs()?, params.pp("output"))?,
        })
    }

    /// Inputs `[samples, ...]`, outputs `[samples, outputs]`.
    fn forward(&self, network: &Network, xs: &Tensor) -> Result<Tensor> {
        let mut stream = network.input.forward_flat(xs)?;
        for block in &network.blocks {
            let inner = block.up.forward(&block.norm.forward(&stream)?)?;
            stream = stream.add(&block.down.forward(&inner)?)?;
        }
        network.output.forward(&stream)
    }
}

plugin! {
    summary: "A network with residual blocks.",
    model "residual-mlp" => ResidualMlp {
        summary: "Fully connected layers with residual connections.",
        example: "[model]\ncomponent = \"residual-mlp\"\nwidth = 64\nblocks = 3\n",
    },
}
