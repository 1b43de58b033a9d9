//! Compares two directories of the same run bit by bit: all results of training, except times.
//!
//! Each difference names its field: a line of a file, an element of a tensor, a field of an
//! instance's state.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use candle_core::{DType, Tensor};
use ciborium::Value as Cbor;
use serde_json::Value as Json;

use crate::{
    bundle,
    learner::snapshot::{SavedInstance, SavedMetric, Snapshot},
    record::{STATE, checkpoint, file, ranks, tensors},
    session::checkpoint::{Files, from_files},
};

/// One field that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The field, such as `metrics.jsonl line 17: value`.
    pub field: String,
    /// Its value in the first directory.
    pub first: String,
    /// Its value in the second directory.
    pub second: String,
}

/// The result of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Number of compared fields.
    pub fields: usize,
    /// Differences: files written during training first, then the final state.
    pub differences: Vec<Difference>,
}

/// Files about the process rather than the run.
const OF_THE_PROCESS: [&str; 11] = [
    STATE,
    file::ENVIRONMENT,
    file::LOG,
    file::PROFILE,
    file::PLUGINS,
    ".lock",
    file::RESOLVED,
    // It names the run files, and a run that starts again is read from another one.
    file::COMPOSITION,
    file::REPORT,
    ranks::FOLDER,
    // Its files are links to those of the run, or texts that name the run's folder.
    bundle::FOLDER,
];

/// Compares two run directories.
///
/// # Errors
/// A text for the user, if one of them cannot be read.
pub fn directories(first: &Path, second: &Path) -> Result<Comparison, String> {
    let mut comparison = Comparison::default();
    let (files, others) = (files(first)?, files(second)?);
    let names: BTreeSet<&PathBuf> = files.union(&others).collect();
    let (lines, rest): (Vec<&PathBuf>, Vec<&PathBuf>) =
        names.into_iter().partition(|name| is_lines(name));
    for name in lines.into_iter().chain(rest) {
        let shown = name.to_string_lossy().into_owned();
        match (read(&first.join(name)), read(&second.join(name))) {
            (Some(one), Some(other)) => comparison.file(&shown, &one, &other),
            (one, _) => comparison.note(shown, said(one.is_some()), said(one.is_none())),
        }
    }
    let snapshots = (last_snapshot(first)?, last_snapshot(second)?);
    match snapshots {
        (Some(one), Some(other)) => comparison.snapshots(&one, &other),
        (None, None) => {}
        (one, _) => comparison.note(
            "the last checkpoint".to_owned(),
            said(one.is_some()),
            said(one.is_none()),
        ),
    }
    Ok(comparison)
}

/// Compares the states of two sessions of one run.
///
/// # Errors
/// A text for the user, if one of them is not a state.
pub fn states(first: &Files, second: &Files) -> Result<Comparison, String> {
    let read = |files: &Files| from_files(files).map_err(|stop| stop.to_string());
    let mut comparison = Comparison::default();
    comparison.snapshots(&read(first)?, &read(second)?);
    Ok(comparison)
}

fn said(is_there: bool) -> String {
    if is_there { "is there" } else { "is missing" }.to_owned()
}

fn is_lines(name: &Path) -> bool {
    name.extension().is_some_and(|extension| extension == "jsonl" || extension == "csv")
}

fn read(path: &Path) -> Option<Vec<u8>> {
    fs::read(path).ok()
}

/// All files of the run, without those of the process and the checkpoints.
fn files(folder: &Path) -> Result<BTreeSet<PathBuf>, String> {
    let mut found = BTreeSet::new();
    let mut open = vec![PathBuf::new()];
    while let Some(below) = open.pop() {
        let entries = fs::read_dir(folder.join(&below))
            .map_err(|error| format!("cannot read {}: {error}", folder.join(&below).display()))?;
        for entry in entries.flatten() {
            let path = below.join(entry.file_name());
            let name = path.to_string_lossy();
            if OF_THE_PROCESS.contains(&&*name) || *name == *file::CHECKPOINTS {
                continue;
            }
            if entry.path().is_dir() {
                open.push(path);
            } else {
                found.insert(path);
            }
        }
    }
    Ok(found)
}

fn last_snapshot(folder: &Path) -> Result<Option<Snapshot>, String> {
    let (found, _) = checkpoint::newest(&folder.join(file::CHECKPOINTS));
    found
        .map(|(path, data)| {
            from_files(&data.files).map_err(|stop| format!("{}: {stop}", path.display()))
        })
        .transpose()
}

impl Comparison {
    fn note(&mut self, field: String, first: String, second: String) {
        self.differences.push(Difference { field, first, second });
    }

