//! The command line as its users meet it: screens, terminals and pipes, JSON for scripts, crates of
//! one's own.

mod before_training;
mod json;
mod own_plugins;
mod report;
mod runs;
mod screens;
mod terminal;
mod trying;
mod watch;
