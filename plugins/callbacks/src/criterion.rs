//! The criteria of EarlyStopping.jl as pure functions of losses (lower is better), used by
//! early-stopping.
//!
//! GL, PQ and UP (here `patience`) are from Prechelt 1998, "Early Stopping - But When?".

use fluxbay_plugin::{prelude::*, serde};
use serde_json::Value;

use crate::comparison::{Better, improves, percent_worse, worsens};

/// When to stop.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(
    crate = "fluxbay_plugin::serde",
    tag = "type",
    rename_all = "kebab-case",
    deny_unknown_fields
)]
pub enum Criterion {
    /// Never.
    Never {},
    /// At a loss that is NaN or infinite.
    InvalidValue {},
    /// After some time.
    TimeLimit { seconds: f64 },
    /// When the loss is more than `alpha` percent above the lowest.
    Gl {
        #[serde(default = "gl_alpha")]
        alpha: f64,
    },
    /// When the generalisation loss is more than `alpha` times the progress of the last `k`
    /// training losses.
    Pq {
        #[serde(default = "pq_alpha")]
        alpha: f64,
        #[serde(default = "pq_k")]
        k: usize,
    },
    /// After `n` increases in a row.
    Patience { n: u64 },
    /// After `n` losses without a new lowest.
    NumberSinceBest { n: u64 },
    /// After `n` losses.
    NumberLimit { n: u64 },
    /// When the metric is better than `value`.
    Threshold { value: f64 },
    /// As another criterion that ignores the first `n` losses.
    Warmup { n: u64, criterion: Value },
    /// When any of several criteria stops.
    AnyOf { criteria: Vec<Value> },
    /// What `warmup` and `any-of` are parsed into; never read from a configuration itself.
    #[serde(skip)]
    Within { skipped: u64, criteria: Vec<Criterion> },
}

fn gl_alpha() -> f64 {
    2.0
}

fn pq_alpha() -> f64 {
    0.75
}

fn pq_k() -> usize {
    5
}

/// The saved state of a criterion. Each kind uses some of the fields.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
pub struct State {
    updates: u64,
    loss: f64,
    /// NaN before the first number.
    best: f64,
    /// Increases in a row, or losses since the best.
    count: u64,
    elapsed: f64,
    invalid: bool,
    training: Vec<f64>,
    within: Vec<State>,
}

impl Criterion {
    /// A whole number, a table with `type`, or a list.
    pub fn from_value(value: &Value) -> Result<Criterion> {
        let criterion = match value {
            Value::Number(number) => match number.as_u64() {
                Some(n) if n > 0 => Criterion::NumberSinceBest { n },
                _ => bail!("{number} is not a number of epochs: it must be a whole number from 1"),
            },
            Value::Array(list) => {
                Criterion::Within { skipped: 0, criteria: Criterion::list(list)? }
            }
            Value::Object(_) => match serde_json::from_value(value.clone())? {
                Criterion::Warmup { n, criterion } => Criterion::Within {
                    skipped: n,
                    criteria: vec![Criterion::from_value(&criterion).context("within warmup")?],
                },
                Criterion::AnyOf { criteria } => {
                    Criterion::Within { skipped: 0, criteria: Criterion::list(&criteria)? }
                }
                other => other,
            },
            other => {
                bail!("a criterion is a whole number, a table with `type`, or a list, not {other}")
            }
        };
        criterion.check()?;
        Ok(criterion)
    }

    fn list(values: &[Value]) -> Result<Vec<Criterion>> {
        if values.is_empty() {
            bail!("a list of criteria needs at least one; `{{ type = \"never\" }}` never stops");
        }
        values.iter().map(Criterion::from_value).collect()
    }

    fn check(&self) -> Result<()> {
        match self {
            Criterion::TimeLimit { seconds: limit }
            | Criterion::Gl { alpha: limit }
            | Criterion::Pq { alpha: limit, .. }
                if limit.is_nan() || *limit <= 0.0 =>
            {
                bail!("{limit} must be above 0")
            }
            Criterion::Pq { k, .. } if *k < 2 => {
                bail!("`k` is {k}, but progress needs at least 2 training losses")
            }
            Criterion::Patience { n: 0 }
            | Criterion::NumberSinceBest { n: 0 }
            | Criterion::NumberLimit { n: 0 } => {
                bail!("`n` must be at least 1")
            }
            _ => Ok(()),
        }
    }

    /// The state before the first loss.
    pub fn begin(&self) -> State {
        let within = match self {
            Criterion::Within { criteria, .. } => criteria.iter().map(Criterion::begin).collect(),
            _ => Vec::new(),
        };
        State { within, best: f64::NAN, ..State::default() }
    }

