//! Bytes of the tensors of a thread's engines: now, at most, and by layer.
//!
//! A buffer is counted from the moment it becomes a [`Value`](super::value::Value) until the last
//! view of it is gone. Buffers that a kernel uses only while it computes are not counted. An engine
//! never leaves its thread, so the counts are cells of the thread.

use std::cell::{Cell, RefCell};

/// Bytes of tensors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Now.
    pub now: u64,
    /// The most since [`Engine::mark_memory`](super::Engine::mark_memory), or since the thread began.
    pub peak: u64,
    /// What of `peak` were gradients of parameters that had come since.
    pub gradients: u64,
}

struct Counts {
    now: Cell<u64>,
    peak: Cell<u64>,
    /// Gradients of parameters since the mark, now and at the peak.
    gradients: Cell<(u64, u64)>,
    /// The layer that new buffers belong to; 0 for none.
    layer: Cell<u32>,
    /// Bytes by layer, while they are counted.
    layers: RefCell<Vec<u64>>,
}

thread_local! {
    static COUNTS: Counts = const {
        Counts {
            now: Cell::new(0),
            peak: Cell::new(0),
            gradients: Cell::new((0, 0)),
            layer: Cell::new(0),
            layers: RefCell::new(Vec::new()),
        }
    };
}

/// A counted buffer; dropped with it.
#[derive(Debug)]
pub(crate) struct Counted {
    bytes: u64,
    layer: u32,
}

impl Counted {
    /// Counts a buffer of so many bytes.
    #[inline]
    pub fn new(bytes: usize) -> Counted {
        let bytes = bytes as u64;
        COUNTS.with(|counts| {
            let now = counts.now.get() + bytes;
            counts.now.set(now);
            if now > counts.peak.get() {
                counts.peak.set(now);
                let (gradients, _) = counts.gradients.get();
                counts.gradients.set((gradients, gradients));
            }
            let layer = counts.layer.get();
            if layer != 0 {
                change(counts, layer, |of_layer| of_layer + bytes);
            }
            Counted { bytes, layer }
        })
    }
}

impl Drop for Counted {
    #[inline]
    fn drop(&mut self) {
        // After the thread's cells are gone there is nothing to count.
        let _ = COUNTS.try_with(|counts| {
            counts.now.set(counts.now.get().saturating_sub(self.bytes));
            if self.layer != 0 {
                change(counts, self.layer, |of_layer| of_layer.saturating_sub(self.bytes));
            }
        });
    }
}

#[cold]
fn change(counts: &Counts, layer: u32, change: impl FnOnce(u64) -> u64) {
    if let Some(of_layer) = counts.layers.borrow_mut().get_mut(layer as usize) {
        *of_layer = change(*of_layer);
    }
}

/// Bytes now and at most.
#[inline]
pub(crate) fn counted() -> Memory {
    COUNTS.with(|counts| Memory {
        now: counts.now.get(),
        peak: counts.peak.get(),
        gradients: counts.gradients.get().1,
    })
}

/// Begins to look for the most bytes anew.
pub(crate) fn mark() {
    COUNTS.with(|counts| {
        counts.peak.set(counts.now.get());
        counts.gradients.set((0, 0));
    });
}

/// Counts a gradient of a parameter that has come.
pub(crate) fn add_gradient(bytes: u64) {
    COUNTS.with(|counts| {
        let (now, at_peak) = counts.gradients.get();
        counts.gradients.set((now + bytes, at_peak));
    });
}

/// Begins to count by layer, for `layers` layers with numbers from 1; 0 ends it.
pub(crate) fn count_layers(layers: usize) {
    COUNTS.with(|counts| {
        counts.layer.set(0);
        let mut of_layers = counts.layers.borrow_mut();
        of_layers.clear();
        of_layers.resize(if layers == 0 { 0 } else { layers + 1 }, 0);
    });
}

/// Sets the layer that new buffers belong to.
pub(crate) fn set_layer(layer: u32) {
    COUNTS.with(|counts| counts.layer.set(layer));
}

/// Bytes of each layer, from layer 1 on.
pub(crate) fn of_layers() -> Vec<u64> {
    COUNTS.with(|counts| counts.layers.borrow().iter().skip(1).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_count_while_they_live_for_their_layer() {
        let before = counted().now;
        let outside = Counted::new(5);
        count_layers(2);
        set_layer(2);
        let inside = Counted::new(100);
        set_layer(0);
        assert_eq!(of_layers(), [0, 100]);
        assert_eq!(counted().now, before + 105);
        drop(inside);
        assert_eq!(of_layers(), [0, 0]);
        assert_eq!((counted().now, counted().peak), (before + 5, before + 105));
        mark();
        add_gradient(7);
        assert_eq!((counted().peak, counted().gradients), (before + 5, 0));
        let more = Counted::new(10);
        add_gradient(4);
        assert_eq!((counted().peak, counted().gradients), (before + 15, 7));
        drop(more);
        drop(outside);
        count_layers(0);
        assert_eq!((of_layers(), counted().now), (Vec::new(), before));
    }
}
