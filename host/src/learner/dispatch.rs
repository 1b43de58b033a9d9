//! Dispatching: an event goes to its subscribers, in their order, without search, sorting or
//! allocation.
//!
//! Begins and ends are paired: a callback that received a begin receives exactly one event that
//! ends it; one that the begin did not reach receives none.

use std::cell::Cell;

use fluxbay_plugin::abi::event::{self, EventRaw};
use fluxbay_plugin::abi::status;

use super::control::{Flow, Stop, Worst};
use super::events::Subscriber;
use super::instance::{Instance, OnError};
use super::mode::records;
use super::profile::Work;
use super::runtime::Runtime;
use super::span::Span;
use crate::breadcrumb::{self, Activity, CallGuard};
use crate::calls::{CallError, EventRound};
use crate::surroundings::float::{self, Control};
use crate::surroundings::{self, process};
use crate::tensor::{Mode, Recording};

impl Runtime {
    /// Sends an event to its subscribers. The first one that stops ends the round.
    #[inline]
    pub fn dispatch(&self, kind: u32) -> Flow {
        let lists = self.members.lists();
        match lists.of(self.position.phase(), kind) {
            Some([]) => Ok(()),
            Some(_) if self.rehearsals.is_muted() => Ok(()),
            Some(subscribers) => self.round(subscribers, kind),
            None => Err(no_event(kind)),
        }
    }

    #[inline(never)]
    fn round(&self, subscribers: &[Subscriber], kind: u32) -> Flow {
        let at = self.position.get();
        let recording = if records(kind) { None } else { self.pause_recording() };
        let guard = breadcrumb::begin();
        let flow = if Span::of_event(kind).is_none() && !self.profile.is_timing() {
            self.round_along(&guard, subscribers, kind, &at, |_| {}, |_| {})
        } else {
            self.thorough_round(&guard, subscribers, kind, &at)
        };
        if !Control::STANDARD.holds() || process::is_copy() {
            self.restore_after_round(subscribers, kind);
        }
        guard.end();
        self.resume_recording(recording);
        flow
    }

    /// Restores floating-point control after a round in which a callback changed it, and names the
    /// callbacks of the round: which one it was is known only if there is one.
    #[cold]
    #[inline(never)]
    fn restore_after_round(&self, subscribers: &[Subscriber], kind: u32) {
        let activity = Activity::Event(kind);
        if let [Subscriber { instance, .. }] = subscribers {
            return instance.plugin_side().restore_after(activity);
        }
        let names: Vec<String> =
            subscribers.iter().map(|one| format!("`{}`", one.instance.id)).collect();
        let whose = format!("one of {}, {}", names.join(", "), self.describe(activity));
        if process::is_copy() {
            surroundings::end_copy(&whose);
        }
        let change = float::restore_standard();
        if !self.reported_float_control.replace(true) {
            log::warn!(
                "{whose}: the floating-point control was changed ({change}); restored, and not reported again in this run"
            );
        }
    }

    /// A round that begins or ends a span, or that is timed.
    #[inline(never)]
    fn thorough_round(
        &self,
        guard: &CallGuard,
        subscribers: &[Subscriber],
        kind: u32,
        at: &EventRaw,
    ) -> Flow {
        let serial = Span::of_event(kind).map_or(0, |span| self.spans.serial(span));
        let mark = |instance: &Instance| instance.mark(kind, serial);
        let Some(begin) = self.profile.begin() else {
            return self.round_along(guard, subscribers, kind, at, mark, |_| {});
        };
        let clock = Cell::new(begin);
        let lap = |number| clock.set(self.profile.add(clock.get(), Work::Callback(number, kind)));
        self.round_along(guard, subscribers, kind, at, mark, lap)?;
        self.profile.span(begin, clock.get(), Work::Event(kind));
        Ok(())
    }

    /// Calls the subscribers that can be called, one after the other; `mark` before and `called`
    /// after each. `at` is the position when the round began.
    #[inline(always)]
    fn round_along(
        &self,
        guard: &CallGuard,
        subscribers: &[Subscriber],
        kind: u32,
        at: &EventRaw,
        mark: impl Fn(&Instance),
        called: impl Fn(u32),
    ) -> Flow {
        let round = EventRound::begin(self);
        for Subscriber { handler, instance } in subscribers {
            mark(instance);
            if !instance.try_enter() {
                self.deliver(instance, &EventRaw { kind, ..*at })?;
                continue;
            }
            guard.set(handler.number(), Activity::Event(kind));
            let code = round.call(handler, kind, at);
            instance.leave();
            called(handler.number());
            if code != status::OK {
                self.disable_or_stop(
                    instance,
                    instance.failed(self, Activity::Event(kind), CallError::of(code)),
                )?;
            } else if round.take_leftovers() {
                self.pending.clear();
            }
        }
        Ok(())
    }

    /// Sends an event that ends `span` to all subscribers that await its end; a stop does not end
    /// the round.
    pub(super) fn dispatch_closing(&self, kind: u32, span: Span) -> Flow {
        let serial = self.spans.serial(span);
        self.dispatch_to_all(kind, |instance| {
            let awaits = instance.awaits_end(span, serial);
            instance.mark(span.end(), serial);
            awaits
        })
    }

    /// Sends an event without other effect to all subscribers that await the end of `span`; a stop
    /// does not end the round.
    pub(super) fn dispatch_notice(&self, kind: u32, span: Span) -> Flow {
        let serial = self.spans.serial(span);
        self.dispatch_to_all(kind, |instance| instance.awaits_end(span, serial))
    }

    /// Sends `error` in place of all ends that subscribers await.
    pub(super) fn dispatch_error(&self) -> Flow {
        self.dispatch_to_all(event::ERROR, |instance| {
            let mut awaits = false;
            for span in Span::ALL {
                let serial = self.spans.serial(span);
                awaits |= instance.awaits_end(span, serial);
                instance.mark(span.end(), serial);
            }
            awaits
        })
    }

    fn dispatch_to_all(&self, kind: u32, mut wants: impl FnMut(&Instance) -> bool) -> Flow {
        if self.rehearsals.is_muted() {
            return Ok(());
        }
        let lists = self.members.lists();
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
        let outcome =
            instance.call(self, Activity::Event(event.kind), |call| call.callback_on(event));
        outcome.or_else(|stop| self.disable_or_stop(instance, stop))
    }

    /// Disables the instance if it failed and its `on-error` allows it; otherwise returns the stop.
    #[cold]
    #[inline(never)]
    fn disable_or_stop(&self, instance: &Instance, stop: Stop) -> Flow {
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

    /// Sends an event to a child callback of another instance.
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
