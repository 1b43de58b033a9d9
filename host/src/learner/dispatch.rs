//! Dispatching: an event goes to its subscribers, in their order, without search, sorting or
//! allocation.
//!
//! Begins and ends are paired: who saw a begin hears exactly once how it ended, and who was not
//! reached by a begin hears nothing of its end.

use std::cell::Cell;
use std::rc::Rc;

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

/// The span that an event begins or ends.
#[inline]
fn span_of(kind: u32) -> Option<Span> {
    match kind {
        event::FIT_BEGIN | event::FIT_END => Some(Span::Fit),
        event::EPOCH_BEGIN | event::EPOCH_END => Some(Span::Epoch),
        event::STEP_BEGIN | event::STEP_END => Some(Span::Step),
        _ => None,
    }
}

impl Runtime {
    #[inline]
    fn current_lists(&self) -> Rc<DispatchLists> {
        Rc::clone(&self.lists.borrow())
    }

    /// Sends an event to its subscribers. The first that stops ends the round.
    #[inline]
    pub fn dispatch(&self, kind: u32) -> Flow {
        let lists = self.current_lists();
        match lists.of(self.position.phase(), kind) {
            Some([]) => Ok(()),
            Some(_) if self.muted.get() => Ok(()),
            Some(subscribers) => self.round(subscribers, kind),
            None => Err(no_event(kind)),
        }
    }

    #[inline(never)]
    fn round(&self, subscribers: &[Subscriber], kind: u32) -> Flow {
        let event = self.position.event(kind);
        let recording = if records(kind) { None } else { self.pause_recording() };
        let trail = crumb::begin();
        let flow = if span_of(kind).is_none() && !self.profile.is_timing() {
            self.round_along(&trail, subscribers, &event, |_| {}, |_| {})
        } else {
            self.thorough_round(&trail, subscribers, &event)
        };
        trail.end();
        self.resume_recording(recording);
        flow
    }

    /// A round that begins or ends a span, or that is timed.
    #[inline(never)]
    fn thorough_round(&self, trail: &Trail, subscribers: &[Subscriber], event: &EventRaw) -> Flow {
        let serial = span_of(event.kind).map_or(0, |span| self.spans[span as usize].get());
        let mark = |instance: &Instance| instance.mark(event.kind, serial);
        let Some(begin) = self.profile.begin() else {
            return self.round_along(trail, subscribers, event, mark, |_| {});
        };
        let clock = Cell::new(begin);
        let lap =
            |number| clock.set(self.profile.add(clock.get(), Work::Callback(number, event.kind)));
        self.round_along(trail, subscribers, event, mark, lap)?;
        self.profile.span(begin, clock.get(), Work::Event(event.kind));
        Ok(())
    }

    /// Calls those that have not failed before, one after the other. Before it `mark`, after it
    /// `called` hears who it is.
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
            if code != status::OK {
                self.bear(
                    instance,
                    instance.failed(self, Doing::Event(event.kind), Failure::of(code)),
                )?;
            } else if round.take_left() {
                self.forget_pending();
            }
        }
        Ok(())
    }

    /// Sends an event that tells how `span` ended to all who have not heard it yet; nobody can stop
    /// the round.
    pub(super) fn dispatch_closing(&self, kind: u32, span: Span) -> Flow {
        let serial = self.spans[span as usize].get();
        self.dispatch_to_all(kind, |instance| {
            let owed = instance.is_owed(span, serial);
            instance.mark(span.end(), serial);
            owed
        })
    }

    /// Sends an event that only says something, to all who are within `span`; nobody can stop the
    /// round.
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
                instance.mark(span.end(), serial);
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
        let recording = self.pause_recording();
        for Subscriber { instance, .. } in lists.of(event.phase, kind).unwrap_or_default() {
            if !instance.is_poisoned() && wants(instance) {
                worst.note(self.deliver(instance, &event));
            }
        }
        self.resume_recording(recording);
        worst.flow()
    }

    #[inline]
    fn deliver(&self, instance: &Instance, event: &EventRaw) -> Flow {
        if instance.is_disabled() {
            return Ok(());
        }
        let outcome = instance.call(self, Doing::Event(event.kind), |plugin| {
            plugin.callback_on(self, instance.number, event)
        });
        outcome.or_else(|stop| self.bear(instance, stop))
    }

    /// Lives on without an instance that failed, where its `on-error` says so.
    #[cold]
    #[inline(never)]
    fn bear(&self, instance: &Instance, stop: Stop) -> Flow {
        if stop.kind().is_failure()
            && instance.on_error == OnError::Disable
            && stop.0.by == instance.id
        {
            return self.disable(instance, &stop);
        }
        Err(stop)
    }

    fn disable(&self, instance: &Instance, stop: &Stop) -> Flow {
        instance.disable();
        log::warn!("{stop}; it is left out from here on, as its `on-error = \"disable\"` says");
        self.record_event("instance-disabled", &instance.id, &stop.0.text)
    }

    /// What callbacks compute after the backward pass need not be remembered. Answers the mode to
    /// go back to, if it changed.
    #[inline]
    fn pause_recording(&self) -> Option<Mode> {
        let before = self.engine.borrow().mode();
        if before.recording == Recording::Off {
            return None;
        }
        self.engine.borrow_mut().set_mode(Mode { recording: Recording::Off, ..before });
        Some(before)
    }

    #[inline]
    fn resume_recording(&self, before: Option<Mode>) {
        if let Some(before) = before {
            self.engine.borrow_mut().set_mode(before);
        }
    }

    /// Lets the child callback of another instance handle an event.
    pub(crate) fn child_event(&self, child: &Instance, event: &EventRaw) -> Flow {
        if !child.handles(event.kind) {
            return Ok(());
        }
        self.deliver(child, event)
    }
}

#[cold]
#[inline(never)]
fn no_event(kind: u32) -> Stop {
    Stop::host(format!(
        "{kind} is no event of this run: custom events need a number from setup's `event`"
    ))
}