    /// Compares two values of one field by their texts.
    fn same(&mut self, field: &str, first: impl ToString, second: impl ToString) {
        self.fields += 1;
        let (first, second) = (first.to_string(), second.to_string());
        if first != second {
            self.note(field.to_owned(), first, second);
        }
    }

    fn file(&mut self, name: &str, first: &[u8], second: &[u8]) {
        if is_lines(Path::new(name)) {
            let (one, other) = (String::from_utf8_lossy(first), String::from_utf8_lossy(second));
            self.lines(name, &one, &other);
        } else if name.ends_with(".safetensors") {
            match (tensors::decode(first), tensors::decode(second)) {
                (Ok(one), Ok(other)) => self.tensors(name, &one, &other),
                _ => self.bytes(name, first, second),
            }
        } else if name.contains("tfevents") {
            self.bytes(name, &without_wall_times(first), &without_wall_times(second));
        } else {
            self.bytes(name, first, second);
        }
    }

    fn bytes(&mut self, field: &str, first: &[u8], second: &[u8]) {
        self.fields += 1;
        if first == second {
            return;
        }
        let at = first
            .iter()
            .zip(second)
            .position(|(a, b)| a != b)
            .unwrap_or(first.len().min(second.len()));
        let shown = |bytes: &[u8]| match bytes.get(at) {
            Some(byte) => format!("{byte:#04x} of {} bytes", bytes.len()),
            None => format!("{} bytes", bytes.len()),
        };
        self.note(format!("{field}, byte {at}"), shown(first), shown(second));
    }

    fn lines(&mut self, name: &str, first: &str, second: &str) {
        let timeless = |text: &str| -> Vec<Vec<(String, String)>> {
            let header: Option<Vec<String>> = name.ends_with(".csv").then(|| {
                text.lines().next().unwrap_or_default().split(',').map(str::to_owned).collect()
            });
            text.lines().map(|line| fields_of_line(line, header.as_deref())).collect()
        };
        let (one, other) = (timeless(first), timeless(second));
        for (number, (one, other)) in one.iter().zip(&other).enumerate() {
            self.fields += 1;
            if one == other {
                continue;
            }
            let differing = one.iter().zip(other).find(|(a, b)| a != b);
            let (field, a, b) = match differing {
                Some(((key, a), (_, b))) => (format!(": {key}"), a.clone(), b.clone()),
                None => (String::new(), format!("{one:?}"), format!("{other:?}")),
            };
            // Only the first difference of a file is reported.
            return self.note(format!("{name} line {}{field}", number + 1), a, b);
        }
        self.same(&format!("lines of {name}"), one.len(), other.len());
    }

    fn tensors(&mut self, what: &str, first: &[(String, Tensor)], second: &[(String, Tensor)]) {
        let (first, second): (BTreeMap<_, _>, BTreeMap<_, _>) = (
            first.iter().map(|(name, tensor)| (name, tensor)).collect(),
            second.iter().map(|(name, tensor)| (name, tensor)).collect(),
        );
        let names: BTreeSet<&&String> = first.keys().chain(second.keys()).collect();
        for name in names {
            let field = format!("{what}: {name}");
            match (first.get(*name), second.get(*name)) {
                (Some(one), Some(other)) => self.tensor(&field, one, other),
                (one, _) => self.note(field, said(one.is_some()), said(one.is_none())),
            }
        }
    }

    fn tensor(&mut self, field: &str, first: &Tensor, second: &Tensor) {
        self.fields += 1;
        let form = |tensor: &Tensor| format!("{:?} {}", tensor.dims(), tensor.dtype().as_str());
        if form(first) != form(second) {
            return self.note(field.to_owned(), form(first), form(second));
        }
        let bytes = |tensor: &Tensor| {
            tensors::encode(&[(String::new(), tensor.clone())]).unwrap_or_default()
        };
        let (one, other) = (bytes(first), bytes(second));
        if one == other {
            return;
        }
        let size = first.dtype().size_in_bytes();
        let start = one.len() - first.elem_count() * size;
        let elements = one[start..].chunks(size).zip(other[start..].chunks(size));
        let at = elements.clone().position(|(a, b)| a != b).unwrap_or_default();
        let differing = elements.filter(|(a, b)| a != b).count();
        let shown = |tensor: &Tensor| {
            let value = tensor
                .flatten_all()
                .and_then(|flat| flat.get(at))
                .and_then(|one| one.to_dtype(DType::F64))
                .and_then(|one| one.to_scalar::<f64>());
            value.map_or_else(|_| "?".to_owned(), |value| format!("{value:?}"))
        };
        self.note(
            format!("{field}, element {at} ({differing} of {} differ)", first.elem_count()),
            shown(first),
            shown(second),
        );
    }

