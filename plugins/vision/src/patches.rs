//! Images as sequences of patches.

use fluxbay_plugin::{nn::*, prelude::*};

use crate::images;

/// Patches of images with a learnt vector before them, and their places.
pub struct Patches {
    pub convolution: Conv2d,
    /// The vector, of any shape.
    pub class: Tensor,
    /// `[places, width]`, or of one more dimension.
    pub positions: Tensor,
}

/// Places of the patches of images of `size`, with the one before them.
///
/// # Errors
/// The patches do not divide the images.
pub fn places([rows, columns]: [usize; 2], patch: usize) -> Result<usize> {
    if !rows.is_multiple_of(patch) || !columns.is_multiple_of(patch) {
        bail!("images of {rows} x {columns} cannot be divided into patches of {patch} x {patch}");
    }
    Ok(rows / patch * (columns / patch) + 1)
}

impl Patches {
    /// A batch of images as `[batch, places, width]`.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let patches = self.convolution.forward(&images(xs)?)?.flatten_from(2)?.transpose(1, 2)?;
        let (batch, width) = (patches.dim(0)?, patches.dim(2)?);
        let class = self.class.reshape((1, 1, width))?.broadcast_as((batch, 1, width))?;
        Tensor::cat(&[&class, &patches], 1)?.add(&self.positions)
    }
}
