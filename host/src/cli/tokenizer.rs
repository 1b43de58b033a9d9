//! `fluxbay tokenizer`: trains a tokenizer on texts.
//!
//! The host knows no tokenizers. The data sets of texts train one where a run names none, and write it to the
//! run's folder; this command opens such a data set with a folder that ends with it.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use clap::Subcommand;
use serde_json::{Value as Json, json};

use super::outcome::{Exit, Failure, Outcome};
use super::output::print;
use super::plugin_path::PluginPath;
use super::run_arguments::ReadRun;
use crate::display::thousands;
use crate::library::escape;
use crate::record::atomic;
use crate::run_file::Inputs;
use crate::session::{Composed, Look, Surroundings};

/// Name of the file in the run's folder.
const FILE: &str = "tokenizer.json";

/// Arguments of `fluxbay tokenizer`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Train a byte-level BPE on a text and write it as tokenizer.json, the format of Hugging Face.
    ///
    /// The same text gives the same tokenizer. `jsonl` and `tokens` use it with the setting `tokenizer`.
    Train {
        /// A text in UTF-8, or a file with a JSON object in each line (.jsonl).
        #[arg(value_name = "TEXT")]
        text: PathBuf,
        /// Most tokens: one for each byte, two special ones, and those that are learned.
        #[arg(long, value_name = "NUMBER", default_value_t = 8192, value_parser = clap::value_parser!(u32).range(258..))]
        vocabulary: u32,
        /// Field with the text in JSON lines.
        #[arg(long, value_name = "NAME", default_value = "text")]
        field: String,
        /// The file to write.
        #[arg(short, long, value_name = "FILE", default_value = FILE)]
        output: PathBuf,
        /// Replace the file if it exists.
        #[arg(long)]
        force: bool,
        /// Where plugins are looked for.
        #[command(flatten)]
        path: PluginPath,
    },
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let Action::Train { text, vocabulary, field, output, force, path } = &arguments.action;
    let configuration = |text: String| Failure::new(Exit::Configuration, text);
    if output.exists() && !force {
        return Err(configuration(format!(
            "{} exists already: choose another name with --output, or replace it with --force",
            escape::path(output)
        )));
    }
    let absolute = text
        .canonicalize()
        .map_err(|error| configuration(format!("{}: {error}", escape::path(text))))?;
    let Some(absolute) = absolute.to_str() else {
        return Err(configuration(format!("{}: its path is not UTF-8", escape::path(text))));
    };
    let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::Failed, format!("{error}"));
    let folder = tempfile::tempdir().map_err(|error| failed(&error))?;
    let lines = ["jsonl", "ndjson"].iter().any(|ending| absolute.ends_with(&format!(".{ending}")));
    // The data set trains the tokenizer on the whole text, and its samples do not matter.
    let data = if lines {
        json!({
            "component": "jsonl", "path": absolute, "text": field, "task": "language-model",
            "length": 1, "vocabulary": vocabulary,
        })
    } else {
        json!({
            "component": "tokens", "path": absolute, "context": 1, "validation": 0.0,
            "vocabulary": vocabulary,
        })
    };
    train(data, path, folder.path())?;
    let written = folder.path().join(FILE);
    let json = std::fs::read(&written)
        .map_err(|error| failed(&format_args!("the data set wrote no {FILE}: {error}")))?;
    let tokens = tokens(&json);
    atomic::replace(output, &json)
        .map_err(|error| failed(&format_args!("{}: {error}", escape::path(output))))?;
    print(&format!("{}: {} tokens\n", escape::path(output), thousands(tokens)))
}

/// Opens the data set, which writes the tokenizer to `folder`.
fn train(data: Json, path: &PluginPath, folder: &Path) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::Failed, format!("{error}"));
    // A run has a model; this one is never built.
    let model = json!({ "component": "mlp" });
    let loader = json!({ "validation": 0.0, "stratify": false });
    let run = json!({ "data": data, "loader": loader, "model": model });
    let run = toml::to_string(&run).map_err(|error| failed(&error))?;
    let file = folder.join("run.toml");
    std::fs::write(&file, run).map_err(|error| failed(&error))?;
    let inputs = Inputs { files: vec![file], ..Inputs::default() };
    let read = ReadRun::read(&inputs, path, Vec::new(), None, |draft, _| draft.keep_models(true));
    let (run, catalog) = read.accept()?;
    let surroundings =
        Surroundings { run_dir: folder.to_string_lossy().into_owned(), ..Surroundings::default() };
    let composed = Composed::new(Rc::new(catalog), run, surroundings).map_err(Failure::problems)?;
    let look = Look { transforms: false, evaluates: true };
    composed.open_loader_with(look, |_| {}).map_err(Failure::problems)?;
    Ok(())
}

/// Number of tokens of a `tokenizer.json`.
fn tokens(json: &[u8]) -> u64 {
    let json: Json = serde_json::from_slice(json).unwrap_or_default();
    json["model"]["vocab"].as_object().map_or(0, |tokens| tokens.len() as u64)
}
