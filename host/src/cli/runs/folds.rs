//! `fluxbay runs folds`: the metrics of a cross-validation, with mean and standard deviation.

use std::collections::BTreeMap;
use std::ffi::OsString;

use serde_json::json;

use super::folder::{Place, names};
use crate::cli::outcome::{Exit, Failure, Outcome};
use crate::cli::output::{json_number, print, print_json};
use crate::display::{columns, number};
use crate::library::escape;
use crate::record::{EpochMetric, RunEntry};

/// Arguments of `fluxbay runs folds`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The runs of the folds; by default those of the newest cross-validation.
    #[arg(value_name = "RUN", add = names())]
    runs: Vec<OsString>,
    #[command(flatten)]
    place: Place,
    /// Write JSON, as `fluxbay schema runs-folds` describes.
    #[arg(long)]
    json: bool,
}

/// The run of one fold.
struct Fold {
    fold: u64,
    folds: u64,
    run: RunEntry,
    figures: Vec<EpochMetric>,
}

/// One metric over the folds.
#[derive(Debug, PartialEq)]
struct OverFolds {
    phase: String,
    name: String,
    last: Spread,
    /// None if it is unknown which values are better.
    best: Option<Spread>,
}

/// Values of the folds, their mean and their standard deviation.
#[derive(Debug, PartialEq)]
struct Spread {
    values: Vec<f64>,
    mean: f64,
    /// Of the sample, with n - 1; NaN for a single value.
    deviation: f64,
}

impl Spread {
    fn of(values: Vec<f64>) -> Spread {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Spread { mean, deviation: (squares / (count - 1.0)).sqrt(), values }
    }

    fn text(&self) -> String {
        match self.values.len() {
            1 => number(self.mean),
            _ => format!("{} +- {}", number(self.mean), number(self.deviation)),
        }
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "values": self.values.iter().map(|value| json_number(*value)).collect::<Vec<_>>(),
            "mean": json_number(self.mean),
            "standard-deviation": json_number(self.deviation),
        })
    }
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let folds = match arguments.runs.as_slice() {
        [] => newest(&arguments.place)?,
        given => {
            let find = |name: &OsString| {
                let run = arguments.place.find(name)?;
                let id = escape::text(&run.id);
                fold(run)
                    .ok_or_else(|| refused(format!("{id} is not a fold of a cross-validation")))
            };
            given.iter().map(find).collect::<Result<Vec<_>, _>>()?
        }
    };
    let folds = sorted(folds)?;
    let figures = over_folds(&folds);
    if arguments.json {
        return print_json(&json!({
            "schema": 1,
            "folds": folds[0].folds,
            "runs": folds.iter().map(|fold| json!({
                "fold": fold.fold, "id": fold.run.id, "standing": fold.run.standing(),
            })).collect::<Vec<_>>(),
            "figures": figures.iter().map(|figure| json!({
                "phase": figure.phase, "name": figure.name, "last": figure.last.json(),
                "best": figure.best.as_ref().map(Spread::json),
            })).collect::<Vec<_>>(),
        }));
    }
    print(&text(&folds, &figures))
}

fn refused(text: String) -> Failure {
    Failure::new(Exit::Configuration, text)
}

/// The fold that a run is, if it is one.
fn fold(run: RunEntry) -> Option<Fold> {
    let resolved = run.resolved();
    let number = |key: &str| resolved.get("loader")?.get(key)?.as_integer();
    let (fold, folds) = (number("fold")?, number("folds")?);
    let figures = run.epoch_metrics().unwrap_or_default();
    (folds > 0).then_some(Fold { fold: fold as u64, folds: folds as u64, run, figures })
}

