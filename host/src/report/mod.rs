//! `report`: one HTML file about one or several runs, made from their records alone.
//!
//! [`page`] reads the folders that a run leaves behind, also while the run still trains, and never
//! writes to them. The page holds its data, its script and the plotting library (uPlot, MIT licence), and
//! requests nothing. Curves are thinned while they are read (`curves`), so the size of the page does
//! not depend on the length of a run.

mod configuration;
mod curves;
mod spikes;

use std::{collections::VecDeque, fs::File, io::Read as _, path::Path};

use fluxbay_watch::lines;
use serde_json::{Map, Value as Json, json};

use crate::record::{RecordError, RunEntry, Status, Timestamp, file};
use curves::Curves;

const PAGE: &str = include_str!("page.html");
const SCRIPT: &str = include_str!("page.js");
const UPLOT: &str = include_str!("uplot.js");
const UPLOT_STYLE: &str = include_str!("uplot.css");

/// Points of all curves of a page. With 12 to 20 bytes a point the page stays below 5 MB.
const POINTS: usize = 160_000;
/// Most points of one curve.
const POINTS_PER_CURVE: usize = 4_000;
/// Events of a run that the page shows, the first and the last ones.
const EVENTS: usize = 400;

/// The report on some runs as HTML.
///
/// # Errors
/// Where a file of a record is there and cannot be read.
pub fn page(runs: &[RunEntry]) -> Result<String, RecordError> {
    let mut read = Vec::new();
    for run in runs {
        read.push(Curves::read(run)?);
    }
    let curves: usize = read.iter().map(Curves::len).sum();
    let points = (POINTS / curves.max(1)).clamp(100, POINTS_PER_CURVE);
    let mut described = Vec::new();
    for (run, curves) in runs.iter().zip(read) {
        described.push(describe(run, curves, points)?);
    }
    let data = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "written": Timestamp::now().rfc3339(),
        "runs": described,
    });
    // Within a script element nothing but `</` ends the data.
    let data = data.to_string().replace("</", "<\\/").replace("<!--", "<\\u0021--");
    Ok([
        ("/*UPLOT-CSS*/", UPLOT_STYLE),
        ("/*UPLOT-JS*/", UPLOT),
        ("/*PAGE-JS*/", SCRIPT),
        ("/*DATA*/", &data),
    ]
    .into_iter()
    .fold(PAGE.to_owned(), |page, (place, text)| page.replacen(place, text, 1)))
}

/// One run as the script expects it.
fn describe(run: &RunEntry, curves: Curves, points: usize) -> Result<Json, RecordError> {
    let mut notes = Vec::new();
    if curves.damaged > 0 {
        notes.push(format!("{} lines of {} cannot be read", curves.damaged, file::METRICS));
    }
    let rotated = lines::parts(&run.path.join(file::METRICS)).len() - 1;
    if rotated > 0 {
        notes.push(format!("{} was rotated: {rotated} older parts are read, too", file::METRICS));
    }
    if curves.len() == 0 {
        notes.push(match run.live {
            true => "nothing was recorded yet".to_owned(),
            false => "the run recorded no metrics".to_owned(),
        });
    }
    if let Err(problem) = &run.state {
        notes.push(format!("the state of the run cannot be read: {problem}"));
    }
    let state = run.state.as_ref().ok();
    let profile = whole_json(&run.path.join(file::PROFILE));
    let (events, event_count) = events(&run.path.join(file::EVENTS))?;
    let figures = run.epoch_metrics().unwrap_or_default();
    let figures = figures.iter().map(|figure| {
        json!({
            "phase": figure.phase, "name": figure.name,
            "last": number(figure.last.0), "last_epoch": figure.last.1,
            "best": figure.best.map(|best| number(best.0)), "best_epoch": figure.best.map(|best| best.1),
        })
    });
    let plugins = run
        .plugins()
        .into_iter()
        .map(|one| json!({ "name": one.name, "version": one.version, "sha256": one.sha256 }));
    let checkpoints = run.checkpoints().into_iter().map(|found| {
        let name = found.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let epochs = found.about.as_ref().map(|about| about.epochs).ok();
        json!({ "path": name, "epochs": epochs, "problem": found.about.err().map(|damage| damage.to_string()) })
    });
    Ok(json!({
        "id": run.id,
        "standing": run.standing(),
        "status": state.map(|state| state.status.name()),
        "reason": state.map_or("", |state| &state.reason),
        "by": state.map_or("", |state| &state.by),
        "started": state.map(|state| &state.started),
        "ended": state.filter(|state| state.status != Status::Running).map(|state| &state.updated),
        "epoch": state.map(|state| state.epoch),
        "resumed": state.map_or(0, |state| state.resumed),
        "peak_memory": profile.as_ref().and_then(|profile| profile.get("peak-memory")).cloned(),
        "notes": notes,
        "figures": figures.collect::<Vec<_>>(),
        "spikes": curves.spikes.to_json(),
        "series": curves.to_json(points),
        "profile": profile,
        "composition": whole_json(&run.path.join(file::COMPOSITION)),
        "details": details(&run.path.join(file::DETAILS)),
        "configuration": configuration::rows(&run.resolved(), &run.path),
        "plugins": plugins.collect::<Vec<_>>(),
        "checkpoints": checkpoints.collect::<Vec<_>>(),
        "events": events,
        "event_count": event_count,
        "environment": run.environment().as_object().cloned().unwrap_or_else(Map::new),
    }))
}

