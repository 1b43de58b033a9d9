//! One component of each kind that works, except for one misdeed: which one and in which call its
//! configuration says, or for the constructor the environment.

use std::cell::Cell;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use fluxbay_plugin::prelude::*;

unsafe extern "C" {
    fn abort() -> !;
    fn chdir(path: *const u8) -> i32;
    fn close(descriptor: i32) -> i32;
    fn exit(code: i32) -> !;
    fn _exit(code: i32) -> !;
    fn fork() -> i32;
    fn raise(number: i32) -> i32;
    fn signal(number: i32, handler: usize) -> usize;
    fn umask(mask: u32) -> u32;
    fn setrlimit(resource: i32, limits: *const [u64; 2]) -> i32;
}

fn misdeed(deed: &str) -> Result<()> {
    unsafe {
        match deed {
            "rounding" | "denormals" => {
                let mut word = 0_u32;
                std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut word, options(nostack));
                word |= if deed == "rounding" { 0x4000 } else { 0x8040 };
                std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const word, options(nostack));
            }
            "folder" => drop(chdir(c"/".as_ptr().cast())),
            "mode-mask" => drop(umask(0o777)),
            "descriptors" => drop((close(0), close(1), close(2))),
            "environment" => std::env::set_var("PATH", "/nowhere"),
            "handlers" => drop((signal(2, 1), signal(15, 1))),
            "limits" => drop(setrlimit(7, &[16, 16])),
            "fork" => drop(fork()),
            "segfault" => (8 as *mut u64).write_volatile(1),
            "illegal" => std::arch::asm!("ud2"),
            "abort" => abort(),
            "exit" => exit(0),
            "exit-at-once" => _exit(0),
            "panic" => panic!("out of ideas"),
            "error" => bail!("out of luck"),
            "long-error" => bail!("{}", "x".repeat(1 << 20)),
            "stop" => drop(raise(19)),
            "hang" => loop {
                std::thread::sleep(std::time::Duration::from_millis(50));
            },
            "thread-exit" => drop(std::thread::spawn(|| exit(0)).join()),
            "thread-segfault" => {
                let _ = std::thread::spawn(|| (8 as *mut u64).write_volatile(1)).join();
            }
            _ => {}
        }
    }
    Ok(())
}

