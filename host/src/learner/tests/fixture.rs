//! The fixture of FluxTraining's tests: one parameter `c`, `yhat = x c`, 16 batches of 8,
//! `y = 3 x`, mean absolute error.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use candle_core::Tensor as HostTensor;
use fluxbay_plugin::abi::{entry, event, handle::dtype, operation::op};
use fluxbay_plugin::prelude::*;
use fluxbay_plugin::trampoline;

use crate::bridge::HOST;
use crate::learner::ports::{
    Batches, Data, DataBatch, DataField, Helpers, NoDisplay, NoSink, PhaseKind, SplitSize,
};
use crate::learner::*;
use crate::library::ComponentRows;
use crate::tensor::{Engine, EngineOptions};

thread_local! {
    /// What the probes saw, as `id event`.
    static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// What the probes saw since the last call.
pub fn seen() -> Vec<String> {
    SEEN.take()
}

/// What the probe `id` saw, joined.
pub fn seen_by(seen: &[String], id: &str) -> String {
    let own = seen
        .iter()
        .filter_map(|line| line.strip_prefix(id).and_then(|rest| rest.strip_prefix(' ')));
    own.collect::<Vec<_>>().join(" ")
}

pub struct Scalar;

impl Component for Scalar {
    type Config = NoConfig;
    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(Scalar)
    }
}

impl Model for Scalar {
    type Network = Tensor;
    fn build(&self, data: &DataSpec, params: Params) -> Result<Tensor> {
        assert_eq!(data.fields.len(), 2);
        params.get([1], "c", Init::Uniform { low: 0.0, high: 1.0 })
    }
    fn forward(&self, c: &Tensor, xs: &Tensor) -> Result<Tensor> {
        Tensor::apply(op::MUL, &[xs, c], &[], &[])
    }
}

pub struct Mae;

impl Component for Mae {
    type Config = NoConfig;
    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(Mae)
    }
}

impl Loss for Mae {
    fn forward(&self, yhats: &Tensor, ys: &Tensor) -> Result<Tensor> {
        Tensor::apply(op::MAE, &[yhats, ys], &[], &[])
    }
}

config! {
    /// Settings.
    pub struct SgdConfig {
        /// Step size.
        learning_rate: f64 = 0.001,
    }
}

pub struct Sgd {
    rate: Read<f64>,
    now: f64,
}

impl Component for Sgd {
    type Config = SgdConfig;
    fn new(config: SgdConfig, setup: &mut Setup) -> Result<Self> {
        Ok(Sgd { rate: setup.hyper_parameter("learning-rate", config.learning_rate)?, now: 0.0 })
    }
}

impl Optimizer for Sgd {
    fn begin(&mut self, learner: &Learner) -> Result<()> {
        self.now = learner.get(&self.rate)?;
        Ok(())
    }
    fn update(&mut self, update: &fluxbay_plugin::Update<'_>) -> Result<()> {
        Tensor::apply_many(
            op::SGD_UPDATE,
            &[update.parameter, update.gradient],
            &[update.step as i64],
            &[self.now],
        )
        .map(|_| ())
    }
}

pub struct Training;

impl Component for Training {
    type Config = NoConfig;
    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(Training)
    }
}

impl Phase for Training {
    fn step(&mut self, batch: &Batch, learner: &PhaseLearner) -> Result<()> {
        learner.run_step(batch, |step| {
            step.forward(&step.xs()?)?;
            step.dispatch(LossBegin)?;
            step.compute_loss(&step.yhats()?, &step.ys()?)?;
            step.dispatch(BackwardBegin)?;
            step.backward(&step.loss()?)?;
            step.dispatch(BackwardEnd)?;
            step.update()
        })
    }
}

pub struct Validation;

impl Component for Validation {
    type Config = NoConfig;
    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(Validation)
    }
}

impl Phase for Validation {
    fn step(&mut self, batch: &Batch, learner: &PhaseLearner) -> Result<()> {
        learner.run_step(batch, |step| {
            step.forward(&step.xs()?)?;
            step.dispatch(LossBegin)?;
            step.compute_loss(&step.yhats()?, &step.ys()?)?;
            Ok(())
        })
    }
}

config! {
    /// What a probe does beside writing down what it sees.
    pub struct ProbeConfig {
        /// `EVENT:WHAT:N`: at the n-th such event, WHAT is `step`, `epoch`, `fit` (cancelled),
        /// `error`, `panic` or `poke`.
        script: String = "",
    }
}

/// Writes down every event that it sees, and follows its script.
pub struct Probe {
    id: String,
    script: Vec<String>,
    counts: BTreeMap<String, u64>,
    params: Read<Tensors>,
    xs: Read<Tensor>,
}

impl Component for Probe {
    type Config = ProbeConfig;
    fn new(config: ProbeConfig, setup: &mut Setup) -> Result<Self> {
        Ok(Probe {
            id: setup.instance_id()?,
            script: config.script.split(':').map(str::to_owned).collect(),
            counts: BTreeMap::new(),
            params: setup.read("params")?,
            xs: setup.read("step.xs")?,
        })
    }
}

impl Callback for Probe {
    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        let name = event.name()?;
        SEEN.with_borrow_mut(|seen| seen.push(format!("{} {name}", self.id)));
        let count = self.counts.entry(name.clone()).or_default();
        *count += 1;
        match &self.script[..] {
            [at, what, n] if *at == name && *n == count.to_string() => match what.as_str() {
                "step" => Err(Error::cancel_step("scripted")),
                "epoch" => Err(Error::cancel_epoch("scripted")),
                "fit" => Err(Error::cancel_fit("scripted")),
                "error" => Err(Error::new("scripted")),
                "panic" => panic!("scripted"),
                "poke" => {
                    let c = self.params.get(0)?.ok_or("no parameter")?;
                    Tensor::apply_many(op::SCALE_, &[&c], &[], &[2.0]).map(|_| ())
                }
                "poke-xs" => {
                    Tensor::apply_many(op::SCALE_, &[&learner.get(&self.xs)?], &[], &[2.0])
                        .map(|_| ())
                }
                other => Err(Error::new(format!("unknown script {other}"))),
            },
            _ => Ok(()),
        }
    }
}

