//! Reads a JSON lines file twice: the names of its columns, then its rows.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use fluxbay_plugin::{prelude::*, serde_json::Value};
use fluxbay_table::{Element, Kind, Length, ListForm, Raw, Reader, Rows};

use super::rows::{Objects, each, items};
use crate::source::Source;

/// Opens a file.
pub type Open<'a> = &'a dyn Fn(&Path) -> Result<Source>;

/// A file whose columns are known.
pub struct File<'a> {
    path: PathBuf,
    open: Open<'a>,
    names: Vec<String>,
    /// What the first value of each column says; `None` for numbers, which may be classes.
    kinds: Vec<Option<Kind>>,
}

impl<'a> File<'a> {
    /// Reads all rows for the names of the columns, in the order in which they appear.
    ///
    /// # Errors
    /// The file cannot be read, or no line is an object.
    pub fn open(path: &Path, open: Open<'a>) -> Result<File<'a>> {
        let mut objects = Objects::new(open(path)?);
        let (mut names, mut kinds) = (Vec::<String>::new(), Vec::<Option<Option<Kind>>>::new());
        let mut places = HashMap::new();
        let mut first = None;
        while let Some(object) = objects.next().context(path.display())? {
            let object = match object {
                Ok(object) => object,
                Err(reason) => {
                    first.get_or_insert((objects.line, reason));
                    continue;
                }
            };
            each(&object, "", &mut |name, value| {
                let at = places.get(name).copied().unwrap_or_else(|| {
                    places.insert(name.to_owned(), names.len());
                    names.push(name.to_owned());
                    kinds.push(None);
                    names.len() - 1
                });
                if kinds[at].is_none() {
                    kinds[at] = kind(value);
                }
            });
        }
        if names.is_empty() {
            let reason = first.map(|(line, reason)| format!("; line {line}: {reason}"));
            bail!("{}: there are no rows{}", path.display(), reason.unwrap_or_default());
        }
        let kinds = kinds.into_iter().map(Option::flatten).collect();
        Ok(File { path: path.to_owned(), open, names, kinds })
    }
}

/// What a column holds that begins with this value; `None` if the value does not say.
fn kind(value: &Value) -> Option<Option<Kind>> {
    match value {
        Value::Null | Value::Object(_) => None,
        Value::Number(_) => Some(None),
        Value::Bool(_) | Value::String(_) => Some(Some(Kind::Words)),
        Value::Array(_) => {
            let (of, length) = (Element::Numbers, Length::Any(usize::MAX));
            Some(Some(Kind::Lists(ListForm { of, length, vocabulary: None })))
        }
    }
}

impl Reader for File<'_> {
    fn names(&self) -> &[String] {
        &self.names
    }

    fn kind(&self, column: usize) -> Option<Kind> {
        self.kinds[column].clone()
    }

    fn by_name(&self) -> bool {
        true
    }

    fn read(self: Box<Self>, rows: &mut Rows<'_>) -> Result<()> {
        let names: Vec<&str> = rows.positions().iter().map(|at| &*self.names[*at]).collect();
        let bytes: Vec<bool> = (0..names.len()).map(|at| rows.wants_bytes(at)).collect();
        let mut objects = Objects::new((self.open)(&self.path)?);
        while let Some(object) = objects.next().context(self.path.display())? {
            let object = match object {
                Ok(object) => object,
                Err(reason) => {
                    rows.bad(objects.line, &reason)?;
                    continue;
                }
            };
            match items(&object, names.iter().copied()) {
                Ok(items) => {
                    let values: Vec<Raw<'_>> =
                        items.iter().zip(&bytes).map(|(item, bytes)| item.raw(*bytes)).collect();
                    rows.push(objects.line, &values)?;
                }
                Err(reason) => rows.bad(objects.line, &reason)?,
            }
        }
        Ok(())
    }
}
