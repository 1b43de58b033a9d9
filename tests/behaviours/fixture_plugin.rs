//! The fixture of FluxTraining's tests as a plugin: `yhat = x c`, `y = 3 x`, and phases and callbacks that look closely.

use fluxbay_plugin::prelude::*;

config! {
    /// How much there is.
    struct TriplesConfig {
        /// Samples for training.
        training: usize = 128,
        /// Samples for validation.
        validation: usize = 128,
        /// Whether there are targets.
        targets: bool = true,
    }
}

/// `x` in 1..=100, `y = 3 x`; 128 samples, the same for training and validation.
struct Triples(TriplesConfig);

impl Component for Triples {
    type Config = TriplesConfig;
    fn new(config: TriplesConfig, _: &mut Setup) -> Result<Self> {
        Ok(Triples(config))
    }
}

impl Dataset for Triples {
    fn open(&mut self) -> Result<()> {
        Ok(())
    }
    fn fields(&self) -> Vec<Field> {
        let fields = [Field::new("xs", DType::F32, &[1]), Field::new("ys", DType::F32, &[1])];
        fields.into_iter().take(1 + usize::from(self.0.targets)).collect()
    }
    fn splits(&self) -> Vec<Split> {
        let splits = [Split::new("training", self.0.training), Split::new("validation", self.0.validation)];
        splits.into_iter().filter(|split| split.samples > 0).collect()
    }
    fn fill(&self, _: usize, indices: &[u64], buffers: &mut Buffers<'_>) -> Result<()> {
        let x = |index: &u64| (index * 37 % 100 + 1) as f32;
        for (place, index) in buffers.f32(0)?.iter_mut().zip(indices) {
            *place = x(index);
        }
        if self.0.targets {
            for (place, index) in buffers.f32(1)?.iter_mut().zip(indices) {
                *place = 3.0 * x(index);
            }
        }
        Ok(())
    }
}

config! {
    /// How sure the predictions are.
    struct RowsConfig {
        /// Score of the right class.
        right: f64 = 1.0,
    }
}

/// Scores of two classes as inputs, their one-hot rows as targets.
struct Rows(f32);

impl Component for Rows {
    type Config = RowsConfig;
    fn new(config: RowsConfig, _: &mut Setup) -> Result<Self> {
        Ok(Rows(config.right as f32))
    }
}

impl Dataset for Rows {
    fn open(&mut self) -> Result<()> {
        Ok(())
    }
    fn fields(&self) -> Vec<Field> {
        vec![Field::new("xs", DType::F32, &[2]), Field::new("ys", DType::F32, &[2])]
    }
    fn splits(&self) -> Vec<Split> {
        vec![Split::new("training", 20), Split::new("validation", 20)]
    }
    fn fill(&self, _: usize, indices: &[u64], buffers: &mut Buffers<'_>) -> Result<()> {
        for (field, right) in [(0, self.0), (1, 1.0)] {
            for (row, index) in buffers.f32(field)?.chunks_exact_mut(2).zip(indices) {
                row.fill(1.0 - right);
                row[(index % 2) as usize] = right;
            }
        }
        Ok(())
    }
}

/// One parameter `c`, 1 at first.
struct Same;

impl Component for Same {
    type Config = NoConfig;
    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(Same)
    }
}

impl Model for Same {
    type Network = Tensor;
    fn build(&self, _: &DataSpec, params: Params) -> Result<Tensor> {
        params.get([1], "c", Init::ONES)
    }
    fn forward(&self, c: &Tensor, xs: &Tensor) -> Result<Tensor> {
        xs.mul(c)
    }
}

/// One parameter `c`, uniform in `[0, 1)`.
struct Scalar;

impl Component for Scalar {
    type Config = NoConfig;
    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(Scalar)
    }
}

impl Model for Scalar {
    type Network = Tensor;
    fn build(&self, _: &DataSpec, params: Params) -> Result<Tensor> {
        params.get([1], "c", Init::Uniform { low: 0.0, high: 1.0 })
    }
    fn forward(&self, c: &Tensor, xs: &Tensor) -> Result<Tensor> {
        xs.mul(c)
    }
}

/// Only what behaviour 1 asks for: xs, ys and loss are written, nothing is dispatched.
struct Bare;

