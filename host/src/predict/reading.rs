//! What the outputs of a model mean.

use candle_core::{DType, Tensor};

use super::PredictError;

/// What the first output of a model means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// A logit for each class; the softmax of them is the probability.
    Classes(usize),
    /// One logit for the second of two classes.
    Binary,
    /// Values.
    Values,
}

/// A prediction for one sample.
#[derive(Clone, Debug, PartialEq)]
pub enum Prediction {
    /// Probability of each class.
    Classes(Vec<f32>),
    /// The values of the output.
    Values(Vec<f32>),
}

/// How the outputs of a model are read.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Number of classes of the target; 0 for numbers.
    pub classes: usize,
    /// Whether outputs are returned as they are.
    pub raw: bool,
}

impl Reading {
    /// What an output whose last dimension has `width` elements means.
    pub fn meaning(self, width: usize) -> Meaning {
        match (self.raw, self.classes) {
            (false, classes) if classes > 0 && classes == width => Meaning::Classes(classes),
            (false, 2) if width == 1 => Meaning::Binary,
            _ => Meaning::Values,
        }
    }

    /// The predictions in an output `[samples, ...]`. Of outputs with several rows of classes per
    /// sample, such as one for each token, the last row counts.
    ///
    /// # Errors
    /// An output without a row for each sample.
    pub fn read(self, output: &Tensor, samples: usize) -> Result<Vec<Prediction>, PredictError> {
        let unreadable = |error: candle_core::Error| {
            PredictError::Text(format!("the output of the model cannot be read: {error}"))
        };
        let dims = output.dims();
        if dims.first() != Some(&samples) {
            return Err(PredictError::Text(format!(
                "the output of the model has shape {dims:?}, but there are {samples} samples: it has \
                 no row for each"
            )));
        }
        let values: Vec<f32> = output
            .to_dtype(DType::F32)
            .and_then(|output| output.flatten_all()?.to_vec1())
            .map_err(unreadable)?;
        let row = values.len() / samples.max(1);
        let width = if dims.len() == 1 { 1 } else { dims[dims.len() - 1] };
        let meaning = self.meaning(width);
        Ok(values
            .chunks_exact(row.max(1))
            .take(samples)
            .map(|values| match meaning {
                Meaning::Values => Prediction::Values(values.to_vec()),
                Meaning::Binary => {
                    let last = f64::from(values[values.len() - 1]);
                    let second = 1.0 / (1.0 + (-last).exp());
                    Prediction::Classes(vec![(1.0 - second) as f32, second as f32])
                }
                Meaning::Classes(classes) => {
                    Prediction::Classes(softmax(&values[values.len() - classes..]))
                }
            })
            .collect())
    }
}

/// Probabilities of logits, computed in double precision.
fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exponentials: Vec<f64> =
        logits.iter().map(|logit| (f64::from(*logit) - f64::from(largest)).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.iter().map(|value| (value / sum) as f32).collect()
}

impl Prediction {
    /// Classes in descending order of their probability; equal ones in their own order.
    pub fn ranked(&self) -> Vec<(usize, f32)> {
        let Prediction::Classes(probabilities) = self else { return Vec::new() };
        let mut ranked: Vec<(usize, f32)> = probabilities.iter().copied().enumerate().collect();
        ranked.sort_by(|one, other| other.1.total_cmp(&one.1));
        ranked
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn output(values: &[f32], shape: &[usize]) -> Tensor {
        Tensor::from_slice(values, shape, &Device::Cpu).unwrap()
    }

    #[test]
    fn outputs_are_classes_where_the_target_has_as_many() {
        let reading = Reading { classes: 3, raw: false };
        let read = reading.read(&output(&[0.0, 0.0, 0.0, 1.0, 9.0, -1.0], &[2, 3]), 2).unwrap();
        assert_eq!(read[0], Prediction::Classes(vec![1.0 / 3.0; 3]));
        assert_eq!(read[1].ranked()[0].0, 1);
        // Equal probabilities keep the order of the classes.
        let order: Vec<usize> = read[0].ranked().iter().map(|(class, _)| *class).collect();
        assert_eq!(order, [0, 1, 2]);
        // The last of several rows.
        let tokens = reading.read(&output(&[9.0, 0.0, 0.0, 0.0, 0.0, 9.0], &[1, 2, 3]), 1).unwrap();
        assert_eq!(tokens[0].ranked()[0].0, 2);
        let raw = Reading { classes: 3, raw: true };
        let values = raw.read(&output(&[1.0, 2.0, 3.0], &[1, 3]), 1).unwrap();
        assert_eq!(values, [Prediction::Values(vec![1.0, 2.0, 3.0])]);
    }

    #[test]
    fn one_logit_for_two_classes_and_numbers() {
        let two = Reading { classes: 2, raw: false };
        let read = two.read(&output(&[0.0, 3.0], &[2, 1]), 2).unwrap();
        assert_eq!(read[0], Prediction::Classes(vec![0.5, 0.5]));
        assert_eq!(read[1].ranked()[0].0, 1);
        let numbers = Reading { classes: 0, raw: false };
        let read = numbers.read(&output(&[0.5, 3.0], &[2, 1]), 2).unwrap();
        assert_eq!(read[1], Prediction::Values(vec![3.0]));
        assert!(numbers.read(&output(&[0.5], &[1]), 2).unwrap_err().to_string().contains("no row"));
    }
}
