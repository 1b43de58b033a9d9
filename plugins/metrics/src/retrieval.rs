//! Metric `mean-average-precision`: how early what is relevant is found among everything else.

use fluxbay_plugin::{prelude::*, serde};

use crate::samples::Elements;

choice! {
    /// What predictions are.
    pub enum Predictions {
        /// Scores `[samples, candidates]` of the candidates of each sample; the targets are the place of
        /// the relevant one, or 0 and 1 for each.
        Scores,
        /// Vectors `[samples, width]`: each sample is looked for among all others of the epoch by the
        /// cosine, and those of its class are relevant.
        Vectors,
    }
}

config! {
    /// What is looked for where.
    pub struct Config {
        /// What predictions are.
        predictions: Predictions = "vectors",
    }
}

/// What was gathered.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
struct Gathered {
    /// Sum of the average precisions of queries, and their number.
    sum: f64,
    queries: u64,
    /// All vectors, of length 1, and their classes.
    width: usize,
    vectors: Vec<f64>,
    classes: Vec<u32>,
}

/// The metric `mean-average-precision`.
pub struct MeanAveragePrecision {
    predictions: Predictions,
    gathered: Gathered,
}

impl Component for MeanAveragePrecision {
    type Config = Config;

    fn new(config: Config, _: &mut Setup) -> Result<Self> {
        Ok(MeanAveragePrecision { predictions: config.predictions, gathered: Gathered::default() })
    }

    state!(gathered);
}

/// The mean over the relevant candidates of the precision at their places. Candidates of equal scores
/// share the last place among them, so that their order does not matter. `None` if none is relevant.
fn average_precision(scores: &[f64], relevant: impl Fn(usize) -> bool) -> Option<f64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let (mut found, mut sum, mut at) = (0_usize, 0.0, 0);
    while at < order.len() {
        let equal = order[at..].iter().take_while(|&&one| scores[one] == scores[order[at]]);
        let group = &order[at..at + equal.count().max(1)];
        let new = group.iter().filter(|&&one| relevant(one)).count();
        found += new;
        at += group.len();
        sum += new as f64 * found as f64 / at as f64;
    }
    (found > 0).then(|| sum / found as f64)
}

impl Gathered {
    fn of(yhats: &Elements, ys: &Elements, predictions: Predictions) -> Result<Gathered> {
        let wrong = || {
            Error::new(format!(
                "predictions of shape {:?} do not fit targets of shape {:?}: expected \
                 [samples, candidates] or [samples, width] with labels [samples]",
                yhats.shape, ys.shape
            ))
        };
        let &[samples, width] = &yhats.shape[..] else { return Err(wrong()) };
        let mut gathered = Gathered { width, ..Gathered::default() };
        let rows = yhats.values.chunks(width.max(1));
        match predictions {
            Predictions::Scores => {
                let each = ys.shape == yhats.shape;
                if !each && ys.values.len() != samples {
                    return Err(wrong());
                }
                for (row, scores) in rows.enumerate() {
                    let relevant = |at: usize| match each {
                        true => ys.values[row * width + at] > 0.5,
                        false => ys.values[row] as usize == at,
                    };
                    if let Some(precision) = average_precision(scores, relevant) {
                        gathered.sum += precision;
                        gathered.queries += 1;
                    }
                }
            }
            Predictions::Vectors => {
                if ys.values.len() != samples {
                    return Err(wrong());
                }
                for row in rows {
                    let length = row.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-12);
                    gathered.vectors.extend(row.iter().map(|x| x / length));
                }
                gathered.classes.extend(ys.values.iter().map(|class| *class as u32));
            }
        }
        Ok(gathered)
    }

    fn add(&mut self, step: Gathered) -> Result<()> {
        if !self.classes.is_empty() && self.width != step.width {
            bail!("vectors have {} numbers, those before had {}", step.width, self.width);
        }
        self.width = step.width;
        self.sum += step.sum;
        self.queries += step.queries;
        self.vectors.extend(step.vectors);
        self.classes.extend(step.classes);
        Ok(())
    }

    fn value(&self) -> f64 {
        let (mut sum, mut queries) = (self.sum, self.queries);
        let row = |at: usize| &self.vectors[at * self.width..][..self.width];
        for query in 0..self.classes.len() {
            let others: Vec<usize> = (0..self.classes.len()).filter(|&at| at != query).collect();
            let cosine =
                |&at: &usize| row(query).iter().zip(row(at)).map(|(a, b)| a * b).sum::<f64>();
            let scores: Vec<f64> = others.iter().map(cosine).collect();
            let relevant = |at: usize| self.classes[others[at]] == self.classes[query];
            if let Some(precision) = average_precision(&scores, relevant) {
                sum += precision;
                queries += 1;
            }
        }
        sum / queries as f64
    }
}

impl Metric for MeanAveragePrecision {
    fn reset(&mut self) {
        self.gathered = Gathered::default();
    }

    fn update(&mut self, input: &MetricInput) -> Result<f64> {
        let (yhats, ys) = (Elements::read(input.yhats())?, Elements::read(input.ys())?);
        let step = Gathered::of(&yhats, &ys, self.predictions)?;
        let value = step.value();
        self.gathered.add(step)?;
        Ok(value)
    }

    fn direction(&self) -> Direction {
        Direction::Higher
    }

    fn compute(&self) -> Result<f64> {
        Ok(self.gathered.value())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{Reference, close};

    #[test]
    fn it_agrees_with_scikit_learn() {
        for (name, predictions) in [
            ("retrieval-vectors", Predictions::Vectors),
            ("retrieval-places", Predictions::Scores),
            ("retrieval-relevant", Predictions::Scores),
        ] {
            let reference = Reference::load(name);
            let whole = Gathered::of(&reference.yhats(), &reference.ys(), predictions).unwrap();
            close(whole.value(), reference.number("mean-average-precision"));
        }
    }

    #[test]
    fn equal_scores_do_not_favour_what_is_relevant() {
        assert_eq!(average_precision(&[1.0, 1.0, 0.0], |at| at == 0), Some(0.5));
        assert_eq!(average_precision(&[1.0, 0.5], |_| false), None);
        assert_eq!(average_precision(&[0.1, 0.9, f64::NAN], |at| at == 1), Some(0.5));
    }

    #[test]
    fn batches_are_one_set_of_vectors() {
        let elements = |values: &[f64], shape: &[usize]| Elements {
            values: values.to_vec(),
            shape: shape.to_vec(),
        };
        let vectors = [1., 0., 0.9, 0.1, 0., 1., 0.1, 0.9];
        let of = |from: usize, to: usize| {
            let classes = [0., 1., 0., 1.];
            let yhats = elements(&vectors[2 * from..2 * to], &[to - from, 2]);
            Gathered::of(&yhats, &elements(&classes[from..to], &[to - from]), Predictions::Vectors)
                .unwrap()
        };
        let mut parts = of(0, 2);
        parts.add(of(2, 4)).unwrap();
        assert_eq!(parts, of(0, 4));
        assert!((parts.value() - 5.0 / 12.0).abs() < 1e-12, "{}", parts.value());
    }
}
