//! `fluxbay verify-resume`: trains a run once without and once with interruptions, in child
//! processes, and compares everything that the two runs leave.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitStatus,
};

use serde_json::json;

use super::ranked::Starter;
use crate::{
    cli::{
        outcome::{Exit, Failure, Outcome},
        output::{print, print_json},
        run_arguments::RunArguments,
    },
    display::Screen,
    durable::compare::{Comparison, directories},
    library::escape,
    record::{checkpoint, file},
    run_file::RunDescription,
    tensor::philox,
};

/// Arguments of `fluxbay verify-resume`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    run: RunArguments,
    /// How often the run is interrupted.
    #[arg(long, value_name = "N", default_value_t = 3)]
    interruptions: u64,
    /// Seed of the steps at which it is interrupted.
    #[arg(long, value_name = "N", default_value_t = 1)]
    interruption_seed: u64,
    /// Train on so many processes, changed at every interruption: 1,2,4.
    ///
    /// The first number is that of the run without interruptions; the others take turns. Runs on
    /// different numbers have the same bits only with run.gradient-blocks.
    #[arg(
        long,
        value_name = "N,...",
        value_delimiter = ',',
        value_parser = clap::value_parser!(u16).range(1..),
        hide_short_help = true
    )]
    ranks: Vec<u16>,
    /// Keep the run folders in DIR, which must be new.
    ///
    /// Without it they are removed at the end.
    #[arg(long, value_name = "DIR")]
    keep_in: Option<PathBuf>,
    /// Write JSON, as `fluxbay schema verify-resume` describes.
    #[arg(long)]
    json: bool,
}

fn failed(text: impl ToString) -> Failure {
    Failure::new(Exit::Failed, text)
}

pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let scratch = tempfile::Builder::new()
        .prefix("fluxbay-verify-")
        .tempdir()
        .map_err(|error| failed(format!("cannot create a temporary folder: {error}")))?;
    let folder = match &arguments.keep_in {
        Some(dir) => {
            std::fs::create_dir(dir).map_err(|error| {
                Failure::new(Exit::Configuration, format!("{}: {error}", escape::path(dir)))
            })?;
            std::path::absolute(dir).unwrap_or(dir.clone())
        }
        None => scratch.path().to_owned(),
    };
    let runs = Runs::new(arguments, folder)?;
    let (straight, interrupted) = (runs.folder.join("straight"), runs.folder.join("interrupted"));
    if let Some(exit) = runs.train(&straight, None)? {
        return Ok(exit);
    }
    let steps = steps(&straight)?;
    let stops = stops(steps, arguments.interruptions, arguments.interruption_seed);
    let ranks = runs.ranks(stops.len());
    screen.print(&format!(
        "{steps} steps without interruption; interrupting in step {}{}",
        list(&stops),
        on(&ranks)
    ));
    runs.train(&interrupted, stops.first().copied())?;
    for (done, ranks) in ranks.iter().skip(1).enumerate() {
        runs.resume(&interrupted, *ranks, stops.get(done + 1).copied())?;
    }
    let mut comparison = directories(&straight, &interrupted).map_err(failed)?;
    let mut varying = BTreeSet::new();
    if !comparison.differences.is_empty() {
        // Fields that differ between two uninterrupted runs as well, such as times that a callback
        // keeps, do not count.
        let again = runs.folder.join("again");
        runs.train(&again, None)?;
        let by_itself = directories(&straight, &again).map_err(failed)?;
        varying = by_itself.differences.into_iter().map(|difference| difference.field).collect();
        let places: BTreeSet<&str> = varying.iter().map(|field| place(field)).collect();
        comparison.differences.retain(|difference| !places.contains(place(&difference.field)));
    }
    show(arguments, &comparison, &varying, &stops, &ranks)
}

/// A field without the number of its first byte that differs: of a file that varies as a whole, such
/// as one with hashes, that byte is another one each time.
fn place(field: &str) -> &str {
    field.rsplit_once(", byte ").map_or(field, |(file, _)| file)
}