    fn snapshots(&mut self, first: &Snapshot, second: &Snapshot) {
        self.tensors("parameter", &first.parameters, &second.parameters);
        self.tensors("optimizer state", &first.optimizer_states, &second.optimizer_states);
        self.pairs("updates", &first.updates, &second.updates);
        self.same("seed", first.random.seed, second.random.seed);
        let counters =
            |snapshot: &Snapshot| snapshot.random.counters.clone().into_iter().collect::<Vec<_>>();
        self.pairs("random counter", &counters(first), &counters(second));
        self.same("epochs", first.epochs, second.epochs);
        self.same("next phase", first.next_phase, second.next_phase);
        self.same(
            "position in the epoch",
            format!("{:?}", first.in_epoch),
            format!("{:?}", second.in_epoch),
        );
        self.same(
            "validation within the epoch",
            format!("{:?}", first.in_validation),
            format!("{:?}", second.in_validation),
        );
        self.pairs("steps of phase", &first.phase_steps, &second.phase_steps);
        let shown = |snapshot: &Snapshot| {
            snapshot
                .values
                .iter()
                .map(|(path, value)| (path.clone(), format!("{value:?}")))
                .collect::<Vec<_>>()
        };
        self.pairs("state", &shown(first), &shown(second));
        self.tensors("state", &first.tensors, &second.tensors);
        let measured = |snapshot: &Snapshot| -> Vec<(String, Tensor)> {
            snapshot.measured.as_ref().map(|model| model.parameters.clone()).unwrap_or_default()
        };
        self.tensors("measured parameter", &measured(first), &measured(second));
        let metrics = |snapshot: &Snapshot| {
            let metric = |metric: &SavedMetric| {
                let value = f64::from_bits(metric.bits);
                let text = format!("{value:?} after {:?} updates", metric.updates);
                (format!("{}/{}", metric.phase, metric.name), text)
            };
            snapshot.metrics.iter().map(metric).collect::<Vec<_>>()
        };
        self.pairs("metric", &metrics(first), &metrics(second));
        self.same("disabled instances", first.disabled.join(", "), second.disabled.join(", "));
        let instances = |snapshot: &Snapshot| -> BTreeMap<String, SavedInstance> {
            snapshot.instances.iter().map(|saved| (saved.id.clone(), saved.clone())).collect()
        };
        let (one, other) = (instances(first), instances(second));
        for id in one.keys().chain(other.keys()).collect::<BTreeSet<_>>() {
            match (one.get(id), other.get(id)) {
                // The state of a logger holds file lengths, which depend on the times in the
                // files; the files themselves were compared above.
                (Some(one), Some(_)) if one.component.starts_with("logger/") => {}
                (Some(one), Some(other)) => self.instances(one, other),
                (one, _) => {
                    self.note(format!("instance `{id}`"), said(one.is_some()), said(one.is_none()))
                }
            }
        }
    }

    fn pairs<T: ToString + Clone>(
        &mut self,
        what: &str,
        first: &[(String, T)],
        second: &[(String, T)],
    ) {
        let text = |list: &[(String, T)], name: &str| {
            list.iter()
                .find(|(known, _)| known == name)
                .map_or_else(|| "is missing".to_owned(), |(_, value)| value.to_string())
        };
        let names: BTreeSet<&String> = first.iter().chain(second).map(|(name, _)| name).collect();
        for name in names {
            self.same(&format!("{what} `{name}`"), text(first, name), text(second, name));
        }
    }

    fn instances(&mut self, first: &SavedInstance, second: &SavedInstance) {
        let field = format!("state of instance `{}` ({})", first.id, first.component);
        if first.bytes == second.bytes {
            self.fields += 1;
            return;
        }
        match (ciborium::from_reader(&first.bytes[..]), ciborium::from_reader(&second.bytes[..])) {
            (Ok(one), Ok(other)) => self.cbor(&field, &one, &other),
            _ => self.bytes(&field, &first.bytes, &second.bytes),
        }
    }

    fn cbor(&mut self, field: &str, first: &Cbor, second: &Cbor) {
        match (first, second) {
            (Cbor::Map(one), Cbor::Map(other)) if one.len() == other.len() => {
                for ((key, one), (_, other)) in one.iter().zip(other) {
                    let name = key.as_text().map_or_else(|| format!("{key:?}"), str::to_owned);
                    self.cbor(&format!("{field}: {name}"), one, other);
                }
            }
            (Cbor::Array(one), Cbor::Array(other)) if one.len() == other.len() => {
                for (at, (one, other)) in one.iter().zip(other).enumerate() {
                    self.cbor(&format!("{field}[{at}]"), one, other);
                }
            }
            (Cbor::Float(one), Cbor::Float(other)) => {
                self.fields += 1;
                if one.to_bits() != other.to_bits() {
                    self.note(field.to_owned(), format!("{one:?}"), format!("{other:?}"));
                }
            }
            (Cbor::Bytes(one), Cbor::Bytes(other)) => self.bytes(field, one, other),
            (one, other) => self.same(field, format!("{one:?}"), format!("{other:?}")),
        }
    }
}