impl Component for Bare {
    type Config = NoConfig;
    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(Bare)
    }
}

impl Phase for Bare {
    fn step(&mut self, batch: &Batch, learner: &PhaseLearner) -> Result<()> {
        learner.run_step(batch, |step| step.set_loss(&step.xs()?.mean_all()?))
    }
}

/// Cancels its epoch in the body of `run_epoch`.
struct Quitter;

impl Component for Quitter {
    type Config = NoConfig;
    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(Quitter)
    }
}

impl Phase for Quitter {
    fn step(&mut self, _: &Batch, _: &PhaseLearner) -> Result<()> {
        Ok(())
    }
    fn epoch(&mut self, learner: &PhaseLearner) -> Result<()> {
        learner.run_epoch(|_| Err(Error::cancel_epoch("enough")))
    }
}

config! {
    /// How often.
    struct AnnouncerConfig {
        /// Dispatches of the event per step.
        times: u64 = 1,
    }
}

/// Dispatches an event of its own in every step.
struct Announcer {
    halfway: EventKind,
    times: u64,
}

impl Component for Announcer {
    type Config = AnnouncerConfig;
    fn new(config: AnnouncerConfig, setup: &mut Setup) -> Result<Self> {
        Ok(Announcer { halfway: setup.event("halfway")?, times: config.times })
    }
}

impl Phase for Announcer {
    fn step(&mut self, batch: &Batch, learner: &PhaseLearner) -> Result<()> {
        learner.run_step(batch, |step| (0..self.times).try_for_each(|_| step.dispatch(self.halfway)))
    }
}

config! {
    /// When to stop.
    struct BoundConfig {
        /// Loss below which the fit ends.
        below: f64 = 5.0,
    }
}

/// Drives its own epoch and ends the fit at a low loss.
struct LowLoss {
    below: f64,
}

impl Component for LowLoss {
    type Config = BoundConfig;
    fn new(config: BoundConfig, _: &mut Setup) -> Result<Self> {
        Ok(LowLoss { below: config.below })
    }
}

impl LowLoss {
    fn train(&self, batch: &Batch, learner: &PhaseLearner) -> Result<f64> {
        let mut value = f64::NAN;
        learner.run_step(batch, |step| {
            let loss = step.loss(&step.forward(&step.xs()?)?, &step.ys()?)?;
            value = loss.to_scalar::<f64>()?;
            step.backward(&loss)?;
            step.update()
        })?;
        Ok(value)
    }
}

impl Phase for LowLoss {
    fn step(&mut self, batch: &Batch, learner: &PhaseLearner) -> Result<()> {
        self.train(batch, learner).map(|_| ())
    }
    fn epoch(&mut self, learner: &PhaseLearner) -> Result<()> {
        learner.run_epoch(|epoch| {
            while let Some(batch) = epoch.next_batch()? {
                let loss = self.train(&batch, learner)?;
                if loss < self.below {
                    return Err(Error::cancel_fit(format!("the loss is below {}", self.below)));
                }
            }
            Ok(())
        })
    }
}

config! {
    /// Which models are updated.
    struct PairConfig {
        /// Whether the critic's gradients are applied.
        critic: bool = true,
    }
}

/// Trains two models in one step, each with its own gradients.
struct Pair {
    config: PairConfig,
    generator: Option<fluxbay_plugin::ModelIndex>,
    critic: Option<fluxbay_plugin::ModelIndex>,
}

impl Component for Pair {
    type Config = PairConfig;
    fn new(config: PairConfig, _: &mut Setup) -> Result<Self> {
        Ok(Pair { config, generator: None, critic: None })
    }
}

impl Phase for Pair {
    fn init(&mut self, learner: &PhaseLearner) -> Result<()> {
        self.generator = Some(learner.model_named("generator")?);
        self.critic = Some(learner.model_named("critic")?);
        Ok(())
    }
    fn step(&mut self, batch: &Batch, learner: &PhaseLearner) -> Result<()> {
        let (Some(generator), Some(critic)) = (self.generator, self.critic) else { bail!("not initialised") };
        learner.run_step(batch, |step| {
            let judged = step.run_model(critic, &step.run_model(generator, &step.xs()?)?)?;
            let loss = step.loss(&judged, &step.ys()?)?;
            step.backward_for(critic, &loss)?;
            if self.config.critic {
                step.update_for(critic)?;
            }
            let judged = step.run_model(critic, &step.run_model(generator, &step.xs()?)?)?;
            step.backward_for(generator, &step.loss(&judged, &step.ys()?)?)?;
            step.update_for(generator)
        })
    }
}

