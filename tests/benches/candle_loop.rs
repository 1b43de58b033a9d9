//! `candle_loop WORKLOAD STEPS`: plain candle with the system allocator, as its users run it.
//! Called by `compare.py`.

#![allow(dead_code)]

mod workloads;

fn main() {
    workloads::measure(workloads::candle::all());
}
