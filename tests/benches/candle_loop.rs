//! `candle_loop WORKLOAD STEPS`: plain candle, with the system's allocator as its users have it;
//! `compare.py` runs it.

#![allow(dead_code)]

mod workloads;

fn main() {
    workloads::measure(workloads::candle::all());
}
