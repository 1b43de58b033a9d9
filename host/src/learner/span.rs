//! Spans: the fit, an epoch, a step; which of them are open, and which of their begin and end
//! events an instance has received.

use std::cell::Cell;

use fluxbay_plugin::abi::event;

/// A part of a run with a begin and an end event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// From fit-begin to fit-end.
    Fit,
    /// From epoch-begin to epoch-end.
    Epoch,
    /// From step-begin to step-end.
    Step,
}

impl Span {
    /// All of them, from the inside out.
    pub const ALL: [Span; 3] = [Span::Step, Span::Epoch, Span::Fit];

    /// The event that begins it.
    pub fn begin(self) -> u32 {
        match self {
            Span::Fit => event::FIT_BEGIN,
            Span::Epoch => event::EPOCH_BEGIN,
            Span::Step => event::STEP_BEGIN,
        }
    }

    /// The event that ends it.
    pub fn end(self) -> u32 {
        match self {
            Span::Fit => event::FIT_END,
            Span::Epoch => event::EPOCH_END,
            Span::Step => event::STEP_END,
        }
    }

    /// The span that an event begins or ends.
    #[inline]
    pub fn of_event(kind: u32) -> Option<Span> {
        match kind {
            event::FIT_BEGIN | event::FIT_END => Some(Span::Fit),
            event::EPOCH_BEGIN | event::EPOCH_END => Some(Span::Epoch),
            event::STEP_BEGIN | event::STEP_END => Some(Span::Step),
            _ => None,
        }
    }
}

/// The open spans of a run, each with a serial number that no other span of the run has.
#[derive(Debug, Default)]
pub struct OpenSpans {
    /// By span; 0 for one that is closed.
    serials: [Cell<u64>; 3],
    last: Cell<u64>,
}

impl OpenSpans {
    /// Opens a span and returns its serial number.
    pub fn open(&self, span: Span) -> u64 {
        let serial = self.last.get() + 1;
        self.last.set(serial);
        self.serials[span as usize].set(serial);
        serial
    }

    /// Closes a span.
    pub fn close(&self, span: Span) {
        self.serials[span as usize].set(0);
    }

    /// Opens a span again under the serial number that it had.
    pub fn reopen(&self, span: Span, serial: u64) {
        self.serials[span as usize].set(serial);
    }

    /// Closes all spans.
    pub fn close_all(&self) {
        self.serials.iter().for_each(|serial| serial.set(0));
    }

    /// The serial number of a span; 0 if it is closed.
    #[inline]
    pub fn serial(&self, span: Span) -> u64 {
        self.serials[span as usize].get()
    }

    /// Whether a span is open.
    #[inline]
    pub fn is_open(&self, span: Span) -> bool {
        self.serial(span) != 0
    }
}

/// Number of events that begin or end a span; they are numbered from 0.
const EVENTS: usize = event::STEP_END as usize + 1;
const _: () = assert!(EVENTS == 2 * Span::ALL.len());

/// For each begin or end event: the serial number of the last span that an instance received it
/// for.
#[derive(Debug, Default)]
pub struct SpanMarks([Cell<u64>; EVENTS]);

/// A copy of [`SpanMarks`].
pub type Marks = [u64; EVENTS];

impl SpanMarks {
    /// Records that the instance received an event of the span `serial`; does nothing for events
    /// that begin or end no span.
    #[inline]
    pub fn mark(&self, event: u32, serial: u64) {
        if let Some(mark) = self.0.get(event as usize) {
            mark.set(serial);
        }
    }

    /// A copy of all.
    pub fn get(&self) -> Marks {
        self.0.each_ref().map(Cell::get)
    }

    /// Sets all to those of a copy.
    pub fn set(&self, marks: Marks) {
        self.0.iter().zip(marks).for_each(|(mark, serial)| mark.set(serial));
    }

    /// Whether the instance received `event` for the span `serial`.
    pub fn has_received(&self, event: u32, serial: u64) -> bool {
        self.0[event as usize].get() == serial
    }
}
