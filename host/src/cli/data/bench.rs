//! `fluxbay data bench`: how fast the data of a run is read.

use std::time::Instant;

use super::{composed, failed};
use crate::cli::outcome::{Exit, Failure};
use crate::cli::run_arguments::RunArguments;
use crate::display::{Screen, columns};
use crate::session::Look;

/// Samples a second in each stage, as a table.
///
/// # Errors
/// The data cannot be opened or read.
pub(super) fn bench(run: &RunArguments, time: f64, screen: &Screen) -> Result<String, Failure> {
    let alone = Look { transforms: false, evaluates: false };
    let all = Look { transforms: true, evaluates: false };
    let rows = [
        ("data set", alone, false),
        ("with transforms", all, false),
        ("on the loader's threads", all, true),
    ];
    let mut measured = Vec::new();
    for (what, look, threads) in rows {
        // A data set is opened once, so each measurement has its own.
        let composed = composed(run)?;
        if !threads && look.transforms && composed.run().transforms.is_empty() {
            continue;
        }
        screen.print(&format!("measuring: {what}"));
        let loader = composed.open_loader_with(look, |settings| {
            if !threads {
                settings.prefetch = 0;
            }
        });
        let loader = loader.map_err(Failure::problems)?;
        let Some(loader) = loader else {
            let text = "the run has no section `[data]`, so there is nothing to measure";
            return Err(Failure::new(Exit::Configuration, text));
        };
        let (begin, mut samples, mut epoch) = (Instant::now(), 0_u64, 0);
        while begin.elapsed().as_secs_f64() < time {
            epoch += 1;
            let mut batches = loader.epoch("training", epoch).map_err(failed)?;
            while let Some(batch) = batches.next() {
                let batch = batch.map_err(failed)?;
                samples += batch.samples as u64;
                batches.reuse(batch);
                if begin.elapsed().as_secs_f64() >= time {
                    break;
                }
            }
        }
        let rate = samples as f64 / begin.elapsed().as_secs_f64();
        measured.push(vec![what.to_owned(), format!("{rate:.0} samples/s")]);
    }
    Ok(columns(&measured, "  ", &[1]))
}