macro_rules! components {
    ($($kind:ident $name:literal $type:ty),+ $(,)?) => {
        static COMPONENTS: &[(&str, entry::Component)] =
            &[$((concat!(stringify!($kind), "/", $name), trampoline::$kind::component::<$type>($name, 1))),+];
    };
}

components! {
    model "scalar" Scalar,
    loss "mae" Mae,
    optimizer "sgd" Sgd,
    phase "training" Training,
    phase "validation" Validation,
    callback "probe" Probe,
}

/// Finds the components of this file.
pub struct Table;

pub fn prepared(name: &str, config: &str) -> Prepared {
    let (_, component) =
        COMPONENTS.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no {name}"));
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let declared = match name.split('/').next() {
        Some("phase") => Declared { writes: texts(&["step"]), ..Declared::default() },
        Some("optimizer") => {
            Declared { hyper_parameters: texts(&["learning-rate"]), ..Declared::default() }
        }
        Some("callback") => Declared {
            events: texts(&event::NAMES),
            reads: texts(&["params", "step"]),
            ..Declared::default()
        },
        _ => Declared::default(),
    };
    Prepared {
        component,
        rows: ComponentRows::default(),
        name: name.into(),
        plugin: "fixture".into(),
        config: config.into(),
        declared,
    }
}

impl Components for Table {
    fn prepare(
        &self,
        kind: u32,
        name: &str,
        config: &str,
    ) -> std::result::Result<Prepared, String> {
        Ok(prepared(&format!("{}/{name}", entry::kind::NAMES[kind as usize]), config))
    }
}

/// 16 batches of 8.
pub struct Numbers(Vec<DataField>);

impl Numbers {
    fn new() -> Numbers {
        let field = |name: &str| DataField {
            name: name.into(),
            dtype: dtype::F32,
            shape: vec![1],
            classes: 0,
        };
        Numbers(vec![field("xs"), field("ys")])
    }
}

pub fn batch(index: u64) -> DataBatch {
    let xs: Vec<f32> = (0..8).map(|sample| ((index * 37 + sample * 13) % 100 + 1) as f32).collect();
    let ys: Vec<f32> = xs.iter().map(|x| 3.0 * x).collect();
    let tensor = |values| HostTensor::from_vec(values, (8, 1), &candle_core::Device::Cpu).unwrap();
    DataBatch { fields: vec![tensor(xs), tensor(ys)], samples: 8, index }
}

struct Walk(u64);

impl Batches for Walk {
    fn next_batch(&mut self, _: &dyn Helpers) -> std::result::Result<Option<DataBatch>, String> {
        self.0 += 1;
        Ok((self.0 <= 16).then(|| batch(self.0 - 1)))
    }
}

impl Data for Numbers {
    fn fields(&self) -> &[DataField] {
        &self.0
    }
    fn split(&self, name: &str) -> Option<SplitSize> {
        ["training", "validation"].contains(&name).then_some(SplitSize { samples: 128, steps: 16 })
    }
    fn epoch(&self, _: &str, _: u64) -> std::result::Result<Box<dyn Batches>, String> {
        Ok(Box::new(Walk(0)))
    }
}

/// A learner with the phases and the probes named: each as (id, script).
pub fn learner(phases: &[&str], probes: &[(&str, &str)]) -> Rc<Runtime> {
    fluxbay_plugin::__private::init("fixture", &HOST);
    seen();
    let engine =
        Engine::new(EngineOptions { seed: 7, threads: 1, ..EngineOptions::default() }).unwrap();
    let ports =
        Ports { sink: Rc::new(NoSink), display: Rc::new(NoDisplay), components: Rc::new(Table) };
    let runtime = Runtime::new(engine, ports, Folders::default()).unwrap();
    let make = |id: &str, name: &str, config: &str| {
        runtime.create(NewInstance::named(id), prepared(name, config)).unwrap()
    };
    let optimizer =
        NewInstance { hyper_prefix: "optimizer".into(), ..NewInstance::named("optimizer") };
    let optimizer = runtime.create(optimizer, prepared("optimizer/sgd", "{}")).unwrap();
    let mut roles = Roles::default();
    let model = make("model", "model/scalar", "{}");
    roles.models.push(ModelSlot {
        name: "model".into(),
        instance: model,
        optimizers: vec![OptimizerSlot::new(optimizer, 0)],
    });
    roles.losses.push(LossSlot { name: "loss".into(), instance: make("loss", "loss/mae", "{}") });
    for phase in phases {
        let kind = PhaseKind::named(phase).unwrap();
        let instance = make(phase, &format!("phase/{phase}"), "{}");
        roles.phases.push(PhaseSlot {
            instance,
            kind,
            split: Some(kind.name().into()),
            total_steps: Default::default(),
        });
    }
    let probe = |(id, script): &(&str, &str)| {
        make(id, "callback/probe", &format!("{{\"script\":\"{script}\"}}"))
    };
    let callbacks = probes.iter().map(probe).collect();
    runtime.assemble(roles, callbacks, Some(Rc::new(Numbers::new()))).unwrap();
    runtime
}

/// The value of `c`.
pub fn c(runtime: &Runtime) -> f64 {
    let engine = runtime.engine.borrow();
    let handle = engine.parameters().next().unwrap().handle;
    engine.scalar(handle).unwrap()
}
