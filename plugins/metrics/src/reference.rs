//! Expected values for the tests, recorded from scikit-learn by `tests/reference/metrics.py`.

use fluxbay_plugin::serde_json::{self, Value};

use crate::samples::{Elements, Samples};

/// One case: predictions, targets, and the results of scikit-learn.
pub struct Reference(Value);

impl Reference {
    /// The case called `name`.
    pub fn load(name: &str) -> Reference {
        let cases: Value =
            serde_json::from_str(include_str!("../tests/scikit-learn.json")).unwrap();
        let case = cases["cases"][name].clone();
        assert!(case.is_object(), "no case {name}");
        Reference(case)
    }

    /// A number in the results.
    pub fn number(&self, name: &str) -> f64 {
        self.0["expected"][name].as_f64().unwrap_or_else(|| panic!("no number {name}"))
    }

    /// Any value in the results.
    pub fn value(&self, name: &str) -> Value {
        self.0["expected"][name].clone()
    }

    /// The predictions.
    pub fn yhats(&self) -> Elements {
        self.elements("yhats")
    }

    /// The targets.
    pub fn ys(&self) -> Elements {
        self.elements("ys")
    }

    /// Predictions and targets as class scores and labels.
    pub fn samples(&self) -> Samples {
        Samples::new(self.yhats(), &self.ys()).unwrap()
    }

    fn elements(&self, name: &str) -> Elements {
        let list = |value: &Value| {
            value
                .as_array()
                .unwrap()
                .iter()
                .map(|number| number.as_f64().unwrap())
                .collect::<Vec<_>>()
        };
        let shape = list(&self.0[name]["shape"]).into_iter().map(|size| size as usize).collect();
        Elements { values: list(&self.0[name]["values"]), shape }
    }
}

/// Asserts equality to a relative 1e-9; scikit-learn sums in another order.
pub fn close(found: f64, expected: f64) {
    assert!(
        (found - expected).abs() <= 1e-9 * expected.abs().max(1e-6),
        "{found} is not {expected}"
    );
}
