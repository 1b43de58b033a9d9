//! The record of a run: its folder, metrics, events, state, model and checkpoints.
//!
//! The command that trains creates a [`RunDirectory`] and a [`RunRecord`] in it; the learner writes
//! to it through the `Sink` trait. A write error is returned to the caller, who decides. Readers
//! of a run directory always find complete files: small ones are replaced atomically, growing ones
//! by complete lines.
//!
//! | file | content |
//! |---|---|
//! | `directory`, `index` | the folder of a run, and all runs of a folder |
//! | `run`, `line`, `lines` | metrics and events while a run trains |
//! | `summary` | last and best values, times |
//! | `state`, `environment`, `plugins` | `state.json`, `environment.json`, `plugins.lock` |
//! | `checkpoint`, `tensors` | checkpoints and safetensors files |
//! | `difference` | differences between two resolved runs |
//! | `atomic`, `timestamp`, `error` | tools of the above |

#![forbid(unsafe_code)]

pub mod atomic;
mod better;
pub mod checkpoint;
mod difference;
mod directory;
mod environment;
mod error;
mod index;
mod line;
mod lines;
mod plugins;
pub mod ranks;
mod run;
mod state;
mod summary;
pub mod tensors;
mod timestamp;

pub use self::{
    better::{Better, Directions},
    difference::{Difference, Pairing, differences},
    directory::{RunDirectory, STATE},
    environment::Environment,
    error::RecordError,
    index::{RunEntry, RunIndex},
    lines::Lines,
    plugins::{PluginDifference, UsedPlugin, plugin_differences, used_plugins},
    ranks::RankState,
    run::{Marks, RunEnd, RunInputs, RunRecord, file},
    state::{RunState, Status},
    summary::{EpochMetric, PhaseTime},
    timestamp::Timestamp,
};
