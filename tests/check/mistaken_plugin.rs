//! Components with one mistake each, and one (`good`) without.

use fluxbay_plugin::prelude::*;

static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

fn count() -> u64 {
    COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

macro_rules! callbacks {
    ($($name:ident { $($state:tt)* } { $($body:tt)* })+) => { $(
        struct $name {
            loss: Read<f64>,
            seen: f64,
            #[allow(dead_code)]
            kept: Vec<Tensor>,
            xs: Write<Tensor>,
        }

        impl Component for $name {
            type Config = NoConfig;
            fn new(_: NoConfig, setup: &mut Setup) -> Result<Self> {
                Ok($name { loss: setup.read("step.loss")?, xs: setup.write("step.xs")?, seen: 0.0, kept: Vec::new() })
            }
            $($state)*
        }

        impl Callback for $name { $($body)* }
    )+ };
}

callbacks! {
    Good {
        fn save(&self) -> Result<Vec<u8>> {
            to_bytes(&self.seen)
        }
        fn load(&mut self, _: u32, bytes: &[u8]) -> Result<()> {
            self.seen = from_bytes(bytes)?;
            Ok(())
        }
    } {
        fn on(&mut self, _: &Event, learner: &Learner) -> Result<()> {
            self.seen += learner.get(&self.loss)?;
            Ok(())
        }
    }
    Overreaching {} {
        fn on(&mut self, _: &Event, _: &Learner) -> Result<()> {
            Ok(())
        }
    }
    LateCrasher {} {
        fn on(&mut self, event: &Event, _: &Learner) -> Result<()> {
            if event.step() == 2 {
                unsafe { *(8 as *mut u64) = 1 };
            }
            Ok(())
        }
    }
    Forgetful {
        fn save(&self) -> Result<Vec<u8>> {
            to_bytes(&self.seen)
        }
        fn load(&mut self, _: u32, _: &[u8]) -> Result<()> {
            self.seen = 0.5;
            Ok(())
        }
    } {
        fn on(&mut self, _: &Event, _: &Learner) -> Result<()> {
            self.seen += 1.0;
            Ok(())
        }
    }
    Hoarder {} {
        fn on(&mut self, _: &Event, learner: &Learner) -> Result<()> {
            let xs = learner.get(&self.xs)?;
            self.kept.push(xs.affine(2.0, 0.0)?);
            Ok(())
        }
    }
    Moody {} {
        fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
            if event.kind() == StepBegin {
                let xs = learner.get(&self.xs)?;
                learner.set(&self.xs, xs.affine(1.0 + count() as f64 / 100.0, 0.0)?)?;
            }
            Ok(())
        }
    }
}

struct Crasher;

impl Component for Crasher {
    type Config = NoConfig;
    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        unsafe { *(8 as *mut u64) = 1 };
        Ok(Crasher)
    }
}

impl Callback for Crasher {
    fn on(&mut self, _: &Event, _: &Learner) -> Result<()> {
        Ok(())
    }
}

struct Credulous(u8);

impl Component for Credulous {
    type Config = NoConfig;
    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(Credulous(1))
    }
    fn save(&self) -> Result<Vec<u8>> {
        Ok(vec![self.0; 4])
    }
    fn load(&mut self, _: u32, bytes: &[u8]) -> Result<()> {
        self.0 = bytes[(bytes[0] % 8) as usize] / u8::from(bytes.len() < 150);
        Ok(())
    }
}

impl Callback for Credulous {
    fn on(&mut self, _: &Event, _: &Learner) -> Result<()> {
        Ok(())
    }
}

struct Stubborn;

impl Component for Stubborn {
    type Config = NoConfig;
    fn new(_: NoConfig, setup: &mut Setup) -> Result<Self> {
        let _ = setup.read::<f64>("step.loss");
        Ok(Stubborn)
    }
}

impl Callback for Stubborn {
    fn on(&mut self, _: &Event, _: &Learner) -> Result<()> {
        Ok(())
    }
}