fn show(
    arguments: &Arguments,
    comparison: &Comparison,
    varying: &BTreeSet<String>,
    stops: &[u64],
    ranks: &[u16],
) -> Outcome {
    let same = comparison.differences.is_empty();
    if arguments.json {
        let differences = comparison.differences.iter();
        print_json(&json!({
            "schema": 1,
            "same": same,
            "interrupted-after-steps": stops,
            "ranks": ranks,
            "fields": comparison.fields,
            "varying": varying,
            "differences": differences.map(|one| json!({ "field": one.field, "straight": one.first, "interrupted": one.second })).collect::<Vec<_>>(),
        }))?;
        return Ok(if same { Exit::Done } else { Exit::Failed });
    }
    let mut text = String::new();
    for field in varying {
        text.push_str(&format!(
            "differs between two uninterrupted runs as well: {}\n",
            escape::text(field)
        ));
    }
    let Some(first) = comparison.differences.first() else {
        text.push_str(&format!(
            "identical: {} fields, interrupted {} times{}\n",
            comparison.fields,
            stops.len(),
            on(ranks)
        ));
        return print(&text);
    };
    print(&text)?;
    let others = comparison.differences.len() - 1;
    Err(failed(format!(
        "the interrupted run differs from the uninterrupted one, first in {}: {} uninterrupted, {} interrupted{}\nSave what this depends on \
         in the component's `save`, and restore it in `load`",
        escape::text(&first.field),
        escape::text(&first.first),
        escape::text(&first.second),
        if others == 0 {
            String::new()
        } else {
            format!(" ({others} other fields differ, see --json)")
        }
    )))
}

fn list<T: ToString>(numbers: &[T]) -> String {
    numbers.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

/// The numbers of processes in words; empty if it was one each time.
fn on(ranks: &[u16]) -> String {
    match ranks.iter().all(|ranks| *ranks == 1) {
        true => String::new(),
        false => format!(", on {} processes", list(ranks)),
    }
}

/// Steps of all phases of a run that ended with a checkpoint.
fn steps(run_dir: &Path) -> Result<u64, Failure> {
    let found = checkpoint::scan(&run_dir.join(file::CHECKPOINTS));
    let last = found.last().and_then(|found| found.about.as_ref().ok());
    last.map(|about| about.sequence).ok_or_else(|| {
        failed("the uninterrupted run left no checkpoint at its end: was it cancelled within an epoch?")
    })
}

/// Steps after which the run is interrupted, ascending: the first, the last but one, and random
/// ones.
fn stops(steps: u64, count: u64, seed: u64) -> Vec<u64> {
    let mut stops = BTreeSet::new();
    let most = count.min(steps);
    stops.extend(
        [1, steps.saturating_sub(1)].into_iter().filter(|stop| *stop > 0).take(most as usize),
    );
    let mut number = 0;
    while (stops.len() as u64) < most && number < 64 * count {
        let [word, ..] = philox([number as u32, 0, 0, 0], [seed as u32, (seed >> 32) as u32]);
        stops.insert(1 + u64::from(word) % steps);
        number += 1;
    }
    stops.into_iter().collect()
}

struct Runs<'a> {
    arguments: &'a Arguments,
    folder: PathBuf,
    starter: Starter,
    /// Whether the run needs a communicator that it does not name.
    adds_mpi: bool,
}

impl<'a> Runs<'a> {
    /// The runs below `folder`.
    fn new(arguments: &'a Arguments, folder: PathBuf) -> Result<Runs<'a>, Failure> {
        let mut runs = Runs { arguments, folder, starter: Starter::Launcher, adds_mpi: false };
        if arguments.ranks.is_empty() {
            return Ok(runs);
        }
        let read = arguments.run.read();
        // The first process that trains reports what is wrong with the run.
        if !read.diagnostics.has_errors() {
            check_blocks(&arguments.ranks, &read.run)?;
        }
        runs.starter = Starter::of(&read.run);
        runs.adds_mpi = read.run.communicator.is_none();
        Ok(runs)
    }

    /// Numbers of processes that the interrupted run is trained and resumed on.
    fn ranks(&self, interruptions: usize) -> Vec<u16> {
        let given = if self.arguments.ranks.is_empty() { &[1][..] } else { &self.arguments.ranks };
        given.iter().copied().cycle().take(interruptions + 1).collect()
    }

    /// Trains the run into a folder. Returns an exit code if the run cannot start.
    fn train(&self, into: &Path, interrupt_at: Option<u64>) -> Result<Option<Exit>, Failure> {
        let run = &self.arguments.run;
        let mut command = self.command("train");
        let mut add = |text: String| command.push(text.into());
        for (option, values) in
            [("--set", &run.set), ("--add", &run.add), ("--remove", &run.remove)]
        {
            values.iter().for_each(|value| add(format!("{option}={value}")));
        }
        // Only interruptions and the end of the run write checkpoints; the one of the end holds the
        // final state.
        for setting in [
            "every-epochs=0",
            "every-steps=0",
            "every-minutes=0",
            "at-end=true",
            "on-signal=true",
            "keep-last=0",
        ] {
            add(format!("--set=checkpoints.{setting}"));
        }
        if self.adds_mpi {
            add("--set=communicator.component=\"mpi\"".to_owned());
        }
        if run.locked {
            add("--locked".to_owned());
        }
        command.extend(["--run-dir".into(), into.into()]);
        command.extend(run.files.iter().map(|file| file.into()));
        self.finish(command, self.ranks(0)[0], interrupt_at)
    }

    fn resume(&self, run_dir: &Path, ranks: u16, interrupt_at: Option<u64>) -> Result<(), Failure> {
        let mut command = self.command("resume");
        command.push(run_dir.into());
        match self.finish(command, ranks, interrupt_at)? {
            None => Ok(()),
            Some(_) => Err(failed("the interrupted run cannot be resumed")),
        }
    }

    fn command(&self, name: &str) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["--quiet".into(), name.into()];
        let path = &self.arguments.run.path;
        for (option, dirs) in
            [("--plugin-dir", &path.plugin_dirs), ("--allow-untrusted", &path.allow_untrusted)]
        {
            dirs.iter().for_each(|dir| arguments.extend([option.into(), dir.into()]));
        }
        arguments
    }

