//! Runs another callback only in some phases, epochs or steps.

use fluxbay_plugin::prelude::*;
use serde_json::Value;

use crate::{inner::Inner, nested::Nested, phases::Chosen};

config! {
    /// Which callback runs, and when.
    pub struct Config {
        /// The callback: a name, or a table with `component` and its keys.
        callback: Value,
        /// The phase, by id or kind; by default all. Events outside phases always pass.
        phase: Option<String> = null,
        /// First epoch.
        from_epoch: Option<u64> = null => 1..,
        /// Last epoch.
        until_epoch: Option<u64> = null => 1..,
        /// First step of the phase, counted over all epochs.
        from_step: Option<u64> = null => 1..,
        /// Last step of the phase, counted over all epochs.
        until_step: Option<u64> = null => 1..,
    }
}

/// The callback `conditional`.
pub struct Conditional {
    inner: Inner,
    phase: Chosen,
    epochs: Span,
    steps: Span,
}

/// An inclusive range; a missing bound is open.
#[derive(Clone, Copy, Debug)]
struct Span {
    from: u64,
    until: u64,
}

impl Span {
    fn new(from: Option<u64>, until: Option<u64>, what: &str) -> Result<Span> {
        let span = Span { from: from.unwrap_or(0), until: until.unwrap_or(u64::MAX) };
        if span.from > span.until {
            bail!("`from-{what}` ({}) comes after `until-{what}` ({})", span.from, span.until);
        }
        Ok(span)
    }

    fn holds(self, number: u64) -> bool {
        (self.from..=self.until).contains(&number)
    }
}

impl Component for Conditional {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        let epochs = Span::new(config.from_epoch, config.until_epoch, "epoch")?;
        let steps = Span::new(config.from_step, config.until_step, "step")?;
        let inner = Inner::new(&Nested::new(&config.callback, "callback")?, setup)?;
        Ok(Conditional { inner, phase: Chosen::new(config.phase), epochs, steps })
    }
}

impl Callback for Conditional {
    fn on(&mut self, event: &Event, _: &Learner) -> Result<()> {
        let within_step = event.step() > 0;
        let passes = event.phase().is_none()
            || (self.phase.includes(event)?
                && self.epochs.holds(event.epoch())
                && (!within_step || self.steps.holds(event.total_steps())));
        if passes { self.inner.on(event) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_include_both_ends() {
        let span = Span::new(Some(2), Some(4), "epoch").unwrap();
        assert_eq!((1..=5).filter(|&number| span.holds(number)).collect::<Vec<_>>(), [2, 3, 4]);
        assert!(Span::new(None, None, "epoch").unwrap().holds(u64::MAX));
        assert!(Span::new(Some(3), Some(2), "step").unwrap_err().message().contains("from-step"));
    }
}
