//! Layers one after the other.

use super::Module;
use crate::{Result, Tensor};

/// Layers that run one after the other, each on the output of the one before.
#[derive(Default)]
pub struct Sequential {
    layers: Vec<Box<dyn Module>>,
}

/// An empty sequence of layers: add them with [`Sequential::add`]. Without layers it returns its
/// input.
pub fn seq() -> Sequential {
    Sequential::default()
}

impl Sequential {
    /// With one more layer; a closure `|xs: &Tensor| xs.relu()` is a layer too.
    #[expect(clippy::should_implement_trait, reason = "candle-nn's name")]
    pub fn add(mut self, layer: impl Module + 'static) -> Sequential {
        self.layers.push(Box::new(layer));
        self
    }

    /// Number of layers.
    pub fn len(&self) -> usize {
        self.layers.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }
}

impl Module for Sequential {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        self.layers.iter().try_fold(xs.clone(), |xs, layer| layer.forward(&xs))
    }
}
