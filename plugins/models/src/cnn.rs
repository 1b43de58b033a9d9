//! Model `cnn`: a convolutional network similar to LeNet (LeCun et al. 1998).

use fluxbay_plugin::{
    nn::{Conv2d, ConvConfig, Dropout, Linear, conv2d, dropout, linear},
    prelude::*,
};

config! {
    /// Convolution blocks and fully connected layers.
    pub struct Config {
        /// Output channels of each block of convolution, activation and pooling.
        channels: Vec<usize> = [16, 32],
        /// Width and height of the convolution windows.
        kernel: usize = 3 => 1..,
        /// Zeros added at each border of the input of a convolution.
        padding: usize = 0,
        /// Width and height of the pooling windows; 1 disables pooling.
        pool: usize = 2 => 1..,
        /// Width of each fully connected layer after the blocks.
        hidden: Vec<usize> = [128],
        /// Activation function after each convolution and each hidden layer.
        activation: Activation = "relu",
        /// Dropout probability before each fully connected layer.
        dropout: f64 = 0.0 => 0.0..1.0,
    }
}

/// The model `cnn`.
pub struct Cnn(Config);

pub struct Network {
    input: [usize; 3],
    blocks: Vec<(Conv2d, usize)>,
    dropout: Dropout,
    dense: Vec<Linear>,
}

impl Component for Cnn {
    type Config = Config;

    fn new(config: Config, _: &mut Setup) -> Result<Self> {
        if config.channels.is_empty() || config.channels.contains(&0) || config.hidden.contains(&0)
        {
            bail!("channels and hidden list sizes of at least 1, and there is at least one block");
        }
        Ok(Cnn(config))
    }
}

impl Model for Cnn {
    type Network = Network;

    fn build(&self, data: &DataSpec, params: Params) -> Result<Network> {
        let config = &self.0;
        let input = match data.xs()?.shape[..] {
            [height, width] => [1, height, width],
            [channels, height, width] => [channels, height, width],
            ref other => bail!(
                "cnn takes images [height, width] or [channels, height, width], the data set has {other:?} per sample"
            ),
        };
        let [mut channels, mut height, mut width] = input;
        let mut blocks = Vec::new();
        for (index, outputs) in config.channels.iter().enumerate() {
            let shrunk = |size: usize| {
                (size + 2 * config.padding + 1).checked_sub(config.kernel).filter(|size| *size > 0)
            };
            let (Some(rows), Some(columns)) = (shrunk(height), shrunk(width)) else {
                bail!(
                    "block {index}: a map of {height} x {width} is smaller than the window of {0} x {0}; use fewer channels, a smaller kernel or padding",
                    config.kernel
                );
            };
            let layer = ConvConfig {
                padding: config.padding,
                activation: config.activation,
                ..ConvConfig::default()
            };
            let pool = if rows >= config.pool && columns >= config.pool { config.pool } else { 1 };
            blocks.push((
                conv2d(channels, *outputs, config.kernel, layer, params.pp("conv").pp(index))?,
                pool,
            ));
            (channels, height, width) = (*outputs, rows / pool, columns / pool);
        }
        let mut features = channels * height * width;
        let mut dense = Vec::new();
        for (index, outputs) in config.hidden.iter().enumerate() {
            dense.push(
                linear(features, *outputs, params.pp("hidden").pp(index))?
                    .with_activation(config.activation),
            );
            features = *outputs;
        }
        dense.push(linear(features, data.outputs()?, params.pp("output"))?);
        Ok(Network { input, blocks, dropout: dropout(config.dropout), dense })
    }

    fn forward(&self, network: &Network, xs: &Tensor) -> Result<Tensor> {
        let dims = xs.dims()?;
        let [channels, height, width] = network.input;
        let mut xs = if dims.len() == 4 {
            xs.clone()
        } else {
            xs.reshape((dims[0], channels, height, width))?
        };
        for (convolution, pool) in &network.blocks {
            xs = convolution.forward(&xs)?;
            if *pool > 1 {
                xs = xs.max_pool2d(*pool)?;
            }
        }
        for layer in &network.dense {
            // The first layer flattens channels, rows and columns.
            xs = layer.forward_flat(&network.dropout.forward(&xs)?)?;
        }
        Ok(xs)
    }
}
