//! Optimizer state that is divided among the ranks (`run.shard-optimizer`).
//!
//! Every parameter belongs to one rank, which alone keeps its optimizer state and updates it; then the
//! ranks exchange the parameters. Gradients are those of the whole batch on all ranks, so that callbacks
//! see what they see in one process, and the bits are the same. Rank 0 writes checkpoints: at every
//! save point it says whether it takes one, and the others send it their states.

use candle_core::{Device, Tensor};

use super::Ranks;
use super::meeting::Doing;
use super::packing::{pack, unpack};
use crate::learner::control::{Flow, Stop};
use crate::learner::roles::{Shares, Tracked};
use crate::learner::runtime::Runtime;
use crate::learner::saving::SavePoint;
use crate::tensor::{code_of, dtype_of};

/// Tensors that each rank sent, in its order.
pub(in crate::learner) struct Collected(Vec<std::vec::IntoIter<Tensor>>);

impl Collected {
    /// The next tensor of a rank.
    pub(in crate::learner) fn next_of(&mut self, rank: usize) -> Flow<Tensor> {
        let next = self.0.get_mut(rank).and_then(Iterator::next);
        next.ok_or_else(|| Stop::host(format!("rank {rank} sent fewer tensors than it has")))
    }
}

impl Runtime {
    /// The ranks that the optimizer state is divided among, if it is.
    pub(in crate::learner) fn sharing(&self) -> Option<&Ranks> {
        self.others().filter(|ranks| ranks.shares_optimizer)
    }

    /// How parameters are divided: all are this process's own unless the state is divided.
    pub(in crate::learner) fn shares(&self) -> Shares {
        match self.sharing() {
            Some(ranks) => Shares::new(ranks.rank(), ranks.ranks()),
            None => Shares::new(0, 1),
        }
    }

    /// Whether this process keeps the optimizer state of a parameter.
    pub(in crate::learner) fn owns(&self, tracked: &Tracked) -> bool {
        self.sharing().is_none_or(|ranks| ranks.rank() == tracked.owner)
    }

    /// Exchanges the parameters of some models that have been updated.
    pub(in crate::learner) fn share_parameters(&self, only: Option<usize>) -> Flow {
        let Some(ranks) = self.sharing() else { return Ok(()) };
        let mut updated: Vec<(usize, usize)> = Vec::new();
        let mut own = Vec::new();
        for (index, model) in self.roles()?.models.iter().enumerate() {
            if only.is_some_and(|only| only != index) {
                continue;
            }
            for slot in &model.optimizers {
                let engine = self.engine.borrow();
                for tracked in slot.tracked().iter() {
                    if engine.lent_gradient(tracked.parameter).is_none() {
                        continue;
                    }
                    updated.push((tracked.owner, tracked.parameter));
                    if tracked.owner == ranks.rank() {
                        own.push(coded(engine.value(tracked.handle).map_err(Stop::engine)?)?);
                    }
                }
            }
        }
        let mut collected = self.collect(ranks, Doing::Parameters, &own)?;
        let mut engine = self.engine.borrow_mut();
        for (owner, parameter) in updated {
            if owner != ranks.rank() {
                let value = collected.next_of(owner)?;
                engine.set_parameter(parameter, &value).map_err(Stop::engine)?;
            }
        }
        Ok(())
    }

    /// Sends tensors to all ranks, and returns those of the others.
    fn collect(&self, ranks: &Ranks, doing: Doing, own: &[(u32, Tensor)]) -> Flow<Collected> {
        let met = ranks.meet(doing, 0, &pack(own)?)?;
        let mut all = Vec::with_capacity(met.messages.len());
        for (rank, message) in met.messages.iter().enumerate() {
            let mut tensors = Vec::new();
            if rank != ranks.rank() {
                for packed in unpack(message)? {
                    let dtype = dtype_of(packed.code)
                        .ok_or_else(|| Stop::host("a rank sent an unknown element type"))?;
                    let dims = &packed.dims[..];
                    let tensor =
                        Tensor::from_raw_buffer(packed.elements, dtype, dims, &Device::Cpu);
                    tensors.push(tensor.map_err(Stop::engine)?);
                }
            }
            all.push(tensors.into_iter());
        }
        Ok(Collected(all))
    }

    /// Offers a save point if it is `wanted`. With divided optimizer state all ranks come here at the same
    /// moments: rank 0 offers it, the others send it their state for each snapshot that it takes.
    pub(in crate::learner) fn reach_save_point(&self, wanted: bool, point: SavePoint) -> Flow {
        let Some(ranks) = self.sharing() else {
            return if wanted { self.offer(point) } else { Ok(()) };
        };
        if ranks.rank() > 0 {
            while ranks.meet(Doing::Saving, 0, &[])?.numbers[0] != 0 {
                self.collect(ranks, Doing::Saving, &self.own_states()?)?;
            }
            return if wanted { self.offer(point) } else { Ok(()) };
        }
        if wanted {
            self.saving.collects.set(true);
            let offered = self.offer(point);
            self.saving.collects.set(false);
            offered?;
        }
        ranks.meet(Doing::Saving, 0, &[]).map(drop)
    }

    /// The optimizer states of the other ranks, for a snapshot of the whole run; `None` where a snapshot
    /// has only those of this process.
    pub(in crate::learner) fn states_of_others(&self) -> Flow<Option<Collected>> {
        let Some(ranks) = self.sharing().filter(|_| self.saving.collects.get()) else {
            return Ok(None);
        };
        ranks.meet(Doing::Saving, 1, &[])?;
        self.collect(ranks, Doing::Saving, &[]).map(Some)
    }

    /// The optimizer states of this process, in the order of the parameters.
    fn own_states(&self) -> Flow<Vec<(u32, Tensor)>> {
        let engine = self.engine.borrow();
        let mut states = Vec::new();
        for slot in self.roles()?.models.iter().flat_map(|model| &model.optimizers) {
            for tracked in slot.tracked().iter().filter(|tracked| self.owns(tracked)) {
                for &state in &tracked.states {
                    states.push(coded(engine.value(state).map_err(Stop::engine)?)?);
                }
            }
        }
        Ok(states)
    }
}

/// A tensor with the number of its element type.
fn coded(tensor: Tensor) -> Flow<(u32, Tensor)> {
    let code = code_of(tensor.dtype())
        .ok_or_else(|| Stop::host("a tensor has an element type without a number"))?;
    Ok((code, tensor))
}
