//! Applies environment variables, `--add`, `--set` and `--remove`, in this order.

use super::diagnostic::{Diagnostic, Diagnostics};
use super::inputs::Inputs;
use super::layout::{self, COMPONENT, SectionForm};
use super::merge::{Layered, listed_id, merge_root};
use super::parse::{is_valid, parse_text};
use super::source::{Place, SourceId, SourceKind, Sources};
use super::tree::{Entry, Node, Table, Value};
use crate::library::Kind;

/// Prefix of environment variables that set a key.
pub const PREFIX: &str = "FLUXBAY__";

pub(super) fn apply(layered: &mut Layered, inputs: &Inputs, diagnostics: &mut Diagnostics) {
    let mut environment: Vec<&(String, String)> =
        inputs.environment.iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
    environment.sort();
    for (name, value) in environment {
        let id =
            layered.sources.add("environment", SourceKind::Environment, format!("{name}={value}"));
        let path = variable_path(id, name);
        assign(layered, id, path, name.len() + 1, diagnostics);
    }
    for text in &inputs.add {
        let id = layered.sources.add("--add", SourceKind::Add, text.as_str());
        if let Some(table) = addition(&layered.sources, id, diagnostics) {
            merge_root(layered, table, diagnostics);
        }
    }
    for text in &inputs.set {
        let id = layered.sources.add("--set", SourceKind::Set, text.as_str());
        if let Some((path, value_at)) = setting_path(&layered.sources, id, diagnostics) {
            assign(layered, id, path, value_at, diagnostics);
        }
    }
    for text in &inputs.remove {
        let id = layered.sources.add("--remove", SourceKind::Remove, text.as_str());
        if !remove(&mut layered.root, text) {
            let place = layered.sources.whole(id);
            layered.removed.push((text.clone(), place));
        }
    }
}

type Path = Vec<(String, Place)>;

/// `FLUXBAY__OPTIMIZER__LEARNING_RATE` is `optimizer.learning-rate`.
fn variable_path(source: SourceId, name: &str) -> Path {
    let mut at = PREFIX.len();
    name[PREFIX.len()..]
        .split("__")
        .map(|part| {
            let place = Place { source, start: at, end: at + part.len() };
            at += part.len() + 2;
            (part.to_lowercase().replace('_', "-"), place)
        })
        .collect()
}

/// The path of `key.path=value`, and the byte at which the value begins.
fn setting_path(
    sources: &Sources,
    id: SourceId,
    diagnostics: &mut Diagnostics,
) -> Option<(Path, usize)> {
    let text = sources.get(id).text.as_str();
    let mut quote = None;
    let equals = text.char_indices().find_map(|(at, c)| match (quote, c) {
        (None, '"' | '\'') => {
            quote = Some(c);
            None
        }
        (Some(open), c) if c == open => {
            quote = None;
            None
        }
        (None, '=') => Some(at),
        _ => None,
    });
    let key = equals.map(|at| format!("{}=0", &text[..at]));
    let path = key.filter(|key| is_valid(key)).and_then(|key| {
        let mut path = Path::new();
        follow(&parse_text(sources, id, &key, diagnostics), &mut path);
        (!path.is_empty()).then_some(path)
    });
    match (path, equals) {
        (Some(path), Some(at)) => Some((path, at + 1)),
        _ => {
            diagnostics.push(
                Diagnostic::error(
                    "bad-override",
                    format!("`--set {text}` is not of the form KEY.PATH=VALUE"),
                )
                .at(sources, sources.whole(id), "")
                .help("for example `--set optimizer.learning-rate=3e-4`"),
            );
            None
        }
    }
}

fn follow(table: &Table, path: &mut Path) {
    if let Some(Entry { key, key_place: Some(place), node }) = table.entries.first() {
        path.push((key.clone(), *place));
        if let Some(inner) = node.table() {
            follow(inner, path);
        }
    }
}

/// Sets `path` to the value that begins at byte `value_at` of the source.
fn assign(
    layered: &mut Layered,
    id: SourceId,
    path: Path,
    value_at: usize,
    diagnostics: &mut Diagnostics,
) {
    let Some(node) = value(&layered.sources, id, value_at, diagnostics) else { return };
    if let [(only, place)] = path.as_slice()
        && layout::section(only).is_some_and(|section| section.form != SectionForm::List)
    {
        diagnostics.push(
            Diagnostic::error(
                "bad-override",
                format!("`{only}` is a section, so it has no value of its own"),
            )
            .at(&layered.sources, *place, "a section")
            .help(format!("name a key in it, such as `{only}.{}`", example_key(only))),
        );
        return;
    }
    let tree = path.into_iter().rev().fold(node, |node, (key, place)| Node {
        value: Value::Table(Table { entries: vec![Entry { key, key_place: Some(place), node }] }),
        place: Some(place),
    });
    if let Value::Table(table) = tree.value {
        merge_root(layered, table, diagnostics);
    }
}

