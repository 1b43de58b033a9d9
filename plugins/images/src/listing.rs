//! Images with their labels, and the CSV or JSONL files that list them.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    io::{BufRead, BufReader},
    path::Path,
};

use fluxbay_plugin::{prelude::*, serde_json::Value};

use crate::keys::{Keys, Labels};

/// One image.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Path within the folder, with `/` between its parts.
    pub key: String,
    /// Its labels.
    pub labels: Vec<String>,
}

/// Images with their labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Listing {
    /// Paths within the folder, with `/` between their parts.
    pub keys: Keys,
    /// The different labels.
    pub labels: Vec<String>,
    /// Places of the labels of each image in that list.
    pub of: Labels,
}

impl Listing {
    /// Of these images; `several` says whether an image may have any number of labels.
    pub fn of(entries: Vec<Entry>, several: bool) -> Listing {
        let (mut keys, mut labels) = (Keys::default(), Vec::new());
        let mut places: HashMap<String, u32> = HashMap::new();
        let mut place = |label: String| {
            *places.entry(label).or_insert_with_key(|label| {
                labels.push(label.clone());
                labels.len() as u32 - 1
            })
        };
        let numbers: Vec<Vec<u32>> = entries
            .into_iter()
            .map(|Entry { key, labels }| {
                keys.push(&[&key]);
                labels.into_iter().map(&mut place).collect()
            })
            .collect();
        let of = match several {
            true => Labels::several(numbers.into_iter()),
            false => Labels::single(numbers.concat()),
        };
        Listing { keys, labels, of }
    }
}

/// Where a file of labels has its paths and labels.
#[derive(Clone, Copy, Debug)]
pub struct Columns<'a> {
    /// Column or key of the path.
    pub path: &'a str,
    /// Column or key of the label.
    pub label: &'a str,
    /// Text between several labels in one value; none if an image has one label.
    pub separator: Option<&'a str>,
}

/// The images that a CSV or JSONL file lists, in its order.
///
/// # Errors
/// With the line, if it cannot be read or lacks a path or a label.
pub fn of_file(file: &Path, columns: Columns<'_>) -> Result<Vec<Entry>> {
    let lines = file.extension().and_then(|ending| ending.to_str());
    let read = match lines {
        Some(ending) if ["jsonl", "ndjson"].iter().any(|it| ending.eq_ignore_ascii_case(it)) => {
            of_jsonl(file, columns)
        }
        _ => of_csv(file, columns),
    };
    let entries = read.context(file.display())?;
    if entries.is_empty() {
        bail!("{}: it lists no images", file.display());
    }
    let mut known = BTreeSet::new();
    if let Some(twice) = entries.iter().find(|entry| !known.insert(&entry.key)) {
        bail!("{}: it lists `{}` twice", file.display(), twice.key);
    }
    Ok(entries)
}

fn split(text: &str, separator: Option<&str>) -> Vec<String> {
    match separator {
        None => vec![text.to_owned()],
        Some(separator) => text
            .split(separator)
            .map(str::trim)
            .filter(|label| !label.is_empty())
            .map(str::to_owned)
            .collect(),
    }
}

fn of_csv(file: &Path, columns: Columns<'_>) -> Result<Vec<Entry>> {
    let failed = |error: csv::Error| Error::new(error.to_string());
    let mut reader = csv::Reader::from_path(file).map_err(failed)?;
    let header = reader.headers().map_err(failed)?.clone();
    let place = |name: &str, setting: &str| {
        header.iter().position(|column| column.trim_start_matches('\u{feff}') == name).ok_or_else(
            || {
                let known: Vec<&str> = header.iter().collect();
                Error::new(format!(
                    "it has no column `{name}`; its columns are {}: set `{setting}`",
                    known.join(", ")
                ))
            },
        )
    };
    let (path, label) =
        (place(columns.path, "path-column")?, place(columns.label, "label-column")?);
    let mut entries = Vec::new();
    for record in reader.records() {
        let record = record.map_err(failed)?;
        let line = record.position().map_or(0, csv::Position::line);
        let value = |at: usize| record.get(at).unwrap_or_default();
        let labels = split(value(label), columns.separator);
        checked(value(path), &labels, columns).context(format_args!("line {line}"))?;
        entries.push(Entry { key: value(path).to_owned(), labels });
    }
    Ok(entries)
}