    /// Whether a state was made by a criterion of the same form.
    pub fn fits(&self, state: &State) -> bool {
        match self {
            Criterion::Within { criteria, .. } => {
                criteria.len() == state.within.len()
                    && criteria
                        .iter()
                        .zip(&state.within)
                        .all(|(criterion, state)| criterion.fits(state))
            }
            _ => state.within.is_empty(),
        }
    }

    /// Whether the criterion uses training losses, if they are measured.
    pub fn uses_training_losses(&self) -> bool {
        self.any(|one| matches!(one, Criterion::Pq { .. } | Criterion::InvalidValue {}))
    }

    /// Whether the criterion cannot work without training losses.
    pub fn needs_training_losses(&self) -> bool {
        self.any(|one| matches!(one, Criterion::Pq { .. }))
    }

    /// Whether `test` is true of the criterion or one within it.
    fn any(&self, test: fn(&Criterion) -> bool) -> bool {
        match self {
            Criterion::Within { criteria, .. } => criteria.iter().any(|one| one.any(test)),
            _ => test(self),
        }
    }

    /// Adds a training loss.
    pub fn update_training(&self, loss: f64, state: &mut State) {
        match self {
            Criterion::InvalidValue {} => state.invalid |= !loss.is_finite(),
            Criterion::Pq { k, .. } => {
                state.training.push(loss);
                let surplus = state.training.len().saturating_sub(*k);
                state.training.drain(..surplus);
            }
            Criterion::Within { skipped, criteria } if state.updates >= *skipped => {
                criteria
                    .iter()
                    .zip(&mut state.within)
                    .for_each(|(criterion, state)| criterion.update_training(loss, state));
            }
            _ => {}
        }
    }

    /// Adds a loss, `elapsed` seconds after the beginning.
    pub fn update(&self, loss: f64, elapsed: f64, state: &mut State) {
        state.updates += 1;
        state.elapsed = elapsed;
        state.invalid |= !loss.is_finite();
        let (first, before) = (state.updates == 1, state.loss);
        let best = if first { f64::NAN } else { state.best };
        let is_best = improves(loss, best);
        match self {
            Criterion::Patience { .. } => {
                state.count = if !first && worsens(loss, before) { state.count + 1 } else { 0 }
            }
            Criterion::NumberSinceBest { .. } => {
                state.count = if is_best { 0 } else { state.count + 1 }
            }
            Criterion::Within { skipped, criteria } if state.updates > *skipped => {
                criteria
                    .iter()
                    .zip(&mut state.within)
                    .for_each(|(criterion, state)| criterion.update(loss, elapsed, state));
            }
            _ => {}
        }
        state.loss = loss;
        state.best = if is_best { loss } else { best };
    }

    /// The reason to stop now, if there is one. `better` is the direction of the metric.
    pub fn done(&self, better: Better, state: &State) -> Option<String> {
        if state.updates == 0 {
            return None;
        }
        match self {
            Criterion::Never {} | Criterion::Warmup { .. } | Criterion::AnyOf { .. } => None,
            Criterion::InvalidValue {} => {
                state.invalid.then(|| "a value was NaN or infinite".to_owned())
            }
            Criterion::TimeLimit { seconds } => (state.elapsed > *seconds)
                .then(|| format!("the limit of {seconds} seconds is reached")),
            Criterion::Gl { alpha } => {
                let loss = percent_worse(state.loss, state.best);
                (loss > *alpha).then(|| {
                    format!("the value is {loss:.3} % worse than the best one, more than {alpha} %")
                })
            }
            Criterion::Pq { alpha, k } => {
                if state.training.len() < *k {
                    return None;
                }
                let progress = progress(&state.training);
                if progress.is_nan() || progress <= f64::EPSILON {
                    return Some("training makes no progress".to_owned());
                }
                let quotient = percent_worse(state.loss, state.best) / progress;
                (quotient > *alpha).then(|| {
                    format!(
                        "generalisation loss over training progress is {quotient:.3}, above {alpha}"
                    )
                })
            }
            Criterion::Patience { n } => {
                (state.count >= *n).then(|| format!("the value became worse {n} times in a row"))
            }
            Criterion::NumberSinceBest { n } => {
                (state.count >= *n).then(|| format!("no new best value for {}", epochs(*n)))
            }
            Criterion::NumberLimit { n } => {
                (state.updates >= *n).then(|| format!("the limit of {} is reached", epochs(*n)))
            }
            Criterion::Threshold { value } => {
                (state.loss < better.as_loss(*value)).then(|| match better {
                    Better::Lower => format!("the value is below {value}"),
                    Better::Higher => format!("the value is above {value}"),
                })
            }
            Criterion::Within { skipped, criteria } if state.updates > *skipped => criteria
                .iter()
                .zip(&state.within)
                .find_map(|(criterion, state)| criterion.done(better, state)),
            Criterion::Within { .. } => None,
        }
    }
}

