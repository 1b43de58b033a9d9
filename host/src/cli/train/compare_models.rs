//! `fluxbay compare-models`: two trained models on the same samples: which is right where, and whether the
//! difference is more than chance.

use std::{ffi::OsString, rc::Rc};

use clap_complete::engine::ArgValueCompleter;
use serde_json::json;

use super::{
    opening::read_saved,
    predict::{failure, rows},
    shortcuts::{batches, threads},
};
use crate::{
    bundle::Source,
    cli::{
        candidates,
        outcome::{Exit, Failure, Outcome},
        output::{json_number, print, print_json},
        plugin_path::PluginPath,
        run_lookup,
    },
    display::columns,
    library::escape,
    predict::{Applied, DataUse, Prediction, Reading},
};

/// Arguments of `fluxbay compare-models`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A run's folder, its name or a part of it; or a bundle.
    #[arg(value_name = "ONE", add = ArgValueCompleter::new(candidates::runs))]
    one: OsString,
    /// The other.
    #[arg(value_name = "OTHER", add = ArgValueCompleter::new(candidates::runs))]
    other: OsString,
    /// Compare on the training or the validation data; validation unless given.
    #[arg(long, value_enum, value_name = "PART", hide_possible_values = true)]
    data: Option<Part>,
    /// Set a value in both runs: data.path=test.csv.
    ///
    /// May be given several times. Environment variables set nothing here.
    #[arg(long, value_name = "KEY.PATH=VALUE")]
    set: Vec<String>,
    /// List the N samples on which the models differ most.
    #[arg(long, value_name = "N", default_value_t = 10)]
    list: usize,
    /// Write JSON, as `fluxbay schema compare-models` describes.
    #[arg(long)]
    json: bool,
    /// Compute on N threads; any N, same bits.
    #[arg(long, value_name = "N", value_parser = threads)]
    threads: Option<usize>,
    /// Read at most N batches.
    #[arg(long, value_name = "N", value_parser = batches)]
    limit_batches: Option<u64>,
    #[command(flatten)]
    path: PluginPath,
}

/// Parts of the runs' data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// The data that the runs trained on.
    Training,
    /// The data that they were validated on.
    Validation,
}

/// The predictions of a model for the samples of a split.
struct Predicted {
    keys: Vec<String>,
    targets: Vec<Vec<f32>>,
    predictions: Vec<Prediction>,
    classes: Vec<String>,
}

/// How often each of two models is right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    both: u64,
    only_one: u64,
    only_other: u64,
    neither: u64,
    agree: u64,
}

impl Counts {
    fn samples(self) -> u64 {
        self.both + self.only_one + self.only_other + self.neither
    }
}

/// Probability of a difference at least as large if both models are right equally often: McNemar's exact
/// test, two-sided, of the samples on which only one of them is right.
fn mcnemar(only_one: u64, only_other: u64) -> f64 {
    let (n, fewer) = (only_one + only_other, only_one.min(only_other));
    if n == 0 {
        return 1.0;
    }
    // Sum of C(n, k) / 2^n, by logarithms: the terms underflow for large n.
    let mut term = -(n as f64) * std::f64::consts::LN_2;
    let mut sum = 0.0;
    for k in 0..=fewer {
        sum += term.exp();
        term += ((n - k) as f64 / (k + 1) as f64).ln();
    }
    (2.0 * sum).min(1.0)
}

