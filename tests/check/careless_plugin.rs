//! Components that change the process, hang, or return nonsense, and one that does none of it.

use fluxbay_plugin::prelude::*;

unsafe extern "C" {
    fn umask(mask: u32) -> u32;
    fn close(descriptor: i32) -> i32;
    fn fork() -> i32;
    fn fesetround(mode: i32) -> i32;
}

/// `FE_UPWARD` of x86-64 and of AArch64.
const UPWARD: i32 = if cfg!(target_arch = "x86_64") { 0x800 } else { 0x40_0000 };

macro_rules! callbacks {
    ($($name:ident in new { $($new:tt)* } in on { $($on:tt)* })+) => { $(
        struct $name;

        impl Component for $name {
            type Config = NoConfig;
            fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
                $($new)*
                Ok($name)
            }
        }

        impl Callback for $name {
            fn on(&mut self, _: &Event, _: &Learner) -> Result<()> {
                $($on)*
                Ok(())
            }
        }
    )+ };
}

callbacks! {
    Harmless in new {} in on {}
    Mask in new { unsafe { umask(0o777) }; } in on {}
    Folder in new {} in on { let _ = std::env::set_current_dir("/"); }
    Silence in new {} in on { unsafe { close(1) }; }
    Rounding in new {} in on { unsafe { fesetround(UPWARD) }; }
    Variable in new { unsafe { std::env::set_var("CARELESS", "1") }; } in on {}
    Twin in new {} in on { unsafe { fork() }; }
    Threads in new {} in on {
        std::thread::spawn(|| loop { std::thread::park() });
    }
    Sleeper in new { std::thread::sleep(std::time::Duration::from_secs(1000)); } in on {}
}

struct Resolver;

impl Component for Resolver {
    type Config = NoConfig;
    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(Resolver)
    }
}

impl Callback for Resolver {
    fn on(&mut self, _: &Event, _: &Learner) -> Result<()> {
        Ok(())
    }
    fn resolve(&self, _: &str, _: &str) -> Resolution {
        unsafe { *(8 as *mut u64) = 1 };
        Resolution::NotDefined
    }
}

macro_rules! loggers {
    (|$record:ident| $($name:ident { $($write:tt)* })+) => { $(
        struct $name;

        impl Component for $name {
            type Config = NoConfig;
            fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
                Ok($name)
            }
        }

        impl Logger for $name {
            fn open(&mut self, _: &std::path::Path) -> Result<()> {
                Ok(())
            }
            fn write(&mut self, $record: &Record<'_>) -> Result<()> {
                let _ = $record;
                $($write)*
            }
            fn flush(&mut self) -> Result<()> {
                Ok(())
            }
        }
    )+ };
}

loggers! {
    |record|
    Quiet { Ok(()) }
    Crashing { unsafe { *(8 as *mut u64) = 1 }; Ok(()) }
    Failing { Err(Error::new("the disk of the logger is full")) }
    Scalars {
        match record.value {
            RecordValue::Scalar(_) => Ok(()),
            _ => panic!("only numbers are supported"),
        }
    }
}

struct Gossip;

impl Component for Gossip {
    type Config = NoConfig;
    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(Gossip)
    }
}

impl Metric for Gossip {
    fn reset(&mut self) {}
    fn update(&mut self, _: &MetricInput) -> Result<f64> {
        Ok(0.0)
    }
    fn compute(&self) -> Result<f64> {
        Ok(0.0)
    }
    fn details(&self) -> Result<String> {
        Ok("classes: 10".to_owned())
    }
}

struct Divider;

impl Component for Divider {
    type Config = NoConfig;
    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(Divider)
    }
}

impl Optimizer for Divider {
    fn begin(&mut self, _: &Learner) -> Result<()> {
        Ok(())
    }
    fn update(&mut self, update: &Update<'_>) -> Result<()> {
        update.parameter.scale_(f64::NAN)
    }
}

plugin! {
    summary: "Careless components.",
    callback "harmless" => Harmless { summary: "Does nothing.", on: [StepEnd] },
    callback "mask" => Mask { summary: "Changes the umask.", on: [StepEnd] },
    callback "folder" => Folder { summary: "Changes the folder.", on: [StepEnd] },
    callback "silence" => Silence { summary: "Closes a descriptor.", on: [FitBegin] },
    callback "rounding" => Rounding { summary: "Changes the rounding mode.", on: [FitBegin] },
    callback "variable" => Variable { summary: "Sets a variable.", on: [StepEnd] },
    callback "twin" => Twin { summary: "Forks.", on: [FitBegin] },
    callback "threads" => Threads { summary: "Starts threads.", on: [FitBegin] },
    callback "sleeper" => Sleeper { summary: "Hangs.", on: [StepEnd] },
    callback "resolver" => Resolver { summary: "Crashes.", on: [StepEnd] },
    logger "quiet" => Quiet { summary: "Ignores records." },
    logger "crashing" => Crashing { summary: "Crashes." },
    logger "failing" => Failing { summary: "Fails." },
    logger "scalars" => Scalars { summary: "Panics." },
    metric "gossip" => Gossip { summary: "No JSON." },
    optimizer "divider" => Divider { summary: "Not a number." },
}