/// `1 epoch`, `2 epochs`.
fn epochs(n: u64) -> String {
    format!("{n} epoch{}", if n == 1 { "" } else { "s" })
}

/// `1000 (mean - min) / |min|` of training losses.
fn progress(losses: &[f64]) -> f64 {
    let mean = losses.iter().sum::<f64>() / losses.len() as f64;
    let least = losses.iter().copied().fold(f64::INFINITY, f64::min);
    1000.0 * (mean - least).abs() / least.abs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The number of losses after which it stops; `None` if it does not.
    fn stops(criterion: Value, losses: &[f64]) -> Option<usize> {
        stops_with(criterion, losses, &[])
    }

    /// The same, with a training loss added before each loss.
    fn stops_with(criterion: Value, losses: &[f64], training: &[f64]) -> Option<usize> {
        let criterion = Criterion::from_value(&criterion).unwrap();
        let mut state = criterion.begin();
        losses.iter().enumerate().find_map(|(index, &loss)| {
            if let Some(&training) = training.get(index) {
                criterion.update_training(training, &mut state);
            }
            // The state is saved and loaded each time, as in a resumed run.
            state = from_bytes(&to_bytes(&state).unwrap()).unwrap();
            assert!(criterion.fits(&state));
            criterion.update(loss, index as f64, &mut state);
            criterion.done(Better::Lower, &state).map(|_| index + 1)
        })
    }

    const LOSSES: [f64; 9] = [12.0, 8.0, 9.0, 7.0, 7.5, 7.9, 8.3, 6.0, 6.5];

    #[test]
    fn behaviour_24_counting_criteria() {
        assert_eq!(stops(json!({"type": "never"}), &LOSSES), None);
        assert_eq!(stops(json!({"type": "patience", "n": 3}), &LOSSES), Some(7));
        assert_eq!(stops(json!({"type": "patience", "n": 1}), &LOSSES), Some(3));
        assert_eq!(stops(json!({"type": "number-since-best", "n": 2}), &LOSSES), Some(6));
        assert_eq!(stops(json!({"type": "number-limit", "n": 4}), &LOSSES), Some(4));
        assert_eq!(stops(json!({"type": "threshold", "value": 7.0}), &LOSSES), Some(8));
        assert_eq!(stops(json!({"type": "time-limit", "seconds": 3.5}), &LOSSES), Some(5));
        assert_eq!(stops(json!({"type": "invalid-value"}), &[1.0, f64::NAN]), Some(2));
        assert_eq!(stops(json!({"type": "invalid-value"}), &[1.0, f64::NEG_INFINITY]), Some(2));
    }

    #[test]
    fn behaviour_24_a_plain_number_means_number_since_best() {
        assert_eq!(stops(json!(2), &LOSSES), Some(6));
        assert_eq!(stops(json!(1), &LOSSES), Some(3));
        assert_eq!(stops(json!(5), &LOSSES), None);
    }

    #[test]
    fn behaviour_24_generalisation_loss() {
        // 100 (8.3 / 7 - 1) = 18.57 is the first above 15; 9 / 8 is 12.5.
        assert_eq!(stops(json!({"type": "gl", "alpha": 15.0}), &LOSSES), Some(7));
        assert_eq!(stops(json!({"type": "gl", "alpha": 12.0}), &LOSSES), Some(3));
        // A negative best counts by its magnitude.
        assert_eq!(stops(json!({"type": "gl", "alpha": 12.0}), &[-10.0, -9.0, -8.5]), Some(3));
    }

    #[test]
    fn behaviour_24_progress_against_generalisation() {
        let training = [10.0, 9.0, 8.0, 7.9, 7.9, 7.9];
        // k = 2. Progress: -, 1000 (9.5 / 9 - 1) = 55.6, 62.5, 6.3, 0: none at the fifth.
        assert_eq!(
            stops_with(
                json!({"type": "pq", "alpha": 100.0, "k": 2}),
                &[5.0, 5.0, 5.0, 5.0, 5.0],
                &training
            ),
            Some(5)
        );
        // Generalisation loss 10 % at the third over progress 62.5 is 0.16; 20 % over 6.3 is 3.2.
        assert_eq!(
            stops_with(
                json!({"type": "pq", "alpha": 3.0, "k": 2}),
                &[5.0, 5.0, 5.5, 6.0],
                &training
            ),
            Some(4)
        );
        assert_eq!(
            stops_with(
                json!({"type": "pq", "alpha": 0.15, "k": 2}),
                &[5.0, 5.0, 5.5, 6.0],
                &training
            ),
            Some(3)
        );
        assert_eq!(stops_with(json!({"type": "pq"}), &[5.0, 6.0, 7.0, 8.0], &training), None);
    }

    #[test]
    fn behaviour_24_warm_up_and_any_of() {
        assert_eq!(stops(json!({"type": "warmup", "n": 4, "criterion": 1}), &LOSSES), Some(6));
        assert_eq!(
            stops(
                json!({"type": "any-of", "criteria": [{"type": "number-limit", "n": 5}, 2]}),
                &LOSSES
            ),
            Some(5)
        );
        assert_eq!(stops(json!([{"type": "number-limit", "n": 8}, 2]), &LOSSES), Some(6));
        assert_eq!(
            stops(
                json!({"type": "warmup", "n": 2, "criterion": [{"type": "number-limit", "n": 1}]}),
                &LOSSES
            ),
            Some(3)
        );
    }

    #[test]
    fn wrong_criteria_are_refused_with_the_reason() {
        let refused = |value: Value| Criterion::from_value(&value).unwrap_err().to_string();
        assert!(refused(json!(0)).contains("from 1"));
        assert!(refused(json!({"type": "patients", "n": 1})).contains("patients"));
        assert!(refused(json!({"type": "patience", "n": 0})).contains("at least 1"));
        assert!(refused(json!({"type": "pq", "k": 1})).contains("at least 2"));
        assert!(
            refused(json!({"type": "warmup", "n": 1, "criterion": {"type": "gl", "alpha": -1.0}}))
                .contains("within warmup")
        );
        assert!(refused(json!([])).contains("at least one"));
    }

    #[test]
    fn a_nan_is_never_the_best() {
        const NAN: f64 = f64::NAN;
        assert_eq!(stops(json!(2), &[NAN, 3.0, NAN, 2.0, 2.5]), None);
        assert_eq!(stops(json!(2), &[1.0, NAN, NAN]), Some(3));
        assert_eq!(stops(json!(3), &[NAN; 8]), Some(3));
        assert_eq!(stops(json!(3), &[NAN, f64::INFINITY, NAN, NAN, NAN]), Some(5));
        // Consecutive values that are worse.
        assert_eq!(stops(json!({"type": "patience", "n": 3}), &[1.0, NAN, NAN, NAN]), Some(4));
        assert_eq!(stops(json!({"type": "patience", "n": 2}), &[NAN, 5.0, NAN, 4.0, NAN]), None);
        assert_eq!(stops(json!({"type": "gl", "alpha": 10.0}), &[1.0, NAN]), Some(2));
        assert_eq!(stops(json!({"type": "threshold", "value": 1.0}), &[NAN, NAN, 0.5]), Some(3));
        assert_eq!(
            stops(json!({"type": "warmup", "n": 2, "criterion": 2}), &[NAN, 1.0, NAN, NAN]),
            Some(4)
        );
    }

    #[test]
    fn a_threshold_has_the_direction_of_the_metric() {
        let stops = |value: f64, better: Better, values: &[f64]| {
            let criterion =
                Criterion::from_value(&json!({"type": "threshold", "value": value})).unwrap();
            let mut state = criterion.begin();
            values.iter().position(|&value| {
                criterion.update(better.as_loss(value), 0.0, &mut state);
                criterion.done(better, &state).is_some()
            })
        };
        assert_eq!(stops(0.99, Better::Higher, &[0.6, 0.99, 0.991]), Some(2));
        assert_eq!(stops(-0.5, Better::Higher, &[-0.9, -0.5, -0.4]), Some(2));
        assert_eq!(stops(0.0, Better::Higher, &[-1.0, 0.0, 1e-9]), Some(2));
        assert_eq!(stops(-0.5, Better::Lower, &[0.0, -0.5, -0.6]), Some(2));
    }

    #[test]
    fn a_state_saved_before_the_first_value_has_no_best() {
        // The best was saved as 0 by an earlier version.
        let criterion = Criterion::from_value(&json!(1)).unwrap();
        let mut state = State { best: 0.0, ..criterion.begin() };
        criterion.update(5.0, 0.0, &mut state);
        assert_eq!((state.best, state.count), (5.0, 0));
    }
}