/// The fields of a line of a file, without its time.
fn fields_of_line(line: &str, header: Option<&[String]>) -> Vec<(String, String)> {
    if let Some(header) = header {
        let cells = line.split(',').enumerate();
        let named =
            cells.map(|(at, cell)| (header.get(at).cloned().unwrap_or_default(), cell.to_owned()));
        return named.filter(|(name, _)| name != "time").collect();
    }
    match serde_json::from_str::<Json>(line) {
        Ok(Json::Object(object)) => object
            .into_iter()
            .filter(|(key, _)| key != "time")
            .map(|(key, value)| (key, value.to_string()))
            .collect(),
        _ => vec![(String::new(), line.to_owned())],
    }
}

/// TensorBoard's records without what depends on the clock: an event begins with its time, 9 bytes
/// of tag and number, may repeat it, and the record's checksum covers it.
fn without_wall_times(bytes: &[u8]) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut rest = bytes;
    while let Some((head, after)) = rest.split_at_checked(12) {
        let length = u64::from_le_bytes(head[..8].try_into().unwrap_or_default()) as usize;
        let Some((event, after)) = after.split_at_checked(length) else { break };
        match event.split_at_checked(9) {
            Some(([0x09, time @ ..], event)) => append_without(&mut kept, event, time),
            _ => kept.extend_from_slice(event),
        }
        kept.push(b'\n');
        rest = after.get(4..).unwrap_or_default();
    }
    kept.extend_from_slice(rest);
    kept
}

fn append_without(kept: &mut Vec<u8>, mut bytes: &[u8], pattern: &[u8]) {
    while let Some((first, rest)) = bytes.split_first() {
        match bytes.strip_prefix(pattern) {
            Some(after) => bytes = after,
            None => {
                kept.push(*first);
                bytes = rest;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(metrics: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(file::METRICS), metrics).unwrap();
        folder
    }

    #[test]
    fn times_are_ignored_and_the_first_differing_field_is_named() {
        let one = folder(
            "{\"time\":1.0,\"name\":\"loss\",\"value\":0.5}\n{\"time\":2.0,\"name\":\"loss\",\"value\":0.25}\n",
        );
        let same = folder(
            "{\"time\":7.0,\"name\":\"loss\",\"value\":0.5}\n{\"time\":9.0,\"name\":\"loss\",\"value\":0.25}\n",
        );
        assert_eq!(directories(one.path(), same.path()).unwrap().differences, []);
        let other = folder(
            "{\"time\":1.0,\"name\":\"loss\",\"value\":0.5}\n{\"time\":2.0,\"name\":\"loss\",\"value\":0.75}\n",
        );
        let found = directories(one.path(), other.path()).unwrap().differences;
        let wanted = Difference {
            field: "metrics.jsonl line 2: value".to_owned(),
            first: "0.25".to_owned(),
            second: "0.75".to_owned(),
        };
        assert_eq!(found, [wanted]);
        let shorter = folder("{\"time\":1.0,\"name\":\"loss\",\"value\":0.5}\n");
        assert_eq!(
            directories(one.path(), shorter.path()).unwrap().differences[0].field,
            "lines of metrics.jsonl"
        );
    }

    #[test]
    fn the_first_differing_element_and_field_are_named() {
        let tensor = |last: f32| {
            vec![(
                "w".to_owned(),
                Tensor::new(&[1.0_f32, 2.0, last], &candle_core::Device::Cpu).unwrap(),
            )]
        };
        let mut comparison = Comparison::default();
        comparison.tensors("parameter", &tensor(3.0), &tensor(3.0));
        assert_eq!(comparison.differences, []);
        comparison.tensors("parameter", &tensor(3.0), &tensor(4.0));
        assert_eq!(comparison.differences[0].field, "parameter: w, element 2 (1 of 3 differ)");
        let state = |elapsed: f64| {
            let mut bytes = Vec::new();
            let fields = vec![(Cbor::Text("elapsed".to_owned()), Cbor::Float(elapsed))];
            ciborium::into_writer(&Cbor::Map(fields), &mut bytes).unwrap();
            SavedInstance {
                id: "stop".to_owned(),
                component: "callback/early-stopping".to_owned(),
                state_version: 1,
                bytes,
            }
        };
        let mut comparison = Comparison::default();
        comparison.instances(&state(1.0), &state(2.0));
        assert_eq!(
            comparison.differences[0].field,
            "state of instance `stop` (callback/early-stopping): elapsed"
        );
    }
}
