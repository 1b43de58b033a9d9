//! The runtime: everything that plugins reach while they are called, in parts that own their data.
//!
//! No borrow of a cell is held while a plugin runs, because the plugin calls back. The bridge finds
//! the runtime through the context of the call; the rest of the host holds it directly.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use fluxbay_plugin::abi::event::EventRaw;
use fluxbay_plugin::abi::{handle::Handle, learner::BatchRaw};

use super::batches::{Epochs, NO_BATCH};
use super::control::{Flow, PendingStop, Stop};
use super::instance::{Components, Instance};
use super::interrupt::{Interrupt, TIME_IS_UP};
use super::intervals::Intervals;
use super::measured::Measured;
use super::members::Members;
use super::memory::MeasuredMemory;
use super::metrics::LastMetrics;
use super::ports::{At, Display, Sink};
use super::position::Position;
use super::profile::Profile;
use super::ranks::Ranks;
use super::references::References;
use super::refusal::{Answer, Refusal};
use super::rehearsal::Rehearsals;
use super::roles::Roles;
use super::run_data::RunData;
use super::saving::{SavePoint, Saving};
use super::setup::Setup;
use super::span::OpenSpans;
use super::state::{NodeId, State};
use super::values::Values;
use crate::breadcrumb::{Activity, location};
use crate::calls::Host;
use crate::calls::context::{self, Context};
use crate::surroundings::Surroundings;
use crate::tensor::Engine;

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
    /// Base of relative paths in configurations.
    pub base: String,
    /// Folder of the run; empty if there is none.
    pub run: String,
}

/// What is done at a save point. A failure ends the fit.
pub type OnSavePoint = Rc<dyn Fn(&Runtime, SavePoint) -> Flow>;

/// See the module.
pub struct Runtime {
    pub(super) me: Weak<Runtime>,
    /// The context of the training thread, which a runtime never leaves.
    context: &'static Context,
    pub(crate) engine: RefCell<Engine>,
    pub(crate) state: RefCell<State>,
    /// Nodes of the state tree that the loop writes.
    pub(super) nodes: LoopNodes,
    pub(crate) ports: Ports,
    pub(crate) folders: Folders,
    pub(crate) members: Members,
    pub(super) setup: Setup,
    pub(crate) roles: OnceCell<Roles>,
    pub(super) data: RunData,
    pub(crate) position: Position,
    pub(super) spans: OpenSpans,
    pub(crate) epochs: Epochs,
    pub(crate) step: StepState,
    pub(super) saving: Saving,
    pub(super) on_save_point: RefCell<Option<OnSavePoint>>,
    pub(super) rehearsals: Rehearsals,
    pub(super) metrics: RefCell<LastMetrics>,
    pub(super) measured: Measured,
    pub(super) memory: MeasuredMemory,
    pub(super) interrupt: Arc<Interrupt>,
    /// Set for a run of several processes, and for one whose steps are divided into blocks.
    pub(super) ranks: OnceCell<Ranks>,
    pub(super) intervals: Intervals,
    pub(super) pending: PendingStop,
    /// Whether a change of the floating-point control by one of several callbacks was reported.
    pub(super) reported_float_control: Cell<bool>,
    /// The surroundings of the process when the fit began.
    pub(super) surroundings: RefCell<Option<Surroundings>>,
    /// References that instances own.
    references: RefCell<References>,
    /// Time measurements.
    pub profile: Profile,
}

/// Nodes of the state tree that the loop writes.
#[derive(Debug)]
pub(super) struct LoopNodes {
    pub step: NodeId,
    pub epoch: NodeId,
    pub phase: NodeId,
}

/// What belongs to the step or model build that is running.
pub(crate) struct StepState {
    pub(super) batch: Cell<BatchRaw>,
    pub(crate) has_gradients: Cell<bool>,
    /// First row and number of rows of the inputs that a model is being run on, if these are a part of
    /// the batch.
    pub(super) rows: Cell<Option<(usize, usize)>>,
    /// Index of the model that is being built, and number of its instance.
    pub(super) building: Cell<Option<(usize, u32)>>,
    /// Buffer for the results of operations, reused by each.
    pub(crate) results: Cell<Vec<Handle>>,
    /// The last value of a schedule: number of the schedule, time, value.
    pub(super) scheduled: Cell<Option<(u32, f64, f64)>>,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("position", &self.position).finish_non_exhaustive()
    }
}

impl Host for Runtime {
    #[inline]
    fn context(&self) -> &'static Context {
        self.context
    }

    fn weak(&self) -> Weak<dyn Host> {
        let weak: Weak<Runtime> = Weak::clone(&self.me);
        weak
    }
}

impl Runtime {
    /// A runtime without instances.
    pub fn new(engine: Engine, ports: Ports, folders: Folders) -> Result<Rc<Runtime>, Stop> {
        let mut state = State::new();
        let mut node = |path: &str| state.node(path).map_err(Stop::engine);
        let nodes = LoopNodes { step: node("step")?, epoch: node("epoch")?, phase: node("phase")? };
        Ok(Rc::new_cyclic(|me| Runtime {
            me: Weak::clone(me),
            context: context::of_thread(),
            engine: RefCell::new(engine),
            state: RefCell::new(state),
            nodes,
            ports,
            folders,
            members: Members::default(),
            setup: Setup::default(),
            roles: OnceCell::new(),
            data: RunData::default(),
            position: Position::default(),
            spans: OpenSpans::default(),
            epochs: Epochs::default(),
            step: StepState {
                batch: Cell::new(NO_BATCH),
                has_gradients: Cell::new(false),
                rows: Cell::new(None),
                building: Cell::new(None),
                results: Cell::default(),
                scheduled: Cell::default(),
            },
            saving: Saving::default(),
            on_save_point: RefCell::default(),
            rehearsals: Rehearsals::default(),
            metrics: RefCell::default(),
            measured: Measured::default(),
            memory: MeasuredMemory::default(),
            interrupt: Arc::default(),
            ranks: OnceCell::new(),
            intervals: Intervals::default(),
            pending: PendingStop::default(),
            reported_float_control: Cell::new(false),
            surroundings: RefCell::new(None),
            references: RefCell::default(),
            profile: Profile::default(),
        }))
    }