/// The newest run of each fold of the newest cross-validation of a folder.
fn newest(place: &Place) -> Result<Vec<Fold>, Failure> {
    let index = place.index();
    let name = |run: &RunEntry| -> Option<String> {
        Some(run.resolved().get("run")?.get("name")?.as_str()?.to_owned())
    };
    let mut found: BTreeMap<u64, Fold> = BTreeMap::new();
    let mut wanted = None;
    for run in index.runs().iter().rev() {
        let Some(fold) = fold(run.clone()) else { continue };
        let of = (name(run), fold.folds);
        if *wanted.get_or_insert_with(|| of.clone()) == of {
            found.entry(fold.fold).or_insert(fold);
        }
    }
    if found.is_empty() {
        return Err(refused(format!(
            "no run below {} is a fold of a cross-validation; `fluxbay train RUN.toml --fold 1/5` trains one",
            escape::path(&place.folder)
        )));
    }
    Ok(found.into_values().collect())
}

/// The folds in their order.
fn sorted(mut folds: Vec<Fold>) -> Result<Vec<Fold>, Failure> {
    folds.sort_by_key(|fold| fold.fold);
    for pair in folds.windows(2) {
        let [one, other] = pair else { continue };
        let (a, b) = (escape::text(&one.run.id), escape::text(&other.run.id));
        if one.folds != other.folds {
            return Err(refused(format!(
                "{a} is one of {} folds, {b} one of {}: name runs of one cross-validation",
                one.folds, other.folds
            )));
        }
        if one.fold == other.fold {
            return Err(refused(format!(
                "{a} and {b} are both fold {}: name one of them",
                one.fold
            )));
        }
    }
    Ok(folds)
}

/// The metrics that all folds have.
fn over_folds(folds: &[Fold]) -> Vec<OverFolds> {
    let first = folds.first().map(|fold| fold.figures.as_slice()).unwrap_or_default();
    let of = |fold: &Fold, like: &EpochMetric| -> Option<EpochMetric> {
        let mut figures = fold.figures.iter();
        figures.find(|one| one.phase == like.phase && one.name == like.name).cloned()
    };
    let over = |like: &EpochMetric| -> Option<OverFolds> {
        let all: Vec<EpochMetric> =
            folds.iter().map(|fold| of(fold, like)).collect::<Option<_>>()?;
        let best: Option<Vec<f64>> = all.iter().map(|one| Some(one.best?.0)).collect();
        Some(OverFolds {
            phase: like.phase.clone(),
            name: like.name.clone(),
            last: Spread::of(all.iter().map(|one| one.last.0).collect()),
            best: best.map(Spread::of),
        })
    };
    first.iter().filter_map(over).collect()
}

fn text(folds: &[Fold], figures: &[OverFolds]) -> String {
    let (have, all) = (folds.len() as u64, folds[0].folds);
    let mut out = format!("{have} of {all} folds; mean +- standard deviation over the folds\n");
    let head = ["phase", "metric", "last", "best"].map(str::to_owned).into_iter();
    let head = head.chain(folds.iter().map(|fold| format!("fold {}", fold.fold))).collect();
    let rows = figures.iter().map(|figure| {
        let best = figure.best.as_ref().map_or("-".to_owned(), Spread::text);
        let row =
            [escape::text(&figure.phase), escape::text(&figure.name), figure.last.text(), best];
        row.into_iter().chain(figure.last.values.iter().map(|value| number(*value))).collect()
    });
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    out.push_str(&columns(&rows, "", &[]));
    for fold in folds.iter().filter(|fold| fold.run.standing() != "finished") {
        out.push_str(&format!("fold {} is {}\n", fold.fold, escape::text(&fold.run.standing())));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deviation_is_that_of_the_sample() {
        // statistics.stdev of Python.
        let spread = Spread::of(vec![0.9, 0.85, 0.95, 0.8]);
        assert!((spread.mean - 0.875).abs() < 1e-15);
        assert!((spread.deviation - 0.064_549_722_436_790_28).abs() < 1e-15);
        assert!(Spread::of(vec![1.0]).deviation.is_nan());
    }
}
