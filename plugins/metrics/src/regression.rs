//! Metrics of regression: `mse`, `rmse`, `mae` and `r2`, from sums over the epoch in `f64`.

use fluxbay_plugin::{prelude::*, serde};
use serde_json::json;

use crate::samples::Elements;

/// Predictions and targets of a step, paired element by element.
struct Pairs {
    yhats: Vec<f64>,
    ys: Vec<f64>,
    /// Numbers per sample.
    columns: usize,
}

impl Pairs {
    fn read(input: &MetricInput) -> Result<Pairs> {
        Pairs::new(Elements::read(input.yhats())?, Elements::read(input.ys())?)
    }

    fn new(yhats: Elements, ys: Elements) -> Result<Pairs> {
        let rows = yhats.shape.first().copied().unwrap_or(1);
        if yhats.values.len() != ys.values.len() || rows != ys.shape.first().copied().unwrap_or(1) {
            bail!(
                "predictions of shape {:?} do not fit targets of shape {:?}: both need the same number of elements",
                yhats.shape,
                ys.shape
            );
        }
        Ok(Pairs { columns: yhats.values.len() / rows.max(1), yhats: yhats.values, ys: ys.values })
    }

    fn errors(&self) -> impl Iterator<Item = f64> {
        self.yhats.iter().zip(&self.ys).map(|(yhat, y)| yhat - y)
    }
}

/// Sum of a function of the errors.
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
struct ErrorSum {
    sum: f64,
    count: u64,
}

impl ErrorSum {
    fn of(pairs: &Pairs, size: fn(f64) -> f64) -> ErrorSum {
        ErrorSum { sum: pairs.errors().map(size).sum(), count: pairs.ys.len() as u64 }
    }

    fn add(&mut self, other: ErrorSum) {
        self.sum += other.sum;
        self.count += other.count;
    }

    fn mean(self) -> f64 {
        self.sum / self.count as f64
    }
}

fn squared(error: f64) -> f64 {
    error * error
}

fn unchanged(mean: f64) -> f64 {
    mean
}

macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident: $size:expr, $finish:expr),+ $(,)?) => { $(
        $(#[$doc])*
        pub struct $name {
            gathered: ErrorSum,
        }

        impl Component for $name {
            type Config = NoConfig;

            fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
                Ok($name { gathered: ErrorSum::default() })
            }

            state!(gathered);
        }

        impl Metric for $name {
            fn reset(&mut self) {
                self.gathered = ErrorSum::default();
            }

            fn update(&mut self, input: &MetricInput) -> Result<f64> {
                let step = ErrorSum::of(&Pairs::read(input)?, $size);
                self.gathered.add(step);
                Ok($finish(step.mean()))
            }

            fn direction(&self) -> Direction {
                Direction::Lower
            }

            fn compute(&self) -> Result<f64> {
                Ok($finish(self.gathered.mean()))
            }
        }
    )+ };
}

errors! {
    /// The metric `mse`.
    Mse: squared, unchanged,
    /// The metric `rmse`.
    Rmse: squared, f64::sqrt,
    /// The metric `mae`.
    Mae: f64::abs, unchanged,
}

/// Sums of one output for R2: squared errors, and mean and squared deviations of the targets
/// (Welford 1962).
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
struct Column {
    count: u64,
    mean: f64,
    deviations: f64,
    residuals: f64,
}

impl Column {
    fn add(&mut self, yhat: f64, y: f64) {
        self.count += 1;
        let before = y - self.mean;
        self.mean += before / self.count as f64;
        self.deviations += before * (y - self.mean);
        self.residuals += squared(yhat - y);
    }

    /// `1 - residuals / deviations`. For constant targets 1 if all predictions are exact, else 0,
    /// as in scikit-learn. NaN with fewer than two samples.
    fn r2(&self) -> f64 {
        if self.count < 2 {
            f64::NAN
        } else if self.deviations == 0.0 {
            f64::from(u8::from(self.residuals == 0.0))
        } else {
            1.0 - self.residuals / self.deviations
        }
    }
}

fn add_rows(columns: &mut Vec<Column>, pairs: &Pairs) -> Result<()> {
    if !columns.is_empty() && columns.len() != pairs.columns {
        bail!(
            "the numbers per sample changed from {} to {} within an epoch",
            columns.len(),
            pairs.columns
        );
    }
    columns.resize(pairs.columns, Column::default());
    for (yhats, ys) in pairs
        .yhats
        .chunks_exact(pairs.columns.max(1))
        .zip(pairs.ys.chunks_exact(pairs.columns.max(1)))
    {
        columns
            .iter_mut()
            .zip(yhats.iter().zip(ys))
            .for_each(|(column, (&yhat, &y))| column.add(yhat, y));
    }
    Ok(())
}

fn mean_r2(columns: &[Column]) -> f64 {
    columns.iter().map(Column::r2).sum::<f64>() / columns.len() as f64
}

/// The metric `r2`.
pub struct R2 {
    gathered: Vec<Column>,
}

impl Component for R2 {
    type Config = NoConfig;

    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(R2 { gathered: Vec::new() })
    }

    state!(gathered);
}

impl Metric for R2 {
    fn reset(&mut self) {
        self.gathered.clear();
    }

    fn update(&mut self, input: &MetricInput) -> Result<f64> {
        let pairs = Pairs::read(input)?;
        let mut step = Vec::new();
        add_rows(&mut step, &pairs)?;
        add_rows(&mut self.gathered, &pairs)?;
        Ok(mean_r2(&step))
    }

    fn direction(&self) -> Direction {
        Direction::Higher
    }

    fn compute(&self) -> Result<f64> {
        Ok(mean_r2(&self.gathered))
    }

    fn details(&self) -> Result<String> {
        let columns: Vec<f64> = self.gathered.iter().map(Column::r2).collect();
        Ok(json!({"outputs": columns}).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        reference::{Reference, close},
        samples::tests::elements,
    };

    #[test]
    fn they_agree_with_scikit_learn() {
        for case in ["regression", "regression-two-outputs", "regression-far-from-zero"] {
            let reference = Reference::load(case);
            let pairs = Pairs::new(reference.yhats(), reference.ys()).unwrap();
            close(ErrorSum::of(&pairs, squared).mean(), reference.number("mse"));
            close(ErrorSum::of(&pairs, squared).mean().sqrt(), reference.number("rmse"));
            close(ErrorSum::of(&pairs, f64::abs).mean(), reference.number("mae"));
            let mut columns = Vec::new();
            add_rows(&mut columns, &pairs).unwrap();
            close(mean_r2(&columns), reference.number("r2"));
        }
    }

    #[test]
    fn equal_targets_have_the_r2_of_scikit_learn() {
        let r2 = |yhats: &[f64], ys: &[f64]| {
            let mut columns = Vec::new();
            add_rows(&mut columns, &Pairs::new(elements(yhats, &[2]), elements(ys, &[2])).unwrap())
                .unwrap();
            mean_r2(&columns)
        };
        assert_eq!((r2(&[1.0, 1.0], &[1.0, 1.0]), r2(&[1.0, 2.0], &[1.0, 1.0])), (1.0, 0.0));
    }

    #[test]
    fn a_column_and_a_list_pair_up_but_other_shapes_do_not() {
        assert!(Pairs::new(elements(&[1.0, 2.0], &[2, 1]), elements(&[1.0, 2.0], &[2])).is_ok());
        assert!(Pairs::new(elements(&[1.0; 4], &[2, 2]), elements(&[1.0, 2.0], &[2])).is_err());
    }
}
