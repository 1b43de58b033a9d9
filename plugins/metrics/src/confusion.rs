//! Metric `confusion-matrix`, and the counts of true and predicted classes that precision, recall
//! and F1 are computed from.

use fluxbay_plugin::{prelude::*, serde};
use serde_json::json;

use crate::samples::Samples;

/// Number of samples per true and predicted class.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
pub struct Confusion {
    classes: usize,
    /// Rows are true classes, columns predicted ones.
    counts: Vec<u64>,
    /// Number of samples per true class whose scores are all NaN.
    unpredicted: Vec<u64>,
}

impl Confusion {
    /// Counts of one step.
    pub fn of(samples: &Samples, threshold: f64) -> Confusion {
        let mut counts = Confusion::default();
        counts.grow(samples.classes());
        for (index, &label) in samples.labels().iter().enumerate() {
            counts.grow(label as usize + 1);
            match samples.predicted(index, threshold) {
                Some(predicted) => {
                    counts.counts[label as usize * counts.classes + predicted as usize] += 1
                }
                None => counts.unpredicted[label as usize] += 1,
            }
        }
        counts
    }

    fn grow(&mut self, classes: usize) {
        if classes <= self.classes {
            return;
        }
        let mut counts = vec![0; classes * classes];
        for (old, new) in
            self.counts.chunks_exact(self.classes.max(1)).zip(counts.chunks_exact_mut(classes))
        {
            new[..self.classes].copy_from_slice(old);
        }
        self.counts = counts;
        self.unpredicted.resize(classes, 0);
        self.classes = classes;
    }

    /// Adds the counts of `other`.
    pub fn add(&mut self, other: &Confusion) {
        self.grow(other.classes);
        for (row, other_row) in self
            .counts
            .chunks_exact_mut(self.classes.max(1))
            .zip(other.counts.chunks_exact(other.classes.max(1)))
        {
            row.iter_mut().zip(other_row).for_each(|(count, more)| *count += more);
        }
        self.unpredicted
            .iter_mut()
            .zip(&other.unpredicted)
            .for_each(|(count, more)| *count += more);
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Samples of class `class`.
    pub fn support(&self, class: usize) -> u64 {
        self.row(class).iter().sum::<u64>() + self.unpredicted[class]
    }

    /// Samples predicted as `class`.
    pub fn predicted(&self, class: usize) -> u64 {
        (0..self.classes).map(|row| self.row(row)[class]).sum()
    }

    /// Samples of class `class` predicted as such.
    pub fn right(&self, class: usize) -> u64 {
        self.row(class)[class]
    }

    /// Counts of one true class, per predicted class.
    pub fn row(&self, class: usize) -> &[u64] {
        &self.counts[class * self.classes..][..self.classes]
    }

    fn accuracy(&self) -> f64 {
        let (right, all) = (0..self.classes).fold((0, 0), |(right, all), class| {
            (right + self.right(class), all + self.support(class))
        });
        right as f64 / all as f64
    }
}

config! {
    /// Conversion of predictions to classes.
    pub struct Config {
        /// Binary logit above which a prediction is class 1; 0 for logits, 0.5 for probabilities.
        threshold: f64 = 0.0,
    }
}

/// The metric `confusion-matrix`.
pub struct ConfusionMatrix {
    threshold: f64,
    gathered: Confusion,
}

impl Component for ConfusionMatrix {
    type Config = Config;

    fn new(config: Config, _: &mut Setup) -> Result<Self> {
        Ok(ConfusionMatrix { threshold: config.threshold, gathered: Confusion::default() })
    }

    state!(gathered);
}

impl Metric for ConfusionMatrix {
    fn reset(&mut self) {
        self.gathered = Confusion::default();
    }

    fn update(&mut self, input: &MetricInput) -> Result<f64> {
        let step = Confusion::of(&Samples::read(input)?, self.threshold);
        self.gathered.add(&step);
        Ok(step.accuracy())
    }

    fn direction(&self) -> Direction {
        Direction::Higher
    }

    fn compute(&self) -> Result<f64> {
        Ok(self.gathered.accuracy())
    }

    fn details(&self) -> Result<String> {
        let rows: Vec<&[u64]> =
            (0..self.gathered.classes).map(|class| self.gathered.row(class)).collect();
        Ok(json!({"rows": "target", "columns": "prediction", "matrix": rows}).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::tests::labelled;

    fn one_hot(predicted: &[usize], classes: usize) -> Vec<f64> {
        predicted
            .iter()
            .flat_map(|&winner| (0..classes).map(move |class| f64::from(u8::from(class == winner))))
            .collect()
    }

    #[test]
    fn batches_add_up_to_the_whole() {
        let (labels, predicted) = ([0., 1., 2., 2., 1.], [0, 2, 2, 1, 1]);
        let whole = Confusion::of(&labelled(&one_hot(&predicted, 3), 3, &labels), 0.0);
        let mut parts = Confusion::default();
        parts.add(&Confusion::of(&labelled(&one_hot(&predicted[..2], 3), 3, &labels[..2]), 0.0));
        parts.add(&Confusion::of(&labelled(&one_hot(&predicted[2..], 3), 3, &labels[2..]), 0.0));
        assert_eq!(parts, whole);
        assert_eq!(
            [0, 1, 2].map(|class| whole.row(class).to_vec()),
            [[1, 0, 0], [0, 1, 1], [0, 1, 1]]
        );
        assert_eq!((whole.support(1), whole.predicted(2), whole.right(2)), (2, 2, 1));
    }

    #[test]
    fn it_agrees_with_scikit_learn() {
        let reference = crate::reference::Reference::load("three-classes");
        let counts = Confusion::of(&reference.samples(), 0.0);
        assert_eq!(
            json!([counts.row(0), counts.row(1), counts.row(2)]),
            reference.value("confusion")
        );
        crate::reference::close(counts.accuracy(), reference.number("accuracy"));
    }

    #[test]
    fn samples_without_a_prediction_count_as_missed() {
        let counts = Confusion::of(&labelled(&[f64::NAN, f64::NAN, 1.0, 0.0], 2, &[1.0, 0.0]), 0.0);
        assert_eq!(
            (counts.support(1), counts.right(1), counts.predicted(1), counts.accuracy()),
            (1, 0, 0, 0.5)
        );
    }
}
