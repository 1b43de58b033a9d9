//! Writes bundles.

use std::{fs, io, path::Path};

use super::{
    CARD, FOLDER, INFO, SUMS, card,
    info::{BundleInfo, DataInfo, FORMAT, FieldInfo, FigureInfo, ModelInfo, PluginInfo, SplitInfo},
    sums,
};
use crate::library::{PluginEntry, escape};
use crate::record::{RunEntry, UsedPlugin, file};
use crate::session::{CONFIG, DATA, DATA_STATE, SavedData};

/// What a bundle says beyond the files of its run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Origin<'a> {
    /// Plugins whose licences are known.
    pub plugins: &'a [PluginEntry],
    /// Licence of the parameters; empty if it is not stated.
    pub license: &'a str,
}

/// How a file gets into a bundle.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Transfer {
    Copy,
    /// As a second name of the same file, where the file system allows it.
    Link,
}

/// Writes the bundle of a run to the folder `to`, which must be empty or new.
///
/// # Errors
/// A text for the user: a run without a model, a folder with files, or one that cannot be written.
pub fn write(run: &RunEntry, to: &Path, origin: Origin<'_>) -> Result<(), String> {
    let place = escape::path(to);
    match fs::read_dir(to).map(|mut entries| entries.next().is_none()) {
        Ok(false) => {
            return Err(format!("the folder {place} is not empty: name a new one"));
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(format!("{place} is no folder that can be read: {error}"));
        }
        _ => {}
    }
    fill(run, to, origin, Transfer::Copy)
}

/// Writes the bundle of a run into the run's folder, in place of an earlier one. The parameters are
/// linked where the file system allows it.
///
/// # Errors
/// As [`write()`].
pub fn write_into_run(run: &RunEntry, origin: Origin<'_>) -> Result<(), String> {
    fill(run, &run.path.join(FOLDER), origin, Transfer::Link)
}

/// Fills a folder beside `to` and renames it, so that `to` is a whole bundle at any moment.
fn fill(run: &RunEntry, to: &Path, origin: Origin<'_>, transfer: Transfer) -> Result<(), String> {
    let failed = |error: io::Error| {
        format!(
            "the bundle {} cannot be written: {error}; free some space, or name another folder",
            escape::path(to)
        )
    };
    let whole = std::path::absolute(to).map_err(failed)?;
    let mut name = std::ffi::OsString::from(".");
    name.push(whole.file_name().unwrap_or_default());
    name.push(".new");
    let beside = whole.with_file_name(name);
    remove(&beside).map_err(failed)?;
    fs::create_dir_all(&beside).map_err(failed)?;
    let filled = files(run, &beside, origin, transfer);
    let renamed = filled
        .and_then(|()| remove(&whole).and_then(|()| fs::rename(&beside, &whole)).map_err(failed));
    if renamed.is_err() {
        // The first error counts.
        let _ = remove(&beside);
    }
    renamed
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn files(run: &RunEntry, to: &Path, origin: Origin<'_>, transfer: Transfer) -> Result<(), String> {
    let unreadable = |name: &str, error: io::Error| {
        format!("`{name}` of the run {} cannot be used: {error}", escape::path(&run.path))
    };
    let info = describe(run, origin)?;
    let mut hashes = String::new();
    let mut listed = |name: &str| -> io::Result<()> {
        hashes.push_str(&sums::line(name, &sums::of_file(&to.join(name))?));
        Ok(())
    };
    let mut json = serde_json::to_vec_pretty(&info).unwrap_or_default();
    json.push(b'\n');
    for (name, bytes) in [(CARD, card::text(&info).into_bytes()), (INFO, json)] {
        fs::write(to.join(name), bytes).and_then(|()| listed(name)).map_err(|error| {
            format!("{} cannot be written: {error}", escape::path(&to.join(name)))
        })?;
    }
    for (name, optional) in [
        (DATA, true),
        (DATA_STATE, true),
        (CONFIG, true),
        (file::MODEL, false),
        (file::PLUGINS, false),
        (file::RESOLVED, false),
    ] {
        let (from, to) = (run.path.join(name), to.join(name));
        // What the data set learnt is replaced as a whole, as all files of a record: a link keeps
        // the old content.
        let linked = transfer == Transfer::Link && fs::hard_link(&from, &to).is_ok();
        let done = if linked { Ok(()) } else { fs::copy(&from, &to).map(drop) };
        match done.and_then(|()| listed(name)) {
            Err(error) if optional && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable(name, error)),
            Ok(()) => {}
        }
    }
    fs::write(to.join(SUMS), hashes)
        .map_err(|error| format!("{} cannot be written: {error}", escape::path(&to.join(SUMS))))
}

