//! ResNet-18 (He et al. 2016, arXiv:1512.03385) with batch normalisation and 11 million parameters,
//! for small images: the first convolution has a 3 x 3 window, and no pooling follows it.

use fluxbay_plugin::nn::{
    BatchNorm, Conv2d, ConvConfig, Linear, Module, batch_norm, conv2d, linear,
};
use fluxbay_plugin::prelude::*;

struct ResNet;

/// A convolution and its normalisation.
struct Unit(Conv2d, BatchNorm);

struct Block {
    first: Unit,
    second: Unit,
    /// Where the block changes the shape.
    shortcut: Option<Unit>,
}

struct Network {
    stem: Unit,
    blocks: Vec<Block>,
    head: Linear,
}

fn unit(inputs: usize, outputs: usize, kernel: usize, stride: usize, params: Params) -> Result<Unit> {
    let layer = ConvConfig { stride, padding: kernel / 2, bias: false, ..ConvConfig::default() };
    let convolution = conv2d(inputs, outputs, kernel, layer, params.pp("conv"))?;
    Ok(Unit(convolution, batch_norm(outputs, params.pp("norm"))?))
}

impl Unit {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        self.1.forward(&self.0.forward(xs)?)
    }
}

impl Component for ResNet {
    type Config = NoConfig;

    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(ResNet)
    }
}

impl Model for ResNet {
    type Network = Network;

    fn build(&self, data: &DataSpec, params: Params) -> Result<Network> {
        let [_, _] = data.xs()?.shape[..] else { bail!("the samples are not images of one channel") };
        let (mut blocks, mut channels) = (Vec::new(), 64);
        for (stage, outputs) in [64, 128, 256, 512].into_iter().enumerate() {
            for index in 0..2 {
                let params = params.pp("stage").pp(stage).pp(index);
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                let changes = stride > 1 || channels != outputs;
                let shortcut = changes
                    .then(|| unit(channels, outputs, 1, stride, params.pp("shortcut")))
                    .transpose()?;
                let first = unit(channels, outputs, 3, stride, params.pp("first"))?;
                let second = unit(outputs, outputs, 3, 1, params.pp("second"))?;
                blocks.push(Block { first, second, shortcut });
                channels = outputs;
            }
        }
        let stem = unit(1, 64, 3, 1, params.pp("stem"))?;
        Ok(Network { stem, blocks, head: linear(512, data.outputs()?, params.pp("head"))? })
    }

    fn forward(&self, network: &Network, xs: &Tensor) -> Result<Tensor> {
        let mut xs = network.stem.forward(&xs.unsqueeze(1)?)?.relu()?;
        for block in &network.blocks {
            let inner = block.second.forward(&block.first.forward(&xs)?.relu()?)?;
            let outer = match &block.shortcut {
                Some(shortcut) => shortcut.forward(&xs)?,
                None => xs,
            };
            xs = inner.add(&outer)?.relu()?;
        }
        network.head.forward(&xs.mean([2, 3])?)
    }
}

plugin! {
    summary: "A residual network.",
    model "resnet18" => ResNet { summary: "ResNet-18 for small images." },
}
