//! Counters in the text format of Prometheus.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Upper bounds of the buckets of request times, in seconds.
const BOUNDS: [f64; 10] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.0, 10.0];

/// What the server has done.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Requests by status.
    requests: Mutex<BTreeMap<u16, u64>>,
    /// Requests within each bound, and their time in microseconds.
    within: [AtomicU64; BOUNDS.len()],
    finished: AtomicU64,
    micros: AtomicU64,
    samples: AtomicU64,
    batches: AtomicU64,
    waiting: AtomicU64,
    crashes: AtomicU64,
}

impl Metrics {
    /// Counts an answered request.
    pub fn request(&self, status: u16, time: Duration) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry(status).or_default() += 1;
        drop(requests);
        let seconds = time.as_secs_f64();
        for (bound, count) in BOUNDS.iter().zip(&self.within) {
            if seconds <= *bound {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.finished.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Counts samples that were computed together.
    pub fn batch(&self, samples: u64) {
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.samples.fetch_add(samples, Ordering::Relaxed);
    }

    /// Counts a request that waits for the model.
    pub fn enters(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an unexpected end of the process of the model.
    pub fn crash(&self) {
        self.crashes.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that does not wait any more.
    pub fn leaves(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// The text of `/metrics`.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let head = |out: &mut String, name: &str, kind: &str, help: &str| {
            let _ = writeln!(out, "# HELP fluxbay_{name} {help}\n# TYPE fluxbay_{name} {kind}");
        };
        head(&mut out, "requests_total", "counter", "Answered requests by status.");
        for (status, count) in &*self.requests.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = writeln!(out, "fluxbay_requests_total{{status=\"{status}\"}} {count}");
        }
        head(&mut out, "request_seconds", "histogram", "Time of requests.");
        for (bound, count) in BOUNDS.iter().zip(&self.within) {
            let count = count.load(Ordering::Relaxed);
            let _ = writeln!(out, "fluxbay_request_seconds_bucket{{le=\"{bound}\"}} {count}");
        }
        let finished = self.finished.load(Ordering::Relaxed);
        let seconds = self.micros.load(Ordering::Relaxed) as f64 / 1e6;
        let _ = writeln!(
            out,
            "fluxbay_request_seconds_bucket{{le=\"+Inf\"}} {finished}\nfluxbay_request_seconds_sum {seconds}\nfluxbay_request_seconds_count {finished}"
        );
        for (name, kind, help, value) in [
            ("samples_total", "counter", "Samples that were computed.", &self.samples),
            ("batches_total", "counter", "Calls of the model.", &self.batches),
            (
                "crashes_total",
                "counter",
                "Unexpected ends of the process of the model.",
                &self.crashes,
            ),
            ("waiting_requests", "gauge", "Requests that wait for the model.", &self.waiting),
        ] {
            head(&mut out, name, kind, help);
            let _ = writeln!(out, "fluxbay_{name} {}", value.load(Ordering::Relaxed));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_status_and_time() {
        let metrics = Metrics::default();
        metrics.request(200, Duration::from_millis(2));
        metrics.request(200, Duration::from_secs(20));
        metrics.request(413, Duration::ZERO);
        metrics.batch(3);
        metrics.crash();
        let text = metrics.text();
        for line in [
            "fluxbay_requests_total{status=\"200\"} 2",
            "fluxbay_requests_total{status=\"413\"} 1",
            "fluxbay_request_seconds_bucket{le=\"0.0025\"} 2",
            "fluxbay_request_seconds_bucket{le=\"+Inf\"} 3",
            "fluxbay_samples_total 3",
            "fluxbay_crashes_total 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
