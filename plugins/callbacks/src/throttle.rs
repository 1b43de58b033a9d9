//! Runs another callback for an event only every so many times or seconds.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use fluxbay_plugin::prelude::*;
use serde_json::Value;

use crate::{inner::Inner, nested::Nested};

config! {
    /// Which event is throttled, and how much.
    pub struct Config {
        /// The callback: a name, or a table with `component` and its keys.
        callback: Value,
        /// The throttled event; others always pass.
        event: String = "step-end",
        /// Passes the first event and then every n-th, counted per phase.
        every: Option<u64> = null => 1..,
        /// Passes an event if this many seconds have gone by since the last one that passed.
        seconds: Option<f64> = null => 0.0..,
    }
}

/// The callback `throttle`.
pub struct Throttle {
    inner: Inner,
    event: EventKind,
    gate: Gate,
    /// Events by phase; the name is empty for events outside phases.
    counted: BTreeMap<String, u64>,
    passed: Option<Instant>,
}

/// The condition for an event to pass.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Gate {
    Every(u64),
    Seconds(Duration),
}

impl Gate {
    fn new(every: Option<u64>, seconds: Option<f64>) -> Result<Gate> {
        match (every, seconds) {
            (Some(every), None) => Ok(Gate::Every(every.max(1))),
            (None, Some(seconds)) => match Duration::try_from_secs_f64(seconds) {
                Ok(time) => Ok(Gate::Seconds(time)),
                Err(error) => bail!("`seconds` is {seconds}: {error}"),
            },
            (Some(_), Some(_)) => bail!("throttle needs `every` or `seconds`, not both"),
            (None, None) => bail!("throttle needs `every` (events) or `seconds`"),
        }
    }

    /// Whether an event passes. `count` is its number in its phase, from 0; `since` is the time
    /// since the last one that passed.
    fn opens(self, count: u64, since: Option<Duration>) -> bool {
        match self {
            Gate::Every(every) => count.is_multiple_of(every),
            Gate::Seconds(time) => since.is_none_or(|since| since >= time),
        }
    }
}

impl Component for Throttle {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        let gate = Gate::new(config.every, config.seconds)?;
        let nested = Nested::new(&config.callback, "callback")?;
        let inner = Inner::new(&nested, setup)?;
        // Created after the inner callback, which may declare a custom event of a phase.
        let event = setup.event(&config.event)?;
        if !inner.handles(event) {
            bail!(
                "`{}` does not handle {}, so `event` must name another one",
                nested.component,
                config.event
            );
        }
        Ok(Throttle { inner, event, gate, counted: BTreeMap::new(), passed: None })
    }

    state!(counted);
}

impl Callback for Throttle {
    fn on(&mut self, event: &Event, _: &Learner) -> Result<()> {
        if event.kind() == self.event {
            let count = self.counted.entry(event.phase_name()?).or_default();
            let opens = self.gate.opens(*count, self.passed.map(|passed| passed.elapsed()));
            *count += 1;
            if !opens {
                return Ok(());
            }
            self.passed = Some(Instant::now());
        }
        self.inner.on(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(gate: Gate, events: u64) -> usize {
        (0..events)
            .filter(|&count| gate.opens(count, (count > 0).then_some(Duration::from_millis(1))))
            .count()
    }

    #[test]
    fn behaviour_19_the_first_passes_then_every_nth() {
        assert_eq!(passes(Gate::new(Some(2), None).unwrap(), 16), 8);
        assert_eq!(passes(Gate::new(Some(16), None).unwrap(), 16), 1);
        assert_eq!(passes(Gate::new(None, Some(0.0)).unwrap(), 16), 16);
        assert_eq!(passes(Gate::new(None, Some(10.0)).unwrap(), 16), 1);
    }

    #[test]
    fn behaviour_19_neither_or_both_settings_are_refused() {
        assert!(Gate::new(None, None).is_err());
        assert!(Gate::new(Some(1), Some(1.0)).is_err());
    }
}
