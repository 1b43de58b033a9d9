//! Options of `train` and `resume` that try a run: without a step, on a few batches, for a limited
//! time.
//!
//! All but `--dry-run` stand for settings of the run file, so that the record holds them and
//! `resume` does the same.

use std::time::Duration;

/// See the module.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Shortcuts {
    /// Compute on N threads; any N, same bits.
    ///
    /// Sets run.threads, and overrides the run file and FLUXBAY__RUN__THREADS. The default is the
    /// number of processors. Another processor, with other vector instructions, may change last bits.
    #[arg(long, value_name = "N", value_parser = threads)]
    threads: Option<usize>,
    /// Show what would be trained, and stop.
    ///
    /// Opens the data and builds the models, but runs no step and keeps nothing. When resuming, the
    /// checkpoint is read and restored, and the run folder stays unchanged.
    #[arg(long, help_heading = HEADING, conflicts_with = "fast_dev_run")]
    dry_run: bool,
    /// One epoch of N batches of each phase, nothing kept.
    ///
    /// To see whether everything works, from the data to the last callback. N is 1 unless given.
    /// When resuming, the next N batches; the run folder stays unchanged.
    #[arg(long, help_heading = HEADING, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "1", value_parser = batches)]
    fast_dev_run: Option<u64>,
    /// Train and validate on the same N batches.
    ///
    /// To see whether the model can learn at all: the loss should approach its minimum. Sets
    /// loader.overfit-batches.
    #[arg(long, help_heading = HEADING, value_name = "N", value_parser = batches, conflicts_with = "fast_dev_run")]
    overfit_batches: Option<u64>,
    /// Use at most N batches in an epoch of any phase.
    ///
    /// Sets loader.limit-batches.
    #[arg(long, help_heading = HEADING, value_name = "N", value_parser = batches, conflicts_with = "fast_dev_run")]
    limit_batches: Option<u64>,
    /// End the fit after a time: 90s, 10m, 1h30m, 2d.
    ///
    /// The fit ends after the current step and can be resumed. Sets run.max-time.
    #[arg(long, help_heading = HEADING, value_name = "TIME", value_parser = time)]
    max_time: Option<Duration>,
}

const HEADING: &str = "Trying a run";

/// A run that is only tried writes no checkpoints.
const NO_CHECKPOINTS: [&str; 2] = ["checkpoints.every-epochs=0", "checkpoints.at-end=false"];

/// Why a run is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To train, and keep the record.
    Train,
    /// To train on a few batches, and keep nothing.
    Try,
    /// To show what would be trained, without training.
    Look,
}

/// How much of a resumed run is done.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// Complete epochs.
    pub(super) epochs: u64,
    /// Batches of the incomplete epoch.
    pub(super) batches: u64,
}

impl Shortcuts {
    pub(super) fn purpose(&self) -> Purpose {
        match self.fast_dev_run {
            Some(_) => Purpose::Try,
            None if self.dry_run => Purpose::Look,
            None => Purpose::Train,
        }
    }

    /// The settings that the options stand for, followed by those of `--set`, which override them.
    pub(super) fn settings(&self, from: Progress, by_hand: &[String]) -> Vec<String> {
        let mut set = Vec::new();
        if let Some(batches) = self.fast_dev_run {
            set.extend([
                format!("run.epochs={}", from.epochs + 1),
                format!("loader.limit-batches={}", from.batches + batches),
            ]);
            set.extend(NO_CHECKPOINTS.map(str::to_owned));
        }
        let numbers = [
            ("loader.overfit-batches", self.overfit_batches),
            ("loader.limit-batches", self.limit_batches),
        ];
        set.extend(
            numbers.iter().filter_map(|(key, number)| Some(format!("{key}={}", (*number)?))),
        );
        set.extend(self.max_time.map(|time| format!("run.max-time={:?}", time.as_secs_f64())));
        set.extend(self.threads.map(|threads| format!("run.threads={threads}")));
        set.extend_from_slice(by_hand);
        set
    }
}

pub(super) fn threads(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=1024).contains(number));
    number.ok_or_else(|| "a whole number from 1 to 1024 is needed".to_owned())
}

pub(super) fn batches(text: &str) -> Result<u64, String> {
    text.parse()
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| "a whole number from 1 on is needed".to_owned())
}

/// `90`, `90s`, `1h30m`, `2d`.
pub(in crate::cli) fn time(text: &str) -> Result<Duration, String> {
    let wrong = || "a time such as 90s, 10m, 1h30m or 2d is needed".to_owned();
    let mut seconds = 0.0;
    let mut number = String::new();
    for ch in text.chars() {
        let unit = match ch {
            '0'..='9' | '.' => {
                number.push(ch);
                continue;
            }
            's' => 1.0,
            'm' => 60.0,
            'h' => 3600.0,
            'd' => 86_400.0,
            _ => return Err(wrong()),
        };
        seconds += unit * number.parse::<f64>().map_err(|_| wrong())?;
        number.clear();
    }
    if !number.is_empty() {
        seconds += number.parse::<f64>().map_err(|_| wrong())?;
    }
    Duration::try_from_secs_f64(seconds).ok().filter(|time| !time.is_zero()).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_from_seconds_to_days() {
        let seconds = |text| time(text).map(|time| time.as_secs_f64());
        assert_eq!(
            ["90", "90s", "1h30m", "0.5m", "2d"].map(seconds),
            [90.0, 90.0, 5400.0, 30.0, 172_800.0].map(Ok)
        );
        for wrong in ["", "0", "10 m", "m", "1e3", "-5s", "1..2s"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn options_become_settings_and_a_set_by_hand_wins() {
        let by_hand = ["run.epochs=3".to_owned()];
        let fast = Shortcuts { fast_dev_run: Some(2), ..Shortcuts::default() };
        assert_eq!(
            fast.settings(Progress::default(), &by_hand),
            [
                "run.epochs=1",
                "loader.limit-batches=2",
                NO_CHECKPOINTS[0],
                NO_CHECKPOINTS[1],
                "run.epochs=3"
            ]
        );
        let later = fast.settings(Progress { epochs: 4, batches: 9 }, &[]);
        assert_eq!(later[..2], ["run.epochs=5", "loader.limit-batches=11"]);
        let limited = Shortcuts {
            limit_batches: Some(7),
            max_time: Some(Duration::from_secs(90)),
            threads: Some(2),
            ..Shortcuts::default()
        };
        assert_eq!(
            limited.settings(Progress::default(), &by_hand),
            ["loader.limit-batches=7", "run.max-time=90.0", "run.threads=2", "run.epochs=3"]
        );
        assert_eq!((limited.purpose(), fast.purpose()), (Purpose::Train, Purpose::Try));
    }
}
