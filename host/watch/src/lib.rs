//! The dashboard of fluxbay: curves, progress, figures, times and messages of a run in a terminal.
//!
//! [`watch`] shows the record of a run that another process trains, or that has ended. It only reads
//! files, a part at a time, and it takes no lock, so that training is neither slowed nor endangered. The
//! command `fluxbay watch` is its only caller; `fluxbay report` and `fluxbay runs` use [`lines`] and [`curve`].
//!
//! | file | content |
//! |---|---|
//! | `tail` | a growing file of lines, also one that is cut back, rotated or half written |
//! | `lines` | the lines of a whole file and of its rotated parts |
//! | `curve` | curves, thinned while they are read |
//! | `pace` | rate, progress, time left |
//! | `record` | all of a run, read again and again |
//! | `app` | what is shown, and what keys change |
//! | `view` | how it is drawn |
//! | `terminal` | the loop: read, draw, wait for a key |

#![forbid(unsafe_code)]

pub mod app;
pub mod curve;
pub mod lines;
mod memory;
pub mod pace;
pub mod record;
pub mod tail;
mod terminal;
mod text;
pub mod view;

use std::path::{Path, PathBuf};

pub use terminal::{Left, watch};

/// What the dashboard asks of the program that it is part of.
pub trait Host {
    /// Whether a process works in the folder of a run now.
    fn is_live(&self, folder: &Path) -> bool;

    /// Name and folder of each run that a run can be compared with, oldest first.
    fn runs(&self) -> Vec<(String, PathBuf)>;

    /// Whether the dashboard closes by itself, because what it was opened for has ended.
    fn is_over(&mut self) -> bool {
        false
    }

    /// Ends the run, as Ctrl-C does. Returns false if the dashboard is not the place to do so; Ctrl-C
    /// then only leaves it.
    fn ends_run(&self) -> bool {
        false
    }

    /// Asks the run to end. Called for Ctrl-C if [`Host::ends_run`].
    fn interrupt(&mut self) {}
}
