//! The last value of each epoch metric, and the model that it measured.

use super::snapshot::SavedMetric;

/// The last value of each epoch metric, in the order in which they were first recorded.
#[derive(Debug, Default)]
pub(crate) struct LastMetrics(Vec<LastMetric>);

#[derive(Clone, Debug)]
struct LastMetric {
    phase: String,
    name: String,
    value: f64,
    /// Updates of the parameters when it was measured; `None` if unknown.
    updates: Option<u64>,
}

impl LastMetrics {
    /// Sets the last value of a metric of a phase, measured after `updates` updates.
    pub(super) fn set(&mut self, phase: &str, name: &str, value: f64, updates: u64) {
        let known = self.0.iter_mut().find(|known| known.phase == phase && known.name == name);
        match known {
            Some(known) => (known.value, known.updates) = (value, Some(updates)),
            None => self.0.push(LastMetric {
                phase: phase.to_owned(),
                name: name.to_owned(),
                value,
                updates: Some(updates),
            }),
        }
    }

    /// As (phase, name, value).
    pub(super) fn values(&self) -> Vec<(String, String, f64)> {
        let values = self.0.iter();
        values.map(|last| (last.phase.clone(), last.name.clone(), last.value)).collect()
    }

    /// The value of `PHASE/NAME`, if it measured the model after `updates` updates.
    pub(super) fn of_model(&self, metric: &str, updates: u64) -> Option<f64> {
        let (phase, name) = metric.split_once('/')?;
        let last = self.0.iter().find(|last| last.phase == phase && last.name == name)?;
        (last.updates == Some(updates)).then_some(last.value)
    }

    /// All of them for a snapshot.
    pub(super) fn save(&self) -> Vec<SavedMetric> {
        let saved = |last: &LastMetric| SavedMetric {
            phase: last.phase.clone(),
            name: last.name.clone(),
            bits: last.value.to_bits(),
            updates: last.updates,
        };
        self.0.iter().map(saved).collect()
    }

    /// Replaces all of them by those of a snapshot.
    pub(super) fn restore(&mut self, saved: &[SavedMetric]) {
        let last = |saved: &SavedMetric| LastMetric {
            phase: saved.phase.clone(),
            name: saved.name.clone(),
            value: f64::from_bits(saved.bits),
            updates: saved.updates,
        };
        self.0 = saved.iter().map(last).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_counts_for_the_model_that_it_measured() {
        let mut metrics = LastMetrics::default();
        metrics.set("validation", "loss", 0.5, 10);
        metrics.set("training", "loss", 0.75, 10);
        metrics.set("validation", "loss", 0.25, 20);
        assert_eq!(metrics.of_model("validation/loss", 20), Some(0.25));
        assert_eq!(metrics.of_model("validation/loss", 21), None);
        assert_eq!(metrics.of_model("training/loss", 20), None);
        assert_eq!(metrics.of_model("loss", 20), None);
        let mut restored = LastMetrics::default();
        restored.restore(&metrics.save());
        assert_eq!(restored.of_model("validation/loss", 20), Some(0.25));
        assert_eq!(restored.values(), metrics.values());
    }
}
