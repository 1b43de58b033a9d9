//! Lets another callback handle an event only now and then.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use fluxbay_plugin::prelude::*;
use serde_json::Value;

use crate::{inner::Inner, nested::Nested};

config! {
    /// What is throttled and how far.
    pub struct Config {
        /// The callback: a name, or a table with `component` and its keys.
        callback: Value,
        /// The event that is throttled; others pass.
        event: String = "step-end",
        /// It passes the first time, then every so many times; counted per phase.
        every: Option<u64> = null => 1..,
        /// It passes when so many seconds have gone by since it passed last.
        seconds: Option<f64> = null => 0.0..,
    }
}

/// The callback `throttle`.
pub struct Throttle {
    inner: Inner,
    event: EventKind,
    gate: Gate,
    /// Phase of the events outside phases is the empty name.
    counted: BTreeMap<String, u64>,
    passed: Option<Instant>,
}

/// When an event passes.
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

    /// Whether the event passes, the `count`-th of its phase, counted from 0; `since` is the time
    /// since one passed last.
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
        // After the inner one: the event may be one of a phase's own that only the inner one knows.
        let event = setup.event(&config.event)?;
        if !inner.handles(event) {
            bail!(
                "`{}` does not handle {}, so there is nothing to throttle; set `event` to one that it handles",
                nested.component,
                config.event
            );
        }
        Ok(Throttle { inner, event, gate, counted: BTreeMap::new(), passed: None })
    }

    fn save(&self) -> Result<Vec<u8>> {
        to_bytes(&self.counted)
    }

    fn load(&mut self, _: u32, bytes: &[u8]) -> Result<()> {
        self.counted = from_bytes(bytes)?;
        Ok(())
    }
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
