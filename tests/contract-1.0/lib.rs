//! A plugin with a component of every kind, compiled once against contract 1.0 and kept as a file:
//! it loads for ever.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    path::Path,
};

use fluxbay_plugin::{
    abi::operation::op,
    nn::{Linear, linear},
    prelude::*,
};

config! {
    /// Of those that have a setting.
    struct Config {
        /// A number.
        amount: f64 = 1.0 => 0.0..,
    }
}

/// Most components have nothing but their configuration.
macro_rules! component {
    ($($name:ident),+) => { $(
        struct $name {
            #[allow(dead_code)]
            amount: f64,
        }

        impl Component for $name {
            type Config = Config;

            fn new(config: Config, _: &mut Setup) -> Result<Self> {
                Ok($name { amount: config.amount })
            }
        }
    )+ };
}

component!(Training, Network, Distance, Line, Falling);

impl Phase for Training {
    fn step(&mut self, batch: &Batch, learner: &PhaseLearner) -> Result<()> {
        learner.run_step(batch, |step| {
            step.forward(&step.xs()?)?;
            step.dispatch(LossBegin)?;
            step.loss(&step.yhats()?, &step.ys()?)?;
            step.dispatch(BackwardBegin)?;
            step.backward(&step.current_loss()?)?;
            step.dispatch(BackwardEnd)?;
            step.update()
        })
    }
}

impl Model for Network {
    type Network = Linear;

    fn build(&self, data: &DataSpec, params: Params) -> Result<Linear> {
        linear(data.xs()?.elements(), data.outputs()?, params)
    }

    fn forward(&self, network: &Linear, xs: &Tensor) -> Result<Tensor> {
        network.forward(&xs.flatten_from(1)?)
    }
}

impl Loss for Distance {
    fn forward(&self, yhats: &Tensor, ys: &Tensor) -> Result<Tensor> {
        yhats.sub(ys)?.sqr()?.mean_all()?.affine(self.amount, 0.0)
    }
}

/// `y = amount x` for 64 values of x.
impl Dataset for Line {
    fn open(&mut self) -> Result<()> {
        Ok(())
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field::new("xs", DType::F32, &[1]), Field::new("ys", DType::F32, &[1])]
    }

    fn splits(&self) -> Vec<Split> {
        vec![Split::new("training", 64), Split::new("validation", 16)]
    }

    fn fill(&self, _: usize, indices: &[u64], buffers: &mut Buffers<'_>) -> Result<()> {
        for (place, index) in buffers.f32(0)?.iter_mut().zip(indices) {
            *place = *index as f32 / 64.0;
        }
        for (place, index) in buffers.f32(1)?.iter_mut().zip(indices) {
            *place = *index as f32 / 64.0 * self.amount as f32;
        }
        Ok(())
    }
}

impl Schedule for Falling {
    fn value(&self, t: f64) -> Result<f64> {
        Ok(self.amount / t.sqrt())
    }
}

/// Counts its steps, over restarts as well.
struct Counter {
    steps: u64,
    loss: Read<f64>,
    count: Write<f64>,
}

impl Component for Counter {
    type Config = NoConfig;

    fn new(_: NoConfig, setup: &mut Setup) -> Result<Self> {
        Ok(Counter { steps: 0, loss: setup.read("step.loss")?, count: setup.write("cbstate.counted")? })
    }

    fn save(&self) -> Result<Vec<u8>> {
        to_bytes(&self.steps)
    }

    fn load(&mut self, _: u32, bytes: &[u8]) -> Result<()> {
        self.steps = from_bytes(bytes)?;
        Ok(())
    }
}

impl Callback for Counter {
    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        match event.kind() {
            StepEnd if learner.get(&self.loss)?.is_finite() => self.steps += 1,
            StepEnd => bail!("the loss is no number"),
            _ => learner.print(&format!("counted {} steps", self.steps))?,
        }
        learner.set(&self.count, self.steps as f64)
    }
}