/// A number for the page: JSON has none for NaN and infinity.
pub(crate) fn number(value: f64) -> Json {
    if value.is_finite() { json!(value) } else { json!(value.to_string()) }
}

/// A small JSON file; nothing where it is missing or damaged.
fn whole_json(path: &Path) -> Option<Json> {
    let mut text = String::new();
    File::open(path).ok()?.take(16 << 20).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// Calls `take` for each complete line of a file and its rotated parts, see [`lines::each_line`].
///
/// # Errors
/// Where the file is there and cannot be read. A missing file has no lines.
pub(crate) fn each_line(path: &Path, take: impl FnMut(&[u8])) -> Result<(), RecordError> {
    lines::each_line(path, take).map_err(RecordError::io("read", path))
}

/// More than one number of a metric, such as a confusion matrix: the files of a folder, by name.
fn details(folder: &Path) -> Vec<Json> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = files.map(|file| file.path()).collect();
    paths.sort();
    paths.iter().filter_map(|path| whole_json(path)).collect()
}

/// The first and last events of a run, and how many there are. Only those that are shown are parsed.
fn events(path: &Path) -> Result<(Vec<Json>, usize), RecordError> {
    let (mut first, mut last) = (Vec::new(), VecDeque::new());
    let mut count = 0;
    each_line(path, |line| {
        if !(line.starts_with(b"{") && line.ends_with(b"}")) {
            return;
        }
        count += 1;
        if first.len() < EVENTS / 2 {
            first.extend(event(line));
            return;
        }
        // A full list takes the space of the line that it loses.
        let mut kept: Vec<u8> =
            if last.len() < EVENTS / 2 { Vec::new() } else { last.pop_front().unwrap_or_default() };
        kept.clear();
        kept.extend_from_slice(line);
        last.push_back(kept);
    })?;
    first.extend(last.iter().filter_map(|line| event(line)));
    Ok((first, count))
}

/// An event as the page shows it; none for a line that is no JSON object.
fn event(line: &[u8]) -> Option<Json> {
    let Ok(Json::Object(mut event)) = serde_json::from_slice(line) else { return None };
    let mut text = |key: &str| match event.remove(key) {
        Some(Json::String(text)) => text,
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let (time, name) = (text("time"), text("event"));
    let time = time.parse().map_or(time, |seconds| Timestamp::at(seconds).rfc3339());
    let details: Vec<String> = event.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    Some(json!({ "time": time, "event": name, "details": details.join(", ") }))
}
