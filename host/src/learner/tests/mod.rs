//! The loop, driven through real tables: components made with the author's crate, in this process.

mod control;
mod fixture;
mod training;
