//! The loop, driven through real tables: components made with the author's crate, in this process.

mod control;
mod extensions;
mod fixture;
mod training;
