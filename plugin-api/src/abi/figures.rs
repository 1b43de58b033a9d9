//! Figures of a run: the numbers that instances report at the end of an epoch, such as
//! `validation/accuracy`. An instance declares the figures that it reports, and requests those that
//! it watches; the host finds out before the first step whether each of them exists, in which phase,
//! and which values are better.
//!
//! A host extension, see [`FIGURES_EXTENSION`]. All functions are `[training]`.

use abi_stable::StableAbi;

use super::text::Text;

/// Id of the host extension that is a [`FiguresTable`].
pub const FIGURES_EXTENSION: &str = "fluxbay.figures/1";

/// The functions for figures.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct FiguresTable {
    /// Size of this struct in bytes, as the host was built.
    pub size: u64,
    /// Declares that this instance reports figure `name` at the end of every epoch of `phase` (an
    /// instance id; empty for every phase that it handles). `direction` is a number of
    /// [`direction`](super::metric::direction). Only within `create`.
    pub declare: unsafe extern "C" fn(phase: Text, name: Text, direction: u32) -> i32,
    /// As `declare`, with the direction of a child metric. Only within `create`.
    pub declare_child: unsafe extern "C" fn(phase: Text, name: Text, child: u32) -> i32,
    /// Requests figure `metric` of `phase` (an instance id; empty for the phase that reports it,
    /// validation before training). `better` is a number of
    /// [`direction`](super::metric::direction); unknown takes the declared direction. Only within
    /// `create`; resolved when the composition is complete, and reported there if there is no such
    /// figure.
    pub watch:
        unsafe extern "C" fn(metric: Text, phase: Text, better: u32, watched: *mut u32) -> i32,
    /// What request `watched` was resolved to: the phase's instance id, valid until the next call of
    /// the host, and the direction. From `init` on.
    pub watched: unsafe extern "C" fn(watched: u32, phase: *mut Text, direction: *mut u32) -> i32,
}
