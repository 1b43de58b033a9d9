//! Targets as rows of class probabilities, for callbacks that soften or mix them.

use fluxbay_plugin::prelude::*;

/// Class labels as one-hot rows `[samples, classes]` of the element type of the predictions;
/// targets that are rows of numbers already are only converted to that type.
pub fn as_rows(ys: &Tensor, yhats: &Tensor) -> Result<Tensor> {
    let dtype = yhats.dtype()?;
    match ys.dtype()? {
        DType::U8 | DType::U32 | DType::I64 => {
            let shape = yhats.dims()?;
            let Some(&classes) = shape.last().filter(|_| shape.len() > 1) else {
                bail!("labels need predictions of shape [samples, classes], not {shape:?}");
            };
            ys.one_hot(classes)?.to_dtype(dtype)
        }
        _ => ys.to_dtype(dtype),
    }
}

/// `(1 - amount) rows + amount / classes` (Szegedy et al. 2015, arXiv:1512.00567).
pub fn smooth(rows: &Tensor, amount: f64) -> Result<Tensor> {
    let classes = rows.dims()?.last().copied().unwrap_or(1);
    rows.affine(1.0 - amount, amount / classes as f64)
}
