//! Metrics `precision`, `recall` and `f1`: computed per class from the confusion counts, then
//! averaged. Division by zero gives 0, as in scikit-learn with `zero_division=0`.

use fluxbay_plugin::prelude::*;
use serde_json::json;

use crate::{confusion::Confusion, samples::Samples};

choice! {
    /// Averaging over the classes.
    pub enum Average {
        /// Mean over the classes that occur among targets or predictions.
        Macro,
        /// Computed from the summed counts of all classes.
        Micro,
        /// Mean weighted by the number of samples of each class.
        Weighted,
        /// The positive class only.
        Binary,
    }
}

config! {
    /// Averaging over the classes.
    pub struct Config {
        /// Averaging over the classes.
        average: Average = "macro",
        /// The class that `average = "binary"` uses.
        positive: u32 = 1,
        /// Binary logit above which a prediction is class 1; 0 for logits, 0.5 for probabilities.
        threshold: f64 = 0.0,
    }
}

/// True positives, predicted positives and actual positives.
#[derive(Clone, Copy, Debug, Default)]
struct Positives {
    right: u64,
    predicted: u64,
    support: u64,
}

impl Positives {
    fn of(counts: &Confusion, class: usize) -> Positives {
        Positives {
            right: counts.right(class),
            predicted: counts.predicted(class),
            support: counts.support(class),
        }
    }

    fn plus(self, other: Positives) -> Positives {
        Positives {
            right: self.right + other.right,
            predicted: self.predicted + other.predicted,
            support: self.support + other.support,
        }
    }
}

fn quotient(above: u64, below: u64) -> f64 {
    if below == 0 { 0.0 } else { above as f64 / below as f64 }
}

fn precision(positives: Positives) -> f64 {
    quotient(positives.right, positives.predicted)
}

fn recall(positives: Positives) -> f64 {
    quotient(positives.right, positives.support)
}

/// `2 TP / (2 TP + FP + FN)`.
fn f1(positives: Positives) -> f64 {
    quotient(2 * positives.right, positives.predicted + positives.support)
}

fn average(
    counts: &Confusion,
    average: Average,
    positive: u32,
    score: fn(Positives) -> f64,
) -> f64 {
    let all: Vec<Positives> =
        (0..counts.classes()).map(|class| Positives::of(counts, class)).collect();
    let total = all.iter().copied().fold(Positives::default(), Positives::plus);
    if total.support == 0 {
        return f64::NAN;
    }
    match average {
        Average::Micro => score(total),
        Average::Binary => all.get(positive as usize).map_or(0.0, |&positives| score(positives)),
        Average::Weighted => {
            all.iter().map(|&class| score(class) * class.support as f64).sum::<f64>()
                / total.support as f64
        }
        Average::Macro => {
            let seen = all.iter().filter(|class| class.support + class.predicted > 0);
            let (sum, count) =
                seen.fold((0.0, 0), |(sum, count), &class| (sum + score(class), count + 1));
            sum / f64::from(count)
        }
    }
}

macro_rules! averaged {
    ($($(#[$doc:meta])* $name:ident: $score:ident),+ $(,)?) => { $(
        $(#[$doc])*
        pub struct $name {
            config: Config,
            gathered: Confusion,
        }

        impl Component for $name {
            type Config = Config;

            fn new(config: Config, _: &mut Setup) -> Result<Self> {
                Ok($name { config, gathered: Confusion::default() })
            }

            state!(gathered);
        }

        impl Metric for $name {
            fn reset(&mut self) {
                self.gathered = Confusion::default();
            }

            fn update(&mut self, input: &MetricInput) -> Result<f64> {
                let step = Confusion::of(&Samples::read(input)?, self.config.threshold);
                self.gathered.add(&step);
                Ok(average(&step, self.config.average, self.config.positive, $score))
            }

            fn direction(&self) -> Direction {
                Direction::Higher
            }

            fn compute(&self) -> Result<f64> {
                Ok(average(&self.gathered, self.config.average, self.config.positive, $score))
            }

            fn details(&self) -> Result<String> {
                let of_class = |class| $score(Positives::of(&self.gathered, class));
                let classes: Vec<f64> = (0..self.gathered.classes()).map(of_class).collect();
                Ok(json!({"classes": classes}).to_string())
            }
        }
    )+ };
}

averaged! {
    /// The metric `precision`.
    Precision: precision,
    /// The metric `recall`.
    Recall: recall,
    /// The metric `f1`.
    F1: f1,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{Reference, close};

    #[test]
    fn all_averages_agree_with_scikit_learn() {
        for case in ["three-classes", "two-classes", "absent-classes"] {
            let reference = Reference::load(case);
            let counts = Confusion::of(&reference.samples(), 0.0);
            for (name, score) in
                [("precision", precision as fn(Positives) -> f64), ("recall", recall), ("f1", f1)]
            {
                for (kind, how) in [
                    ("macro", Average::Macro),
                    ("micro", Average::Micro),
                    ("weighted", Average::Weighted),
                ] {
                    close(
                        average(&counts, how, 1, score),
                        reference.number(&format!("{name}-{kind}")),
                    );
                }
                if case == "two-classes" {
                    close(
                        average(&counts, Average::Binary, 1, score),
                        reference.number(&format!("{name}-binary")),
                    );
                }
            }
        }
    }

    #[test]
    fn nothing_gathered_is_nan() {
        assert!(average(&Confusion::default(), Average::Macro, 1, f1).is_nan());
    }
}
