//! Building blocks of schedules: formulas that depend only on their configuration, and nested
//! schedules.

use fluxbay_plugin::{ChildSchedule, prelude::*};
use serde_json::{Map, Value};

/// A configuration that defines a value over time.
pub trait Formula {
    /// Value at time `t`, from 1.
    fn at(&self, t: f64) -> f64;

    /// The time from which the value is constant, if there is one.
    fn length(&self) -> Option<u64> {
        None
    }

    /// Returns an error if the settings contradict each other.
    fn check(&self) -> Result<()> {
        Ok(())
    }
}

/// Defines the schedule component of a configuration that implements [`Formula`].
macro_rules! schedule {
    ($(#[$doc:meta])* $name:ident: $config:ty) => {
        $(#[$doc])*
        pub struct $name($config);

        impl Component for $name {
            type Config = $config;

            fn new(config: $config, _: &mut Setup) -> Result<Self> {
                $crate::formula::Formula::check(&config)?;
                Ok($name(config))
            }
        }

        impl Schedule for $name {
            fn value(&self, t: f64) -> Result<f64> {
                Ok($crate::formula::Formula::at(&self.0, t))
            }

            fn length(&self) -> Option<u64> {
                $crate::formula::Formula::length(&self.0)
            }
        }
    };
}
pub(crate) use schedule;

/// A schedule that can be combined with others.
pub trait Curve {
    /// Value at time `t`, from 1.
    fn value(&self, t: f64) -> Result<f64>;
    /// The time from which the value is constant, if there is one.
    fn length(&self) -> Result<Option<u64>>;
}

/// A number, or a schedule of any plugin.
pub enum Inner {
    /// A constant.
    Constant(f64),
    /// A schedule component.
    Child(ChildSchedule),
}

impl Inner {
    /// From a configuration value: a number, a component's name, or a table with `component` and
    /// its keys.
    pub fn new(value: &Value, setup: &mut Setup) -> Result<Inner> {
        match value {
            Value::Number(number) => Ok(Inner::Constant(number.as_f64().unwrap_or(f64::NAN))),
            Value::String(component) => Inner::child(component, Map::new(), setup),
            Value::Object(table) => {
                let mut config = table.clone();
                match config.remove("component") {
                    Some(Value::String(component)) => Inner::child(&component, config, setup),
                    _ => bail!(
                        "a schedule's table needs `component`, such as {{ component = \"exp\", start = 0.1, decay = 0.9 }}"
                    ),
                }
            }
            other => {
                bail!(
                    "a schedule must be a number, a name, or a table with `component`, not {other}"
                )
            }
        }
    }

    fn child(component: &str, config: Map<String, Value>, setup: &mut Setup) -> Result<Inner> {
        let child = setup
            .schedule(component, &Value::Object(config))
            .context(format_args!("schedule `{component}`"))?;
        Ok(Inner::Child(child))
    }
}

impl Curve for Inner {
    fn value(&self, t: f64) -> Result<f64> {
        match self {
            Inner::Constant(value) => Ok(*value),
            Inner::Child(child) => child.value(t),
        }
    }

    fn length(&self) -> Result<Option<u64>> {
        match self {
            Inner::Constant(_) => Ok(Some(1)),
            Inner::Child(child) => child.length(),
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A formula in place of a schedule component.
    pub struct Plain<F>(pub F);

    impl<F: Formula> Curve for Plain<F> {
        fn value(&self, t: f64) -> Result<f64> {
            Ok(self.0.at(t))
        }
        fn length(&self) -> Result<Option<u64>> {
            Ok(self.0.length())
        }
    }

    /// Checks values to a relative 1e-12.
    pub fn close(found: f64, expected: f64) {
        assert!(
            (found - expected).abs() <= 1e-12 * expected.abs().max(1e-3),
            "{found} is not {expected}"
        );
    }
}
