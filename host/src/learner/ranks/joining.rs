//! The ends of steps and of the fit: what ends one rank ends all, in the same step.

use super::Ranks;
use super::meeting::{Doing, decode, encode, of_rank};
use crate::learner::control::{Flow, Stop};
use crate::learner::runtime::Runtime;

impl Runtime {
    /// Sets the place of this process among those of the run, before anything is trained.
    ///
    /// # Errors
    /// If it was set before.
    pub fn set_ranks(&self, ranks: Ranks) -> Flow {
        self.ranks.set(ranks).map_err(|_| Stop::host("a run is connected once"))
    }

    /// The place of this process; `None` for a run of one process without blocks.
    pub fn ranks(&self) -> Option<&Ranks> {
        self.ranks.get()
    }

    /// The other ranks, if there are any.
    pub(in crate::learner) fn others(&self) -> Option<&Ranks> {
        self.ranks.get().filter(|ranks| ranks.are_several())
    }

    /// The signal that ends the run. With several ranks it is one that all know of.
    pub(in crate::learner) fn known_signal(&self) -> u32 {
        self.others().map_or_else(|| self.interrupt.signal(), |ranks| ranks.agreed.get())
    }

    /// Whether a signal ends the run, or a checkpoint is requested.
    pub(in crate::learner) fn is_interrupted(&self) -> bool {
        match self.others() {
            Some(ranks) => ranks.agreed.get() != 0 || self.interrupt.wants_save(),
            None => self.interrupt.is_pending(),
        }
    }

    /// Checks that all ranks begin the fit in the same place.
    pub(in crate::learner) fn join_begin(&self) -> Flow {
        let Some(ranks) = self.others() else { return Ok(()) };
        let met = ranks.meet(Doing::Starting, self.steps_begun(), &[])?;
        if met.numbers.iter().all(|steps| *steps == met.numbers[0]) {
            return Ok(());
        }
        Err(Stop::host(format!(
            "the ranks begin after different numbers of steps: {:?}; all of them have to resume from \
             the same checkpoint, in a folder that all of them see",
            met.numbers
        )))
    }

    /// The outcome of a step on all ranks.
    pub(in crate::learner) fn join_step(&self, flow: Flow) -> Flow {
        let flow = match self.others() {
            Some(ranks) => ranks.caused(flow),
            None => flow,
        };
        self.join(Doing::StepEnd, flow)
    }

    /// Exchanges signals between two phases.
    pub(in crate::learner) fn join_pause(&self) -> Flow {
        self.join(Doing::Pause, Ok(()))
    }

    /// The outcome of the fit on all ranks.
    pub(in crate::learner) fn join_fit(&self, flow: Flow) -> Flow {
        self.join(Doing::FitEnd, flow)
    }

    /// Exchanges outcomes and signals: the worst outcome counts on every rank.
    fn join(&self, doing: Doing, flow: Flow) -> Flow {
        let Some(ranks) = self.others() else { return flow };
        let signal = u64::from(self.interrupt.signal());
        let met = match ranks.meet(doing, signal, &encode(flow.as_ref().map(|_| ()))) {
            Ok(met) => met,
            Err(other) => {
                return match flow {
                    Err(own) => Err(own.or_worse(other)),
                    Ok(()) => Err(other),
                };
            }
        };
        let signal = met.numbers.iter().copied().max().unwrap_or(0) as u32;
        if signal != 0 {
            ranks.agreed.set(signal);
            if self.interrupt.signal() == 0 {
                self.interrupt.end(signal);
            }
        }
        let mut outcome = flow;
        for (rank, message) in met.messages.iter().enumerate() {
            if rank == ranks.rank() {
                continue;
            }
            let Some(stop) = decode(message) else { continue };
            outcome = match outcome {
                Ok(()) => Err(of_rank(stop, rank)),
                Err(own) if stop.kind() > own.kind() => Err(of_rank(stop, rank)),
                Err(own) => Err(own),
            };
        }
        outcome
    }
}
