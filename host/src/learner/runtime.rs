//! The runtime: all that plugins reach while they are called, behind small cells.
//!
//! No borrow of a cell is held while a plugin runs, because the plugin calls back. The bridge finds
//! the runtime that is calling it through the thread; the rest of the host holds it directly.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use fluxbay_plugin::abi::event::{self, EventRaw};
use fluxbay_plugin::abi::{handle::Handle, learner::BatchRaw};

use super::control::{Flow, Stop, StopKind};
use super::epoch::OpenEpoch;
use super::events::{DispatchLists, EventNames};
use super::instances::{Components, Doing, Instance, place};
use super::optimizers::OptimizerSlot;
use super::ports::{At, Data, Display, PhaseKind, Sink};
use super::position::Position;
use super::profile::Profile;
use super::rehearsal::Rehearsal;
use super::saving::{Moment, Resumption, Wish};
use super::setup::SetupFrame;
use super::state::{NodeId, State};
use crate::bridge::ambient::{self, Ambient};
use crate::tensor::Engine;

/// Why a function that the host offers to plugins did not do what it was asked.
#[derive(Debug)]
pub enum Refusal {
    /// An error of the caller or of what it touched.
    Text(String),
    /// Another instance, called on the way, stopped.
    Stop(Stop),
}

impl<T: std::fmt::Display> From<T> for Refusal {
    #[cold]
    #[inline(never)]
    fn from(text: T) -> Refusal {
        Refusal::Text(text.to_string())
    }
}

/// What functions for plugins answer.
pub type Answer<T = ()> = Result<T, Refusal>;

/// Turns a stop into a refusal; a `Stop` prints itself, so `?` alone would lose its kind.
pub fn stopped<T>(flow: Flow<T>) -> Answer<T> {
    flow.map_err(Refusal::Stop)
}

/// One phase of the run.
#[derive(Debug)]
pub struct PhaseSlot {
    /// The instance.
    pub instance: Rc<Instance>,
    /// What it is for.
    pub kind: PhaseKind,
    /// The split that it reads; `None` for none.
    pub split: Option<String>,
    /// Steps begun since the run began.
    pub total_steps: Cell<u64>,
}

/// One model of the run.
#[derive(Debug)]
pub struct ModelSlot {
    /// Its name in the run file; `model` for the only one.
    pub name: String,
    /// The instance.
    pub instance: Rc<Instance>,
    /// Its optimizer.
    pub optimizer: Option<OptimizerSlot>,
}

/// One loss of the run.
#[derive(Debug)]
pub struct LossSlot {
    /// Its name in the run file; `loss` for the only one.
    pub name: String,
    /// The instance.
    pub instance: Rc<Instance>,
}

/// The instances of a run by role, fixed once it is composed.
#[derive(Debug, Default)]
pub struct Parts {
    /// In the order of an epoch.
    pub phases: Vec<PhaseSlot>,
    /// In the order of the run file.
    pub models: Vec<ModelSlot>,
    /// In the order of the run file.
    pub losses: Vec<LossSlot>,
    /// In the order of the run file.
    pub loggers: Vec<Rc<Instance>>,
}

/// The world outside the learner.
pub struct Ports {
    /// The record of the run.
    pub sink: Rc<dyn Sink>,
    /// The terminal.
    pub display: Rc<dyn Display>,
    /// Components for child instances.
    pub components: Rc<dyn Components>,
}

/// Folders that instances may ask for.
#[derive(Clone, Debug, Default)]
pub struct Folders {
    /// Where relative paths of configurations start.
    pub base: String,
    /// Folder of the run; empty where there is none.
    pub run: String,
}

/// What is done at a moment at which the run can be saved. A failure ends the fit.
pub type OnCheckpoint = Rc<dyn Fn(&Runtime, Moment) -> Flow>;

/// The number that the interrupt has when the time that the run may take is up; all others are
/// those of signals.
pub const TIME_IS_UP: u32 = u32::MAX;

