//! Runs that lose nothing: interrupted, killed, damaged and resumed through the binary, compared
//! bit for bit.

mod changes;
mod components;
mod damage;
mod data;
mod faults;
mod fine_tuning;
mod groups;
mod intervals;
mod memory;
mod place;
mod policies;
mod precision;
mod ranking;
mod release;
mod sampling;
mod stopping;
mod transforms;