/// Keeps values in the step state, and checks that each step begins with none.
struct Keeper {
    note: Write<String>,
}

impl Component for Keeper {
    type Config = NoConfig;
    fn new(_: NoConfig, setup: &mut Setup) -> Result<Self> {
        Ok(Keeper { note: setup.write("step.note")? })
    }
}

impl Phase for Keeper {
    fn step(&mut self, batch: &Batch, learner: &PhaseLearner) -> Result<()> {
        learner.run_step(batch, |step| {
            if step.find(&self.note)?.is_some() {
                bail!("the step state is not empty");
            }
            step.set(&self.note, format!("batch {}", batch.index()))
        })
    }
}

config! {
    /// What a probe does beside writing down what it sees.
    struct ProbeConfig {
        /// `EVENT:WHAT:N`: at the n-th such event, WHAT is `cancel-step`, `cancel-epoch`, `cancel-fit`, `error`, `panic` or
        /// `dispatch`.
        script: String = "",
    }
}

/// Writes down every event and what of the step is there, and follows its script.
struct Probe {
    script: Vec<String>,
    count: u64,
    log: Write<String>,
    text: String,
    parts: Vec<(&'static str, Read<Tensor>)>,
    grads: Read<Tensors>,
}

impl Component for Probe {
    type Config = ProbeConfig;
    fn new(config: ProbeConfig, setup: &mut Setup) -> Result<Self> {
        let id = setup.instance_id()?.replace('/', "-");
        let mut parts = Vec::new();
        for name in ["xs", "ys", "yhats", "loss"] {
            parts.push((name, setup.read(&format!("step.{name}"))?));
        }
        let script = config.script.split(':').map(str::to_owned).collect();
        let (log, grads) = (setup.write(&format!("cbstate.{id}"))?, setup.read("step.grads")?);
        Ok(Probe { script, count: 0, log, text: String::new(), parts, grads })
    }
}

impl Callback for Probe {
    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        let name = event.name()?;
        let mut there = Vec::new();
        for (part, slot) in &self.parts {
            if learner.find(slot)?.is_some() {
                there.push(*part);
            }
        }
        if self.grads.get(0)?.is_some() {
            there.push("grads");
        }
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        self.text.push_str(&format!("{name}[{}]", there.join(",")));
        learner.set(&self.log, self.text.clone())?;
        if let [at, what, n] = &self.script[..]
            && *at == name
        {
            self.count += 1;
            if *n == self.count.to_string() {
                match what.as_str() {
                    "cancel-step" => return Err(Error::cancel_step("scripted")),
                    "cancel-epoch" => return Err(Error::cancel_epoch("scripted")),
                    "cancel-fit" => return Err(Error::cancel_fit("scripted")),
                    "error" => return Err(Error::new("scripted")),
                    "panic" => panic!("scripted"),
                    other => bail!("unknown script {other}"),
                }
            }
        }
        Ok(())
    }
}

config! {
    /// What is changed.
    struct MeddlerConfig {
        /// `xs`: the inputs are set to 0 at step-begin. `grads`: the gradients are set to 0 at backward-end.
        what: String,
    }
}

/// Changes what is computed.
struct Meddler {
    what: String,
    xs: Write<Tensor>,
    grads: Write<Tensors>,
}

impl Component for Meddler {
    type Config = MeddlerConfig;
    fn new(config: MeddlerConfig, setup: &mut Setup) -> Result<Self> {
        Ok(Meddler { what: config.what, xs: setup.write("step.xs")?, grads: setup.write("step.grads")? })
    }
}

impl Callback for Meddler {
    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        match (self.what.as_str(), event.kind()) {
            ("xs", StepBegin) => learner.set(&self.xs, learner.get(&self.xs)?.zeros_like()?),
            ("grads", BackwardEnd) => {
                let Some(gradient) = self.grads.get(0)? else { bail!("no gradient") };
                self.grads.set(0, &gradient.zeros_like()?)
            }
            _ => Ok(()),
        }
    }
}

