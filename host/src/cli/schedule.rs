//! `fluxbay schedule`: the values of schedules as numbers and as a plot, without training.

use std::fmt::Write as _;
use std::rc::Rc;

use serde_json::{Map, Value as Json, json};

use super::outcome::{Exit, Failure, Outcome};
use super::output::{json_number, print, print_json};
use super::run_arguments::RunArguments;
use crate::display::plot;
use crate::library::escape;
use crate::run_file::RunDescription;
use crate::session::{Composed, Surroundings};

/// Arguments of `fluxbay schedule`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    run: RunArguments,
    /// Show this schedule, not those of the run.
    ///
    /// Such as 'onecycle{steps = 100, max = 0.01}'.
    #[arg(long, value_name = "NAME{...}")]
    of: Option<String>,
    /// How many steps or epochs to show.
    ///
    /// By default the schedule's own length.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    times: Option<u64>,
    /// How many values to print, evenly spaced.
    #[arg(long, value_name = "N", default_value_t = 11, value_parser = clap::value_parser!(u64).range(2..))]
    points: u64,
    /// Write JSON, as `fluxbay schema schedule` describes.
    ///
    /// Includes the value at every time.
    #[arg(long)]
    json: bool,
}

/// One schedule with its values.
#[derive(Debug)]
struct Shown {
    /// The hyper-parameter that follows it; empty with `--of`.
    hyper_parameter: String,
    /// Id of the callback that binds it; empty with `--of`.
    callback: String,
    schedule: Json,
    /// Time from which on the value is constant.
    length: Option<u64>,
    /// Values at the times 1, 2, 3 and so on.
    values: Vec<f64>,
}

impl Shown {
    fn json(&self) -> Json {
        json!({
            "hyper-parameter": self.hyper_parameter,
            "callback": self.callback,
            "schedule": self.schedule,
            "length": self.length,
            "values": self.values.iter().copied().map(json_number).collect::<Vec<_>>(),
        })
    }
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let (run, catalog) = arguments.run.read().accept()?;
    let wanted = match &arguments.of {
        Some(text) => vec![(String::new(), String::new(), parse(text)?)],
        None => bound(&run),
    };
    if wanted.is_empty() {
        let text = "no hyper-parameter of this run follows a schedule; give one with --of, or bind one with the callback scheduler";
        return Err(Failure::new(Exit::Configuration, text));
    }
    let composed =
        Composed::new(Rc::new(catalog), run, Surroundings::default()).map_err(Failure::problems)?;
    let mut all = Vec::new();
    for (hyper_parameter, callback, schedule) in wanted {
        let preview = composed.preview_schedule(&schedule, arguments.times).map_err(|error| {
            Failure::new(
                Exit::Configuration,
                format!("cannot show the schedule {schedule}: {error}"),
            )
        })?;
        all.push(Shown {
            hyper_parameter,
            callback,
            schedule,
            length: preview.length,
            values: preview.values,
        });
    }
    if arguments.json {
        return print_json(
            &json!({ "schema": 1, "schedules": all.iter().map(Shown::json).collect::<Vec<_>>() }),
        );
    }
    print(&all.iter().map(|one| text(one, arguments.points)).collect::<Vec<_>>().join("\n"))
}

/// (hyper-parameter, callback, schedule) of every entry under the key `schedules` of a callback.
fn bound(run: &RunDescription) -> Vec<(String, String, Json)> {
    let of = |spec: &crate::run_file::InstanceSpec| {
        let schedules =
            spec.config.get("schedules").and_then(Json::as_object).cloned().unwrap_or_default();
        let id = spec.id.clone();
        schedules.into_iter().map(move |(path, schedule)| (path, id.clone(), schedule))
    };
    run.callbacks.iter().flat_map(of).collect()
}

/// `onecycle{steps = 100}`, or a value as a run file writes it.
fn parse(text: &str) -> Result<Json, Failure> {
    let wrong = |why: String| {
        Failure::new(
            Exit::Configuration,
            format!("`--of {}` is not a schedule: {why}", escape::text(text)),
        )
    };
    let value = |toml: &str| -> Result<Json, String> {
        let table: toml::Table = toml::from_str(&format!("value = {toml}"))
            .map_err(|error| error.message().to_owned())?;
        serde_json::to_value(&table["value"]).map_err(|error| error.to_string())
    };
    let (name, settings) = text.split_at(text.find('{').unwrap_or(text.len()));
    if name.trim().is_empty() || name.trim().parse::<f64>().is_ok() {
        return value(text).map_err(wrong);
    }
    let mut table = Map::from_iter([("component".to_owned(), Json::from(name.trim()))]);
    if !settings.is_empty() {
        match value(settings).map_err(wrong)? {
            Json::Object(settings) => table.extend(settings),
            _ => return Err(wrong("it is written NAME{key = value, ...}".to_owned())),
        }
    }
    Ok(Json::Object(table))
}

/// Heading, plot and numbers.
fn text(one: &Shown, points: u64) -> String {
    let mut out = String::new();
    let name = if one.hyper_parameter.is_empty() {
        String::new()
    } else {
        format!("{} of {}: ", one.hyper_parameter, one.callback)
    };
    let length = match one.length {
        Some(length) => format!("{length} times, then constant"),
        None => "no end".to_owned(),
    };
    let _ = writeln!(out, "{name}{} ({length})\n", escape::text(&one.schedule.to_string()));
    out.push_str(&plot(&one.values));
    let _ = writeln!(out, "\n{:>10}  value", "time");
    let count = one.values.len() as u64;
    let shown = points.min(count);
    for point in 0..shown {
        let index = if shown < 2 { 0 } else { point * (count - 1) / (shown - 1) };
        let _ = writeln!(out, "{:>10}  {:.6e}", index + 1, one.values[index as usize]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_a_name_with_settings_a_table_or_a_number() {
        let parsed = |text| parse(text).unwrap();
        assert_eq!(
            parsed("onecycle{steps = 100, max = 0.01}"),
            json!({"component": "onecycle", "steps": 100, "max": 0.01})
        );
        assert_eq!(parsed("exp"), json!({"component": "exp"}));
        assert_eq!(
            parsed("{ component = \"exp\", start = 1.0 }"),
            json!({"component": "exp", "start": 1.0})
        );
        assert_eq!(parsed("0.5"), json!(0.5));
        assert!(parse("exp{start = }").unwrap_err().to_string().contains("--of exp{start = }"));
    }

    #[test]
    fn the_first_and_the_last_value_are_always_printed() {
        let shown = Shown {
            hyper_parameter: "optimizer.learning-rate".into(),
            callback: "scheduler".into(),
            schedule: json!("exp"),
            length: None,
            values: (1..=100).map(f64::from).collect(),
        };
        let text = text(&shown, 3);
        assert!(
            text.starts_with("optimizer.learning-rate of scheduler: \"exp\" (no end)\n"),
            "{text}"
        );
        assert!(
            text.ends_with(
                "         1  1.000000e0\n        50  5.000000e1\n       100  1.000000e2\n"
            ),
            "{text}"
        );
    }
}
