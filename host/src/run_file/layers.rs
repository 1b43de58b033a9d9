//! Several texts become one: run files from left to right, then the environment, `--add`, `--set`
//! and `--remove`.
//!
//! Later wins. Tables merge key by key; a list of instances merges by instance id, new ones go to
//! its end; every other value is replaced. Naming another component drops the configuration that
//! was meant for the former one.

use std::path::{Path, PathBuf};

use super::diagnostic::{Diagnostic, Diagnostics};
use super::layout::{self, COMPONENT, Form, ID, SECTIONS};
use super::nearest;
use super::overrides;
use super::parse::parse;
use super::source::{Place, SourceKind, Sources};
use super::tree::{Entry, Node, Table, Value};

/// The run that is trained when no run file is given.
pub const BUILT_IN: &str = include_str!("built_in.toml");

/// Largest run file that is read.
const MAX_BYTES: u64 = 16 << 20;

/// Where a run description is read from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// Run files, later ones over earlier ones. None: the built-in run.
    pub files: Vec<PathBuf>,
    /// Environment variables; those whose name begins with `FLUXBAY__` set a key
    /// (`FLUXBAY__RUN__EPOCHS=3`).
    pub environment: Vec<(String, String)>,
    /// `kind/name{key = value}` each.
    pub add: Vec<String>,
    /// `key.path=value` each.
    pub set: Vec<String>,
    /// Instance ids.
    pub remove: Vec<String>,
}

/// What layering gives: the texts, one tree, and what is to be removed from the defaults.
#[derive(Clone, Debug, Default)]
pub struct Layered {
    /// All texts.
    pub sources: Sources,
    /// The merged tree.
    pub root: Table,
    /// Ids of `--remove` that no instance of the tree has; they may name default callbacks.
    pub removed: Vec<(String, Place)>,
    /// The folder of the first run file, from which relative paths start.
    pub base_dir: PathBuf,
}

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
        return Err(refuse("unreadable", text, "is this the file that you meant?".to_owned()));
    }
    let bytes = std::fs::read(path).map_err(|error| {
        let help = "check the permissions of the file".to_owned();
        refuse("unreadable", format!("the run file `{shown}` cannot be read: {error}"), help)
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].iter().filter(|b| **b == b'\n').count() + 1;
        let text = format!("the run file `{shown}` is not UTF-8 text (byte {at}, line {line})");
        refuse(
            "unreadable",
            text,
            "save it as UTF-8; if it is not a run file, name another".to_owned(),
        )
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
        None => found.help(format!("no `.toml` file lies in `{}`; without a run file the built-in run is trained, and `fluxbay compose --print-config > run.toml` writes that as one to begin with", folder.display())),
    })
}

/// Puts a tree over what is there.
pub(super) fn merge_root(layered: &mut Layered, over: Table, diagnostics: &mut Diagnostics) {
    for entry in over.entries {
        let form = layout::section(&entry.key).map(|section| section.form);
        match (form, layered.root.get_mut(&entry.key), entry) {
            (
                Some(Form::List),
                base,
                Entry { key, node: Node { value: Value::Table(patches), .. }, key_place },
            ) => {
                patch_list(&layered.sources, &key, key_place, base, patches, diagnostics);
            }
            (_, None, entry) => layered.root.entries.push(entry),
            (Some(Form::List), Some(base), entry) => merge_list(base, entry.node),
            (Some(Form::One), Some(base), entry) => merge_instance(base, entry.node),
            (Some(Form::OneOrNamed), Some(base), entry) => merge_one_or_named(base, entry.node),
            (_, Some(base), entry) => merge_value(base, entry.node),
        }
    }
}

fn merge_value(base: &mut Node, over: Node) {
    match (&mut base.value, over) {
        (Value::Table(base), Node { value: Value::Table(over), .. }) => {
            for entry in over.entries {
                match base.get_mut(&entry.key) {
                    Some(node) => merge_value(node, entry.node),
                    None => base.entries.push(entry),
                }
            }
        }
        (_, over) => *base = over,
    }
}

