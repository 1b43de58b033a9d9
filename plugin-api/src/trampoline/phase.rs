//! Tables of phases.

use super::{
    guard::guard,
    instance::{self, Cell, cell},
};
use crate::{
    Batch, Phase, PhaseLearner, Result,
    abi::{
        entry::{Component, Instance, kind},
        learner::BatchRaw,
        phase::PhaseTable,
    },
    setup::Setup,
};

/// A phase with its view of the learner.
pub struct PhaseCell<P> {
    phase: P,
    learner: PhaseLearner,
}

impl<P: Phase> Cell for PhaseCell<P> {
    type Inner = P;

    fn wrap(phase: P, setup: &mut Setup) -> Result<Self> {
        Ok(PhaseCell { phase, learner: PhaseLearner::new(setup)? })
    }

    fn inner(&self) -> &P {
        &self.phase
    }

    fn inner_mut(&mut self) -> &mut P {
        &mut self.phase
    }
}

unsafe extern "C" fn init<P: Phase>(this: Instance) -> i32 {
    guard(|| {
        // SAFETY: the host passes back what `create` returned and calls one function of an instance at a time.
        let cell = unsafe { cell::<PhaseCell<P>>(this) };
        cell.phase.init(&cell.learner)
    })
}

unsafe extern "C" fn step<P: Phase>(this: Instance, batch: *const BatchRaw) -> i32 {
    guard(|| {
        // SAFETY: as above; the batch is borrowed for the call.
        let (cell, raw) = unsafe { (cell::<PhaseCell<P>>(this), *batch) };
        cell.phase.step(&Batch::borrowed(raw), &cell.learner)
    })
}

unsafe extern "C" fn epoch<P: Phase>(this: Instance) -> i32 {
    guard(|| {
        // SAFETY: as above.
        let cell = unsafe { cell::<PhaseCell<P>>(this) };
        cell.phase.epoch(&cell.learner)
    })
}

struct Table<P>(std::marker::PhantomData<P>);

impl<P: Phase> Table<P> {
    const TABLE: &'static PhaseTable =
        &PhaseTable { init: init::<P>, step: step::<P>, epoch: Some(epoch::<P>) };
}

/// The component that offers phase `P`.
pub const fn component<P: Phase>(name: &'static str, state_version: u32) -> Component {
    let mut component = instance::component::<PhaseCell<P>>(kind::PHASE, name, state_version);
    component.phase = Table::<P>::TABLE;
    component
}
