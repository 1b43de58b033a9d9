//! Which images there are, and their labels: a folder per class, or a CSV or JSONL file.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use fluxbay_plugin::{prelude::*, serde_json::Value};

/// Endings of files that are taken for images in a folder.
const ENDINGS: [&str; 9] = ["jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff", "jfif"];

/// One image.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Path within the folder, with `/` between its parts.
    pub key: String,
    /// Its labels.
    pub labels: Vec<String>,
}

/// The images of a folder and its subfolders, sorted by path; the label of each is the name of the
/// folder's subfolder that it lies in.
///
/// # Errors
/// If a folder cannot be read, or there are no images.
pub fn of_folder(folder: &Path) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut beside = 0;
    for (name, path) in sorted(folder)? {
        if !path.is_dir() {
            beside += usize::from(is_image(&path));
            continue;
        }
        let mut keys = Vec::new();
        walk(&path, &name, &mut keys)?;
        entries.extend(keys.into_iter().map(|key| Entry { key, labels: vec![name.clone()] }));
    }
    if entries.is_empty() && beside > 0 {
        bail!(
            "{}: it has {beside} images, but no folder of images for each class: make one folder per \
             class, or name a file of labels with `labels`",
            folder.display()
        );
    }
    if entries.is_empty() {
        bail!(
            "{}: it has no images in folders; files that end in {} are taken for images",
            folder.display(),
            ENDINGS.join(", ")
        );
    }
    if beside > 0 {
        log::warn!(
            "{}: {beside} images lie outside of the folders of classes and are not used",
            folder.display()
        );
    }
    Ok(entries)
}

/// The images of a folder and its subfolders, sorted by path.
///
/// # Errors
/// If a folder cannot be read, or there are no images.
pub fn in_folder(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut keys = Vec::new();
    walk(folder, ".", &mut keys)?;
    if keys.is_empty() {
        bail!("{}: it has no images", folder.display());
    }
    Ok(keys.iter().map(|key| folder.join(key.trim_start_matches("./"))).collect())
}

/// Names and paths in a folder, sorted by name; hidden ones are left out.
fn sorted(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let read = || -> Result<Vec<(String, PathBuf)>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                bail!("the name of {} is not UTF-8: rename it", path.display());
            };
            if !name.starts_with('.') {
                all.push((name.to_owned(), path));
            }
        }
        all.sort();
        Ok(all)
    };
    read().context(folder.display())
}

fn walk(folder: &Path, prefix: &str, keys: &mut Vec<String>) -> Result<()> {
    for (name, path) in sorted(folder)? {
        let key = format!("{prefix}/{name}");
        // A link to a folder could lead in a circle.
        if path.is_dir() && !path.is_symlink() {
            walk(&path, &key, keys)?;
        } else if is_image(&path) {
            keys.push(key);
        }
    }
    Ok(())
}

fn is_image(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known))
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
    fn a_folder_per_class_is_listed_in_the_order_of_paths() {
        let dir = tempfile::tempdir().unwrap();
        for name in
            ["dog/b.JPG", "cat/x/1.png", "cat/a.jpeg", "cat/.hidden.png", "cat/notes.txt", "c.gif"]
        {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let expected = [
            entry("cat/a.jpeg", &["cat"]),
            entry("cat/x/1.png", &["cat"]),
            entry("dog/b.JPG", &["dog"]),
        ];
        assert_eq!(of_folder(dir.path()).unwrap(), expected);
        let error = of_folder(&dir.path().join("cat/x")).unwrap_err();
        assert!(error.message().contains("1 images, but no folder"), "{error}");
        let error = of_folder(&dir.path().join("gone")).unwrap_err();
        assert!(error.message().contains("gone"), "{error}");
    }

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