/// Another component means that the former one's settings no longer apply.
fn merge_instance(base: &mut Node, over: Node) {
    let named = over.table().and_then(|table| table.text(COMPONENT));
    let changes = named.is_some() && named != base.table().and_then(|table| table.text(COMPONENT));
    if changes {
        let id = base.table().and_then(|table| table.entry(ID)).cloned();
        *base = over;
        if let (Value::Table(table), Some(id)) = (&mut base.value, id)
            && table.get(ID).is_none()
        {
            table.entries.push(id);
        }
    } else {
        merge_value(base, over);
    }
}

fn is_single(node: &Node) -> bool {
    node.table().is_some_and(|table| table.get(COMPONENT).is_some())
}

/// Whether a table of this section holds named instances.
pub(super) fn is_named(node: &Node) -> bool {
    let has_instances = |table: &Table| table.entries.iter().any(|entry| is_single(&entry.node));
    !is_single(node) && node.table().is_some_and(has_instances)
}

fn merge_one_or_named(base: &mut Node, over: Node) {
    if (is_single(base) && is_named(&over)) || (is_named(base) && is_single(&over)) {
        *base = over;
    } else if is_named(base) {
        if let (Value::Table(base), Node { value: Value::Table(over), .. }) =
            (&mut base.value, over)
        {
            for entry in over.entries {
                match base.get_mut(&entry.key) {
                    Some(node) => merge_instance(node, entry.node),
                    None => base.entries.push(entry),
                }
            }
        }
    } else {
        merge_instance(base, over);
    }
}

/// The id that an instance of a list has: its own, or its component's name.
pub(super) fn listed_id(node: &Node) -> Option<&str> {
    let table = node.table()?;
    table.text(ID).or_else(|| {
        table.text(COMPONENT).map(|name| name.rsplit([':', '/']).next().unwrap_or(name))
    })
}

fn merge_list(base: &mut Node, over: Node) {
    let (Value::List(have), Value::List(_)) = (&mut base.value, &over.value) else {
        *base = over;
        return;
    };
    let Value::List(items) = over.value else { return };
    let mut free: Vec<bool> = vec![true; have.len()];
    for item in items {
        let id = listed_id(&item);
        let same =
            (0..free.len()).find(|at| free[*at] && id.is_some() && listed_id(&have[*at]) == id);
        match same {
            Some(at) => {
                free[at] = false;
                merge_instance(&mut have[at], item);
            }
            None => have.push(item),
        }
    }
}

/// `[callback.recorder]` or `--set callback.recorder.every=2`: changes to instances that are listed
/// already.
fn patch_list(
    sources: &Sources,
    section: &str,
    section_place: Option<Place>,
    base: Option<&mut Node>,
    patches: Table,
    diagnostics: &mut Diagnostics,
) {
    if patches.get(COMPONENT).is_some() {
        let mut found = Diagnostic::error(
            "not-a-list",
            format!("`{section}` is a list, but is written as one table"),
        )
        .help(format!("write `[[{section}]]` with two brackets on each side"));
        if let Some(place) = section_place {
            found = found.at(sources, place, "one table");
        }
        diagnostics.push(found);
        return;
    }
    let mut nothing = Vec::new();
    let have = match base {
        Some(Node { value: Value::List(have), .. }) => have,
        _ => &mut nothing,
    };
    for patch in patches.entries {
        if let Some(node) = have.iter_mut().find(|node| listed_id(node) == Some(&patch.key)) {
            merge_instance(node, patch.node);
            continue;
        }
        let known = have.iter().filter_map(listed_id);
        let mut found = Diagnostic::error(
            "unknown-instance",
            format!("no {section} of this run has the id `{}`", patch.key),
        )
        .help(match nearest::suggestion(&patch.key, known) {
            Some(text) => format!(
                "{text}\nto add one: `--add '{section}/{}{{...}}'` or a `[[{section}]]` table",
                patch.key
            ),
            None => format!(
                "add it with a `[[{section}]]` table or `--add '{section}/{}{{...}}'`",
                patch.key
            ),
        });
        if let Some(place) = patch.key_place {
            found = found.at(sources, place, "");
        }
        diagnostics.push(found);
    }
}

/// The names of all sections.
pub(super) fn section_names() -> impl Iterator<Item = &'static str> {
    SECTIONS.iter().map(|section| section.name)
}
