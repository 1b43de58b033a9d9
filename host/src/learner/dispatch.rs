//! Dispatching: an event goes to its subscribers, in their order, without search, sorting or allocation.
//!
//! Begins and ends are paired: who saw a begin hears exactly once how it ended, and who was not reached by a begin hears
//! nothing of its end.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use fluxbay_plugin::abi::event::{self, EventRaw};
use fluxbay_plugin::abi::status;

use super::control::{Flow, Stop, Worst};
use super::events::{DispatchLists, Subscriber};
use super::instances::{Doing, Instance, OnError, Span};
use super::profile::Work;
use super::runtime::{Runtime, records};
use crate::bridge::call::{Failure, Round};
use crate::supervisor::crumb::{self, Trail};
use crate::tensor::{Mode, Recording};

/// What an event does to a span, for those that hear it.
#[derive(Clone, Copy)]
enum Mark {
    None,
    Begin(Span),
    End(Span),
}

fn mark_of(kind: u32) -> Mark {
    match kind {
        event::FIT_BEGIN => Mark::Begin(Span::Fit),
        event::EPOCH_BEGIN => Mark::Begin(Span::Epoch),
        event::STEP_BEGIN => Mark::Begin(Span::Step),
        event::FIT_END => Mark::End(Span::Fit),
        event::EPOCH_END => Mark::End(Span::Epoch),
        event::STEP_END => Mark::End(Span::Step),
        _ => Mark::None,
    }
}

impl Runtime {
    fn current_lists(&self) -> Rc<DispatchLists> {
        Rc::clone(&self.lists.borrow())
    }

    /// Sends an event to its subscribers. The first that stops ends the round.
    pub fn dispatch(&self, kind: u32) -> Flow {
        let lists = self.current_lists();
        let event = self.position.event(kind);
        let Some(subscribers) = lists.of(event.phase, kind) else {
            return Err(Stop::host(format!("{kind} is no event of this run: custom events need a number from setup's `event`")));
        };
        if subscribers.is_empty() || self.muted.get() {
            return Ok(());
        }
        self.without_recording_unless(records(kind), || match mark_of(kind) {
            Mark::None => self.round(subscribers, &event, |_| {}),
            Mark::Begin(span) => {
                let serial = self.spans[span as usize].get();
                self.round(subscribers, &event, |instance| instance.mark_begun(span, serial))
            }
            Mark::End(span) => {
                let serial = self.spans[span as usize].get();
                self.round(subscribers, &event, |instance| instance.mark_ended(span, serial))
            }
        })
    }

    #[inline]
    fn round(&self, subscribers: &[Subscriber], event: &EventRaw, mark: impl Fn(&Instance)) -> Flow {
        let trail = crumb::begin();
        let flow = match self.profile.begin() {
            None => self.round_along(&trail, subscribers, event, |instance| mark(instance), |_| {}),
            Some(begin) => self.timed_round(&trail, subscribers, event, &mark, begin),
        };
        trail.end();
        flow
    }

    #[cold]
    fn timed_round(&self, trail: &Trail, subscribers: &[Subscriber], event: &EventRaw, mark: &dyn Fn(&Instance), begin: Instant) -> Flow {
        let clock = Cell::new(begin);
        let lap = |number| clock.set(self.profile.add(clock.get(), Work::Callback(number, event.kind)));
        self.round_along(trail, subscribers, event, mark, lap)?;
        self.profile.span(begin, clock.get(), Work::Event(event.kind));
        Ok(())
    }

