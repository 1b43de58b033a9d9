//! Residual networks (He et al. 2015) up to their features, for `resnet` and `unet`.

use fluxbay_plugin::{Pretrained, nn::*, prelude::*};

/// A convolution and its normalisation.
pub type Layer = (Conv2d, BatchNorm);

struct Block {
    layers: Vec<Layer>,
    shortcut: Option<Layer>,
}

/// The first layer and the stages, each with blocks.
pub struct Residual {
    stem: Layer,
    pool: Option<Pool2d>,
    stages: Vec<Vec<Block>>,
    /// Channels of the first layer and of each stage.
    pub channels: Vec<usize>,
}

/// A convolution without a bias that keeps the size at stride 1, and its normalisation.
pub fn layer(sizes: [usize; 3], stride: usize, conv: Params, norm: Params) -> Result<Layer> {
    let [inputs, outputs, kernel] = sizes;
    let config = ConvConfig { stride, padding: kernel / 2, bias: false, ..ConvConfig::default() };
    Ok((conv2d(inputs, outputs, kernel, config, conv)?, batch_norm(outputs, norm)?))
}

/// Runs a layer.
pub fn run((conv, norm): &Layer, xs: &Tensor) -> Result<Tensor> {
    norm.forward(&conv.forward(xs)?)
}

/// Adds the sizes that the published architecture `name` stands for to those that are there. An empty name
/// stands for none.
pub fn name_sizes(sizes: &mut Pretrained, name: &str) -> Result<()> {
    const KEYS: [&str; 4] = ["layer_type", "embedding_size", "hidden_sizes", "depths"];
    if name.is_empty() || KEYS.iter().all(|key| sizes.value(&[key]).is_some()) {
        return Ok(());
    }
    let (kind, widths, blocks) = match name.split('.').next().unwrap_or_default() {
        "resnet18" => ("basic", [64, 128, 256, 512], [2, 2, 2, 2]),
        "resnet34" => ("basic", [64, 128, 256, 512], [3, 4, 6, 3]),
        "resnet50" => ("bottleneck", [256, 512, 1024, 2048], [3, 4, 6, 3]),
        "resnet101" => ("bottleneck", [256, 512, 1024, 2048], [3, 4, 23, 3]),
        "resnet152" => ("bottleneck", [256, 512, 1024, 2048], [3, 8, 36, 3]),
        other => bail!("`{other}` is none of resnet18, resnet34, resnet50, resnet101, resnet152"),
    };
    let named = [kind.into(), 64.into(), widths.to_vec().into(), blocks.to_vec().into()];
    for (key, size) in KEYS.into_iter().zip::<[serde_json::Value; 4]>(named) {
        sizes.complete(&[key], Some(size));
    }
    Ok(())
}

impl Residual {
    /// Of these sizes; without pooling and with 3 by 3 pixels in the first layer for `small` images.
    /// Stages beyond `most` are left out.
    pub fn build(
        sizes: &Pretrained,
        (channels, small, most): (usize, bool, usize),
        params: &Params,
    ) -> Result<Residual> {
        let bottleneck = sizes.text(&["layer_type"]) == "bottleneck";
        let (widths, depths) = (sizes.sizes(&["hidden_sizes"])?, sizes.sizes(&["depths"])?);
        if widths.len() != depths.len() || widths.is_empty() {
            bail!("widths {widths:?} and blocks {depths:?} are not of the same stages");
        }
        let first = sizes.size(&["embedding_size"])?;
        let (kernel, stride) = if small { (3, 1) } else { (7, 2) };
        let stem = layer([channels, first, kernel], stride, params.pp("conv1"), params.pp("bn1"))?;
        let (mut stages, mut all) = (Vec::new(), vec![first]);
        for (stage, (&width, &depth)) in widths.iter().zip(&depths).enumerate().take(most) {
            let mut inputs = all[stage];
            let block = |index: usize| -> Result<Block> {
                let at = params.pp(format!("layer{}", stage + 1)).pp(index);
                let stride = if index == 0 && stage > 0 { 2 } else { 1 };
                let part = |number: usize, sizes: [usize; 3], stride: usize| {
                    let (conv, norm) = (format!("conv{number}"), format!("bn{number}"));
                    layer(sizes, stride, at.pp(conv), at.pp(norm))
                };
                let layers = if bottleneck {
                    vec![
                        part(1, [inputs, width / 4, 1], 1)?,
                        part(2, [width / 4, width / 4, 3], stride)?,
                        part(3, [width / 4, width, 1], 1)?,
                    ]
                } else {
                    vec![part(1, [inputs, width, 3], stride)?, part(2, [width, width, 3], 1)?]
                };
                let shortcut = at.pp("downsample");
                let shortcut = (stride != 1 || inputs != width)
                    .then(|| layer([inputs, width, 1], stride, shortcut.pp(0), shortcut.pp(1)));
                inputs = width;
                Ok(Block { layers, shortcut: shortcut.transpose()? })
            };
            stages.push((0..depth).map(block).collect::<Result<_>>()?);
            all.push(width);
        }
        let pool = (!small).then(|| pool2d(Pool::Max, 3, 2, 1));
        Ok(Residual { stem, pool, stages, channels: all })
    }

    /// What the first layer and each stage find in images `[batch, channels, height, width]`.
    pub fn features(&self, xs: &Tensor) -> Result<Vec<Tensor>> {
        let mut hidden = run(&self.stem, xs)?.relu()?;
        let mut features = vec![hidden.clone()];
        if let Some(pool) = &self.pool {
            hidden = pool.forward(&hidden)?;
        }
        for stage in &self.stages {
            for Block { layers, shortcut } in stage {
                let mut branch = hidden.clone();
                for (index, layer) in layers.iter().enumerate() {
                    branch = run(layer, &if index == 0 { branch } else { branch.relu()? })?;
                }
                let same = match shortcut {
                    Some(shortcut) => run(shortcut, &hidden)?,
                    None => hidden,
                };
                hidden = branch.add(&same)?.relu()?;
            }
            features.push(hidden.clone());
        }
        Ok(features)
    }
}