extern "C" fn constructor() {
    if let Ok(deed) = std::env::var("RANDOM_MISDEED") {
        let _ = misdeed(&deed);
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = constructor;

config! {
    /// The misdeed.
    struct Config {
        /// The call in which it happens.
        at: String = "",
        /// What happens.
        deed: String = "",
        /// How many such calls come before it.
        after: u64 = 0,
    }
}

/// Does the misdeed once.
struct Deed {
    config: Config,
    calls: AtomicU64,
}

impl Deed {
    fn new(config: Config) -> Result<Deed> {
        let deed = Deed { config, calls: AtomicU64::new(0) };
        deed.at("create")?;
        Ok(deed)
    }

    fn at(&self, call: &str) -> Result<()> {
        if self.config.at != call {
            return Ok(());
        }
        let before = self.calls.fetch_add(1, Ordering::Relaxed);
        if before == self.config.after || call == "create" { misdeed(&self.config.deed) } else { Ok(()) }
    }
}

impl Drop for Deed {
    fn drop(&mut self) {
        let _ = self.at("destroy");
    }
}

/// The `Component` of a struct whose first field is a `Deed`.
macro_rules! component {
    ($name:ident($deed:ident) $body:expr) => {
        impl Component for $name {
            type Config = Config;

            fn new(config: Config, _setup: &mut Setup) -> Result<Self> {
                let $deed = Deed::new(config)?;
                Ok($body)
            }

            fn save(&self) -> Result<Vec<u8>> {
                self.0.at("save")?;
                Ok(Vec::new())
            }
        }
    };
}

struct Data(Deed);
component!(Data(deed) Data(deed));

impl Dataset for Data {
    fn open(&mut self) -> Result<()> {
        self.0.at("open")
    }

    fn fields(&self) -> Vec<Field> {
        let _ = self.0.at("fields");
        vec![Field::new("xs", DType::F32, &[2]), Field::new("ys", DType::F32, &[1])]
    }

    fn splits(&self) -> Vec<Split> {
        let _ = self.0.at("splits");
        vec![Split::new("training", 64), Split::new("validation", 16)]
    }

    fn prepare(&mut self, _: usize, _: &[u64]) -> Result<()> {
        self.0.at("prepare")
    }

    fn fill(&self, _: usize, indices: &[u64], buffers: &mut Buffers<'_>) -> Result<()> {
        self.0.at("fill")?;
        for (place, index) in buffers.f32(0)?.chunks_mut(2).zip(indices) {
            place.copy_from_slice(&[*index as f32 / 67.0, 1.0]);
        }
        for (place, index) in buffers.f32(1)?.iter_mut().zip(indices) {
            *place = *index as f32 * 3.0 / 61.0;
        }
        Ok(())
    }
}

struct Line(Deed);
component!(Line(deed) Line(deed));

impl Model for Line {
    type Network = Tensor;

    fn build(&self, _: &DataSpec, params: Params) -> Result<Tensor> {
        self.0.at("build")?;
        params.get([2, 1], "weight", Init::Const(0.3))
    }

    fn forward(&self, weight: &Tensor, xs: &Tensor) -> Result<Tensor> {
        self.0.at("forward")?;
        xs.matmul(weight)
    }
}

struct Squares(Deed);
component!(Squares(deed) Squares(deed));

impl Loss for Squares {
    fn forward(&self, yhats: &Tensor, ys: &Tensor) -> Result<Tensor> {
        self.0.at("forward")?;
        Tensor::apply(fluxbay_plugin::abi::operation::op::MSE, &[yhats, ys], &[], &[])
    }
}

struct Descent(Deed);
component!(Descent(deed) Descent(deed));

impl Optimizer for Descent {
    fn begin(&mut self, _: &Learner) -> Result<()> {
        self.0.at("begin")
    }

    fn update(&mut self, update: &Update<'_>) -> Result<()> {
        self.0.at("update")?;
        update.parameter.add_scaled_(update.gradient, -0.03)
    }
}

struct Mean(Deed, f64, f64);
component!(Mean(deed) Mean(deed, 0.0, 0.0));

impl Metric for Mean {
    fn reset(&mut self) {
        let _ = self.0.at("reset");
        (self.1, self.2) = (0.0, 0.0);
    }

    fn update(&mut self, input: &MetricInput) -> Result<f64> {
        self.0.at("update")?;
        self.1 += input.loss();
        self.2 += 1.0;
        Ok(input.loss())
    }

    fn compute(&self) -> Result<f64> {
        self.0.at("compute")?;
        Ok(self.1 / self.2)
    }

    fn direction(&self) -> Direction {
        let _ = self.0.at("direction");
        Direction::Lower
    }
}

struct Level(Deed);
component!(Level(deed) Level(deed));

impl Schedule for Level {
    fn value(&self, _: f64) -> Result<f64> {
        self.0.at("value")?;
        Ok(0.5)
    }
}

struct Lines(Deed, Cell<u64>);
component!(Lines(deed) Lines(deed, Cell::new(0)));

impl Logger for Lines {
    fn open(&mut self, _: &Path) -> Result<()> {
        self.0.at("open")
    }

    fn write(&mut self, _: &Record<'_>) -> Result<()> {
        self.0.at("write")?;
        self.1.set(self.1.get() + 1);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.0.at("flush")
    }

    fn close(&mut self) -> Result<()> {
        self.0.at("close")
    }
}

struct Listener(Deed);

impl Component for Listener {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        setup.hyper_parameter("level", 0.5)?;
        Ok(Listener(Deed::new(config)?))
    }

    fn save(&self) -> Result<Vec<u8>> {
        self.0.at("save")?;
        Ok(Vec::new())
    }
}

impl Callback for Listener {
    fn init(&mut self, _: &Learner) -> Result<()> {
        self.0.at("init")
    }

    fn on(&mut self, event: &Event, _: &Learner) -> Result<()> {
        self.0.at(match event.kind() {
            FitBegin => "fit-begin",
            EpochBegin => "epoch-begin",
            StepBegin => "step-begin",
            BackwardEnd => "backward-end",
            EpochEnd => "epoch-end",
            FitEnd => "fit-end",
            _ => "other",
        })
    }
}

plugin! {
    summary: "Works, except for one misdeed.",
    dataset "random-data" => Data { summary: "y = 3 x." },
    model "random-model" => Line { summary: "One weight." },
    loss "random-loss" => Squares { summary: "Mean squared error." },
    optimizer "random-optimizer" => Descent { summary: "Gradient descent." },
    metric "random-metric" => Mean { summary: "Mean loss of the steps." },
    schedule "random-schedule" => Level { summary: "A constant." },
    logger "random-logger" => Lines { summary: "Counts records." },
    callback "random-callback" => Listener {
        summary: "Listens.",
        on: [FitBegin, EpochBegin, StepBegin, BackwardEnd, EpochEnd, FitEnd],
        hyper_parameters: ["level"],
    },
}
