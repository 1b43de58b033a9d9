//! Ways to look at a run before it trains in earnest: without a step, with a few, for a while.
//!
//! Each stands for settings of the run file, so that the record says what was done and `resume` does the same.

use std::time::Duration;

use crate::cli::run_arguments::RunArguments;

/// See the module.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Shortcuts {
    /// Say what would be trained, and stop.
    ///
    /// The data is opened and the models are built; no step is made and nothing is kept.
    #[arg(long, help_heading = "Trying a run", conflicts_with = "fast_dev_run")]
    dry_run: bool,
    /// One epoch of N batches of each phase, nothing kept.
    ///
    /// To see whether everything works, from the data to the last callback. N is 1 unless given.
    #[arg(long, help_heading = "Trying a run", value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "1", value_parser = batches)]
    fast_dev_run: Option<u64>,
    /// Train and validate on the same N batches.
    ///
    /// To see whether the model can learn at all: the loss should come close to nothing. Sets loader.overfit-batches.
    #[arg(long, help_heading = "Trying a run", value_name = "N", value_parser = batches, conflicts_with = "fast_dev_run")]
    overfit_batches: Option<u64>,
    /// Read at most N batches in an epoch of any phase.
    ///
    /// Sets loader.limit-batches.
    #[arg(long, help_heading = "Trying a run", value_name = "N", value_parser = batches, conflicts_with = "fast_dev_run")]
    limit_batches: Option<u64>,
    /// End the fit after a time: 90s, 10m, 1h30m, 2d.
    ///
    /// It ends after the step, in an orderly way, and can be resumed. Sets run.max-time.
    #[arg(long, help_heading = "Trying a run", value_name = "TIME", value_parser = time)]
    max_time: Option<Duration>,
}

/// What is only tried keeps no checkpoint either.
const NO_CHECKPOINTS: [&str; 2] = ["checkpoints.every-epochs=0", "checkpoints.at-end=false"];

/// What is kept of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It trains and keeps its record.
    Train,
    /// It trains a little and keeps nothing.
    Try,
    /// It does not train.
    Look,
}

impl Shortcuts {
    pub(super) fn purpose(&self) -> Purpose {
        match self.fast_dev_run {
            Some(_) => Purpose::Try,
            None if self.dry_run => Purpose::Look,
            None => Purpose::Train,
        }
    }

    /// The run with the settings that the options stand for; a `--set` of the same key wins.
    pub(super) fn applied(&self, run: &RunArguments) -> RunArguments {
        let mut set = Vec::new();
        if let Some(batches) = self.fast_dev_run {
            set.extend(["run.epochs=1".to_owned(), format!("loader.limit-batches={batches}")]);
            set.extend(NO_CHECKPOINTS.map(str::to_owned));
        }
        let numbers = [("loader.overfit-batches", self.overfit_batches), ("loader.limit-batches", self.limit_batches)];
        set.extend(numbers.iter().filter_map(|(key, number)| Some(format!("{key}={}", (*number)?))));
        set.extend(self.max_time.map(|time| format!("run.max-time={:?}", time.as_secs_f64())));
        set.extend_from_slice(&run.set);
        RunArguments { set, ..run.clone() }
    }
}

pub(super) fn batches(text: &str) -> Result<u64, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "a whole number from 1 on is needed".to_owned())
}

/// `90`, `90s`, `1h30m`, `2d`.
pub(super) fn time(text: &str) -> Result<Duration, String> {
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
    fn times_are_read_as_people_write_them() {
        let seconds = |text| time(text).map(|time| time.as_secs_f64());
        assert_eq!(["90", "90s", "1h30m", "0.5m", "2d"].map(seconds), [90.0, 90.0, 5400.0, 30.0, 172_800.0].map(Ok));
        for wrong in ["", "0", "10 m", "m", "1e3", "-5s", "1..2s"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn options_become_settings_and_a_set_by_hand_wins() {
        let run = RunArguments { set: vec!["run.epochs=3".to_owned()], ..RunArguments::default() };
        let fast = Shortcuts { fast_dev_run: Some(2), ..Shortcuts::default() };
        assert_eq!(
            fast.applied(&run).set,
            ["run.epochs=1", "loader.limit-batches=2", NO_CHECKPOINTS[0], NO_CHECKPOINTS[1], "run.epochs=3"]
        );
        let limited = Shortcuts { limit_batches: Some(7), max_time: Some(Duration::from_secs(90)), ..Shortcuts::default() };
        assert_eq!(limited.applied(&run).set, ["loader.limit-batches=7", "run.max-time=90.0", "run.epochs=3"]);
        assert_eq!((limited.purpose(), fast.purpose()), (Purpose::Train, Purpose::Try));
    }
}
