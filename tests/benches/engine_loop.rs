//! `engine_loop WORKLOAD STEPS [THREADS]`: the kernels of the engine in a fixed loop without
//! plugins. `engine_loop sgemm [THREADS]` prints the peak rate of its matrix products. Called by
//! `compare.py`.

#![allow(dead_code)]

mod workloads;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    workloads::keep_memory();
    let threads = |at| std::env::args().nth(at).and_then(|threads| threads.parse().ok());
    if std::env::args().nth(1).as_deref() == Some("sgemm") {
        println!("{{\"flops\": {}}}", workloads::engine::sgemm(threads(2).unwrap_or(2)));
        return;
    }
    let threads = threads(3).unwrap_or(2);
    workloads::measure(workloads::engine::all(threads));
}