    /// Set by a signal handler to the signal's number: the fit then ends after the step, in an
    /// orderly way.
    pub fn interrupt(&self) -> Arc<Interrupt> {
        Arc::clone(&self.interrupt)
    }

    pub(super) fn check_interrupt(&self) -> Flow {
        match self.known_signal() {
            0 => Ok(()),
            TIME_IS_UP => Err(Stop::fit("the time that the run may take is up")),
            signal => Err(Stop::fit(format!("interrupted by signal {signal}"))),
        }
    }

    /// Sets what is done at save points.
    pub fn set_on_save_point(&self, action: Option<OnSavePoint>) {
        *self.on_save_point.borrow_mut() = action;
    }

    /// The instances by role.
    ///
    /// # Errors
    /// Before the run is composed.
    pub fn roles(&self) -> Flow<&Roles> {
        self.roles.get().ok_or_else(|| Stop::host("the run is not composed yet"))
    }

    /// The instance with a number.
    pub fn instance(&self, number: u32) -> Option<Rc<Instance>> {
        self.members.get(number)
    }

    /// The position of the run.
    pub fn at(&self) -> EventRaw {
        self.position.get()
    }

    /// Calls `f` with the position in the form in which it is recorded.
    pub(crate) fn with_at<T>(&self, f: impl FnOnce(&At<'_>) -> T) -> T {
        let raw = self.position.get();
        let phase = self.roles.get().and_then(|roles| roles.phases.get(raw.phase as usize));
        f(&At {
            phase: phase.map_or("", |phase| phase.instance.id.as_str()),
            kind: phase.map(|phase| phase.kind),
            epoch: raw.epoch,
            step: raw.step,
            total_steps: raw.total_steps,
        })
    }

    /// An activity and the position in words, for a message.
    pub(super) fn describe(&self, activity: Activity) -> String {
        let what = activity.phrase(|number| self.members.event_name(number));
        self.with_at(|at| what + &location(at.phase, at.epoch, at.step))
    }

    /// Keeps a stop while its status passes through a plugin.
    pub(crate) fn leave_pending(&self, stop: Stop) {
        self.pending.set(stop);
        self.context.set_leftovers();
    }

    /// The state tree for plugins.
    #[inline(always)]
    pub(crate) fn values(&self) -> Values<'_> {
        Values {
            engine: &self.engine,
            state: &self.state,
            members: &self.members,
            roles: self.roles.get(),
            has_gradients: self.step.has_gradients.get(),
            measured: &self.measured,
        }
    }

    /// Counts a reference to a tensor that instance `owner` gets.
    #[inline]
    pub(crate) fn own(&self, tensor: Handle, owner: u32) {
        self.references.borrow_mut().add(tensor, owner);
    }

    /// Adds a reference to a tensor for an instance.
    #[inline]
    pub(crate) fn retain(&self, caller: u32, tensor: Handle) -> Answer {
        self.engine.borrow_mut().retain(tensor)?;
        self.own(tensor, caller);
        Ok(())
    }

    /// Releases a reference of an instance.
    #[inline]
    pub(crate) fn release(&self, caller: u32, tensor: Handle) -> Answer {
        if self.references.borrow_mut().remove(tensor, caller) {
            return Ok(self.engine.borrow_mut().release(tensor)?);
        }
        Err(self.not_owned(caller, tensor))
    }

    #[cold]
    #[inline(never)]
    fn not_owned(&self, caller: u32, tensor: Handle) -> Refusal {
        match self.engine.borrow().value(tensor) {
            Err(error) => error.into(),
            Ok(_) => Refusal::Text(format!(
                "`{}` releases a tensor that it does not own: it was only lent to it, or was \
                 released or returned before",
                self.state.borrow().owner_id(caller)
            )),
        }
    }

    /// Passes a reference that an instance returns to another instance.
    pub(super) fn pass_reference(&self, tensor: Handle, from: u32, to: u32) -> Result<(), String> {
        if self.references.borrow_mut().transfer(tensor, from, to) {
            return Ok(());
        }
        Err(match self.engine.borrow().value(tensor) {
            Err(error) => error.to_string(),
            Ok(_) => "it does not own the tensor, which was lent to it, or released or returned \
                      before; retain what was lent before returning it"
                .to_owned(),
        })
    }

    /// Checks that `caller` is the running phase, and returns its number.
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
            self.roles.get().and_then(|roles| roles.phases.get(self.position.get().phase as usize));
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

    /// Whether a step of a rehearsal runs.
    pub(crate) fn is_muted(&self) -> bool {
        self.rehearsals.is_muted()
    }

    /// The name of an event, for messages and plugins.
    pub fn event_name(&self, number: u32) -> Option<String> {
        self.members.event_name(number)
    }
}
