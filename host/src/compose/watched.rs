//! What members say of figures: those that they report, and those that they rank by.

use crate::record::Better;
use crate::run_file::Place;

/// A figure that an instance reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reported {
    /// Id or kind of the phase; empty for every phase.
    pub phase: String,
    /// Its name, such as `loss`.
    pub name: String,
    /// Which values are better, if that is known.
    pub better: Option<Better>,
}

/// A figure that an instance or a setting ranks by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Name of the figure.
    pub metric: String,
    /// Id or kind of the phase; empty for the phase that reports it, validation before training.
    pub phase: String,
    /// Which values are better; none for the direction that is declared.
    pub better: Option<Better>,
}

/// What watches a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watcher {
    /// A member, by its index.
    Member(usize),
    /// The setting `checkpoints.metric`.
    Checkpoints(Option<Place>),
}
