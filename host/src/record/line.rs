//! Formats the lines of `metrics.jsonl`, `metrics.csv` and `events.jsonl`. Called for every metric,
//! so it writes into the buffer of the file without allocating.

use serde::Serialize;

use crate::learner::ports::{At, Scope};

/// Columns of `metrics.csv`, and keys of a line of `metrics.jsonl`.
pub(super) const COLUMNS: &str = "time,phase,scope,epoch,step,name,value";

/// A line of `metrics.jsonl`.
pub(super) fn metric_json(
    line: &mut Vec<u8>,
    time: f64,
    at: &At<'_>,
    scope: Scope,
    name: &str,
    value: f64,
) {
    begin(line, time);
    member(line, "phase", at.phase);
    member(line, "scope", scope.name());
    member(line, "epoch", &at.epoch);
    member(line, "step", &at.step);
    member(line, "name", name);
    if value.is_finite() {
        member(line, "value", &value)
    } else {
        member(line, "value", &value.to_string())
    }
    line.push(b'}');
}

/// A line of `metrics.csv`.
pub(super) fn metric_row(
    line: &mut Vec<u8>,
    time: f64,
    at: &At<'_>,
    scope: Scope,
    name: &str,
    value: f64,
) {
    seconds(line, time);
    line.push(b',');
    cell(line, at.phase);
    line.push(b',');
    line.extend_from_slice(scope.name().as_bytes());
    line.push(b',');
    json(line, &at.epoch);
    line.push(b',');
    json(line, &at.step);
    line.push(b',');
    cell(line, name);
    line.push(b',');
    if value.is_finite() {
        json(line, &value)
    } else {
        line.extend_from_slice(value.to_string().as_bytes())
    }
}

/// A line of `events.jsonl`.
pub(super) fn event_json(
    line: &mut Vec<u8>,
    time: f64,
    at: &At<'_>,
    kind: &str,
    by: &str,
    detail: &str,
) {
    begin(line, time);
    member(line, "event", kind);
    member(line, "phase", at.phase);
    member(line, "epoch", &at.epoch);
    member(line, "step", &at.step);
    member(line, "by", by);
    member(line, "detail", detail);
    line.push(b'}');
}

/// A time in seconds, to the microsecond. Written as integers, since formatting a float takes as
/// long as the rest of the line.
fn seconds(line: &mut Vec<u8>, seconds: f64) {
    let micros = (seconds * 1e6).round() as u64;
    json(line, &(micros / 1_000_000));
    let from = line.len();
    // The leading 1 keeps the zeros; the point replaces it.
    json(line, &(1_000_000 + micros % 1_000_000));
    line[from] = b'.';
}

/// Opens an object with its first member, the time.
fn begin(line: &mut Vec<u8>, time: f64) {
    line.extend_from_slice(b"{\"time\":");
    seconds(line, time);
}

/// A further member. `name` must not need escapes.
fn member(line: &mut Vec<u8>, name: &str, value: &(impl Serialize + ?Sized)) {
    line.extend_from_slice(b",\"");
    line.extend_from_slice(name.as_bytes());
    line.extend_from_slice(b"\":");
    json(line, value);
}

/// A text or a number as JSON.
fn json(line: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    // Writing to memory does not fail.
    let _ = serde_json::to_writer(line, value);
}

/// A cell of the table, quoted if needed (RFC 4180). Line breaks become spaces: one record is one
/// line.
fn cell(line: &mut Vec<u8>, text: &str) {
    if !text.contains([',', '"', '\n', '\r']) {
        line.extend_from_slice(text.as_bytes());
        return;
    }
    line.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' => line.extend_from_slice(b"\"\""),
            b'\n' | b'\r' => line.push(b' '),
            byte => line.push(byte),
        }
    }
    line.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_to_the_microsecond() {
        let written = |time| {
            let mut line = Vec::new();
            seconds(&mut line, time);
            String::from_utf8(line).unwrap()
        };
        for time in [0.0, 0.5, 1.000_123, 2.999_999_6, 1_795_448_473.805_196] {
            assert_eq!(written(time), format!("{time:.6}"));
        }
    }
}