config! {
    /// An amount.
    struct TouchyConfig {
        /// Between 0 and 9.
        much: u64 = 1 => 0..=9,
    }
}

struct Touchy;

impl Component for Touchy {
    type Config = TouchyConfig;
    fn new(config: TouchyConfig, _: &mut Setup) -> Result<Self> {
        assert!(100 / config.much > 11, "too much");
        Ok(Touchy)
    }
}

impl Callback for Touchy {
    fn on(&mut self, _: &Event, _: &Learner) -> Result<()> {
        Ok(())
    }
}

struct Leaky;

impl Component for Leaky {
    type Config = NoConfig;
    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Box::leak(vec![1u8; 64 << 10].into_boxed_slice());
        println!("leaking");
        Ok(Leaky)
    }
}

impl Callback for Leaky {
    fn on(&mut self, _: &Event, _: &Learner) -> Result<()> {
        Ok(())
    }
}

struct Busy;

impl Component for Busy {
    type Config = NoConfig;
    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        std::thread::spawn(|| std::thread::sleep(std::time::Duration::from_secs(30)));
        Ok(Busy)
    }
}

impl Callback for Busy {
    fn on(&mut self, _: &Event, _: &Learner) -> Result<()> {
        Ok(())
    }
}

struct Drifting;

impl Component for Drifting {
    type Config = NoConfig;
    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(Drifting)
    }
}

impl Dataset for Drifting {
    fn open(&mut self) -> Result<()> {
        Ok(())
    }
    fn fields(&self) -> Vec<Field> {
        vec![Field::new("xs", DType::F32, &[2]), Field::new("ys", DType::F32, &[1])]
    }
    fn splits(&self) -> Vec<Split> {
        vec![Split::new("training", 64), Split::new("validation", 16)]
    }
    fn fill(&self, _: usize, _: &[u64], buffers: &mut Buffers<'_>) -> Result<()> {
        buffers.f32(0)?.fill(count() as f32 / 1e4);
        buffers.f32(1)?.fill(0.5);
        Ok(())
    }
}

struct Stateful(f64);

impl Component for Stateful {
    type Config = NoConfig;
    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(Stateful(1.0))
    }
}

impl Schedule for Stateful {
    fn value(&self, t: f64) -> Result<f64> {
        Ok(self.0 / (t + count() as f64))
    }
}

plugin! {
    summary: "Mistakes.",
    callback "good" => Good { summary: "None.", on: [StepEnd], reads: ["step.loss"], writes: ["step.xs"] },
    callback "late-crasher" => LateCrasher { summary: "Crashes.", on: [StepEnd], reads: ["step.loss"], writes: ["step.xs"] },
    callback "overreaching" => Overreaching { summary: "Wants more.", on: [StepEnd], writes: ["step.xs"] },
    callback "forgetful" => Forgetful { summary: "Does not load.", on: [StepEnd], reads: ["step.loss"], writes: ["step.xs"] },
    callback "hoarder" => Hoarder { summary: "Keeps.", on: [StepEnd], reads: ["step.loss"], writes: ["step.xs"] },
    callback "moody" => Moody { summary: "Changes.", on: [StepBegin], reads: ["step.loss"], writes: ["step.xs"] },
    callback "crasher" => Crasher { summary: "Crashes.", on: [StepEnd] },
    callback "credulous" => Credulous { summary: "Believes.", on: [StepEnd] },
    callback "stubborn" => Stubborn { summary: "Goes on.", on: [StepEnd], reads: ["step.loss"] },
    callback "touchy" => Touchy { summary: "Panics.", on: [StepEnd] },
    callback "leaky" => Leaky { summary: "Leaks.", on: [StepEnd] },
    callback "busy" => Busy { summary: "Starts threads.", on: [StepEnd] },
    dataset "drifting" => Drifting { summary: "Never the same." },
    schedule "stateful" => Stateful { summary: "Never the same." },
}