/// Describes the bundle of a run.
fn describe(run: &RunEntry, origin: Origin<'_>) -> Result<BundleInfo, String> {
    let place = escape::path(&run.path);
    let state = run.state.as_ref().map_err(Clone::clone)?;
    let resolved = run.resolved();
    let environment = run.environment();
    let bytes = fs::read(run.path.join(file::MODEL)).map_err(|error| {
        format!("the run {place} has no final model yet ({error}): train it to its end")
    })?;
    let saved = SavedData::of_folder(&run.path).map_err(|text| format!("{place}: {text}"))?;
    let finite = |value: f64| Some(value).filter(|value| value.is_finite());
    let figures = run.epoch_metrics().map_err(|error| error.to_string())?;
    let figures = figures.into_iter().map(|metric| FigureInfo {
        phase: metric.phase,
        name: metric.name,
        last: finite(metric.last.0),
        epoch: metric.last.1,
        best: metric.best.and_then(|(value, _)| finite(value)),
    });
    let plugin = |used: UsedPlugin| {
        let known = origin.plugins.iter().find(|plugin| plugin.sha256().hex() == used.sha256);
        PluginInfo {
            license: known
                .map(|plugin| plugin.manifest().plugin.license.clone())
                .unwrap_or_default(),
            name: used.name,
            version: used.version,
            sha256: used.sha256,
        }
    };
    let number = |section: &str, key: &str| {
        let value = resolved.get(section)?.get(key)?.as_integer()?;
        u64::try_from(value).ok()
    };
    Ok(BundleInfo {
        format: FORMAT,
        run: run.id.clone(),
        fluxbay: environment["host"].as_str().unwrap_or(env!("CARGO_PKG_VERSION")).to_owned(),
        started: state.started.clone(),
        status: state.status.name().to_owned(),
        epochs: state.epoch,
        seed: number("run", "seed"),
        processor: environment["processor"].as_str().unwrap_or_default().to_owned(),
        license: origin.license.to_owned(),
        models: models(&bytes, &resolved).map_err(|text| format!("{place}: {text}"))?,
        data: saved.map(data),
        figures: figures.collect(),
        plugins: run.plugins().into_iter().map(plugin).collect(),
    })
}

/// The models with the size of their parameters.
fn models(bytes: &[u8], resolved: &toml::Table) -> Result<Vec<ModelInfo>, String> {
    let file = safetensors::SafeTensors::deserialize(bytes)
        .map_err(|error| format!("`{}` is no model: {error}", file::MODEL))?;
    let section = resolved.get("model").and_then(toml::Value::as_table);
    let component = |table: Option<&toml::Table>| {
        table.and_then(|table| table.get("component")?.as_str()).map(str::to_owned)
    };
    let mut models: Vec<ModelInfo> = Vec::new();
    let mut tensors: Vec<_> = file.iter().collect();
    tensors.sort_by_key(|(name, _)| *name);
    for (name, tensor) in tensors {
        let model = name.split('.').next().unwrap_or_default();
        let elements: u64 = tensor.shape().iter().map(|size| *size as u64).product();
        if let Some(known) = models.iter_mut().find(|known| known.name == model) {
            (known.tensors, known.elements) = (known.tensors + 1, known.elements + elements);
            continue;
        }
        let named = section.and_then(|section| section.get(model)?.as_table());
        models.push(ModelInfo {
            name: model.to_owned(),
            component: component(section).or_else(|| component(named)).unwrap_or_default(),
            tensors: 1,
            elements,
        });
    }
    Ok(models)
}

fn data(saved: SavedData) -> DataInfo {
    let component = saved.component.split_once('/').map_or(&*saved.component, |(_, name)| name);
    DataInfo {
        component: component.to_owned(),
        keeps_learnt: saved.learnt.is_some(),
        fields: saved
            .summary
            .fields
            .into_iter()
            .map(|field| FieldInfo {
                name: field.name,
                dtype: field.dtype,
                shape: field.shape,
                classes: field.classes,
            })
            .collect(),
        splits: saved
            .summary
            .splits
            .into_iter()
            .map(|split| SplitInfo { name: split.name, samples: split.samples })
            .collect(),
    }
}