fn of_jsonl(file: &Path, columns: Columns<'_>) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for (number, line) in BufReader::new(fs::File::open(file)?).lines().enumerate() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let entry = || -> Result<Entry> {
            let row: Value = serde_json::from_str(&line)?;
            let key = row[columns.path].as_str().unwrap_or_default().to_owned();
            let labels = match &row[columns.label] {
                Value::String(text) => split(text, columns.separator),
                Value::Array(several) => several.iter().filter_map(text_of).collect(),
                Value::Null if columns.separator.is_some() => Vec::new(),
                other => text_of(other).into_iter().collect(),
            };
            checked(&key, &labels, columns)?;
            Ok(Entry { key, labels })
        };
        entries.push(entry().context(format_args!("line {}", number + 1))?);
    }
    Ok(entries)
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

fn checked(path: &str, labels: &[String], columns: Columns<'_>) -> Result<()> {
    if path.is_empty() {
        bail!("it has no path in `{}`", columns.path);
    }
    let inside = Path::new(path)
        .components()
        .all(|part| matches!(part, std::path::Component::Normal(_) | std::path::Component::CurDir));
    if !inside {
        bail!("the path `{path}` leaves the folder of the images");
    }
    if columns.separator.is_none() && (labels.len() != 1 || labels[0].is_empty()) {
        bail!(
            "`{path}` has {} labels in `{}`, but one is needed; set `label-separator` for several",
            labels.iter().filter(|label| !label.is_empty()).count(),
            columns.label
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, labels: &[&str]) -> Entry {
        Entry { key: key.into(), labels: labels.iter().map(|&label| label.into()).collect() }
    }

    const ONE: Columns<'static> = Columns { path: "path", label: "label", separator: None };

    #[test]
    fn files_of_labels_are_read_and_their_faults_have_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let read = |name: &str, text: &str, columns| {
            let file = dir.path().join(name);
            fs::write(&file, text).unwrap();
            of_file(&file, columns).map_err(|error| error.message().to_owned())
        };
        let csv = "label,path\ncat,a.png\n\"a,b\",d/b.png\n";
        let expected = vec![entry("a.png", &["cat"]), entry("d/b.png", &["a,b"])];
        assert_eq!(read("l.csv", csv, ONE), Ok(expected));
        let jsonl =
            "{\"path\": \"a.png\", \"label\": 3}\n\n{\"path\":\"b.png\",\"label\":[\"x\",\"y\"]}\n";
        let several = Columns { separator: Some("|"), ..ONE };
        let expected = vec![entry("a.png", &["3"]), entry("b.png", &["x", "y"])];
        assert_eq!(read("l.jsonl", jsonl, several), Ok(expected));
        let expected = vec![entry("a.png", &["x", "y"]), entry("b.png", &[])];
        assert_eq!(read("m.csv", "path,label\na.png,x| y\nb.png,\n", several), Ok(expected));
        for (name, text, part) in [
            ("a.csv", "path,class\na.png,x\n", "no column `label`; its columns are path, class"),
            ("b.csv", "path,label\na.png,x\n,y\n", "line 3: it has no path"),
            ("c.csv", "path,label\n../a.png,x\n", "leaves the folder"),
            ("d.csv", "path,label\na.png,\n", "line 2: `a.png` has 0 labels"),
            ("e.csv", "path,label\na.png,x\na.png,y\n", "lists `a.png` twice"),
            ("f.jsonl", "{\"path\": \"a.png\"", "line 1"),
            (
                "g.jsonl",
                "{\"path\":\"b.png\",\"label\":[\"x\",\"y\"]}",
                "line 1: `b.png` has 2 labels",
            ),
            ("h.csv", "path,label\n", "lists no images"),
        ] {
            let error = read(name, text, ONE).unwrap_err();
            assert!(error.contains(part) && error.contains(name), "{error}");
        }
    }
}
