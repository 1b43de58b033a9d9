//! The behaviours of the training loop, by number, against plugins loaded from files.

mod access;
mod anomalies;
mod callbacks;
mod checkpoints;
mod composing;
mod control;
mod data;
mod gradients;
mod keeping;
mod learning;
mod list;
mod logging;
mod measuring;
mod phases;
mod references;
mod rehearsing;
mod run;
mod schedules;
mod stopping;
mod utilities;
mod watching;
mod wrappers;
