//! Runs that lose nothing: when a run is saved, how it goes on, and the proof that going on changes
//! nothing.
//!
//! The command line trains, resumes and verifies through this module. The learner offers moments at
//! which everything can be saved, the session turns itself into files and back, the record writes
//! them: here it is decided when, and checked that a checkpoint and a run belong together.

#![forbid(unsafe_code)]

pub mod changes;
pub mod compare;
mod keeping;
mod late;
pub mod profile;

pub use self::{
    keeping::{Keeping, MARKS, PLUGINS, RESOLVED},
    late::Record,
};