fn example_key(section: &str) -> &'static str {
    match section {
        "run" => "epochs",
        "loader" => "batch-size",
        "plugins" => "dirs",
        "checkpoints" => "every-steps",
        "fine-tuning" => "from",
        _ => COMPONENT,
    }
}

/// A TOML value; text that is none is taken as a string.
fn value(
    sources: &Sources,
    id: SourceId,
    at: usize,
    diagnostics: &mut Diagnostics,
) -> Option<Node> {
    let text = sources.get(id).text.as_str();
    let bare = text[at..].trim();
    // Padding keeps the byte positions of the source, so that places in the value are right.
    let padded = format!("{}v={}", " ".repeat(at - 2), &text[at..]);
    let structured = bare.starts_with(['[', '{', '"', '\'']);
    if structured || is_valid(&padded) {
        let before = diagnostics.errors();
        let table = parse_text(sources, id, &padded, diagnostics);
        let node = table.entries.into_iter().next().map(|entry| entry.node)?;
        // No setting takes dates, so a date is text.
        return (diagnostics.errors() == before).then_some(match node.value {
            Value::Date(_) => Node { value: Value::Text(bare.to_owned()), place: node.place },
            _ => node,
        });
    }
    let start = at + (text[at..].len() - text[at..].trim_start().len());
    let place = Some(Place { source: id, start, end: start + bare.len() });
    Some(Node { value: Value::Text(bare.to_owned()), place })
}

/// `callback/early-stopping{patience = 3}` as a tree.
fn addition(sources: &Sources, id: SourceId, diagnostics: &mut Diagnostics) -> Option<Table> {
    let text = sources.get(id).text.as_str();
    let brace = text.find('{').unwrap_or(text.len());
    let name = text[..brace].trim_end();
    let (plugin, rest) = match name.split_once(':') {
        Some((plugin, rest)) => (Some(plugin), rest),
        None => (None, name),
    };
    let place = Place { source: id, start: 0, end: name.len() };
    let kind = rest
        .split_once('/')
        .and_then(|(kind, component)| Some((kind.parse::<Kind>().ok()?, component)));
    let section = kind.and_then(|(kind, component)| Some((layout::section_of(kind)?, component)));
    let Some((section, component)) =
        section.filter(|(section, _)| section.form == SectionForm::List)
    else {
        diagnostics.push(
            Diagnostic::error("bad-override", format!("`--add {text}` is not of the form KIND/NAME{{key = value}}"))
                .at(sources, place, "KIND is `phase`, `callback` or `logger`")
                .help("for example `--add 'callback/early-stopping{patience = 3}'`; a model or a data set is set with `--set model.component=NAME`"),
        );
        return None;
    };
    let mut table = if brace < text.len() {
        let node = value(sources, id, brace, diagnostics)?;
        match node.value {
            Value::Table(table) => table,
            _ => Table::default(),
        }
    } else {
        Table::default()
    };
    let component = plugin.map_or(component.to_owned(), |plugin| format!("{plugin}:{component}"));
    let component = Node { value: Value::Text(component), place: Some(place) };
    table
        .entries
        .insert(0, Entry { key: COMPONENT.to_owned(), key_place: Some(place), node: component });
    let item = Node { value: Value::Table(table), place: Some(place) };
    let list = Node { value: Value::List(vec![item]), place: Some(place) };
    Some(Table {
        entries: vec![Entry { key: section.name.to_owned(), key_place: Some(place), node: list }],
    })
}

/// Removes the instance with this id from its list.
fn remove(root: &mut Table, id: &str) -> bool {
    let mut found = false;
    for section in layout::SECTIONS.iter().filter(|section| section.form == SectionForm::List) {
        if let Some(Node { value: Value::List(items), .. }) = root.get_mut(section.name) {
            let before = items.len();
            items.retain(|item| listed_id(item) != Some(id));
            found |= items.len() < before;
        }
    }
    found
}