fn predicted(arguments: &Arguments, run: &OsString) -> Result<Predicted, Failure> {
    let folder = run_lookup::find_model(run)?;
    let source =
        Source::open(&folder, None).map_err(|text| Failure::new(Exit::Configuration, text))?;
    let threads = arguments.threads.map(|threads| format!("run.threads={threads}"));
    let order = ["shuffle=false", "drop-last=false", "overfit-batches=0", "limit-batches=0"];
    let order = order.map(|setting| format!("loader.{setting}"));
    let set = threads.into_iter().chain(order).chain(arguments.set.iter().cloned()).collect();
    let read =
        read_saved(&folder, &source.plugins, set, Vec::new(), &arguments.path, |draft, _| {
            draft.keep_models(true);
        });
    let (run, catalog) = read.accept()?;
    let applied =
        Applied::open(run, Rc::new(catalog), &source, "", DataUse::Run).map_err(failure)?;
    let training = arguments.data == Some(Part::Training);
    let split = if training { "training" } else { "validation" };
    let mut stream = applied.split(split).map_err(failure)?;
    let wrong = |text: &str| Failure::new(Exit::Configuration, text);
    let (Some((input, _)), Some((target, field))) = (applied.input(), applied.target()) else {
        return Err(wrong("the data has no targets, so the models cannot be compared"));
    };
    let classes = usize::try_from(field.classes).unwrap_or(0);
    let reading = Reading { classes, raw: false };
    let mut all = Predicted {
        keys: Vec::new(),
        targets: Vec::new(),
        predictions: Vec::new(),
        classes: applied.class_names().to_vec(),
    };
    let mut read = 0;
    while arguments.limit_batches.is_none_or(|limit| read < limit)
        && let Some(batch) = stream.next_batch().map_err(failure)?
    {
        let outputs = applied.forward(&batch.fields[input..=input]).map_err(failure)?;
        all.predictions.extend(reading.read(&outputs[0], batch.keys.len()).map_err(failure)?);
        all.targets.extend(rows(&batch.fields[target]).map_err(failure)?);
        all.keys.extend(batch.keys);
        read += 1;
    }
    Ok(all)
}

/// What two predictions for a sample differ by: in probability for classes, in value for numbers.
fn difference(one: &Prediction, other: &Prediction) -> f64 {
    let (one, other) = match (one, other) {
        (Prediction::Classes(one), Prediction::Classes(other))
        | (Prediction::Values(one), Prediction::Values(other)) => (one, other),
        _ => return f64::INFINITY,
    };
    let each = one.iter().zip(other).map(|(one, other)| f64::from((one - other).abs()));
    each.fold(0.0, f64::max)
}

/// A prediction as text.
fn text(prediction: &Prediction, classes: &[String]) -> String {
    match (prediction, prediction.ranked().first()) {
        (Prediction::Classes(_), Some((class, probability))) => {
            let name = classes.get(*class).cloned().unwrap_or_else(|| class.to_string());
            format!("{name} {probability:.3}")
        }
        (Prediction::Values(values), _) => {
            values.iter().map(f32::to_string).collect::<Vec<_>>().join(" ")
        }
        _ => String::new(),
    }
}

