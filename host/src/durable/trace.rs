//! Writes a trace of a run in Chrome's trace event format, which Perfetto (ui.perfetto.dev) and
//! chrome://tracing open: phases, steps, callbacks and operations of each thread over time.

use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use serde_json::json;

use crate::learner::Runtime;
use crate::record::atomic;
use crate::tensor::timeline::{Name, Span, Trace};

/// Most spans of a trace; about 25 MB of text.
pub const MOST: usize = 200_000;

/// Writes a trace. Numbers of instances, events and phases are those of `runtime`.
///
/// # Errors
/// If the file cannot be written.
pub fn write(trace: &Trace, runtime: &Runtime, file: &Path) -> io::Result<()> {
    let mut text = BufWriter::new(Vec::new());
    let about = json!({ "complete": !trace.is_full, "spans": trace.spans.len() });
    write!(text, "{{\"displayTimeUnit\":\"ms\",\"otherData\":{about},\"traceEvents\":[")?;
    let process = json!({ "ph": "M", "pid": 1, "tid": 0, "name": "process_name", "args": { "name": "fluxbay" } });
    write!(text, "\n{process}")?;
    for (number, name) in trace.threads.iter().enumerate() {
        let named = json!({ "ph": "M", "pid": 1, "tid": number, "name": "thread_name", "args": { "name": name } });
        write!(text, ",\n{named}")?;
    }
    let micros = |time: std::time::Duration| time.as_nanos() as f64 / 1e3;
    for span in &trace.spans {
        let line = json!({
            "ph": "X", "pid": 1, "tid": span.thread, "cat": span.category, "name": name(span, runtime),
            "ts": micros(span.begin.saturating_duration_since(trace.begin)),
            "dur": micros(span.end.saturating_duration_since(span.begin)),
        });
        write!(text, ",\n{line}")?;
    }
    writeln!(text, "\n]}}")?;
    let text = text.into_inner().map_err(io::IntoInnerError::into_error)?;
    atomic::replace(file, &text).map_err(io::Error::other)
}

fn name(span: &Span, runtime: &Runtime) -> String {
    let event = |number: u64| runtime.event_name(number as u32).unwrap_or_default();
    match (span.category, span.name) {
        (_, Name::Text(text)) => text.to_owned(),
        ("epoch", Name::Numbers(phase, epoch)) => {
            let phases = runtime.phase_ids();
            let id = phases.get(phase as usize).map_or("phase", String::as_str);
            format!("{id} epoch {epoch}")
        }
        ("callback", Name::Numbers(by, number)) => {
            let id = runtime.instance(by as u32).map(|instance| instance.id.clone());
            format!("{} {}", id.unwrap_or_default(), event(number))
        }
        (_, Name::Numbers(_, number)) => event(number),
    }
}
