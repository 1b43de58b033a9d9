//! Model `bag-of-embeddings`: the mean of the tokens' embeddings, then fully connected layers, as in
//! fastText (Joulin et al. 2016).

use fluxbay_plugin::{
    nn::{Dropout, Embedding, Linear, dropout, embedding, linear},
    prelude::*,
};

config! {
    /// Widths, and the token that is left out.
    pub struct Config {
        /// Width of the embeddings.
        width: usize = 64 => 1..,
        /// Width of each hidden layer after the mean.
        hidden: Vec<usize> = [],
        /// Activation function after each hidden layer.
        activation: Activation = "relu",
        /// Dropout probability after the mean and after each hidden layer.
        dropout: f64 = 0.0 => 0.0..1.0,
        /// Id that is left out of the mean: that of the padding. -1 leaves nothing out.
        padding: i64 = 0 => -1..,
    }
}

/// The model `bag-of-embeddings`.
pub struct Bag(Config);

pub struct Network {
    tokens: Embedding,
    hidden: Vec<Linear>,
    output: Linear,
    dropout: Dropout,
}

impl Component for Bag {
    type Config = Config;

    fn new(config: Config, _: &mut Setup) -> Result<Self> {
        if config.hidden.contains(&0) {
            bail!("hidden = {:?}: a layer needs a width of at least 1", config.hidden);
        }
        Ok(Bag(config))
    }
}

impl Model for Bag {
    type Network = Network;

    fn build(&self, data: &DataSpec, params: Params) -> Result<Network> {
        let xs = data.xs()?;
        let (&[_], DType::U32, Some(vocabulary)) = (&xs.shape[..], xs.dtype, xs.classes) else {
            bail!(
                "bag-of-embeddings takes token ids [time] with a known vocabulary, the data set has {:?} of {} per sample",
                xs.shape,
                xs.dtype
            );
        };
        let mut width = self.0.width;
        let tokens = embedding(vocabulary, width, 0.1, params.pp("tokens"))?;
        let mut hidden = Vec::new();
        for (index, outputs) in self.0.hidden.iter().enumerate() {
            let layer = linear(width, *outputs, params.pp("hidden").pp(index))?;
            hidden.push(layer.with_activation(self.0.activation));
            width = *outputs;
        }
        Ok(Network {
            tokens,
            hidden,
            output: linear(width, data.outputs()?, params.pp("output"))?,
            dropout: dropout(self.0.dropout),
        })
    }

    fn forward(&self, network: &Network, xs: &Tensor) -> Result<Tensor> {
        let embedded = network.tokens.forward(xs)?;
        let mean = match u32::try_from(self.0.padding) {
            Err(_) => embedded.mean(1)?,
            Ok(padding) => {
                let padding = Tensor::full(f64::from(padding), 1, DType::U32)?;
                let used = xs.ne(&padding)?.to_dtype(DType::F32)?;
                // A sample of padding alone has the mean 0.
                let count = used.sum_keepdim(1)?.clamp(1.0, 1e9)?;
                let sum = used.unsqueeze(1)?.matmul(&embedded)?.squeeze(1)?;
                sum.div(&count)?
            }
        };
        let mut hidden = network.dropout.forward(&mean)?;
        for layer in &network.hidden {
            hidden = network.dropout.forward(&layer.forward(&hidden)?)?;
        }
        network.output.forward(&hidden)
    }
}