config! {
    /// What is tried.
    struct IntruderConfig {
        /// One of `read-undeclared`, `write-read`, `write-implies-read`, `sideways`, `model-in-place`, `phase-only`.
        what: String,
    }
}

/// Tries what it may not.
struct Intruder {
    what: String,
    model: Read<Tensors>,
    x: Write<f64>,
    loss: Read<f64>,
}

impl Component for Intruder {
    type Config = IntruderConfig;
    fn new(config: IntruderConfig, setup: &mut Setup) -> Result<Self> {
        if config.what == "read-undeclared" {
            setup.read::<f64>("cbstate.secret")?;
        }
        if config.what == "write-read" {
            setup.write::<f64>("step.loss")?;
        }
        if config.what == "sideways" {
            setup.write::<f64>("cbstate.a.b.y")?;
        }
        Ok(Intruder { what: config.what, model: setup.read("model")?, x: setup.write("cbstate.a.b.x")?, loss: setup.read("step.loss")? })
    }
}

impl Callback for Intruder {
    fn on(&mut self, _: &Event, learner: &Learner) -> Result<()> {
        match self.what.as_str() {
            "write-implies-read" => {
                learner.set(&self.x, 1.5)?;
                if learner.get(&self.x)? != 1.5 {
                    bail!("not what was written");
                }
                learner.get(&self.loss).map(|_| ())
            }
            "model-in-place" => match self.model.get(0)? {
                Some(c) => c.scale_(2.0),
                None => bail!("no parameter"),
            },
            _ => Ok(()),
        }
    }
}

/// Does nothing.
struct Idle;

impl Component for Idle {
    type Config = NoConfig;
    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(Idle)
    }
}

impl Callback for Idle {
    fn on(&mut self, _: &Event, _: &Learner) -> Result<()> {
        Ok(())
    }
}

config! {
    /// What is done how often at step-end.
    struct ToucherConfig {
        /// Reads of a number.
        gets: u64 = 0,
        /// Writes of a number.
        sets: u64 = 0,
    }
}

/// Reads and writes the state tree.
struct Toucher {
    config: ToucherConfig,
    number: Write<f64>,
}

impl Component for Toucher {
    type Config = ToucherConfig;
    fn new(config: ToucherConfig, setup: &mut Setup) -> Result<Self> {
        Ok(Toucher { config, number: setup.write("cbstate.toucher")? })
    }
}

impl Callback for Toucher {
    fn on(&mut self, _: &Event, learner: &Learner) -> Result<()> {
        learner.set(&self.number, 1.0)?;
        let mut sum = 0.0;
        for _ in 0..self.config.gets {
            sum += learner.get(&self.number)?;
        }
        for _ in 0..self.config.sets {
            learner.set(&self.number, sum)?;
        }
        Ok(())
    }
}

/// Cancels every step as it begins.
struct Canceller;

impl Component for Canceller {
    type Config = NoConfig;
    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(Canceller)
    }
}

impl Callback for Canceller {
    fn on(&mut self, _: &Event, _: &Learner) -> Result<()> {
        Err(Error::cancel_step("not this one"))
    }
}

config! {
    /// What the loss becomes, and when.
    struct ForcedConfig {
        /// The loss: a number, `nan` or `inf`.
        loss: String = "1e5",
        /// Epoch in which it begins.
        from_epoch: u64 = 1,
        /// Step of the phase with which it begins.
        from_step: u64 = 1,
        /// The phase's kind.
        training: bool = true,
    }
}

/// Forces the loss to a value.
struct Forced {
    config: ForcedConfig,
    loss: Write<Tensor>,
}

impl Component for Forced {
    type Config = ForcedConfig;
    fn new(config: ForcedConfig, setup: &mut Setup) -> Result<Self> {
        Ok(Forced { config, loss: setup.write("step.loss")? })
    }
}

impl Callback for Forced {
    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        let due = event.epoch() >= self.config.from_epoch && event.total_steps() >= self.config.from_step;
        if !due || event.is_training() != self.config.training {
            return Ok(());
        }
        let value: f64 = self.config.loss.parse().map_err(|_| Error::new("no number"))?;
        let loss = learner.get(&self.loss)?;
        learner.set(&self.loss, loss.zeros_like()?.affine(1.0, value)?)
    }
}

