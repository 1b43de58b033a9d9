//! Standard phases.
