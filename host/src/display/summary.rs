//! The summary after a run: how it ended, its metrics, where the time went, where the record is.

use std::time::Duration;

use super::{
    Colors,
    screen::Paint,
    table::{bytes, columns, duration, number},
};
use crate::{
    learner::ports::MemoryUse,
    library::escape,
    record::{EpochMetric, PhaseTime},
};

/// Number of callbacks whose time is listed.
const MOST_CALLBACKS: usize = 3;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// All epochs are done.
    Finished,
    /// A plugin or the time limit ended it early.
    Stopped {
        /// Why.
        reason: String,
        /// The instance; empty for the time limit.
        by: String,
    },
    /// A signal ended it.
    Interrupted {
        /// Name of the signal, such as `SIGINT`.
        signal: String,
    },
    /// It failed; the error is reported separately.
    Failed,
}

/// What the summary shows.
#[derive(Clone, Debug)]
pub struct Summary {
    /// How the run ended.
    pub conclusion: Conclusion,
    /// Completed epochs.
    pub epochs: u64,
    /// Time from the first to the last event.
    pub elapsed: Duration,
    /// Last and best value of each epoch metric.
    pub figures: Vec<EpochMetric>,
    /// Time of each phase.
    pub times: Vec<PhaseTime>,
    /// What the tensors of training steps took; `None` if nothing was trained.
    pub memory: Option<MemoryUse>,
    /// Time of each callback, estimated.
    pub callbacks: Vec<(String, Duration)>,
    /// Number of processes, time that this one waited for the others, and time that its messages took;
    /// `None` for one process.
    pub ranks: Option<(usize, Duration, Duration)>,
    /// Run folder; empty if none is kept.
    pub directory: String,
    /// Command that resumes the run; empty if it cannot be resumed.
    pub resume: String,
    /// Command that evaluates the model; empty if there is no validation phase.
    pub evaluate: String,
}

impl Summary {
    /// The text, of several lines.
    pub fn text(&self, colors: Colors) -> String {
        let mut text = format!("{}\n", self.headline(colors));
        if !self.figures.is_empty() {
            text.push_str(&self.table());
        }
        if let Some(times) = self.time_line() {
            text.push_str(&format!("  {}  {times}\n", colors.paint(Paint::Cyan, "time  ")));
        }
        if let Some(callbacks) = self.callback_line() {
            text.push_str(&format!("  {}  {callbacks}\n", colors.paint(Paint::Cyan, "within")));
        }
        if let Some((ranks, waiting, messages)) = self.ranks {
            text.push_str(&format!(
                "  {}  {ranks}; this one waited {} for the others, and {} for messages\n",
                colors.paint(Paint::Cyan, "ranks "),
                duration(waiting),
                duration(messages)
            ));
        }
        if let Some(most) = &self.memory {
            let [first, second] = memory_lines(most);
            let label = colors.paint(Paint::Cyan, "memory");
            text.push_str(&format!("  {label}  {first}\n          {second}\n"));
        }
        for (label, content) in
            [("record", &self.directory), ("resume", &self.resume), ("next  ", &self.evaluate)]
        {
            if !content.is_empty() {
                text.push_str(&format!(
                    "  {}  {}\n",
                    colors.paint(Paint::Cyan, label),
                    escape::text(content)
                ));
            }
        }
        text
    }

    fn headline(&self, colors: Colors) -> String {
        let epochs = format!("{} epoch{}", self.epochs, if self.epochs == 1 { "" } else { "s" });
        let time = duration(self.elapsed);
        match &self.conclusion {
            Conclusion::Finished => {
                format!("{} {epochs} in {time}", colors.paint(Paint::Green, "finished"))
            }
            Conclusion::Stopped { reason, by } => {
                let by =
                    if by.is_empty() { String::new() } else { format!(" by {}", escape::text(by)) };
                let reason = escape::paragraph(reason);
                format!(
                    "{}{by} after {epochs} in {time}: {reason}",
                    colors.paint(Paint::Green, "stopped")
                )
            }
            Conclusion::Interrupted { signal } => {
                format!(
                    "{} by {signal} after {epochs} in {time}",
                    colors.paint(Paint::Yellow, "interrupted")
                )
            }
            Conclusion::Failed => {
                format!("{} after {epochs} in {time}", colors.paint(Paint::Red, "failed"))
            }
        }
    }

    fn table(&self) -> String {
        let head = ["", "", "last", "best", "in epoch"].map(str::to_owned).to_vec();
        let mut rows = vec![head];
        let mut before = None;
        for figure in &self.figures {
            let phase = if before == Some(&figure.phase) {
                String::new()
            } else {
                escape::text(&figure.phase)
            };
            before = Some(&figure.phase);
            let (best, epoch) =
                figure.best.map_or(("-".to_owned(), String::new()), |(best, epoch)| {
                    (number(best), epoch.to_string())
                });
            rows.push(vec![phase, escape::text(&figure.name), number(figure.last.0), best, epoch]);
        }
        columns(&rows, "  ", &[2, 3, 4])
    }

    /// The callbacks that took the most time.
    fn callback_line(&self) -> Option<String> {
        let mut all: Vec<&(String, Duration)> =
            self.callbacks.iter().filter(|(_, time)| !time.is_zero()).collect();
        all.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
        let told =
            |(id, time): &&(String, Duration)| format!("{} {}", escape::text(id), duration(*time));
        let mut parts: Vec<String> = all.iter().take(MOST_CALLBACKS).map(told).collect();
        let rest: Duration = all.iter().skip(MOST_CALLBACKS).map(|(_, time)| *time).sum();
        if !rest.is_zero() {
            parts.push(format!("others {}", duration(rest)));
        }
        (!parts.is_empty()).then(|| format!("callbacks: {}", parts.join(", ")))
    }