config! {
    /// What it touches.
    struct LinkConfig {
        /// State paths that it reads.
        reads: Vec<String> = [],
        /// State paths that it writes.
        writes: Vec<String> = [],
        /// Its answer to every conflict: `not-defined`, `unresolvable`, `run-first` or `no-conflict`.
        answer: String = "not-defined",
        /// Components or instances that it runs after.
        after: Vec<String> = [],
    }
}

/// Reads and writes what it is told to; appends its id to `cbstate.order` where it may write that.
struct Link {
    id: String,
    answer: String,
    order: Option<Write<String>>,
}

impl Component for Link {
    type Config = LinkConfig;
    fn new(config: LinkConfig, setup: &mut Setup) -> Result<Self> {
        for path in &config.reads {
            setup.read::<f64>(path)?;
        }
        let mut order = None;
        for path in &config.writes {
            let slot: Write<String> = setup.write(path)?;
            if path == "cbstate.order" {
                order = Some(slot);
            }
        }
        for name in &config.after {
            setup.run_after(name)?;
        }
        Ok(Link { id: setup.instance_id()?, answer: config.answer, order })
    }
}

impl Callback for Link {
    fn on(&mut self, _: &Event, learner: &Learner) -> Result<()> {
        let Some(order) = &self.order else { return Ok(()) };
        let before = learner.find(order)?.unwrap_or_default();
        learner.set(order, format!("{before}{} ", self.id))
    }
    fn resolve(&self, _: &str, _: &str) -> Resolution {
        match self.answer.as_str() {
            "unresolvable" => Resolution::Unresolvable,
            "run-first" => Resolution::RunFirst,
            "no-conflict" => Resolution::NoConflict,
            _ => Resolution::NotDefined,
        }
    }
}

plugin! {
    summary: "The fixture of the behaviour tests.",
    dataset "triples" => Triples { summary: "y = 3 x." },
    dataset "rows" => Rows { summary: "Scores and one-hot rows." },
    model "scalar" => Scalar { summary: "yhat = x c." },
    model "same" => Same { summary: "yhat = x." },
    callback "canceller" => Canceller { summary: "Cancels every step.", on: [StepBegin] },
    callback "forced" => Forced {
        summary: "Forces the loss.",
        on: [BackwardBegin, StepEnd],
        writes: ["step.loss"],
    },
    callback "link" => Link { summary: "Reads and writes what it is told to.", on: [StepEnd], reads: ["cbstate"], writes: ["cbstate"] },
    phase "bare" => Bare { summary: "Writes the step state, no more.", phase_kind: "training" },
    phase "quitter" => Quitter { summary: "Cancels its epoch.", phase_kind: "training" },
    phase "announcer" => Announcer { summary: "Has an event of its own.", phase_kind: "training", emits: ["halfway"] },
    phase "bounded" => LowLoss { summary: "Ends the fit at a low loss.", phase_kind: "training" },
    phase "pair" => Pair { summary: "Trains two models.", phase_kind: "training" },
    phase "keeper" => Keeper { summary: "Keeps a value in the step state.", phase_kind: "training" },
    callback "probe" => Probe {
        summary: "Writes down what it sees.",
        on: [FitBegin, FitEnd, EpochBegin, EpochEnd, StepBegin, StepEnd, LossBegin, BackwardBegin, BackwardEnd, StepCancelled,
             EpochCancelled, FitCancelled, Error, Checkpoint],
        reads: ["step"],
        writes: ["cbstate"],
    },
    callback "listener" => Probe { summary: "Hears a phase's own event.", on_custom: ["halfway"], reads: ["step"], writes: ["cbstate"] },
    callback "idle" => Idle { summary: "Does nothing.", on_custom: ["halfway"] },
    callback "toucher" => Toucher { summary: "Reads and writes.", on: [StepEnd], writes: ["cbstate.toucher"] },
    callback "meddler" => Meddler {
        summary: "Changes what is computed.",
        on: [StepBegin, BackwardEnd],
        writes: ["step.xs", "step.grads"],
    },
    callback "intruder" => Intruder {
        summary: "Tries what it may not.",
        on: [StepEnd],
        reads: ["model", "step.loss"],
        writes: ["cbstate.a.b.x"],
    },
}
