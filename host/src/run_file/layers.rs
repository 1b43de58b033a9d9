//! Reads all layers of a run: run files from left to right, then the environment, `--add`, `--set`
//! and `--remove`. Each is merged over the ones before it (see `merge`).

use std::path::{Path, PathBuf};

use super::diagnostic::{Diagnostic, Diagnostics};
use super::inputs::Inputs;
use super::merge::{Layered, merge_root};
use super::nearest;
use super::overrides;
use super::parse::parse;
use super::source::SourceKind;

/// The run that is trained when no run file is given.
pub const BUILT_IN: &str = include_str!("built_in.toml");

/// Largest run file that is read.
const MAX_BYTES: u64 = 16 << 20;

/// Reads and merges everything.
pub fn read(inputs: &Inputs, diagnostics: &mut Diagnostics) -> Layered {
    let mut layered = Layered { base_dir: base_dir(inputs), ..Layered::default() };
    if inputs.files.is_empty() {
        text_layer(
            &mut layered,
            "built-in run",
            SourceKind::BuiltIn,
            BUILT_IN.to_owned(),
            diagnostics,
        );
    }
    for file in &inputs.files {
        match read_file(file) {
            Ok(text) => text_layer(
                &mut layered,
                &file.display().to_string(),
                SourceKind::File,
                text,
                diagnostics,
            ),
            Err(found) => diagnostics.push(*found),
        }
    }
    overrides::apply(&mut layered, inputs, diagnostics);
    layered
}

fn base_dir(inputs: &Inputs) -> PathBuf {
    let folder = inputs.files.first().and_then(|file| file.parent()).unwrap_or(Path::new(""));
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf())
}

fn text_layer(
    layered: &mut Layered,
    name: &str,
    kind: SourceKind,
    text: String,
    diagnostics: &mut Diagnostics,
) {
    let id = layered.sources.add(name, kind, text);
    let table = parse(&layered.sources, id, diagnostics);
    merge_root(layered, table, diagnostics);
}

fn read_file(path: &Path) -> Result<String, Box<Diagnostic>> {
    let shown = path.display();
    let refuse =
        |code, text: String, help: String| Box::new(Diagnostic::error(code, text).help(help));
    let length = match std::fs::metadata(path) {
        Ok(meta) if meta.is_dir() => {
            let help = format!("name a file, such as `{}`", path.join("run.toml").display());
            return Err(refuse(
                "unreadable",
                format!("`{shown}` is a directory, not a run file"),
                help,
            ));
        }
        Ok(meta) => meta.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(missing_file(path));
        }
        Err(error) => {
            let help = "check the permissions of the file and of its directory".to_owned();
            return Err(refuse(
                "unreadable",
                format!("the run file `{shown}` cannot be read: {error}"),
                help,
            ));
        }
    };
    if length > MAX_BYTES {
        let text = format!(
            "the run file `{shown}` has {length} bytes, more than the {MAX_BYTES} that are read"
        );
        return Err(refuse("unreadable", text, "check that this is the intended file".to_owned()));
    }
    let bytes = std::fs::read(path).map_err(|error| {
        let help = "check the permissions of the file".to_owned();
        refuse("unreadable", format!("the run file `{shown}` cannot be read: {error}"), help)
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].iter().filter(|b| **b == b'\n').count() + 1;
        let text = format!("the run file `{shown}` is not UTF-8 text (byte {at}, line {line})");
        refuse("unreadable", text, "save it as UTF-8, or name another file".to_owned())
    })
}

fn missing_file(path: &Path) -> Box<Diagnostic> {
    let found =
        Diagnostic::error("missing-file", format!("there is no run file `{}`", path.display()));
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .map(|entries| {
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
        })
        .unwrap_or_default();
    names.retain(|name| name.ends_with(".toml"));
    names.sort();
    let wanted = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    Box::new(match nearest::suggestion(wanted, names.iter().map(String::as_str)) {
        Some(text) => found.help(text),
        None => found.help(format!("there is no `.toml` file in `{}`; without a run file the built-in run is trained, and `fluxbay compose --print-config > run.toml` writes it as a start", folder.display())),
    })
}