    fn time_line(&self) -> Option<String> {
        if self.times.is_empty() || self.elapsed.is_zero() {
            return None;
        }
        let share = |time: Duration| {
            format!("{:.0} %", 100.0 * time.as_secs_f64() / self.elapsed.as_secs_f64())
        };
        let mut parts: Vec<String> = self
            .times
            .iter()
            .map(|time| {
                format!(
                    "{} {} ({})",
                    escape::text(&time.phase),
                    duration(time.time),
                    share(time.time)
                )
            })
            .collect();
        let known: Duration = self.times.iter().map(|time| time.time).sum();
        let other = self.elapsed.saturating_sub(known);
        if other.as_secs_f64() >= 0.01 * self.elapsed.as_secs_f64() {
            parts.push(format!("other {} ({})", duration(other), share(other)));
        }
        Some(parts.join(", "))
    }
}

/// What tensors took, by what they were for, in two lines.
pub(crate) fn memory_lines(most: &MemoryUse) -> [String; 2] {
    let again = match most.recomputed {
        0 => String::new(),
        1 => "; 1 block was computed again".to_owned(),
        count => format!("; {count} blocks were computed again"),
    };
    let first = format!(
        "tensors at most {}: parameters {}, optimizer {},",
        bytes(most.peak),
        bytes(most.parameters),
        bytes(most.optimizer)
    );
    let second = format!(
        "gradients {}, activations {}, batch {}{again}",
        bytes(most.gradients),
        bytes(most.activations),
        bytes(most.batch)
    );
    [first, second]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(conclusion: Conclusion) -> Summary {
        let figure = |phase: &str, name: &str, last, best| EpochMetric {
            phase: phase.to_owned(),
            name: name.to_owned(),
            last,
            best,
        };
        let time = |phase: &str, millis| PhaseTime {
            phase: phase.to_owned(),
            epochs: 10,
            time: Duration::from_millis(millis),
        };
        Summary {
            conclusion,
            epochs: 10,
            elapsed: Duration::from_millis(2500),
            figures: vec![
                figure("training", "loss", (0.01234567, 10), Some((0.01234567, 10))),
                figure("training", "accuracy", (0.9986, 10), Some((1.0, 8))),
                figure("validation", "loss", (f64::NAN, 10), None),
            ],
            times: vec![time("training", 2000), time("validation", 300)],
            callbacks: [
                ("recorder", 3),
                ("metrics", 120),
                ("idle", 0),
                ("a", 2),
                ("b", 2),
                ("c", 1),
            ]
            .map(|(id, millis)| (id.to_owned(), Duration::from_millis(millis)))
            .to_vec(),
            ranks: None,
            memory: Some(MemoryUse {
                parameters: 43_000_000,
                optimizer: 86_000_000,
                gradients: 43_000_000,
                activations: 310_400_000,
                batch: 65_536,
                recomputed: 6,
                peak: 440_000_000,
            }),
            directory: "runs/20260301-120000-digits".to_owned(),
            resume: String::new(),
            evaluate: "fluxbay evaluate runs/20260301-120000-digits".to_owned(),
        }
    }

    #[test]
    fn the_summary_of_a_run() {
        insta::assert_snapshot!(summary(Conclusion::Finished).text(Colors::Off), @r"
        finished 10 epochs in 2.50 s
                                  last    best  in epoch
          training    loss      0.0123  0.0123        10
                      accuracy  0.9986  1.0000         8
          validation  loss         NaN       -
          time    training 2.00 s (80 %), validation 0.30 s (12 %), other 0.20 s (8 %)
          within  callbacks: metrics 0.12 s, recorder 3.0 ms, a 2.0 ms, others 3.0 ms
          memory  tensors at most 440.0 MB: parameters 43.0 MB, optimizer 86.0 MB,
                  gradients 43.0 MB, activations 310.4 MB, batch 65.5 kB; 6 blocks were computed again
          record  runs/20260301-120000-digits
          next    fluxbay evaluate runs/20260301-120000-digits
        ");
    }

    #[test]
    fn each_way_to_end_has_its_line() {
        let first =
            |conclusion| summary(conclusion).text(Colors::Off).lines().next().unwrap().to_owned();
        let stopped = Conclusion::Stopped {
            reason: "loss is below 0.1".to_owned(),
            by: "low-loss\x07".to_owned(),
        };
        assert_eq!(
            first(stopped),
            "stopped by low-loss\\x07 after 10 epochs in 2.50 s: loss is below 0.1"
        );
        let interrupted = Conclusion::Interrupted { signal: "SIGTERM".to_owned() };
        assert_eq!(first(interrupted), "interrupted by SIGTERM after 10 epochs in 2.50 s");
        assert_eq!(first(Conclusion::Failed), "failed after 10 epochs in 2.50 s");
    }

    #[test]
    fn the_times_of_a_run_on_several_processes_are_shown() {
        let mut summary = summary(Conclusion::Finished);
        summary.ranks = Some((4, Duration::from_millis(310), Duration::from_millis(120)));
        let text = summary.text(Colors::Off);
        let line = "  ranks   4; this one waited 0.31 s for the others, and 0.12 s for messages\n";
        assert!(text.contains(line), "{text}");
    }
}
