//! The record of a run: its folder, its figures and events, how it stands, its model, its
//! checkpoints.
//!
//! The command that trains makes a [`RunDirectory`] and a [`RunRecord`] in it; the learner tells
//! the record what happens through its `Sink` trait. Nothing here decides how a run goes on: a disk
//! that fails is an error for the caller. Readers of a run directory find files that are whole:
//! small ones are replaced in one step, growing ones by whole lines.

#![forbid(unsafe_code)]

pub mod atomic;
pub mod checkpoint;
mod clock;
mod difference;
mod directory;
mod environment;
mod error;
mod figures;
mod index;
mod lines;
mod plugins;
mod run;
mod state;
pub mod tensors;

pub use self::{
    clock::Moment,
    difference::{Difference, Pairing, differences},
    directory::{RunDirectory, STATE},
    environment::Environment,
    error::RecordError,
    figures::{Better, Figure, PhaseTime},
    index::{RunEntry, RunIndex},
    lines::Lines,
    plugins::{PluginDifference, UsedPlugin, plugin_differences, used_plugins},
    run::{Ended, Given, Marks, RunRecord, file},
    state::{RunState, Status},
};