/// See the module.
pub struct Runtime {
    me: Weak<Runtime>,
    /// Of the thread that trains: a runtime never leaves it.
    pub(crate) ambient: &'static Ambient,
    pub(crate) engine: RefCell<Engine>,
    pub(crate) state: RefCell<State>,
    pub(crate) instances: RefCell<Vec<Option<Rc<Instance>>>>,
    pub(crate) lists: RefCell<Rc<DispatchLists>>,
    pub(crate) events: RefCell<EventNames>,
    pub(crate) setup: RefCell<Vec<SetupFrame>>,
    pub(crate) parts: OnceCell<Parts>,
    pub(crate) data: RefCell<Option<Rc<dyn Data>>>,
    /// Where the fields of a batch go, for as many as were looked up.
    pub(crate) field_nodes: RefCell<Vec<NodeId>>,
    pub(crate) position: Position,
    pub(crate) spans: [Cell<u64>; 3],
    pub(crate) serial: Cell<u64>,
    pub(crate) open_epoch: RefCell<Option<OpenEpoch>>,
    pub(crate) building: Cell<Option<(usize, u32)>>,
    pub(crate) grads_ready: Cell<bool>,
    pub(crate) epochs_done: Cell<u64>,
    /// Phase that comes next within the epoch of the fit.
    pub(crate) next_phase: Cell<usize>,
    /// Epochs that the running phase began since it was called.
    pub(super) epochs_within: Cell<u32>,
    /// Whether the epoch that the running phase began last was worked through, or cancelled by
    /// itself.
    pub(super) epoch_complete: Cell<bool>,
    /// Called when everything may be saved.
    pub(crate) on_checkpoint: RefCell<Option<OnCheckpoint>>,
    pub(super) wishes: RefCell<Vec<Wish>>,
    pub(super) watch_steps: Cell<bool>,
    /// Whether moments between steps are offered: somebody watches, or there are wishes.
    pub(super) offer_steps: Cell<bool>,
    /// What is left of a snapshot that was put back.
    pub(super) resumption: RefCell<Resumption>,
    /// The end that was decided after the epoch that is saved now.
    pub(super) stopping: RefCell<Option<Stop>>,
    pub(crate) metrics: RefCell<Vec<(String, String, f64)>>,
    pub(super) rehearsal: RefCell<Option<Rehearsal>>,
    /// Whether a step of a rehearsal runs: nobody hears, sees or records anything of it.
    pub(super) muted: Cell<bool>,
    pub(crate) callbacks: RefCell<Vec<Rc<Instance>>>,
    pub(crate) ports: Ports,
    pub(crate) folders: Folders,
    pub(crate) root: Nodes,
    /// Room for the results of operations, used again and again.
    pub(crate) results: Cell<Vec<Handle>>,
    pub(super) batch: Cell<BatchRaw>,
    pub(super) interrupt: Arc<AtomicU32>,
    /// Where the time goes.
    pub profile: Profile,
    pending: RefCell<Option<Stop>>,
}

/// Nodes of the state tree that the loop itself writes.
#[derive(Debug)]
pub(crate) struct Nodes {
    pub step: NodeId,
    pub epoch: NodeId,
    pub phase: NodeId,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("position", &self.position).finish_non_exhaustive()
    }
}

impl Runtime {
    /// A runtime without instances.
    pub fn new(engine: Engine, ports: Ports, folders: Folders) -> Result<Rc<Runtime>, Stop> {
        let mut state = State::new();
        let mut node = |path: &str| state.node(path).map_err(|error| Stop::host(error.to_string()));
        let root = Nodes { step: node("step")?, epoch: node("epoch")?, phase: node("phase")? };
        Ok(Rc::new_cyclic(|me| Runtime {
            me: Weak::clone(me),
            ambient: ambient::here(),
            engine: RefCell::new(engine),
            state: RefCell::new(state),
            instances: RefCell::default(),
            lists: RefCell::default(),
            events: RefCell::default(),
            setup: RefCell::default(),
            parts: OnceCell::new(),
            data: RefCell::default(),
            field_nodes: RefCell::default(),
            position: Position::default(),
            spans: Default::default(),
            serial: Cell::new(0),
            open_epoch: RefCell::default(),
            building: Cell::new(None),
            grads_ready: Cell::new(false),
            epochs_done: Cell::new(0),
            next_phase: Cell::new(0),
            epochs_within: Cell::new(0),
            epoch_complete: Cell::new(false),
            on_checkpoint: RefCell::default(),
            wishes: RefCell::default(),
            watch_steps: Cell::new(false),
            offer_steps: Cell::new(false),
            resumption: RefCell::default(),
            stopping: RefCell::default(),
            metrics: RefCell::default(),
            rehearsal: RefCell::default(),
            muted: Cell::new(false),
            callbacks: RefCell::default(),
            ports,
            folders,
            root,
            results: Cell::default(),
            batch: Cell::new(super::epoch::NO_BATCH),
            interrupt: Arc::default(),
            profile: Profile::default(),
            pending: RefCell::default(),
        }))
    }

    /// Itself, for those that may outlive it.
    pub(crate) fn weak(&self) -> Weak<Runtime> {
        Weak::clone(&self.me)
    }

