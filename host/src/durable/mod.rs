//! Durable runs: when checkpoints are taken, whether a run may be resumed from one, and the proof
//! that resuming changes nothing.
//!
//! Used by the commands that train, resume and verify. The learner offers moments at which its
//! state can be saved, the session converts it to files and back, and the record writes them. This
//! module decides when, and checks that a checkpoint belongs to a run.
//!
//! | file | content |
//! |---|---|
//! | `checkpoint_policy` | when `[checkpoints]` makes a checkpoint due |
//! | `checkpoint_saver` | takes the checkpoints of a session |
//! | `changes` | differences between a run and its checkpoint |
//! | `compare` | compares two run directories bit by bit |
//! | `deferred_record` | a record that starts once all instances exist |
//! | `profile` | writes `profile.json` |
//! | `trace` | writes a trace for Perfetto |

#![forbid(unsafe_code)]

pub mod changes;
mod checkpoint_policy;
mod checkpoint_saver;
pub mod compare;
mod deferred_record;
pub mod profile;
pub mod trace;

pub use self::{
    checkpoint_saver::{CheckpointSaver, MARKS, PLUGINS, RESOLVED},
    deferred_record::DeferredRecord,
};
