//! `report`: one HTML file about one or several runs, made from their records alone.
//!
//! [`page`] reads the folders that a run leaves behind, also while the run still trains, and never
//! writes to them. The page holds its data, its script and the plotting library (uPlot, MIT licence), and
//! requests nothing. Curves are thinned while they are read (`curves`), so the size of the page does
//! not depend on the length of a run.

mod configuration;
mod curves;
mod spikes;

use std::{
    fs::File,
    io::{BufRead, BufReader, Read as _},
    path::Path,
};

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
/// Longest line of a record that is read, in bytes; a longer one counts as damaged.
pub(crate) const LONGEST_LINE: u64 = 1 << 20;

/// The report on some runs as HTML.
///
/// # Errors
/// Where a file of a record is there and cannot be read.
pub fn page(runs: &[RunEntry]) -> Result<String, RecordError> {
    let mut read = Vec::new();
    for run in runs {
        read.push(Curves::read(&run.path.join(file::METRICS))?);
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

/// Calls `take` for each complete line. A last line without an end is still being written, and is left
/// out; so are lines beyond [`LONGEST_LINE`], which `take` receives as empty.
///
/// # Errors
/// Where the file is there and cannot be read. A missing file has no lines.
pub(crate) fn each_line(path: &Path, mut take: impl FnMut(&[u8])) -> Result<(), RecordError> {
    let mut reader = match File::open(path) {
        Ok(file) => BufReader::with_capacity(1 << 16, file),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(RecordError::io("read", path)(error)),
    };
    let mut line = Vec::new();
    let mut too_long = false;
    loop {
        line.clear();
        let read = (&mut reader)
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut line)
            .map_err(RecordError::io("read", path))?;
        if read == 0 {
            return Ok(());
        }
        if line.last() == Some(&b'\n') {
            line.pop();
            take(if too_long { b"" } else { &line });
            too_long = false;
        } else if read as u64 == LONGEST_LINE {
            too_long = true;
        } else {
            return Ok(());
        }
    }
}

/// More than one number of a metric, such as a confusion matrix: the files of a folder, by name.
fn details(folder: &Path) -> Vec<Json> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = files.map(|file| file.path()).collect();
    paths.sort();
    paths.iter().filter_map(|path| whole_json(path)).collect()
}

/// The first and last events of a run, and how many there are.
fn events(path: &Path) -> Result<(Vec<Json>, usize), RecordError> {
    let (mut first, mut last) = (Vec::new(), std::collections::VecDeque::new());
    let mut count = 0;
    each_line(path, |line| {
        let Ok(Json::Object(mut event)) = serde_json::from_slice(line) else { return };
        count += 1;
        let mut text = |key: &str| match event.remove(key) {
            Some(Json::String(text)) => text,
            Some(other) => other.to_string(),
            None => String::new(),
        };
        let (time, name) = (text("time"), text("event"));
        let time = time.parse().map_or(time, |seconds| Timestamp::at(seconds).rfc3339());
        let details: Vec<String> =
            event.iter().map(|(key, value)| format!("{key}: {value}")).collect();
        let row = json!({ "time": time, "event": name, "details": details.join(", ") });
        if first.len() < EVENTS / 2 {
            first.push(row);
        } else {
            last.push_back(row);
            if last.len() > EVENTS / 2 {
                last.pop_front();
            }
        }
    })?;
    first.extend(last);
    Ok((first, count))
}