    /// Set to a signal's number by a signal handler: the fit then ends, orderly, after the step.
    pub fn interrupt(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.interrupt)
    }

    pub(super) fn check_interrupt(&self) -> Flow {
        match self.interrupt.load(Ordering::Relaxed) {
            0 => Ok(()),
            TIME_IS_UP => Err(Stop::fit("the time that the run may take is up")),
            signal => Err(Stop::fit(format!("interrupted by signal {signal}"))),
        }
    }

    /// The instances by role.
    ///
    /// # Errors
    /// Before the run is composed.
    pub fn parts(&self) -> Flow<&Parts> {
        self.parts.get().ok_or_else(|| Stop::host("the run is not composed yet"))
    }

    /// The instance with a number.
    pub fn instance(&self, number: u32) -> Option<Rc<Instance>> {
        self.instances.borrow().get(number as usize).cloned().flatten()
    }

    /// The instance with an id.
    pub fn instance_named(&self, id: &str) -> Option<Rc<Instance>> {
        self.instances.borrow().iter().flatten().find(|instance| instance.id == id).cloned()
    }

    /// Where the run stands.
    pub fn at(&self) -> EventRaw {
        self.position.get()
    }

    /// Calls `f` with the position in the form in which it is recorded.
    pub(crate) fn with_at<T>(&self, f: impl FnOnce(&At<'_>) -> T) -> T {
        let raw = self.position.get();
        let phase = self.parts.get().and_then(|parts| parts.phases.get(raw.phase as usize));
        f(&At {
            phase: phase.map_or("", |phase| phase.instance.id.as_str()),
            kind: phase.map(|phase| phase.kind),
            epoch: raw.epoch,
            step: raw.step,
            total_steps: raw.total_steps,
        })
    }

    /// Tells the record what happened.
    pub(crate) fn record_event(&self, kind: &str, by: &str, detail: &str) -> Flow {
        if self.muted.get() {
            return Ok(());
        }
        let told = self.with_at(|at| self.ports.sink.event(at, kind, by, detail));
        told.map_err(|error| {
            Stop::host(format!("the record of the run cannot be written: {error}"))
        })
    }

    /// Words for a message: what an instance was doing, and where in the run.
    pub(super) fn describe(&self, doing: Doing) -> String {
        let what = doing.phrase(|number| {
            self.events.try_borrow().ok().and_then(|events| events.name(number).map(str::to_owned))
        });
        self.with_at(|at| what + &place(at.phase, at.epoch, at.step))
    }

    /// Keeps a stop aside while its status travels through a plugin.
    pub fn leave_pending(&self, stop: Stop) {
        *self.pending.borrow_mut() = Some(stop);
        self.ambient.leave();
    }

    /// The stop that was kept aside, if its status came back.
    pub(super) fn take_pending(&self, kind: StopKind) -> Option<Stop> {
        // A panic travels as an error through those who did not panic.
        let same =
            |stop: &Stop| stop.kind() == kind || (stop.kind().is_failure() && kind.is_failure());
        self.pending.borrow_mut().take().filter(same)
    }

    #[inline]
    pub(super) fn forget_pending(&self) {
        self.pending.take();
    }

    /// A new serial number for a span.
    pub(super) fn next_serial(&self) -> u64 {
        let next = self.serial.get() + 1;
        self.serial.set(next);
        next
    }

    /// Releases what the state tree gave up.
    pub(crate) fn release_dropped(&self) -> crate::tensor::Result<()> {
        let (mut state, mut engine) = (self.state.borrow_mut(), self.engine.borrow_mut());
        while let Some(handle) = state.take_dropped() {
            engine.release(handle)?;
        }
        Ok(())
    }

    /// Checks that `caller` is the phase that is running.
    #[inline]
    pub(crate) fn require_phase(&self, caller: u32, what: &str) -> Answer<usize> {
        let at = &self.position;
        if at.phase_instance.get() == caller {
            Ok(at.get().phase as usize)
        } else {
            Err(self.not_the_phase(caller, what))
        }
    }

    #[cold]
    #[inline(never)]
    fn not_the_phase(&self, caller: u32, what: &str) -> Refusal {
        let state = self.state.borrow();
        let caller = state.owner_id(caller);
        let running =
            self.parts.get().and_then(|parts| parts.phases.get(self.position.get().phase as usize));
        Refusal::Text(match running {
            Some(phase) => format!(
                "`{caller}` may not {what}: only the running phase, `{}`, may",
                phase.instance.id
            ),
            None => format!(
                "`{caller}` may not {what} now: no phase is running, and only the running phase may"
            ),
        })
    }

    /// The name of an event, for messages and plugins.
    pub fn event_name(&self, number: u32) -> Option<String> {
        self.events.borrow().name(number).map(str::to_owned)
    }
}

/// Whether an event is one of those before a backward pass, when callbacks may add to what is
/// computed.
pub(super) fn records(number: u32) -> bool {
    matches!(number, event::STEP_BEGIN | event::LOSS_BEGIN | event::BACKWARD_BEGIN)
        || number >= event::CUSTOM
}
