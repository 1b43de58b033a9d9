//! Targets in the form that a loss needs.

use fluxbay_plugin::prelude::*;

/// Targets converted to the type of the predictions, and reshaped if only dimensions of size 1
/// differ, such as `[n]` and `[n, 1]`.
///
/// # Errors
/// The shapes do not match.
pub fn matched(yhats: &Tensor, ys: &Tensor) -> Result<Tensor> {
    let (wanted, found) = (yhats.dims()?, ys.dims()?);
    let ys = if yhats.dtype()? == ys.dtype()? { ys.clone() } else { ys.to_dtype(yhats.dtype()?)? };
    if wanted == found {
        Ok(ys)
    } else if significant(&wanted) == significant(&found) {
        ys.reshape(wanted)
    } else {
        bail!("predictions {wanted:?} and targets {found:?} differ in shape");
    }
}

fn significant(dims: &[usize]) -> Vec<usize> {
    dims.iter().copied().filter(|size| *size != 1).collect()
}

/// Class labels `[..]` or class probabilities `[.., classes]` for logits `[.., classes]`.
pub enum Classes {
    Labels(Tensor),
    Probabilities(Tensor),
}

impl Classes {
    /// Decides by the shapes which of both the targets are.
    ///
    /// # Errors
    /// The targets are neither, or the predictions have no dimension of classes.
    pub fn of(yhats: &Tensor, ys: &Tensor) -> Result<Classes> {
        let (wanted, found) = (yhats.dims()?, ys.dims()?);
        if wanted == found {
            return Ok(Classes::Probabilities(matched(yhats, ys)?));
        }
        if wanted.split_last().is_some_and(|(_, lead)| *lead == found)
            && matches!(ys.dtype()?, DType::U32 | DType::I64)
        {
            return Ok(Classes::Labels(ys.clone()));
        }
        bail!(
            "logits {wanted:?} need labels (u32 or i64) of the same shape without the last dimension, or probabilities of the same shape; the targets are {found:?} of {:?}",
            ys.dtype()?
        )
    }
}

/// A number per class as a tensor that broadcasts over the last dimension of `yhats`.
///
/// # Errors
/// There is another number of classes, or a number is negative or not finite.
pub fn per_class(key: &str, numbers: &[f64], yhats: &Tensor) -> Result<Tensor> {
    let classes = yhats.dim(-1)?;
    if numbers.len() != classes {
        bail!("{key} lists {} numbers, the predictions have {classes} outputs", numbers.len());
    }
    Tensor::from_slice(numbers, classes)?.to_dtype(yhats.dtype()?)
}

/// Checks a list of weights from the configuration.
///
/// # Errors
/// A weight is negative or not finite, or all are 0.
pub fn check_weights(key: &str, numbers: &[f64]) -> Result<()> {
    if let Some(wrong) = numbers.iter().find(|number| !(number.is_finite() && **number >= 0.0)) {
        bail!("{key} lists {wrong}: weights are finite and not negative");
    }
    if !numbers.is_empty() && numbers.iter().all(|number| *number == 0.0) {
        bail!("{key}: all weights are 0");
    }
    Ok(())
}
