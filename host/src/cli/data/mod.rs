//! `fluxbay data`: looks at the data of a run, measures how fast it is read, hashes its batches, and packs
//! it.

mod bench;
mod hash;
mod inspect;
mod pack;
mod sheet;

use std::path::PathBuf;
use std::rc::Rc;

use clap::Subcommand;

use super::outcome::{Exit, Failure, Outcome};
use super::output::{print, print_json};
use super::run_arguments::RunArguments;
use crate::display::Screen;
use crate::library::escape;
use crate::loader::{Loader, LoaderError};
use crate::run_file::RaggedRule;
use crate::session::{Composed, Look, Surroundings};
use inspect::Seen;

/// Arguments of `fluxbay data`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Count samples, classes, damaged and duplicate samples, and show the range of values.
    ///
    /// Every sample is read once, through the transforms of evaluation.
    Inspect {
        #[command(flatten)]
        run: RunArguments,
        /// Do not read the samples: sizes and classes only.
        #[arg(long)]
        no_read: bool,
        /// Write the first 64 images of the training samples side by side into this PNG file, too.
        #[arg(long, value_name = "FILE")]
        sheet: Option<PathBuf>,
        /// Write JSON, as `fluxbay schema data-inspect` describes.
        #[arg(long)]
        json: bool,
    },
    /// Measure samples a second: the data set alone, with transforms, and on the loader's threads.
    Bench {
        #[command(flatten)]
        run: RunArguments,
        /// Seconds for each measurement.
        #[arg(long, value_name = "SECONDS", default_value_t = 3.0)]
        time: f64,
    },
    /// Hash all training batches of a run: equal hashes mean that two runs train on the same bits.
    ///
    /// Also says whether each sample comes once in an epoch.
    Hash {
        #[command(flatten)]
        run: RunArguments,
        /// Epochs that are read.
        #[arg(long, value_name = "NUMBER", default_value_t = 1)]
        epochs: u64,
        /// Print a line for each batch, too: epoch, batch, hash.
        #[arg(long)]
        each: bool,
    },
    /// Write the samples of a run into one file, which the data set `packed` reads.
    ///
    /// They are written as the data set of the run makes them: decoded, resized, tokenised. Training
    /// from the file gives the same bits.
    Pack {
        #[command(flatten)]
        run: RunArguments,
        /// The file to write.
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        /// Apply the transforms of evaluation before.
        #[arg(long)]
        transforms: bool,
        /// Replace the file if it exists.
        #[arg(long)]
        force: bool,
    },
}

pub(super) fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    match &arguments.action {
        Action::Inspect { run, no_read, sheet, json } => {
            let composed = composed(run)?;
            let look = Look { transforms: true, evaluates: true };
            let loader = open(&composed, look, |settings| {
                // Samples are compared, so all are as long as the longest can be.
                if settings.ragged != RaggedRule::Pack {
                    (settings.ragged, settings.pad_multiple) = (RaggedRule::Pad, usize::MAX);
                }
            })?;
            if let Some(path) = sheet {
                let images = sheet::write(&loader, path)?;
                screen.print(&format!("{}: {images} images", escape::path(path)));
            }
            let seen = Seen::of(&composed, &loader, !no_read)?;
            if *json { print_json(&seen.json()) } else { print(&seen.text()) }
        }
        Action::Bench { run, time } => {
            if !(*time > 0.0 && *time <= 3600.0) {
                let text = format!("--time is {time}: it is above 0, at most 3600");
                return Err(Failure::new(Exit::Configuration, text));
            }
            print(&bench::bench(run, *time, screen)?)
        }
        Action::Hash { run, epochs, each } => {
            let look = Look { transforms: true, evaluates: false };
            let composed = composed(run)?;
            let loader = open(&composed, look, |_| {})?;
            print(&hash::hash(&loader, *epochs, *each)?)
        }
        Action::Pack { run, output, transforms, force } => {
            if output.exists() && !force {
                let text = format!("{} exists: --force replaces it", escape::path(output));
                return Err(Failure::new(Exit::Configuration, text));
            }
            let composed = composed(run)?;
            let look = Look { transforms: *transforms, evaluates: true };
            // Samples are read as they are, whatever the order and the sizes of batches.
            let loader = open(&composed, look, |settings| settings.ragged = RaggedRule::Pad)?;
            print(&pack::pack(&composed, &loader, output)?)
        }
    }
}

fn composed(run: &RunArguments) -> Result<Composed, Failure> {
    let (run, catalog) = run.read().accept()?;
    let composed = Composed::new(Rc::new(catalog), run, Surroundings::default());
    composed.map_err(Failure::problems)
}

fn open(
    composed: &Composed,
    look: Look,
    change: impl FnOnce(&mut crate::run_file::LoaderSettings),
) -> Result<Loader, Failure> {
    let loader = composed.open_loader_with(look, change).map_err(Failure::problems)?;
    loader.ok_or_else(|| {
        let text = "the run has no section `[data]`, so there is nothing to look at";
        Failure::new(Exit::Configuration, text)
    })
}

fn failed(error: LoaderError) -> Failure {
    Failure::new(Exit::Failed, escape::paragraph(&error.to_string()))
}
