//! `fluxbay predict`: applies the model of a run or bundle to files, or to the data of the run.

use std::{
    ffi::OsString,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    rc::Rc,
};

use candle_core::{DType, Tensor};
use clap_complete::engine::ArgValueCompleter;

use super::{
    opening::read_saved,
    shortcuts::{batches, threads},
};
use crate::{
    bundle::Source,
    cli::{
        candidates,
        outcome::{Exit, Failure, Outcome},
        plugin_path::PluginPath,
        run_lookup,
    },
    display::Screen,
    library::escape,
    predict::{
        Applied, DataUse, Format, Point, PredictError, Reading, Stream, Table, TableOptions,
    },
    record::atomic,
    surroundings::own_output,
};

/// Arguments of `fluxbay predict`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A run's folder, its name or a part of it; or a bundle.
    #[arg(value_name = "RUN", add = ArgValueCompleter::new(candidates::runs))]
    run: OsString,
    /// Files to predict from, as the run's data set reads them; `-` for stdin.
    ///
    /// They need no targets. Without any, predictions are for the validation data of the run, with
    /// the targets beside them.
    #[arg(value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// Write to FILE, as a whole or not at all; `-`, the default, for stdout.
    #[arg(short, long, value_name = "FILE", default_value = "-", hide_default_value = true)]
    output: PathBuf,
    /// Write csv, jsonl or parquet; by default what the name of the output says, else csv.
    #[arg(long, value_enum, value_name = "FORMAT", hide_possible_values = true)]
    format: Option<OutputFormat>,
    /// Write the N most probable classes.
    #[arg(long, value_name = "N", default_value_t = 1, hide_default_value = true, value_parser = clap::value_parser!(u16).range(1..))]
    top: u16,
    /// Write the probability of every class.
    #[arg(long)]
    probabilities: bool,
    /// Write the outputs of the model as they are.
    #[arg(long, conflicts_with_all = ["top", "probabilities"])]
    raw: bool,
    /// Write what this layer computes, such as an embedding, in place of the outputs: blocks.5.
    #[arg(long, value_name = "LAYER", conflicts_with_all = ["top", "probabilities", "before"], hide_short_help = true)]
    layer: Option<String>,
    /// Write what this layer takes: the features before the last layer with `--before output`.
    #[arg(long, value_name = "LAYER", conflicts_with_all = ["top", "probabilities"], hide_short_help = true)]
    before: Option<String>,
    /// Predict for the training or the validation data of the run.
    #[arg(
        long,
        value_enum,
        value_name = "PART",
        hide_possible_values = true,
        conflicts_with = "inputs"
    )]
    data: Option<Part>,
    /// Use this checkpoint, not the final model.
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
    /// Apply the model with this name, if the run has several.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    model: String,
    /// Set a value: data.on-bad-row=skip.
    ///
    /// May be given several times. Environment variables set nothing here.
    #[arg(long, value_name = "KEY.PATH=VALUE", hide_short_help = true)]
    set: Vec<String>,
    /// Compute on N threads; any N, same bits.
    #[arg(long, value_name = "N", value_parser = threads, hide_short_help = true)]
    threads: Option<usize>,
    /// Read at most N batches.
    #[arg(long, value_name = "N", value_parser = batches, hide_short_help = true)]
    limit_batches: Option<u64>,
    #[command(flatten)]
    path: PluginPath,
}

/// Formats of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum OutputFormat {
    /// A table with a header.
    Csv,
    /// One JSON object per line.
    Jsonl,
    /// The table as a Parquet file.
    Parquet,
}

/// Parts of the run's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// The data that the run trained on.
    Training,
    /// The data that it was validated on.
    Validation,
}

impl Arguments {
    fn settings(&self) -> Vec<String> {
        let threads = self.threads.map(|threads| format!("run.threads={threads}"));
        // Samples are read in their order, all of them.
        let order = [
            "loader.shuffle=false",
            "loader.drop-last=false",
            "loader.overfit-batches=0",
            "loader.limit-batches=0",
        ];
        threads
            .into_iter()
            .chain(order.map(str::to_owned))
            .chain(self.set.iter().cloned())
            .collect()
    }

    /// What is read of the model.
    fn wanted(&self) -> Wanted {
        let after = self.layer.clone().map(Point::After);
        Wanted { raw: self.raw, point: after.or_else(|| self.before.clone().map(Point::Before)) }
    }

    fn is_stdout(&self) -> bool {
        self.output == Path::new("-")
    }

    fn format(&self) -> Result<Format, Failure> {
        let extension = self.output.extension().and_then(|extension| extension.to_str());
        Ok(match (self.format, extension) {
            (Some(OutputFormat::Csv), _) | (None, Some("csv")) => Format::Csv,
            (Some(OutputFormat::Jsonl), _) | (None, Some("jsonl" | "ndjson")) => Format::Jsonl,
            (Some(OutputFormat::Parquet), _) | (None, Some("parquet" | "pq")) => Format::Parquet,
            (None, _) if self.is_stdout() => Format::Csv,
            (None, _) => {
                return Err(Failure::new(
                    Exit::Configuration,
                    format!(
                        "the name of {} does not say its format: end it in .csv, .jsonl or .parquet, or add `--format csv`",
                        escape::path(&self.output)
                    ),
                ));
            }
        })
    }
}

/// The failure for an error of a prediction.
pub(super) fn failure(error: PredictError) -> Failure {
    match error {
        PredictError::Problems(problems) => Failure::problems(problems),
        PredictError::Text(text) => Failure::new(Exit::Failed, escape::paragraph(&text)),
    }
}

pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let format = arguments.format()?;
    let folder = run_lookup::find_model(&arguments.run)?;
    let source = Source::open(&folder, arguments.checkpoint.as_deref())
        .map_err(|text| Failure::new(Exit::Configuration, text))?;
    let read = read_saved(
        &folder,
        &source.plugins,
        arguments.settings(),
        Vec::new(),
        &arguments.path,
        |draft, _| draft.keep_models(true),
    );
    let (run, catalog) = read.accept()?;
    let batch_size = run.loader.batch_size;
    let data = if arguments.inputs.is_empty() { DataUse::Run } else { DataUse::Files };
    let applied =
        Applied::open(run, Rc::new(catalog), &source, &arguments.model, data).map_err(failure)?;
    let mut stream = match data {
        DataUse::Run => {
            let training = arguments.data == Some(Part::Training);
            applied.split(if training { "training" } else { "validation" })
        }
        _ => {
            let files: Vec<PathBuf> = arguments.inputs.iter().map(|path| named(path)).collect();
            applied.files(&files, batch_size)
        }
    }
    .map_err(failure)?;
    let options = TableOptions {
        format,
        top: usize::from(arguments.top),
        probabilities: arguments.probabilities,
        classes: applied.class_names().to_vec(),
    };
    let limit = arguments.limit_batches;
    if arguments.is_stdout() {
        let out: Box<dyn Write> = match own_output(1) {
            Ok(output) => Box::new(output),
            Err(_) => Box::new(io::stdout()),
        };
        let mut table = Table::new(BufWriter::with_capacity(1 << 16, out), options);
        let written = predict(&applied, &mut stream, &mut table, &arguments.wanted(), limit);
        return match written.and_then(|_| table.finish().map(drop).map_err(Ended::Output)) {
            Ok(()) => Ok(Exit::Done),
            // The reader has seen enough.
            Err(Ended::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                Ok(Exit::Done)
            }
            Err(ended) => Err(ended.failure("stdout")),
        };
    }
    let place = escape::path(&arguments.output);
    let mut outcome = Ok(0);
    let replaced = atomic::replace_with(&arguments.output, |file| {
        let mut table = Table::new(BufWriter::with_capacity(1 << 16, file), options);
        outcome = predict(&applied, &mut stream, &mut table, &arguments.wanted(), limit);
        match &outcome {
            Ok(_) => table.finish().map(drop),
            Err(_) => Err(io::ErrorKind::Other.into()),
        }
    });
    let samples = outcome.map_err(|ended| ended.failure(&place))?;
    replaced.map_err(|error| Failure::new(Exit::Failed, error))?;
    screen.print(&format!("{samples} predictions in {place}"));
    Ok(Exit::Done)
}

/// A file by the name that a data set can open.
fn named(path: &Path) -> PathBuf {
    if path == Path::new("-") { PathBuf::from("/dev/stdin") } else { path.to_owned() }
}

/// What is read of the model.
struct Wanted {
    /// The outputs as they are.
    raw: bool,
    /// A place within the model, in place of its outputs.
    point: Option<Point>,
}

/// Why predicting ended early.
enum Ended {
    /// The output cannot be written to.
    Output(io::Error),
    Error(PredictError),
}

impl Ended {
    fn failure(self, place: &str) -> Failure {
        match self {
            Ended::Output(error) => Failure::new(
                Exit::Failed,
                format!("cannot write to {place}: {error}; free some space, or write it elsewhere"),
            ),
            Ended::Error(error) => failure(error),
        }
    }
}

/// Writes the predictions of all samples; returns their number.
fn predict<W: Write>(
    applied: &Applied,
    stream: &mut Stream<'_>,
    table: &mut Table<W>,
    wanted: &Wanted,
    limit: Option<u64>,
) -> Result<u64, Ended> {
    let (Some((input, _)), target) = (applied.input(), applied.target()) else {
        return Err(Ended::Error(PredictError::Text("the data has no fields".to_owned())));
    };
    let classes = target.map_or(0, |(_, field)| usize::try_from(field.classes).unwrap_or(0));
    let reading = Reading { classes, raw: wanted.raw || wanted.point.is_some() };
    let target = target.map(|(number, _)| number).filter(|number| *number != input);
    let (mut samples, mut batches) = (0, 0);
    while limit.is_none_or(|limit| batches < limit)
        && let Some(batch) = stream.next_batch().map_err(Ended::Error)?
    {
        let inputs = &batch.fields[input..=input];
        let output = match &wanted.point {
            Some(point) => applied.forward_to(inputs, point),
            None => applied.forward(inputs).map(|outputs| outputs[0].clone()),
        };
        let predictions = output.and_then(|output| reading.read(&output, batch.keys.len()));
        let predictions = predictions.map_err(Ended::Error)?;
        let targets = match target.filter(|_| batch.has_targets) {
            Some(number) => Some(rows(&batch.fields[number]).map_err(Ended::Error)?),
            None => None,
        };
        for (index, (key, prediction)) in batch.keys.iter().zip(&predictions).enumerate() {
            let target = targets.as_ref().map(|rows| rows[index].as_slice());
            table.push(key, target, prediction).map_err(Ended::Output)?;
        }
        samples += batch.keys.len() as u64;
        batches += 1;
    }
    Ok(samples)
}

/// The values of each sample.
pub(super) fn rows(field: &Tensor) -> Result<Vec<Vec<f32>>, PredictError> {
    let samples = field.dims().first().copied().unwrap_or(1);
    let values: Vec<f32> = field
        .to_dtype(DType::F32)
        .and_then(|field| field.flatten_all()?.to_vec1())
        .map_err(|error| PredictError::Text(format!("the targets cannot be read: {error}")))?;
    Ok(values.chunks((values.len() / samples.max(1)).max(1)).map(<[f32]>::to_vec).collect())
}