/// Largest distance of a prediction.
struct Furthest {
    distance: f64,
}

impl Component for Furthest {
    type Config = NoConfig;

    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(Furthest { distance: 0.0 })
    }

    fn save(&self) -> Result<Vec<u8>> {
        to_bytes(&self.distance)
    }

    fn load(&mut self, _: u32, bytes: &[u8]) -> Result<()> {
        self.distance = from_bytes(bytes)?;
        Ok(())
    }
}

impl Metric for Furthest {
    fn reset(&mut self) {
        self.distance = 0.0;
    }

    fn update(&mut self, input: &MetricInput) -> Result<f64> {
        let distances: Vec<f32> = input.yhats().sub(input.ys())?.abs()?.to_vec()?;
        let furthest = distances.into_iter().fold(0.0, f32::max).into();
        self.distance = self.distance.max(furthest);
        Ok(furthest)
    }

    fn compute(&self) -> Result<f64> {
        Ok(self.distance)
    }
}

/// A line of text for each number.
struct Lines {
    file: Option<File>,
    resume: Option<u64>,
}

impl Component for Lines {
    type Config = NoConfig;

    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(Lines { file: None, resume: None })
    }

    fn save(&self) -> Result<Vec<u8>> {
        let length = match &self.file {
            Some(file) => file.metadata()?.len(),
            None => self.resume.unwrap_or(0),
        };
        to_bytes(&length)
    }

    fn load(&mut self, _: u32, bytes: &[u8]) -> Result<()> {
        let length = from_bytes(bytes)?;
        match &self.file {
            Some(file) => file.set_len(length)?,
            None => self.resume = Some(length),
        }
        Ok(())
    }
}

impl Logger for Lines {
    fn open(&mut self, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir)?;
        let file = OpenOptions::new().create(true).append(true).open(dir.join("lines.txt"))?;
        if let Some(length) = self.resume.take() {
            file.set_len(length)?;
        }
        self.file = Some(file);
        Ok(())
    }

    fn write(&mut self, record: &Record<'_>) -> Result<()> {
        let Some(file) = &mut self.file else { bail!("the logger is not open") };
        if let RecordValue::Scalar(value) = record.value {
            writeln!(file, "{} {} {value:?}", record.step, record.tag)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Gradient descent.
struct Descent {
    learning_rate: Read<f64>,
    now: f64,
}

impl Component for Descent {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        Ok(Descent { learning_rate: setup.hyper_parameter("learning-rate", config.amount)?, now: 0.0 })
    }
}

impl Optimizer for Descent {
    fn begin(&mut self, learner: &Learner) -> Result<()> {
        self.now = learner.get(&self.learning_rate)?;
        Ok(())
    }

    fn update(&mut self, update: &Update<'_>) -> Result<()> {
        Tensor::apply_in_place(op::SGD_UPDATE, &[update.parameter, update.gradient], &[update.step as i64], &[self.now, 0.0, 0.0, 0.0, 0.0])
    }
}

plugin! {
    summary: "A component of every kind, of contract 1.0.",
    phase "old-training" => Training { summary: "The usual step.", phase_kind: "training" },
    callback "old-counter" => Counter {
        summary: "Counts steps.",
        on: [StepEnd, FitEnd],
        reads: ["step.loss"],
        writes: ["cbstate.counted"],
    },
    model "old-model" => Network { summary: "One layer." },
    loss "old-loss" => Distance { summary: "Mean of squares." },
    dataset "old-data" => Line { summary: "A straight line." },
    metric "old-metric" => Furthest { summary: "Largest distance." },
    schedule "old-schedule" => Falling { summary: "Falls like a square root." },
    logger "old-logger" => Lines { summary: "Lines of text." },
    optimizer "old-optimizer" => Descent { summary: "Gradient descent.", hyper_parameters: ["learning-rate"] },
}