    /// Calls those that have not failed before, one after the other; `called` hears who it was.
    #[inline(always)]
    fn round_along(
        &self,
        trail: &Trail,
        subscribers: &[Subscriber],
        event: &EventRaw,
        mark: impl Fn(&Instance),
        called: impl Fn(u32),
    ) -> Flow {
        let round = Round::begin(self);
        for Subscriber { handler, instance } in subscribers {
            mark(instance);
            if !instance.claim() {
                self.deliver(instance, event)?;
                continue;
            }
            trail.at(handler.number(), Doing::Event(event.kind));
            let code = round.call(handler, event);
            instance.release();
            called(handler.number());
            if code == status::OK {
                self.forget_pending();
            } else {
                self.bear(instance, instance.failed(self, Doing::Event(event.kind), Failure::of(code)))?;
            }
        }
        Ok(())
    }

    /// Sends an event that tells how `span` ended to all who have not heard it yet; nobody can stop the round.
    pub(super) fn dispatch_closing(&self, kind: u32, span: Span) -> Flow {
        let serial = self.spans[span as usize].get();
        self.dispatch_to_all(kind, |instance| {
            let owed = instance.is_owed(span, serial);
            instance.mark_ended(span, serial);
            owed
        })
    }

    /// Sends an event that only says something, to all who are within `span`; nobody can stop the round.
    pub(super) fn dispatch_notice(&self, kind: u32, span: Span) -> Flow {
        let serial = self.spans[span as usize].get();
        self.dispatch_to_all(kind, |instance| instance.is_owed(span, serial))
    }

    /// Sends `error` in place of all ends that are still owed.
    pub(super) fn dispatch_error(&self) -> Flow {
        self.dispatch_to_all(event::ERROR, |instance| {
            let mut owed = false;
            for span in Span::ALL {
                let serial = self.spans[span as usize].get();
                owed |= instance.is_owed(span, serial);
                instance.mark_ended(span, serial);
            }
            owed
        })
    }

    fn dispatch_to_all(&self, kind: u32, mut wants: impl FnMut(&Instance) -> bool) -> Flow {
        if self.muted.get() {
            return Ok(());
        }
        let lists = self.current_lists();
        let event = self.position.event(kind);
        let mut worst = Worst::default();
        self.without_recording_unless(false, || {
            for Subscriber { instance, .. } in lists.of(event.phase, kind).unwrap_or_default() {
                if !instance.is_poisoned() && wants(instance) {
                    worst.note(self.deliver(instance, &event));
                }
            }
            Ok(())
        })?;
        worst.flow()
    }

    #[inline]
    fn deliver(&self, instance: &Instance, event: &EventRaw) -> Flow {
        if instance.is_disabled() {
            return Ok(());
        }
        let outcome = instance.call(self, Doing::Event(event.kind), |plugin| plugin.callback_on(self, instance.number, event));
        outcome.or_else(|stop| self.bear(instance, stop))
    }

    /// Lives on without an instance that failed, where its `on-error` says so.
    #[cold]
    fn bear(&self, instance: &Instance, stop: Stop) -> Flow {
        if stop.kind().is_failure() && instance.on_error == OnError::Disable && stop.0.by == instance.id {
            return self.disable(instance, &stop);
        }
        Err(stop)
    }

    fn disable(&self, instance: &Instance, stop: &Stop) -> Flow {
        instance.disable();
        log::warn!("{stop}; it is left out from here on, as its `on-error = \"disable\"` says");
        self.record_event("instance-disabled", &instance.id, &stop.0.text)
    }

    /// Runs `f` with recording as it is, or off: what callbacks compute after the backward pass need not be remembered.
    fn without_recording_unless(&self, keep: bool, f: impl FnOnce() -> Flow) -> Flow {
        if keep {
            return f();
        }
        let before = self.engine.borrow().mode();
        if before.recording == Recording::Off {
            return f();
        }
        self.engine.borrow_mut().set_mode(Mode { recording: Recording::Off, ..before });
        let flow = f();
        self.engine.borrow_mut().set_mode(before);
        flow
    }

    /// Lets the child callback of another instance handle an event.
    pub(crate) fn child_event(&self, child: &Instance, event: &EventRaw) -> Flow {
        if !child.handles(event.kind) {
            return Ok(());
        }
        self.deliver(child, event)
    }
}
