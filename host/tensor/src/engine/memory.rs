//! What the engine's tensors take.

use fluxbay_plugin::abi::handle::Handle;

use super::Engine;
use crate::error::Result;
use crate::memory::{self, Memory};

/// Bytes of the values of one layer that were there when a backward pass began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerMemory {
    /// Index of the model.
    pub model: usize,
    /// Path of the layer: that of its parameters without their own names. Empty for what was computed
    /// before the first parameter was used.
    pub path: String,
    /// Bytes.
    pub bytes: u64,
}

/// See [`Engine::count_layers`].
pub(super) struct Layers {
    /// Model and path.
    names: Vec<(usize, String)>,
    /// Handle of each parameter, and the number of its layer from 1.
    parameters: Vec<(Handle, u32)>,
    /// Bytes at the last backward pass.
    kept: Vec<u64>,
}

impl Engine {
    /// Bytes of all tensors of this thread, now and at most.
    pub fn memory(&self) -> Memory {
        memory::counted()
    }

    /// Begins to look for the most bytes anew.
    pub fn mark_memory(&mut self) {
        memory::mark();
        self.tape.segments.dropped = 0;
    }

    /// Bytes of a tensor's elements.
    ///
    /// # Errors
    /// If the handle is not one of a tensor.
    pub fn bytes(&self, handle: Handle) -> Result<u64> {
        Ok(self.slots.get(handle)?.value.bytes())
    }

    /// Begins to count bytes by layer, or ends it. A value belongs to the layer whose parameters the
    /// operation uses that computes it, or else to the one before.
    pub fn count_layers(&mut self, on: bool) {
        let mut names: Vec<(usize, String)> = vec![(0, String::new())];
        let mut parameters = Vec::new();
        for parameter in &self.parameters.list {
            let path = parameter.path.rsplit_once('.').map_or("", |(layer, _)| layer);
            let name = (parameter.model, path.to_owned());
            let at = names.iter().position(|known| *known == name).unwrap_or_else(|| {
                names.push(name);
                names.len() - 1
            });
            parameters.push((parameter.handle, at as u32 + 1));
        }
        memory::count_layers(if on { names.len() } else { 0 });
        self.layers = on.then(|| Box::new(Layers { names, parameters, kept: Vec::new() }));
    }

    /// Bytes of the values of each layer that were there when the last backward pass began, in the
    /// order in which the layers' parameters were created; empty unless [`Engine::count_layers`] is
    /// on.
    pub fn layer_memory(&self) -> Vec<LayerMemory> {
        let Some(layers) = &self.layers else { return Vec::new() };
        let of = |((model, path), bytes): (&(usize, String), &u64)| LayerMemory {
            model: *model,
            path: path.clone(),
            bytes: *bytes,
        };
        layers.names.iter().zip(&layers.kept).map(of).collect()
    }

    #[cold]
    pub(super) fn enter_layer(&mut self, inputs: &[Handle]) {
        let Some(layers) = &self.layers else { return };
        let of = |input: &Handle| layers.parameters.iter().find(|(known, _)| known == input);
        if let Some((_, layer)) = inputs.iter().find_map(of) {
            memory::set_layer(*layer);
        }
    }

    /// Keeps what each layer has, and counts nothing for any layer until the next operation with
    /// parameters.
    pub(super) fn leave_layers(&mut self) {
        if let Some(layers) = &mut self.layers {
            layers.kept = memory::of_layers();
            memory::set_layer(1);
        }
    }
}
