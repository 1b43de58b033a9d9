//! Which values of a figure are better: the one rule for the summary, `runs list`, checkpoints and
//! callbacks.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};

/// Which values of a figure are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Better {
    /// Lower values, as of a loss.
    Lower,
    /// Higher values, as of an accuracy.
    Higher,
}

impl Better {
    /// The direction with a name, `lower` or `higher`; none for others, such as `auto`.
    pub fn named(name: &str) -> Option<Better> {
        match name {
            "lower" => Some(Better::Lower),
            "higher" => Some(Better::Higher),
            _ => None,
        }
    }

    /// The direction of a figure that no component declares: that of the loss of a phase is always
    /// lower, others are unknown.
    pub fn of_undeclared(name: &str) -> Option<Better> {
        (name == "loss").then_some(Better::Lower)
    }

    /// Whether `new` is better than `old`. NaN is never better, and everything is better than NaN.
    pub fn beats(self, new: f64, old: f64) -> bool {
        if new.is_nan() || old.is_nan() {
            return !new.is_nan();
        }
        match self {
            Better::Lower => new < old,
            Better::Higher => new > old,
        }
    }
}

/// The declared directions of the figures of a run, by `PHASE/NAME`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Directions(BTreeMap<String, Better>);

impl Directions {
    /// Sets the direction of a figure.
    pub fn set(&mut self, phase: &str, name: &str, better: Better) {
        self.0.insert(format!("{phase}/{name}"), better);
    }

    /// Which values of a figure are better; none if that is unknown.
    pub fn better(&self, phase: &str, name: &str) -> Option<Better> {
        let declared = self.0.get(&format!("{phase}/{name}")).copied();
        declared.or_else(|| Better::of_undeclared(name))
    }

    /// The directions as the content of a file.
    pub fn to_json(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }

    /// Reads them from a file; none are known if the file is missing, as in runs of earlier
    /// releases, or damaged.
    pub(super) fn read(path: &Path) -> Directions {
        let text = std::fs::read(path).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_are_declared_and_only_the_loss_needs_no_declaration() {
        let mut directions = Directions::default();
        directions.set("validation", "nll", Better::Lower);
        directions.set("validation", "loss", Better::Higher);
        assert_eq!(directions.better("validation", "nll"), Some(Better::Lower));
        assert_eq!(directions.better("training", "nll"), None);
        assert_eq!(directions.better("validation", "loss"), Some(Better::Higher));
        assert_eq!(directions.better("training", "loss"), Some(Better::Lower));
        for name in ["smooth-loss", "mse", "accuracy", "lossless"] {
            assert_eq!(directions.better("training", name), None, "{name}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("directions.json");
        assert_eq!(Directions::read(&path), Directions::default());
        std::fs::write(&path, directions.to_json()).unwrap();
        assert_eq!(Directions::read(&path), directions);
    }

    #[test]
    fn nan_is_never_better() {
        for better in [Better::Lower, Better::Higher] {
            assert!(better.beats(1.0, f64::NAN) && !better.beats(f64::NAN, 1.0));
            assert!(!better.beats(f64::NAN, f64::NAN) && !better.beats(1.0, 1.0));
        }
        assert!(Better::Lower.beats(1.0, 2.0) && Better::Higher.beats(2.0, 1.0));
    }
}
