//! A trained model as a layer of a candle model.
//!
//! `candle-layer BUNDLE FILE` reads samples, one a line as numbers, and prints the outputs of the trained
//! model and the probabilities of a candle model that ends in a softmax.

use std::error::Error;

use candle_core::{D, DType, Device, Module as _, Tensor};
use candle_nn::{ops::softmax, seq};
use fluxbay::Predictor;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bundle, file] = arguments.as_slice() else {
        return Err("usage: candle-layer BUNDLE FILE".into());
    };
    let trained = Predictor::open(bundle)?;
    let xs = samples(&std::fs::read_to_string(file)?, &trained.input().shape)?;
    let outputs = trained.forward(&xs)?;
    // From here on the trained model is a layer like any other.
    let model = seq().add(trained).add_fn(|logits| softmax(logits, D::Minus1));
    let probabilities = model.forward(&xs)?;
    for (output, probability) in rows(&outputs)?.iter().zip(rows(&probabilities)?) {
        println!("{output:?} {probability:?}");
    }
    Ok(())
}

/// The numbers of each line as a sample of a shape.
fn samples(text: &str, shape: &[usize]) -> Result<Tensor, Box<dyn Error>> {
    let values: Vec<f32> = text
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, std::num::ParseFloatError>>()?;
    let whole: Vec<usize> =
        std::iter::once(text.lines().count()).chain(shape.iter().copied()).collect();
    Ok(Tensor::from_vec(values, whole, &Device::Cpu)?)
}

/// The values of each sample.
fn rows(tensor: &Tensor) -> candle_core::Result<Vec<Vec<f32>>> {
    tensor.flatten_from(1)?.to_dtype(DType::F32)?.to_vec2()
}
