//! The last value of each epoch metric.

/// The last value of each epoch metric, in the order in which they were first recorded.
#[derive(Debug, Default)]
pub(crate) struct LastMetrics(Vec<(String, String, f64)>);

impl LastMetrics {
    /// Sets the last value of a metric of a phase.
    pub(super) fn set(&mut self, phase: &str, name: &str, value: f64) {
        let known =
            self.0.iter_mut().find(|(known_phase, known, _)| known_phase == phase && known == name);
        match known {
            Some(known) => known.2 = value,
            None => self.0.push((phase.to_owned(), name.to_owned(), value)),
        }
    }

    /// As (phase, name, value).
    pub(super) fn values(&self) -> Vec<(String, String, f64)> {
        self.0.clone()
    }

    /// As (phase, name, bits of the value).
    pub(super) fn to_bits(&self) -> Vec<(String, String, u64)> {
        let bits = self.0.iter();
        bits.map(|(phase, name, value)| (phase.clone(), name.clone(), value.to_bits())).collect()
    }

    /// Replaces all by what [`LastMetrics::to_bits`] returned.
    pub(super) fn set_bits(&mut self, bits: &[(String, String, u64)]) {
        let values = bits.iter();
        self.0 = values
            .map(|(phase, name, bits)| (phase.clone(), name.clone(), f64::from_bits(*bits)))
            .collect();
    }
}
