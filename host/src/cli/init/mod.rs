//! `fluxbay init`: looks at a file or folder of data and writes a run file that trains with it.
//!
//! A file per format: each looks at a part of the data and fills in a [`Guess`]. `written` turns it
//! into a run file in which every guess has a comment.

mod arrays;
mod images;
mod jsonl;
mod table;
mod text;
mod written;

use std::fs;
use std::path::{Path, PathBuf};

use super::outcome::{Exit, Failure, Outcome};
use super::output::print;
use crate::library::escape;
use crate::record::atomic;
use written::Guess;

/// Arguments of `fluxbay init`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A table (.csv, .tsv), JSON lines (.jsonl), text (.txt), arrays (.npz, .safetensors), or a
    /// folder with a folder of images for each class.
    #[arg(value_name = "DATA")]
    data: PathBuf,
    /// What to predict: a column, a field or an array.
    ///
    /// By default it is guessed.
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// The run file to write.
    #[arg(short, long, value_name = "FILE", default_value = "run.toml")]
    output: PathBuf,
    /// Replace the file if it exists.
    #[arg(long)]
    force: bool,
}

/// What a look at the data is about.
struct Look<'a> {
    data: &'a Path,
    target: Option<&'a str>,
}

/// Why no run file can be written: what was found, and what to do.
type Found = Result<Guess, String>;

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let configuration = |text: String| Failure::new(Exit::Configuration, text);
    let output = &arguments.output;
    if output.exists() && !arguments.force {
        return Err(configuration(format!(
            "{} exists already: choose another name with --output, or replace it with --force",
            escape::path(output)
        )));
    }
    let look = Look { data: &arguments.data, target: arguments.target.as_deref() };
    let mut guess = guess(&look)
        .map_err(|text| configuration(format!("{}: {text}", escape::path(&arguments.data))))?;
    guess.path = relative(&arguments.data, output);
    atomic::replace(output, guess.file().as_bytes())
        .map_err(|error| Failure::new(Exit::Failed, error))?;
    print(&format!(
        "{}: {}\n\nNext:\n  fluxbay train {} --dry-run\n  fluxbay train {}\n",
        escape::path(output),
        guess.summary,
        escape::path(output),
        escape::path(output)
    ))
}

/// Looks at the data.
fn guess(look: &Look<'_>) -> Found {
    let path = look.data;
    let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
    if metadata.is_dir() {
        return images::guess(look);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let extension = name.rsplit('.').next().unwrap_or_default();
    match extension {
        "csv" | "tsv" | "tab" => table::guess(look),
        "jsonl" | "ndjson" => jsonl::guess(look),
        "npz" | "safetensors" => arrays::guess(look),
        "txt" | "md" | "text" => text::guess(look),
        "gz" | "zip" | "zst" => Err("the file is compressed: unpack it first".into()),
        "parquet" => {
            Err("init cannot look into Parquet files; see docs/data/parquet.md for a run file"
                .into())
        }
        _ => Err(format!(
            "files that end in .{extension} are not known; init knows .csv, .tsv, .jsonl, .npz, .safetensors, .txt, and folders with a folder of images for each class"
        )),
    }
}

/// The path of the data as the run file names it: relative to the run file's folder if both are
/// given relative to the same one, else absolute.
fn relative(data: &Path, output: &Path) -> String {
    let folder = output.parent().unwrap_or(Path::new(""));
    let absolute = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = absolute(if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let data = absolute(data);
    let path = data.strip_prefix(&folder).map(Path::to_owned).unwrap_or(data);
    if path.as_os_str().is_empty() { ".".to_owned() } else { path.to_string_lossy().into_owned() }
}

/// The first of `names` that is one of the `usual` ones, without regard to case.
fn usual<'a>(names: impl Iterator<Item = &'a str> + Clone, usual: &[&str]) -> Option<&'a str> {
    usual.iter().find_map(|usual| names.clone().find(|name| name.eq_ignore_ascii_case(usual)))
}

/// A size of batches and a number of epochs for a number of samples.
fn schedule(samples: usize) -> (usize, usize) {
    let batch = match samples {
        0..1_000 => 16,
        1_000..20_000 => 64,
        _ => 256,
    };
    // About 2,000 steps.
    (batch, (2_000 * batch / samples.max(1)).clamp(3, 50))
}
