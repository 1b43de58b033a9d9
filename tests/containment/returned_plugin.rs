//! Components that return what they must not return, each fault chosen by its configuration.

use std::mem::transmute;
use std::ptr;

use fluxbay_plugin::abi::operation::op;
use fluxbay_plugin::prelude::*;

unsafe extern "C" {
    fn exit(code: i32) -> !;
}

config! {
    /// The fault.
    struct What {
        /// The fault.
        what: String = "",
    }
}

/// A second tensor for the same reference.
fn alias(tensor: &Tensor) -> Tensor {
    unsafe { ptr::read(tensor) }
}

/// A tensor of a handle that the host did not give.
fn invented(handle: u64) -> Tensor {
    unsafe { transmute::<u64, Tensor>(handle) }
}

struct WrongLoss {
    what: String,
    /// A tensor of the first call, owned.
    first: std::cell::RefCell<Option<Tensor>>,
}

impl Component for WrongLoss {
    type Config = What;

    fn new(config: What, _: &mut Setup) -> Result<Self> {
        Ok(WrongLoss { what: config.what, first: Default::default() })
    }
}

impl Loss for WrongLoss {
    fn forward(&self, yhats: &Tensor, ys: &Tensor) -> Result<Tensor> {
        let loss = Tensor::apply(op::MSE, &[yhats, ys], &[], &[])?;
        Ok(match self.what.as_str() {
            "invented" => invented(0x1234_5678_0000_0003),
            "empty" => invented(u64::MAX),
            "borrowed" => alias(ys),
            "shape" => yhats.clone(),
            "integer" => Tensor::from_slice(&[1u32], [1])?,
            "repeated" => {
                let mut first = self.first.borrow_mut();
                let known = alias(first.get_or_insert(loss));
                return Ok(known);
            }
            "releases" => {
                // What was only lent to it, twice.
                drop((alias(ys), alias(yhats), alias(ys)));
                loss
            }
            _ => loss,
        })
    }
}

struct WrongModel {
    what: String,
}

impl Component for WrongModel {
    type Config = What;

    fn new(config: What, _: &mut Setup) -> Result<Self> {
        Ok(WrongModel { what: config.what })
    }
}

impl Model for WrongModel {
    type Network = Tensor;

    fn build(&self, _: &DataSpec, params: Params) -> Result<Tensor> {
        params.get([2, 1], "weight", Init::Const(0.5))
    }

    fn forward(&self, weight: &Tensor, xs: &Tensor) -> Result<Tensor> {
        match self.what.as_str() {
            "borrowed" => return Ok(alias(xs)),
            "invented" => return Ok(invented(77)),
            "parameter" => {
                drop(alias(weight));
                return Ok(alias(weight));
            }
            // Its own reference, and then some that it does not own.
            "releases" => drop((alias(xs), alias(xs))),
            _ => {}
        }
        Tensor::apply(op::MATMUL, &[xs, weight], &[], &[])
    }
}

struct WrongSchedule {
    what: String,
}

impl Component for WrongSchedule {
    type Config = What;

    fn new(config: What, _: &mut Setup) -> Result<Self> {
        Ok(WrongSchedule { what: config.what })
    }
}

impl Schedule for WrongSchedule {
    fn value(&self, t: f64) -> Result<f64> {
        Ok(match self.what.as_str() {
            "nan" => f64::NAN,
            "infinite" => f64::INFINITY,
            "negative" => -1.0,
            "later" if t > 5.0 => -1e-9,
            "later-nan" if t > 5.0 => f64::NAN,
            _ => 0.01,
        })
    }
}

config! {
    /// The fault and the sizes.
    struct DataConfig {
        /// The fault, from the 20th sample on.
        what: String = "",
        /// Samples for training.
        samples: String = "64",
        /// Classes of the targets; 0 for numbers.
        classes: String = "0",
    }
}

struct WrongData {
    what: String,
    samples: u64,
    classes: usize,
}

impl Component for WrongData {
    type Config = DataConfig;

    fn new(config: DataConfig, _: &mut Setup) -> Result<Self> {
        let number = |text: &str| text.parse::<u64>().map_err(|error| Error::new(error.to_string()));
        let (samples, classes) = (number(&config.samples)?, number(&config.classes)? as usize);
        Ok(WrongData { what: config.what, samples, classes })
    }
}

impl Dataset for WrongData {
    fn open(&mut self) -> Result<()> {
        Ok(())
    }

