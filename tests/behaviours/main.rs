//! The behaviours of the training loop, by number, against plugins loaded from files.

mod access;
mod callbacks;
mod checkpoints;
mod control;
mod data;
mod phases;
mod run;
mod utilities;
