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
