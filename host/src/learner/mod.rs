//! The learner: the loop that drives phases, and everything that a plugin sees of a run.
//!
//! [`session`](crate::session) builds it, [`bridge`](crate::bridge) carries calls between it and the plugins. It is
//! single-threaded. It never opens a plugin, a data file or a terminal: those stand behind the traits of [`ports`].

#![forbid(unsafe_code)]

pub mod ports;