    fn fields(&self) -> Vec<Field> {
        let ys = match self.classes {
            0 => Field::new("ys", DType::F32, &[1]),
            classes => Field::labels("ys", classes),
        };
        vec![Field::new("xs", DType::F32, &[2]), ys]
    }

    fn splits(&self) -> Vec<Split> {
        vec![Split::new("training", self.samples as usize)]
    }

    fn fill(&self, _: usize, indices: &[u64], buffers: &mut Buffers<'_>) -> Result<()> {
        let is_late = indices.iter().any(|index| *index >= 20);
        match self.what.as_str() {
            "error" if is_late => bail!("the file is torn"),
            "panic" if is_late => panic!("out of ideas"),
            "unwritten" if is_late => return Ok(()),
            "exit" if is_late => unsafe { exit(0) },
            _ => {}
        }
        if is_late && matches!(self.what.as_str(), "beyond-xs" | "beyond-ys" | "far-beyond") {
            let field = usize::from(self.what == "beyond-ys");
            let buffer = buffers.f32(field)?;
            let count = if self.what == "far-beyond" { 2 } else { 1 };
            for place in buffer.len()..buffer.len() + count {
                unsafe { buffer.as_mut_ptr().add(place).write(1.0) };
            }
        }
        for (place, index) in buffers.f32(0)?.chunks_mut(2).zip(indices) {
            place.copy_from_slice(&[*index as f32 / 64.0, 1.0]);
        }
        if self.classes > 0 {
            let label = if self.what == "label" && is_late { self.classes as u32 } else { 0 };
            buffers.u32(1)?.fill(label);
            return Ok(());
        }
        for (place, index) in buffers.f32(1)?.iter_mut().zip(indices) {
            *place = *index as f32 * 3.0 / 64.0;
        }
        Ok(())
    }
}

struct WrongPhase {
    what: String,
}

impl Component for WrongPhase {
    type Config = What;

    fn new(config: What, _: &mut Setup) -> Result<Self> {
        Ok(WrongPhase { what: config.what })
    }
}

impl Phase for WrongPhase {
    fn step(&mut self, batch: &Batch, learner: &PhaseLearner) -> Result<()> {
        learner.run_step(batch, |step| {
            match self.what.as_str() {
                "step-in-step" => learner.run_step(batch, |_| Ok(()))?,
                "epoch-in-step" => learner.run_epoch(|_| Ok(()))?,
                _ => {}
            }
            step.forward(&step.xs()?).map(drop)
        })
    }

    fn epoch(&mut self, learner: &PhaseLearner) -> Result<()> {
        let mut old = None;
        learner.run_epoch(|epoch| {
            while let Some(batch) = epoch.next_batch()? {
                self.step(&batch, learner)?;
                old.get_or_insert(batch);
            }
            Ok(())
        })?;
        match old {
            // The host has released its tensors.
            Some(batch) if self.what == "old-batch" => learner.run_step(&batch, |_| Ok(())),
            _ => Ok(()),
        }
    }
}

struct Wrong {
    config: CallbackConfig,
}

config! {
    /// The fault.
    struct CallbackConfig {
        /// The fault.
        what: String = "",
        /// Bytes of its state.
        bytes: usize = 0,
    }
}

impl Component for Wrong {
    type Config = CallbackConfig;

    fn new(config: CallbackConfig, _: &mut Setup) -> Result<Self> {
        Ok(Wrong { config })
    }

    fn save(&self) -> Result<Vec<u8>> {
        Ok(vec![7; self.config.bytes])
    }
}

impl Callback for Wrong {
    fn on(&mut self, _: &Event, _: &Learner) -> Result<()> {
        match self.config.what.as_str() {
            "long-error" => bail!("{}", "x".repeat(3 << 20)),
            "long-panic" => panic!("{}", "y".repeat(3 << 20)),
            "long-log" => log::warn!("{}", "z".repeat(3 << 20)),
            _ => {}
        }
        Ok(())
    }
}

plugin! {
    summary: "Returns what it must not.",
    loss "wrong-loss" => WrongLoss { summary: "Mean squared error, or not." },
    model "wrong-model" => WrongModel { summary: "One weight, or not." },
    schedule "wrong-schedule" => WrongSchedule { summary: "0.01, or not." },
    dataset "wrong-data" => WrongData { summary: "y = 3 x, or not." },
    phase "wrong-phase" => WrongPhase { summary: "Steps, or not.", phase_kind: "training" },
    callback "wrong" => Wrong { summary: "Nothing, or too much.", on: [StepEnd] },
}