pub fn run(arguments: &Arguments) -> Outcome {
    let (one, other) =
        (predicted(arguments, &arguments.one)?, predicted(arguments, &arguments.other)?);
    if one.keys != other.keys || one.targets != other.targets {
        return Err(Failure::new(
            Exit::Configuration,
            "the runs have other samples or targets: give both the same data with \
             `--set data.KEY=VALUE` and `--set loader.validation=...`, and the same seed",
        ));
    }
    let mut by_difference: Vec<(usize, f64)> = one
        .predictions
        .iter()
        .zip(&other.predictions)
        .map(|(one, other)| difference(one, other))
        .enumerate()
        .collect();
    let mean = by_difference.iter().map(|(_, difference)| difference).sum::<f64>()
        / by_difference.len().max(1) as f64;
    by_difference.sort_by(|a, b| b.1.total_cmp(&a.1));
    by_difference.retain(|(_, difference)| *difference > 0.0);
    by_difference.truncate(arguments.list);
    let counts = counts(&one, &other);
    let names = [&arguments.one, &arguments.other].map(|name| name.to_string_lossy().into_owned());
    let target = |index: usize| {
        let numbers = &one.targets[index];
        match (counts, numbers.as_slice()) {
            (Some(_), [class]) => {
                one.classes.get(*class as usize).cloned().unwrap_or_else(|| class.to_string())
            }
            _ => numbers.iter().map(f32::to_string).collect::<Vec<_>>().join(" "),
        }
    };
    if arguments.json {
        let listed: Vec<_> = by_difference
            .iter()
            .map(|&(index, difference)| {
                json!({
                    "key": one.keys[index],
                    "target": target(index),
                    "one": text(&one.predictions[index], &one.classes),
                    "other": text(&other.predictions[index], &other.classes),
                    "difference": json_number(difference),
                })
            })
            .collect();
        let counted = counts.map(|counts| {
            json!({
                "both-right": counts.both,
                "only-one-right": counts.only_one,
                "only-other-right": counts.only_other,
                "neither-right": counts.neither,
                "agree": counts.agree,
                "mcnemar-p": json_number(mcnemar(counts.only_one, counts.only_other)),
            })
        });
        return print_json(&json!({
            "schema": 1,
            "one": names[0],
            "other": names[1],
            "samples": one.keys.len(),
            "mean-difference": json_number(mean),
            "classes": counted,
            "differ-most": listed,
        }));
    }
    let mut out = String::new();
    if let Some(counts) = counts {
        let samples = counts.samples().max(1) as f64;
        let share = |count: u64| format!("{count} ({:.2} %)", 100.0 * count as f64 / samples);
        let lines = [
            ("samples".to_owned(), counts.samples().to_string()),
            ("same class".to_owned(), share(counts.agree)),
            (format!("{} right", escape::text(&names[0])), share(counts.both + counts.only_one)),
            (format!("{} right", escape::text(&names[1])), share(counts.both + counts.only_other)),
            (format!("only {} right", escape::text(&names[0])), share(counts.only_one)),
            (format!("only {} right", escape::text(&names[1])), share(counts.only_other)),
            ("neither right".to_owned(), share(counts.neither)),
            (
                "McNemar's exact test".to_owned(),
                format!("p = {:.4}", mcnemar(counts.only_one, counts.only_other)),
            ),
        ];
        let table: Vec<Vec<String>> =
            lines.into_iter().map(|(name, value)| vec![name, value]).collect();
        out.push_str(&columns(&table, "  ", &[]));
    } else {
        out.push_str(&format!("{} samples, mean difference {mean:.6}\n", one.keys.len()));
    }
    if !by_difference.is_empty() {
        let head = ["sample", "target", "one", "other", "difference"].map(str::to_owned).to_vec();
        let listed = by_difference.iter().map(|&(index, difference)| {
            vec![
                escape::text(&one.keys[index]),
                escape::text(&target(index)),
                escape::text(&text(&one.predictions[index], &one.classes)),
                escape::text(&text(&other.predictions[index], &other.classes)),
                format!("{difference:.4}"),
            ]
        });
        let table: Vec<Vec<String>> = std::iter::once(head).chain(listed).collect();
        out.push_str(&format!("\nwhere they differ most\n{}", columns(&table, "  ", &[4])));
    }
    print(&out)
}

/// How often the models are right; none unless both predict classes.
fn counts(one: &Predicted, other: &Predicted) -> Option<Counts> {
    let mut counts = Counts::default();
    for ((one, other), target) in one.predictions.iter().zip(&other.predictions).zip(&one.targets) {
        let class = |prediction: &Prediction| prediction.ranked().first().map(|(class, _)| *class);
        let (one, other) = (class(one)?, class(other)?);
        let target = target.last().map(|class| *class as usize)?;
        match (one == target, other == target) {
            (true, true) => counts.both += 1,
            (true, false) => counts.only_one += 1,
            (false, true) => counts.only_other += 1,
            (false, false) => counts.neither += 1,
        }
        counts.agree += u64::from(one == other);
    }
    Some(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_is_the_exact_two_sided_binomial_one() {
        // Sums of binomial coefficients in rational numbers, by Python's `fractions`.
        for (one, other, expected) in [
            (1, 9, 0.021_484_375),
            (0, 0, 1.0),
            (5, 5, 1.0),
            (0, 6, 0.031_25),
            (40, 70, 0.005_447_429_511_444_482),
            (480, 520, 0.217_448_293_204_140_94),
        ] {
            let found = mcnemar(one, other);
            assert!((found - expected).abs() < 1e-9, "{one} {other}: {found}");
        }
    }
}
