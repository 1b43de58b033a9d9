//! Samples of an array as elements of a field.

use fluxbay_plugin::prelude::*;

use super::file::Array;

/// How the samples of an array become elements of a field.
pub struct Filling<'a> {
    pub array: &'a Array,
    /// Whether they are whole numbers, such as classes.
    pub are_ids: bool,
    pub divisor: f64,
    /// Mean and scale of each element; empty if they are not scaled.
    pub scaling: &'a [(f64, f64)],
}

impl Filling<'_> {
    /// Writes the samples `first + indices` into field `field`.
    ///
    /// # Errors
    /// The file cannot be read, or an element is no whole number where one is needed.
    pub fn write(
        &self,
        field: usize,
        first: u64,
        indices: &[u64],
        buffers: &mut Buffers<'_>,
    ) -> Result<()> {
        let (array, mut bytes) = (self.array, Vec::new());
        let width = array.width().max(1);
        let sample = |index: &u64| (first + index) as usize;
        if self.are_ids {
            for (place, index) in buffers.u32(field)?.chunks_exact_mut(width).zip(indices) {
                array
                    .with(sample(index), 1, &mut bytes, |bytes| array.element.ids(bytes, place))?;
            }
            return Ok(());
        }
        for (place, index) in buffers.f32(field)?.chunks_exact_mut(width).zip(indices) {
            array.with(sample(index), 1, &mut bytes, |bytes| {
                let mut at = 0;
                array.element.each(bytes, |value| {
                    let value = value / self.divisor;
                    place[at] = match self.scaling.get(at) {
                        Some((mean, scale)) => ((value - mean) / scale) as f32,
                        None => value as f32,
                    };
                    at += 1;
                });
                Ok(())
            })?;
        }
        Ok(())
    }
}
