//! `fluxbay export`: writes the model of a run for use elsewhere, as a bundle or as an ONNX file.

use std::{ffi::OsString, path::PathBuf, rc::Rc};

use clap_complete::engine::ArgValueCompleter;

use super::{opening::read_saved, predict::failure, shortcuts::batches};
use crate::{
    bundle::{self, Source},
    cli::{
        candidates,
        outcome::{Exit, Failure, Outcome},
        plugin_path::PluginPath,
        run_lookup,
    },
    display::{Screen, bytes},
    durable::changes,
    export::onnx,
    library::escape,
    predict::{Applied, DataUse},
    record::{atomic, file},
    session::SavedData,
};

/// Arguments of `fluxbay export`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A run's folder, its name or a part of it; for --onnx also a bundle.
    #[arg(value_name = "RUN", add = ArgValueCompleter::new(candidates::runs))]
    run: OsString,
    /// Folder of the bundle, empty or new.
    #[arg(value_name = "DIR", required_unless_present = "onnx")]
    bundle: Option<PathBuf>,
    /// Write the model as an ONNX file (opset 18).
    ///
    /// Inputs are those of the model, after the encoding of the data set. The number of samples is
    /// symbolic, and so is the length of sequences if the model takes any. A file that exists is
    /// replaced.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["bundle", "license"])]
    onnx: Option<PathBuf>,
    /// Export for N samples at a time only.
    #[arg(long, value_name = "N", requires = "onnx", value_parser = batches)]
    batch: Option<u64>,
    /// Put the preprocessing into the graph, so that it takes raw values.
    ///
    /// Pixels of decoded images (uint8, [height, width, channels]), the columns of a table, or arrays. What cannot be part
    /// of the graph is refused by name.
    #[arg(long, requires = "onnx")]
    preprocessing: bool,
    /// With --preprocessing: height and width of raw images, 480x640; by default the size of the data.
    #[arg(long, value_name = "HxW", requires = "preprocessing", value_parser = size)]
    raw_size: Option<[u64; 2]>,
    /// Export the model with this name, if the run has several.
    #[arg(
        long,
        value_name = "NAME",
        requires = "onnx",
        default_value = "",
        hide_default_value = true
    )]
    model: String,
    /// Export the parameters of this checkpoint, not of the final model.
    #[arg(long, value_name = "DIR", requires = "onnx")]
    checkpoint: Option<PathBuf>,
    /// Licence of the parameters for the model card, such as Apache-2.0.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    license: String,
    #[command(flatten)]
    path: PluginPath,
}

/// Height and width such as `480x640`.
fn size(text: &str) -> Result<[u64; 2], String> {
    let sides = text.split_once('x').map(|(height, width)| (height.parse(), width.parse()));
    match sides {
        Some((Ok(height @ 1..), Ok(width @ 1..))) => Ok([height, width]),
        _ => Err(format!("`{text}` is no height and width, such as `480x640`")),
    }
}

pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let failed = |text: String| Failure::new(Exit::Configuration, text);
    if let Some(to) = &arguments.onnx {
        return write_onnx(arguments, to, screen);
    }
    let Some(to) = &arguments.bundle else {
        return Err(failed("name the folder of the bundle, or a file with --onnx".to_owned()));
    };
    let run = run_lookup::find(&arguments.run)?;
    let lock = std::fs::read_to_string(run.path.join(file::PLUGINS)).unwrap_or_default();
    let catalog = arguments.path.scan(&changes::folders(&lock));
    let origin = bundle::Origin { plugins: catalog.plugins(), license: &arguments.license };
    bundle::write(&run, to, origin).map_err(failed)?;
    screen.print(&format!("bundle of {} in {}", escape::text(&run.id), escape::path(to)));
    Ok(Exit::Done)
}

fn write_onnx(arguments: &Arguments, to: &std::path::Path, screen: &Screen) -> Outcome {
    let folder = run_lookup::find_model(&arguments.run)?;
    let source = Source::open(&folder, arguments.checkpoint.as_deref())
        .map_err(|text| Failure::new(Exit::Configuration, text))?;
    // The data set tells the names of the classes, from what it learnt, and its preprocessing.
    let names_classes = arguments.preprocessing
        || source.data.as_ref().is_some_and(|data: &SavedData| data.learnt.is_some());
    let read = read_saved(
        &folder,
        &source.plugins,
        Vec::new(),
        Vec::new(),
        &arguments.path,
        |draft, _| draft.keep_models(names_classes),
    );
    let (run, catalog) = read.accept()?;
    let name = run.run.name.clone();
    let open = |run, catalog, data| Applied::open(run, catalog, &source, &arguments.model, data);
    let catalog = Rc::new(catalog);
    let applied = if arguments.preprocessing {
        open(run, catalog, DataUse::Files)
    } else if names_classes {
        // A data set without names of classes exports as well.
        open(run.clone(), Rc::clone(&catalog), DataUse::Files)
            .or_else(|_| open(run, catalog, DataUse::None))
    } else {
        open(run, catalog, DataUse::None)
    }
    .map_err(failure)?;
    let preprocessing = if arguments.preprocessing {
        let size = arguments.raw_size.as_ref().map_or(&[][..], |size| &size[..]);
        let (inputs, steps) = applied.steps(size).map_err(failure)?;
        Some(onnx::Preprocessing { inputs, steps })
    } else {
        None
    };
    let description = onnx::Description {
        name,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        classes: applied.class_names().to_vec(),
        batch: arguments.batch.and_then(|batch| usize::try_from(batch).ok()),
        preprocessing,
    };
    let model = onnx::model(&applied, &description).map_err(failure)?;
    atomic::replace(to, &model).map_err(|error| Failure::new(Exit::Failed, error))?;
    let length = bytes(model.len() as u64);
    screen.print(&format!("{} with {length}, ONNX opset {}", escape::path(to), onnx::OPSET));
    Ok(Exit::Done)
}
