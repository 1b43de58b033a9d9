//! Predictions and targets of a step for the classification metrics: a row of scores and a label
//! per sample.
//!
//! Every classification metric reads its step through [`Samples::read`], so that all accept the
//! same shapes.

use fluxbay_plugin::prelude::*;

/// Elements and shape of a tensor.
#[derive(Debug)]
pub struct Elements {
    pub values: Vec<f64>,
    pub shape: Vec<usize>,
}

impl Elements {
    /// Reads a tensor of any type.
    pub fn read(tensor: &Tensor) -> Result<Elements> {
        let values = match tensor.dtype()? {
            DType::F64 => tensor.to_vec::<f64>()?,
            DType::I64 => tensor.to_vec::<i64>()?.into_iter().map(|value| value as f64).collect(),
            DType::U8 | DType::U32 => tensor.to_vec::<u32>()?.into_iter().map(f64::from).collect(),
            DType::BF16 | DType::F16 | DType::F32 => {
                tensor.to_vec::<f32>()?.into_iter().map(f64::from).collect()
            }
        };
        Ok(Elements { values, shape: tensor.dims()? })
    }

    fn last(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }
}

/// Scores `[rows, columns]` with a label per row. With one column the score is a binary logit:
/// class 1 against class 0.
#[derive(Debug, PartialEq)]
pub struct Samples {
    scores: Vec<f64>,
    columns: usize,
    labels: Vec<u32>,
}

impl Samples {
    /// The step's predictions and targets.
    pub fn read(input: &MetricInput) -> Result<Samples> {
        Samples::new(Elements::read(input.yhats())?, &Elements::read(input.ys())?)
    }

    /// Predictions `[..., classes]` with labels `[...]` or one-hot rows `[..., classes]`, or binary
    /// logits and 0/1 targets of the same shape.
    pub fn new(yhats: Elements, ys: &Elements) -> Result<Samples> {
        let columns = yhats.last();
        let (scores, targets) = (yhats.values.len(), ys.values.len());
        if columns > 1 && yhats.shape.len() > 1 && yhats.shape == ys.shape {
            let labels = ys
                .values
                .chunks_exact(columns)
                .map(|row| argmax(row).unwrap_or(u32::MAX))
                .collect();
            return Ok(Samples { scores: yhats.values, columns, labels });
        }
        if columns > 1 && yhats.shape.len() > 1 && scores == targets * columns {
            let labels =
                ys.values.iter().map(|&value| label(value, columns)).collect::<Result<_>>()?;
            return Ok(Samples { scores: yhats.values, columns, labels });
        }
        if scores == targets && (columns == 1 || yhats.shape.len() <= 1) {
            let labels = ys.values.iter().map(|&value| u32::from(value > 0.5)).collect();
            return Ok(Samples { scores: yhats.values, columns: 1, labels });
        }
        bail!(
            "predictions of shape {:?} do not fit targets of shape {:?}: expected class scores [samples, classes] with labels [samples] \
             or one-hot rows [samples, classes], or binary logits with 0/1 targets of the same shape",
            yhats.shape,
            ys.shape
        )
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.columns.max(2)
    }

    /// Whether the scores are binary logits.
    pub fn is_binary_logit(&self) -> bool {
        self.columns == 1
    }

    /// Label of each sample.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Scores of sample `index`: one per class, or a single binary logit.
    pub fn row(&self, index: usize) -> &[f64] {
        &self.scores[index * self.columns..][..self.columns]
    }

    /// The predicted class of sample `index`; `None` if all scores are NaN. A binary logit above
    /// `threshold` is class 1.
    pub fn predicted(&self, index: usize, threshold: f64) -> Option<u32> {
        match self.row(index) {
            [score] if score.is_nan() => None,
            [score] => Some(u32::from(*score > threshold)),
            row => argmax(row),
        }
    }
}

/// Position of the largest value that is not NaN; the first of equal ones.
pub fn argmax<T: PartialOrd + Copy>(row: &[T]) -> Option<u32> {
    // NaN does not compare with itself.
    let first = row.iter().position(|value| value.partial_cmp(value).is_some())?;
    let (mut best, mut top) = (first, row[first]);
    for (index, &value) in row.iter().enumerate().skip(first + 1) {
        if value > top {
            (best, top) = (index, value);
        }
    }
    Some(best as u32)
}

/// Whether [`argmax`] of `row` is `label`. Counts larger scores instead of searching the maximum,
/// which vectorises.
pub fn is_argmax<T: PartialOrd + Copy>(row: &[T], label: usize) -> bool {
    let score = row[label];
    let not_below = row.iter().fold(0, |count, &value| count + u32::from(value >= score));
    // The count is 0 if the score is NaN, and 1 if it is the only maximum.
    if not_below <= 1 {
        return not_below == 1;
    }
    !row.iter().any(|&value| value > score) && !row[..label].contains(&score)
}

