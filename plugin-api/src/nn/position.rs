//! Where the tokens of a forward pass stand in their text.

use crate::{Result, Tensor, trampoline::calls};

/// The place of the first token of the inputs. It is 0 except while `fluxbay generate` gives a model
/// the new tokens of a text only. Models that know places ask for it in `forward`;
/// [`RotaryEmbedding`](super::RotaryEmbedding) and [`positions`] do so themselves.
///
/// # Errors
/// Outside of a host.
pub fn first_position() -> Result<usize> {
    calls::first_position()
}

/// The rows of a table of learnt positions `[places, width]` for `time` tokens: `[time, width]`,
/// beginning at [`first_position`].
///
/// # Errors
/// If the table has fewer places.
pub fn positions(table: &Tensor, time: usize) -> Result<Tensor> {
    let first = first_position()?;
    match first == 0 && table.dim(0)? == time {
        true => Ok(table.clone()),
        false => table.narrow(0, first, time),
    }
}

/// A table of fixed positions `[places, width]`: the sines of angles that grow with the place, and their
/// cosines behind them (Vaswani et al. 2017, arXiv:1706.03762; the form of Whisper). An odd width is
/// taken as one less.
///
/// # Errors
/// Outside of a call of the host.
pub fn sinusoids(places: usize, width: usize) -> Result<Tensor> {
    let half = width / 2;
    let step = 1e4_f64.ln() / half.saturating_sub(1).max(1) as f64;
    let angle = |at: usize, pair: usize| at as f64 * (-step * pair as f64).exp();
    let row = |at: usize| {
        let angles = (0..half).map(move |pair| angle(at, pair));
        angles.clone().map(f64::sin).chain(angles.map(f64::cos))
    };
    let values: Vec<f64> = (0..places).flat_map(row).collect();
    Tensor::from_slice(&values, (places, 2 * half))
}
