//! Model `sequential`: layers listed in the run file.

use fluxbay_plugin::{
    nn::{self, ConvConfig, Pool},
    prelude::*,
};

variants! {
    /// One layer.
    pub enum Layer {
        /// Fully connected: `[features]` becomes `[out]`.
        Linear {
            /// Outputs.
            out: usize => 1..,
            /// Whether a bias is added.
            bias: bool = true,
        },
        /// Convolution over `[channels, height, width]`.
        Conv2d {
            /// Output channels.
            out: usize => 1..,
            /// Side of the window.
            kernel: usize = 3 => 1..,
            /// Steps between windows.
            stride: usize = 1 => 1..,
            /// Zeros at each border.
            padding: usize = 0,
            /// Groups of channels that are convolved separately.
            groups: usize = 1 => 1..,
            /// Whether a bias is added.
            bias: bool = true,
        },
        /// Largest value of each window.
        MaxPool2d {
            /// Side of the window; windows do not overlap.
            size: usize = 2 => 1..,
        },
        /// Mean of each window.
        AvgPool2d {
            /// Side of the window; windows do not overlap.
            size: usize = 2 => 1..,
        },
        /// Batch normalisation of channels or features.
        BatchNorm {},
        /// Layer normalisation over the last dimension.
        LayerNorm {},
        /// An activation function.
        Activation {
            /// The activation function.
            function: Activation = "relu",
        },
        /// Sets random values to zero in training.
        Dropout {
            /// Probability of a zero.
            probability: f64 = 0.5 => 0.0..1.0,
        },
        /// Reshapes a sample to one dimension.
        Flatten {},
        /// Reshapes a sample.
        Reshape {
            /// Sizes without the batch dimension.
            shape: Vec<usize>,
        },
    }
}

config! {
    /// The list of layers.
    pub struct Config {
        /// One table per layer; `type` selects the kind of layer.
        layers: Vec<Layer>,
    }
}

/// The model `sequential`.
pub struct Sequential(Config);

impl Component for Sequential {
    type Config = Config;

    fn new(config: Config, _: &mut Setup) -> Result<Self> {
        if config.layers.is_empty() {
            bail!("layers: at least one layer is needed");
        }
        Ok(Sequential(config))
    }
}

impl Model for Sequential {
    type Network = nn::Sequential;

    fn build(&self, data: &DataSpec, params: Params) -> Result<nn::Sequential> {
        let mut shape = data.xs()?.shape.clone();
        let mut network = nn::seq();
        for (index, layer) in self.0.layers.iter().enumerate() {
            let place = |shape: &[usize]| {
                format!("layers[{index}] ({}), which is given {shape:?} per sample", name(layer))
            };
            let given = shape.clone();
            network = add(network, layer, &mut shape, params.pp(index)).context(place(&given))?;
        }
        let outputs = data.outputs()?;
        // With several labels per sample, each row of outputs has a score for every class.
        let rows = data.ys()?.elements() > 1 && shape.last() == Some(&outputs);
        if !rows && shape.iter().product::<usize>() != outputs {
            bail!(
                "the last layer gives {shape:?} per sample, the target needs {outputs} outputs: add or change a linear layer at the end"
            );
        }
        Ok(network)
    }

    fn forward(&self, network: &nn::Sequential, xs: &Tensor) -> Result<Tensor> {
        network.forward(xs)
    }
}

fn name(layer: &Layer) -> &'static str {
    match layer {
        Layer::Linear { .. } => "linear",
        Layer::Conv2d { .. } => "conv2d",
        Layer::MaxPool2d { .. } => "max-pool2d",
        Layer::AvgPool2d { .. } => "avg-pool2d",
        Layer::BatchNorm {} => "batch-norm",
        Layer::LayerNorm {} => "layer-norm",
        Layer::Activation { .. } => "activation",
        Layer::Dropout { .. } => "dropout",
        Layer::Flatten {} => "flatten",
        Layer::Reshape { .. } => "reshape",
    }
}

/// Adds a layer for inputs of `shape` per sample and updates `shape` to the shape of its outputs.
fn add(
    network: nn::Sequential,
    layer: &Layer,
    shape: &mut Vec<usize>,
    params: Params,
) -> Result<nn::Sequential> {
    Ok(match layer {
        Layer::Linear { out, bias } => {
            let [features] = shape[..] else {
                bail!("a linear layer takes one dimension: put a flatten layer before it")
            };
            *shape = vec![*out];
            network.add(if *bias {
                nn::linear(features, *out, params)?
            } else {
                nn::linear_no_bias(features, *out, params)?
            })
        }
        Layer::Conv2d { out, kernel, stride, padding, groups, bias } => {
            let [channels, height, width] = image(shape)?;
            let config = ConvConfig {
                stride: *stride,
                padding: *padding,
                groups: *groups,
                bias: *bias,
                ..ConvConfig::default()
            };
            let size = |size: usize| Some((size + 2 * padding).checked_sub(*kernel)? / stride + 1);
            let (Some(rows), Some(columns)) = (size(height), size(width)) else {
                bail!("the window of {kernel} x {kernel} is larger than the map");
            };
            let convolution = nn::conv2d(channels, *out, *kernel, config, params)?;
            let given = std::mem::replace(shape, vec![*out, rows, columns]);
            let network =
                if given.len() == 2 { network.add(|xs: &Tensor| xs.unsqueeze(1)) } else { network };
            network.add(convolution)
        }
        Layer::MaxPool2d { size } => pooled(network, Pool::Max, *size, shape)?,
        Layer::AvgPool2d { size } => pooled(network, Pool::Avg, *size, shape)?,
        Layer::BatchNorm {} => {
            let Some(channels) = shape.first() else { bail!("there is no dimension to normalise") };
            network.add(nn::batch_norm(*channels, params)?)
        }
        Layer::LayerNorm {} => {
            let Some(width) = shape.last() else { bail!("there is no dimension to normalise") };
            network.add(nn::layer_norm(*width, 1e-5, params)?)
        }
        Layer::Activation { function } => network.add(*function),
        Layer::Dropout { probability } => network.add(nn::dropout(*probability)),
        Layer::Flatten {} => {
            *shape = vec![shape.iter().product()];
            network.add(|xs: &Tensor| xs.flatten_from(1))
        }
        Layer::Reshape { shape: wanted } => {
            if wanted.iter().product::<usize>() != shape.iter().product::<usize>() {
                bail!("{wanted:?} has another number of elements");
            }
            shape.clone_from(wanted);
            let wanted = wanted.clone();
            network.add(move |xs: &Tensor| {
                let mut dims = vec![xs.dims()?[0]];
                dims.extend(&wanted);
                xs.reshape(dims)
            })
        }
    })
}

fn image(shape: &[usize]) -> Result<[usize; 3]> {
    match *shape {
        [height, width] => Ok([1, height, width]),
        [channels, height, width] => Ok([channels, height, width]),
        _ => bail!("this layer takes [channels, height, width]"),
    }
}

fn pooled(
    network: nn::Sequential,
    pool: Pool,
    size: usize,
    shape: &mut Vec<usize>,
) -> Result<nn::Sequential> {
    let [channels, height, width] = image(shape)?;
    if height < size || width < size {
        bail!("the window of {size} x {size} is larger than the map");
    }
    let given = std::mem::replace(shape, vec![channels, height / size, width / size]);
    let network =
        if given.len() == 2 { network.add(|xs: &Tensor| xs.unsqueeze(1)) } else { network };
    Ok(network.add(nn::pool2d(pool, size, size, 0)))
}
