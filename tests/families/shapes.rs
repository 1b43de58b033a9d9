//! A plugin of the tests: a data set of any shapes, and models of layers that no published family has.

/// A data set of any shapes. Its samples are not used: the tests make batches of their own.
pub const SHAPES: &str = r#"
use fluxbay_plugin::{Names, Pretrained, Rule, nn::*, prelude::*};

config! {
    /// Where the weights are.
    struct Weights {
        /// Their folder.
        from: std::path::PathBuf,
    }
}

/// Recurrent layers of the author's crate, forwards and backwards.
struct Recurrent(Pretrained);

impl Component for Recurrent {
    type Config = Weights;
    fn new(config: Weights, setup: &mut Setup) -> Result<Self> {
        let nothing = serde_json::json!({});
        Pretrained::open(setup, Some(config.from.as_path()), nothing).map(Recurrent)
    }
}

impl Model for Recurrent {
    type Network = (Lstm, Gru, Linear);
    fn build(&self, data: &DataSpec, params: Params) -> Result<Self::Network> {
        let (inputs, width) = (data.xs()?.shape[1], self.0.size(&["width"])?);
        Ok((
            lstm(inputs, width, false, params.pp("lstm"))?,
            gru(width, width, true, params.pp("gru"))?,
            linear(width, data.outputs()?, params.pp("head"))?,
        ))
    }
    fn forward(&self, (lstm, gru, head): &Self::Network, xs: &Tensor) -> Result<Tensor> {
        let (states, (last, _)) = lstm.forward(xs, None)?;
        let (_, first) = gru.forward(&states, Some(last))?;
        head.forward(&first)
    }
    fn names(&self) -> Result<Option<Names>> {
        Ok(Some(self.0.names(&[
            Rule::Rename { from: "net.gru.*_l0", to: "gru.*_l0_reverse" },
            Rule::Rename { from: "net.*", to: "*" },
        ])))
    }
}

/// Bags of embeddings, and a transposed convolution over one axis.
struct Layers(Pretrained);

impl Component for Layers {
    type Config = Weights;
    fn new(config: Weights, setup: &mut Setup) -> Result<Self> {
        let nothing = serde_json::json!({});
        Pretrained::open(setup, Some(config.from.as_path()), nothing).map(Layers)
    }
}

impl Model for Layers {
    type Network = (EmbeddingBag, Embedding, ConvTranspose1d, Linear);
    fn build(&self, data: &DataSpec, params: Params) -> Result<Self::Network> {
        let width = self.0.size(&["width"])?;
        let activation = Activation::Silu;
        let conv = ConvConfig { stride: 2, padding: 1, groups: 2, activation, ..ConvConfig::default() };
        Ok((
            embedding_bag([23, width], 0.02, true, params.pp("bag"))?,
            embedding(23, 6, 0.02, params.pp("tokens"))?,
            conv_transpose1d(6, 4, 3, conv, params.pp("conv"))?,
            linear(width + 4, data.outputs()?, params.pp("head"))?,
        ))
    }
    fn forward(&self, (bag, tokens, conv, head): &Self::Network, xs: &Tensor) -> Result<Tensor> {
        let (batch, time) = (xs.dim(0)?, xs.dim(1)?);
        let bags: Vec<u32> = (0..batch * time).map(|at| (at / time) as u32).collect();
        let bags = Tensor::from_slice(&bags, batch * time)?;
        let ones = Tensor::ones(batch * time, DType::F32)?;
        let means = bag.forward(&xs.reshape(batch * time)?, &bags, batch, Some(&ones))?;
        let grown = conv.forward(&tokens.forward(xs)?.transpose(1, 2)?)?.mean(2)?;
        head.forward(&Tensor::cat(&[&means, &grown], 1)?)
    }
    fn names(&self) -> Result<Option<Names>> {
        Ok(Some(self.0.names(&[Rule::Rename { from: "net.*", to: "*" }])))
    }
}

config! {
    /// Shapes of the fields.
    struct Config {
        /// Shape of an input.
        inputs: Vec<usize>,
        /// Size of the vocabulary, if inputs are tokens.
        vocabulary: Option<usize> = null,
        /// Shape of a target.
        targets: Vec<usize> = [],
        /// Classes of a target, if it is one.
        classes: Option<usize> = null,
        /// Name of a third field, with the shape of a target.
        third: Option<String> = null,
        /// Whether rows hold several samples.
        packed: bool = false,
    }
}

struct Shapes(Config);

impl Component for Shapes {
    type Config = Config;
    fn new(config: Config, _: &mut Setup) -> Result<Self> {
        Ok(Shapes(config))
    }
}

impl Dataset for Shapes {
    fn open(&mut self) -> Result<()> {
        Ok(())
    }
    fn fields(&self) -> Vec<Field> {
        let field = |name: &str, shape: &[usize], classes: Option<usize>| {
            let dtype = if classes.is_some() { DType::U32 } else { DType::F32 };
            Field { classes, ..Field::new(name, dtype, shape) }
        };
        let third = self.0.third.iter();
        [
            field("xs", &self.0.inputs, self.0.vocabulary),
            field("ys", &self.0.targets, self.0.classes),
        ]
        .into_iter()
        .chain(third.map(|name| field(name, &self.0.targets, Some(2))))
        .chain(
            ["segments", "positions"]
                .into_iter()
                .filter(|_| self.0.packed)
                .map(|name| Field::new(name, DType::U32, &self.0.inputs)),
        )
        .collect()
    }
    fn splits(&self) -> Vec<Split> {
        vec![Split::new("training", 8), Split::new("validation", 8)]
    }
    fn fill(&self, _: usize, _: &[u64], _: &mut Buffers<'_>) -> Result<()> {
        Ok(())
    }
}

plugin! {
    summary: "Data of any shapes.",
    dataset "shapes" => Shapes { summary: "Zeros of any shapes." },
    model "layers" => Layers { summary: "Bags of embeddings and a transposed convolution." },
    model "recurrent" => Recurrent { summary: "An LSTM and a GRU." },
}
"#;
