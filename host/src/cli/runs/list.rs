//! `fluxbay runs list`.

use serde_json::json;

use super::folder::Place;
use super::metrics::{headline, json_figure};
use crate::cli::outcome::Outcome;
use crate::cli::output::{print, print_json};
use crate::display::{columns, number};
use crate::library::escape;
use crate::record::RunEntry;

/// Arguments of `fluxbay runs list`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Write JSON, as `fluxbay schema runs-list` describes.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let index = arguments.place.index();
    if arguments.json {
        let runs: Vec<_> = index.runs().iter().map(json).collect();
        return print_json(&json!({ "schema": 1, "runs": runs }));
    }
    if index.runs().is_empty() {
        return print(&format!(
            "no runs below {}; `fluxbay train` creates one\n",
            escape::path(&arguments.place.folder)
        ));
    }
    let head = ["run", "state", "epoch", "best", "", "started"].map(str::to_owned).to_vec();
    let rows: Vec<Vec<String>> =
        std::iter::once(head).chain(index.runs().iter().map(row)).collect();
    print(&columns(&rows, "", &[2, 3]))
}

/// The number of epochs that a run is set to.
pub(super) fn epochs(run: &RunEntry) -> Option<i64> {
    run.resolved().get("run")?.get("epochs")?.as_integer()
}

fn row(run: &RunEntry) -> Vec<String> {
    let (epoch, started) =
        run.state.as_ref().map(|state| (state.epoch, state.started.clone())).unwrap_or_default();
    let epoch = epochs(run).map_or(epoch.to_string(), |all| format!("{epoch}/{all}"));
    let figures = run.epoch_metrics().unwrap_or_default();
    let (best, name) = match headline(&figures).and_then(|figure| Some((figure, figure.best?))) {
        Some((figure, (best, _))) => (number(best), format!("{} {}", figure.phase, figure.name)),
        None => ("-".to_owned(), String::new()),
    };
    // To the minute.
    let started: String =
        started.chars().take(16).map(|ch| if ch == 'T' { ' ' } else { ch }).collect();
    [run.id.clone(), run.standing(), epoch, best, name, started]
        .iter()
        .map(|text| escape::text(text))
        .collect()
}

fn json(run: &RunEntry) -> serde_json::Value {
    let figures = run.epoch_metrics().unwrap_or_default();
    json!({
        "id": run.id,
        "path": escape::path(&run.path),
        "standing": run.standing(),
        "problem": run.state.as_ref().err(),
        "epochs": epochs(run),
        "state": run.state.as_ref().ok(),
        "figures": figures.iter().map(json_figure).collect::<Vec<_>>(),
    })
}