    fn finish(
        &self,
        mut command: Vec<OsString>,
        ranks: u16,
        interrupt_at: Option<u64>,
    ) -> Result<Option<Exit>, Failure> {
        if let Some(steps) = interrupt_at {
            command.extend(["--interrupt-at".into(), steps.to_string().into()]);
        }
        let all = self
            .starter
            .run(&command, usize::from(ranks))
            .map_err(|error| failed(format!("cannot start {command:?}: {error}")))?;
        let is_good = |status: &&ExitStatus| {
            status.success() || (status.code() == Some(130) && interrupt_at.is_some())
        };
        let Some(bad) = all.iter().find(|status| !is_good(status)) else { return Ok(None) };
        match bad.code() {
            Some(2) => Ok(Some(Exit::Configuration)),
            Some(3) => Ok(Some(Exit::PluginRefused)),
            _ => Err(failed(format!("the run failed ({bad}): {command:?}"))),
        }
    }
}

/// Refuses different numbers of processes without as many blocks.
fn check_blocks(ranks: &[u16], run: &RunDescription) -> Result<(), Failure> {
    let blocks = run.run.gradient_blocks;
    let differ = ranks.iter().any(|count| *count != ranks[0]);
    let divide = ranks.iter().all(|count| blocks.is_multiple_of(usize::from(*count)));
    if !differ || (blocks > 0 && divide) {
        return Ok(());
    }
    let text = format!(
        "runs on {} processes have the same bits only if `run.gradient-blocks` is a multiple of each, and it is {blocks}: use powers of two, and add \
         --set run.gradient-blocks={}",
        list(ranks),
        ranks.iter().copied().max().map_or(1, |most| usize::from(most).next_power_of_two())
    );
    Err(Failure::new(Exit::Configuration, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interruptions_are_within_the_run_and_the_same_for_a_seed() {
        let found = stops(100, 5, 7);
        assert_eq!(found, stops(100, 5, 7));
        assert!(
            found.len() == 5
                && found[0] == 1
                && found.contains(&99)
                && found.iter().all(|stop| (1..=100).contains(stop)),
            "{found:?}"
        );
        assert_eq!(stops(1, 3, 7), [1]);
        assert_eq!(stops(2, 1, 7), [1]);
    }

    #[test]
    fn numbers_of_processes_take_turns() {
        let arguments = |ranks: &[u16]| Arguments {
            run: RunArguments::default(),
            interruptions: 3,
            interruption_seed: 1,
            ranks: ranks.to_vec(),
            keep_in: None,
            json: false,
        };
        let of = |arguments: &Arguments| {
            let (starter, adds_mpi) = (Starter::Launcher, false);
            Runs { arguments, folder: PathBuf::new(), starter, adds_mpi }.ranks(3)
        };
        assert_eq!(of(&arguments(&[1, 2, 4])), [1, 2, 4, 1]);
        assert_eq!(of(&arguments(&[])), [1; 4]);
        assert_eq!((on(&[1, 2]), on(&[1, 1])), (", on 1, 2 processes".to_owned(), String::new()));
    }
}
