//! `fluxbay runs show`.

use std::ffi::OsString;
use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use super::folder::{Place, names};
use super::list::epochs;
use super::metrics::json_figure;
use crate::cli::outcome::Outcome;
use crate::cli::output::{print, print_json};
use crate::display::{bytes, columns, number};
use crate::library::escape;
use crate::record::{EpochMetric, RunEntry, Status, file};

/// Digits of a hash that are shown.
const HASH: usize = 12;

/// Arguments of `fluxbay runs show`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A run's folder, its name or a part of it, or `last`.
    ///
    /// The beginning or the end of a name below `runs` is enough if only one run matches.
    #[arg(value_name = "RUN", default_value = "last", add = names())]
    run: OsString,
    #[command(flatten)]
    place: Place,
    /// Write JSON, as `fluxbay schema runs-show` describes.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let run = arguments.place.find(&arguments.run)?;
    if arguments.json { print_json(&json(&run)) } else { print(&text(&run)) }
}

fn json(run: &RunEntry) -> Json {
    let plugins = run
        .plugins()
        .into_iter()
        .map(|one| json!({ "name": one.name, "version": one.version, "sha256": one.sha256 }));
    let checkpoints = run.checkpoints().into_iter().map(|found| {
        let epochs = found.about.as_ref().map(|about| about.epochs).ok();
        json!({ "path": escape::path(&found.path), "epochs": epochs, "problem": found.about.err().map(|damage| damage.to_string()) })
    });
    json!({
        "schema": 1,
        "id": run.id,
        "path": escape::path(&run.path),
        "standing": run.standing(),
        "problem": run.state.as_ref().err(),
        "epochs": epochs(run),
        "state": run.state.as_ref().ok(),
        "figures": run.epoch_metrics().unwrap_or_default().iter().map(json_figure).collect::<Vec<_>>(),
        "plugins": plugins.collect::<Vec<_>>(),
        "checkpoints": checkpoints.collect::<Vec<_>>(),
        "environment": run.environment(),
        "bytes": run.size(),
        "report": report(run),
    })
}

/// The report in the run's folder, if there is one.
fn report(run: &RunEntry) -> Option<String> {
    let path = run.path.join(file::REPORT);
    path.is_file().then(|| escape::path(&path))
}

fn text(run: &RunEntry) -> String {
    let mut out = format!("{}\n", escape::text(&run.id));
    let mut row = |label: &str, content: String| {
        if !content.is_empty() {
            let _ = writeln!(out, "  {label:<11} {}", escape::text(&content));
        }
    };
    row("state", standing(run));
    let environment = run.environment();
    let said =
        |key: &str| environment.get(key).and_then(Json::as_str).unwrap_or_default().to_owned();
    if let Ok(state) = &run.state {
        let resumed = if state.resumed > 0 {
            format!(", resumed {} times", state.resumed)
        } else {
            String::new()
        };
        row("started", format!("{}{resumed}", state.started));
        row(
            "ended",
            if state.status == Status::Running { String::new() } else { state.updated.clone() },
        );
    }
    let words: Vec<&str> = environment
        .get("command-line")
        .and_then(Json::as_array)
        .into_iter()
        .flatten()
        .filter_map(Json::as_str)
        .collect();
    row("command", words.join(" "));
    row("host", format!("fluxbay {}, {}", said("host"), said("device")));
    row("seed", environment.get("seed").map(Json::to_string).unwrap_or_default());
    row("folder", format!("{}, {}", escape::path(&run.path), bytes(run.size())));
    row("report", report(run).unwrap_or_default());
    figures(&mut out, &run.epoch_metrics().unwrap_or_default());
    out.push_str("\nplugins\n");
    let plugins = run
        .plugins()
        .into_iter()
        .map(|one| vec![one.name, one.version, one.sha256.chars().take(HASH).collect()]);
    out.push_str(&shown_columns(plugins.collect()));
    let checkpoints = run.checkpoints();
    if !checkpoints.is_empty() {
        out.push_str("\ncheckpoints\n");
        let rows = checkpoints.iter().map(|found| {
            let about = match &found.about {
                Ok(about) => format!("after {} epochs", about.epochs),
                Err(damage) => format!("cannot be used: {damage}"),
            };
            vec![escape::path(&found.path), about]
        });
        out.push_str(&shown_columns(rows.collect()));
    }
    out.push_str(&next(run));
    out
}

fn standing(run: &RunEntry) -> String {
    let state = match &run.state {
        Ok(state) => state,
        Err(error) => return format!("damaged: {error}"),
    };
    let epochs = epochs(run).map_or(String::new(), |all| format!(" of {all}"));
    let mut text = format!("{} in epoch {}{epochs}", run.standing(), state.epoch);
    if !state.by.is_empty() {
        let _ = write!(text, " by {}", state.by);
    }
    if !state.reason.is_empty() {
        let _ = write!(text, ": {}", state.reason);
    }
    text
}

fn figures(out: &mut String, figures: &[EpochMetric]) {
    if figures.is_empty() {
        return;
    }
    out.push_str("\nmetrics\n");
    let mut rows = vec![["", "", "last", "best", "in epoch"].map(str::to_owned).to_vec()];
    for figure in figures {
        let (best, epoch) = figure.best.map_or(("-".to_owned(), String::new()), |(best, epoch)| {
            (number(best), epoch.to_string())
        });
        rows.push(vec![
            escape::text(&figure.phase),
            escape::text(&figure.name),
            number(figure.last.0),
            best,
            epoch,
        ]);
    }
    out.push_str(&columns(&rows, "  ", &[2, 3, 4]));
}

fn shown_columns(rows: Vec<Vec<String>>) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|text| escape::text(text)).collect()).collect();
    columns(&rows, "  ", &[])
}

/// Commands that can be used next.
fn next(run: &RunEntry) -> String {
    let path = escape::path(&run.path);
    let ended = run.state.as_ref().is_ok_and(|state| state.status == Status::Finished);
    let mut commands = Vec::new();
    if !ended && !run.live && !run.checkpoints().is_empty() {
        commands.push(format!("fluxbay resume {path}"));
    }
    if !run.checkpoints().is_empty() || run.path.join(file::MODEL).is_file() {
        commands.push(format!("fluxbay evaluate {path}"));
    }
    if commands.is_empty() {
        String::new()
    } else {
        format!("\nnext\n  {}\n", commands.join("\n  "))
    }
}
