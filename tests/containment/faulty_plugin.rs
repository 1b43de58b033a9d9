//! Components that fail during training. The configuration selects the fault.

use std::sync::OnceLock;
use std::time::Duration;

use fluxbay_plugin::prelude::*;

unsafe extern "C" {
    fn exit(code: i32) -> !;
    fn _exit(code: i32) -> !;
    fn abort() -> !;
}

config! {
    /// The fault and its time.
    struct FaultConfig {
        /// The fault.
        what: String,
        /// Epoch in which it happens.
        epoch: u64 = 2,
        /// Step of that epoch in which it happens.
        step: u64 = 3,
    }
}

struct Fault {
    config: FaultConfig,
    loss: Read<f64>,
    kept: Write<Tensor>,
    learner: Write<f64>,
    run_dir: std::path::PathBuf,
}

/// Calls the host where calls are not allowed and returns the error text.
fn call_host() -> String {
    match Tensor::from_slice(&[1.0f32], [1]) {
        Ok(_) => "the host answered".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[allow(unconditional_recursion)]
fn deeper(n: u64) -> u64 {
    let room = [n; 512];
    std::hint::black_box(&room);
    deeper(n + 1) + room[(n % 512) as usize]
}

impl Fault {
    /// Waits until there is a checkpoint to resume from.
    fn wait_for_checkpoint(&self) {
        for _ in 0..400 {
            let names = std::fs::read_dir(self.run_dir.join("checkpoints")).into_iter().flatten().flatten();
            if names.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with(|first: char| first.is_ascii_digit())) {
                return;
            }
            std::thread::sleep(Duration::from_millis(25));
        }
    }

    fn happen(&mut self) -> Result<()> {
        self.wait_for_checkpoint();
        match self.config.what.as_str() {
            "segfault" => unsafe { *(8 as *mut u64) = 1 },
            "bus" | "illegal" => unsafe { std::arch::asm!("ud2") },
            "abort" => unsafe { abort() },
            "exit" => unsafe { exit(0) },
            "exit-at-once" => unsafe { _exit(0) },
            "process-exit" => std::process::exit(0),
            "overflow" => {
                std::hint::black_box(deeper(0));
            }
            "hang" => loop {
                std::thread::sleep(Duration::from_millis(50));
            },
            "panic" => panic!("out of ideas"),
            "error" => bail!("out of luck"),
            "drop-panic" => {
                struct Bomb;
                impl Drop for Bomb {
                    fn drop(&mut self) {
                        panic!("dropped");
                    }
                }
                std::panic::panic_any(Bomb);
            }
            "thread-segfault" => {
                let _ = std::thread::spawn(|| unsafe { *(8 as *mut u64) = 1 }).join();
            }
            "thread-exit" => {
                let _ = std::thread::spawn(|| unsafe { exit(0) }).join();
            }
            "wrong-thread" => bail!("from a thread: {}", std::thread::spawn(call_host).join().unwrap_or_default()),
            "flood" => {
                for line in 0..100_000 {
                    log::warn!("line {line}\u{1b}[2J");
                }
            }
            "other-shape" => {
                let wrong = Tensor::from_slice(&[1.0f32, 2.0], [2])?;
                let other = Tensor::from_slice(&[1.0f32, 2.0, 3.0], [3])?;
                wrong.add(&other)?;
            }
            // Faults of other functions, and no fault.
            _ => {}
        }
        Ok(())
    }
}

/// The last answer that `left-over` printed from its thread, which outlives the instance.
static STARTED: OnceLock<()> = OnceLock::new();

impl Component for Fault {
    type Config = FaultConfig;

    fn new(config: FaultConfig, setup: &mut Setup) -> Result<Self> {
        match config.what.as_str() {
            "panic-in-create" => panic!("not even created"),
            "segfault-in-create" => unsafe { *(8 as *mut u64) = 1 },
            _ => {}
        }
        let id = setup.instance_id()?;
        let (kept, learner) = (setup.write(&format!("cbstate.{id}.tensor"))?, setup.write(&format!("cbstate.{id}.number"))?);
        let run_dir = setup.run_dir()?.unwrap_or_default();
        Ok(Fault { config, run_dir, loss: setup.read("step.loss")?, kept, learner })
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        if self.config.what == "panic-in-destroy" {
            panic!("no goodbye");
        }
    }
}

impl Callback for Fault {
    fn init(&mut self, learner: &Learner) -> Result<()> {
        learner.set(&self.learner, 0.0)?;
        match self.config.what.as_str() {
            "panic-in-init" => panic!("no beginning"),
            "left-over" if STARTED.set(()).is_ok() => {
                // Calls the host until the process ends and prints each new answer.
                let answers = self.run_dir.join("answers.txt");
                std::thread::spawn(move || {
                    let mut known = String::new();
                    loop {
                        let answer = call_host();
                        if !known.contains(&answer) {
                            known.push_str(&answer);
                            known.push('\n');
                            let _ = std::fs::write(&answers, &known);
                        }
                        log::info!("still here");
                    }
                });
            }
            _ => {}
        }
        Ok(())
    }

    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        if event.kind() == EpochEnd {
            return Ok(());
        }
        let _ = learner.get(&self.loss)?;
        let _ = &self.kept;
        if event.is_training() && event.epoch() == self.config.epoch && event.step() == self.config.step {
            return self.happen();
        }
        Ok(())
    }
}

config! {
    /// The fault.
    struct DataConfig {
        /// The fault, at the first sample of the second epoch.
        what: String = "",
    }
}

/// `y = 3 x` for 64 samples; fails on the loader's threads.
struct Data {
    what: String,
    filled: std::sync::atomic::AtomicU64,
}

impl Component for Data {
    type Config = DataConfig;

    fn new(config: DataConfig, _: &mut Setup) -> Result<Self> {
        Ok(Data { what: config.what, filled: 0.into() })
    }
}

impl Dataset for Data {
    fn open(&mut self) -> Result<()> {
        Ok(())
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field::new("xs", DType::F32, &[2]), Field::new("ys", DType::F32, &[1])]
    }

    fn splits(&self) -> Vec<Split> {
        vec![Split::new("training", 64), Split::new("validation", 16)]
    }

    fn fill(&self, _: usize, indices: &[u64], buffers: &mut Buffers<'_>) -> Result<()> {
        let before = self.filled.fetch_add(indices.len() as u64, std::sync::atomic::Ordering::Relaxed);
        if before >= 96 {
            match self.what.as_str() {
                "segfault" => unsafe { *(8 as *mut u64) = 1 },
                "hang" => loop {
                    std::thread::sleep(Duration::from_millis(50));
                },
                "panic" => panic!("unreadable"),
                "call-host" => bail!("from fill: {}", call_host()),
                _ => {}
            }
        }
        for (place, index) in buffers.f32(0)?.chunks_mut(2).zip(indices) {
            place.copy_from_slice(&[*index as f32 / 64.0, 1.0]);
        }
        for (place, index) in buffers.f32(1)?.iter_mut().zip(indices) {
            *place = *index as f32 * 3.0 / 64.0;
        }
        Ok(())
    }
}

plugin! {
    summary: "Misbehaves.",
    callback "fault" => Fault {
        summary: "Does what no plugin may.",
        on: [StepEnd, EpochEnd],
        reads: ["step.loss"],
        writes: ["cbstate"],
    },
    dataset "faulty-data" => Data { summary: "y = 3 x, until it goes wrong." },
}