fn label(value: f64, classes: usize) -> Result<u32> {
    if value.fract() != 0.0 || value < 0.0 || value >= classes as f64 {
        bail!(
            "{value} is not a class label: with {classes} scores per sample, labels are whole numbers from 0 to {}",
            classes - 1
        );
    }
    Ok(value as u32)
}

choice! {
    /// Meaning of the scores of a sample.
    pub enum Scores {
        /// Unnormalised scores; softmax (or sigmoid) converts them to probabilities.
        Logits,
        /// Probabilities with sum 1.
        Probabilities,
    }
}

/// Natural logarithms of the class probabilities of logits; a binary logit gives two classes.
///
/// Subtracts the largest logit to avoid overflow.
pub fn log_softmax(row: &[f64]) -> Vec<f64> {
    let two = [0.0, row[0]];
    let row = if row.len() == 1 { &two[..] } else { row };
    let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log_sum = top + row.iter().map(|score| (score - top).exp()).sum::<f64>().ln();
    row.iter().map(|score| score - log_sum).collect()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn elements(values: &[f64], shape: &[usize]) -> Elements {
        assert_eq!(values.len(), shape.iter().product::<usize>());
        Elements { values: values.to_vec(), shape: shape.to_vec() }
    }

    /// Scores with labels.
    pub fn labelled(scores: &[f64], classes: usize, labels: &[f64]) -> Samples {
        let shape = if classes == 1 { vec![labels.len()] } else { vec![labels.len(), classes] };
        Samples::new(elements(scores, &shape), &elements(labels, &[labels.len()])).unwrap()
    }

    #[test]
    fn labels_and_one_hot_rows_mean_the_same() {
        let scores = [0.1, 0.7, 0.2, 0.5, 0.3, 0.2];
        let by_label = labelled(&scores, 3, &[1.0, 0.0]);
        let one_hot =
            Samples::new(elements(&scores, &[2, 3]), &elements(&[0., 1., 0., 1., 0., 0.], &[2, 3]))
                .unwrap();
        assert_eq!(by_label, one_hot);
        assert_eq!((by_label.len(), by_label.classes()), (2, 3));
        assert_eq!([by_label.predicted(0, 0.0), by_label.predicted(1, 0.0)], [Some(1), Some(0)]);
    }

    #[test]
    fn a_single_score_is_a_binary_logit() {
        for shape in [vec![3], vec![3, 1]] {
            let samples =
                Samples::new(elements(&[-1.0, 0.2, 3.0], &shape), &elements(&[0., 1., 0.], &[3]))
                    .unwrap();
            assert!(samples.is_binary_logit());
            assert_eq!(samples.labels(), [0, 1, 0]);
            assert_eq!(
                (0..3).map(|i| samples.predicted(i, 0.5)).collect::<Vec<_>>(),
                [Some(0), Some(0), Some(1)]
            );
        }
    }

    #[test]
    fn sequences_count_every_position() {
        let samples =
            Samples::new(elements(&[0.0; 12], &[2, 2, 3]), &elements(&[0., 1., 2., 0.], &[2, 2]))
                .unwrap();
        assert_eq!((samples.len(), samples.classes()), (4, 3));
    }

    #[test]
    fn nan_scores_never_win() {
        let samples = labelled(&[f64::NAN, 1.0, f64::NAN, f64::NAN], 2, &[1.0, 0.0]);
        assert_eq!([samples.predicted(0, 0.0), samples.predicted(1, 0.0)], [Some(1), None]);
    }

    #[test]
    fn a_label_is_the_argmax_or_is_not() {
        let scores = [-1.0, 0.0, 1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        for place in 0..scores.len().pow(3) {
            let row = [scores[place % 6], scores[place / 6 % 6], scores[place / 36]];
            for label in 0..3 {
                assert_eq!(
                    is_argmax(&row, label),
                    argmax(&row) == Some(label as u32),
                    "{row:?}, {label}"
                );
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let refused =
            |yhats: Elements, ys: Elements| Samples::new(yhats, &ys).unwrap_err().to_string();
        let shapes = refused(elements(&[0.0; 6], &[2, 3]), elements(&[0.0; 3], &[3]));
        assert!(shapes.contains("[2, 3]") && shapes.contains("[3]"), "{shapes}");
        let range = refused(elements(&[0.0; 6], &[2, 3]), elements(&[0.0, 3.0], &[2]));
        assert!(
            range.contains("3 is not a class label") && range.contains("from 0 to 2"),
            "{range}"
        );
    }

    #[test]
    fn log_softmax_holds_for_large_logits() {
        let logs = log_softmax(&[1000.0, 1000.0]);
        assert!((logs[0] + std::f64::consts::LN_2).abs() < 1e-12);
        assert!((log_softmax(&[0.3])[1].exp() - 1.0 / (1.0 + (-0.3f64).exp())).abs() < 1e-15);
    }
}
