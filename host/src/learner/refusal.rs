//! Why a host function did not do what a plugin asked.

use super::control::{Flow, Stop};

/// Why a host function did not do what a plugin asked.
#[derive(Debug)]
pub enum Refusal {
    /// An error of the caller or of what it touched.
    Text(String),
    /// Another instance, called on the way, stopped.
    Stop(Stop),
}

impl<T: std::fmt::Display> From<T> for Refusal {
    #[cold]
    #[inline(never)]
    fn from(text: T) -> Refusal {
        Refusal::Text(text.to_string())
    }
}

/// What functions for plugins return.
pub type Answer<T = ()> = Result<T, Refusal>;

/// Turns a stop into a refusal; a `Stop` prints itself, so `?` alone would lose its kind.
pub fn stopped<T>(flow: Flow<T>) -> Answer<T> {
    flow.map_err(Refusal::Stop)
}
