//! Tables: `.csv` and the like.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;

use super::written::{Component, Guess, Task, list, text};
use super::{Found, Look, usual};

/// Most bytes that are looked at.
const LOOK: u64 = 8 << 20;
/// Different values of a column that are counted.
const DISTINCT: usize = 1000;
/// Words that mean that a value is missing, as the data set has them by default.
const MISSING: [&str; 12] =
    ["", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "-nan", "NULL", "null", "?"];
/// Names that columns to predict often have.
const TARGETS: [&str; 17] = [
    "target",
    "label",
    "class",
    "y",
    "species",
    "outcome",
    "diagnosis",
    "survived",
    "quality",
    "category",
    "variety",
    "churn",
    "default",
    "income",
    "price",
    "medv",
    "output",
];

/// What a column holds, as far as it was looked at.
#[derive(Default)]
struct Column {
    name: String,
    missing: usize,
    numbers: usize,
    /// Numbers with a comma before the decimals.
    commas: usize,
    fractions: usize,
    words: usize,
    distinct: HashMap<String, usize>,
}

impl Column {
    fn add(&mut self, value: &str) {
        let value = value.trim();
        if MISSING.contains(&value) {
            self.missing += 1;
            return;
        }
        if self.distinct.len() < DISTINCT {
            *self.distinct.entry(value.to_owned()).or_default() += 1;
        }
        let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
        if let Some(number) = number(value) {
            self.numbers += 1;
            self.fractions += usize::from(number.fract() != 0.0);
        } else if number(&value.replacen(',', ".", 1)).is_some() {
            self.commas += 1;
            self.fractions += 1;
        } else {
            self.words += 1;
        }
    }

    fn values(&self) -> usize {
        self.numbers + self.commas + self.words
    }

    fn is_number(&self) -> bool {
        self.words == 0 && self.values() > 0
    }

    /// Why it is no use for predicting, if it is not.
    fn useless(&self) -> Option<String> {
        let (distinct, values) = (self.distinct.len(), self.values());
        let name = self.name.to_lowercase();
        if values == 0 {
            return Some("empty".into());
        }
        if self.is_number() {
            let numbered = distinct == values.min(DISTINCT) && self.fractions == 0;
            let called = ["id", "index", "", "unnamed: 0", "row", "rowid", "row_id", "rownames"]
                .contains(&name.as_str())
                || name.ends_with("_id")
                || name.ends_with("id") && self.name.ends_with("Id");
            return (numbered && called).then(|| "numbers the rows".into());
        }
        let many = distinct > 50 && distinct * 20 > values;
        many.then(|| {
            format!(
                "{distinct}{} different words",
                if distinct == DISTINCT { " or more" } else { "" }
            )
        })
    }
}

/// The delimiter that most rows have equally often.
fn delimiter(head: &[u8]) -> u8 {
    let lines: Vec<&[u8]> =
        head.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).take(20).collect();
    let count = |delimiter: u8| {
        let counts: Vec<usize> = lines
            .iter()
            .map(|line| line.iter().filter(|byte| **byte == delimiter).count())
            .collect();
        let first = counts.first().copied().unwrap_or(0);
        (counts.iter().filter(|count| **count == first).count() * usize::from(first > 0), first)
    };
    // Of equal ones the comma.
    [b'|', b'\t', b';', b','].into_iter().max_by_key(|delimiter| count(*delimiter)).unwrap_or(b',')
}

pub fn guess(look: &Look<'_>) -> Found {
    let mut bytes = Vec::new();
    let file = File::open(look.data).map_err(|error| error.to_string())?;
    let size = file.metadata().map_err(|error| error.to_string())?.len();
    file.take(LOOK).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if size > LOOK {
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
        bytes.truncate(end);
    }
    let content = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    if content.starts_with(b"\xff\xfe") || content.starts_with(b"\xfe\xff") {
        return Err("the text is encoded in UTF-16: convert it to UTF-8".into());
    }
    let delimiter = delimiter(&content[..content.len().min(1 << 16)]);
    let rows = || {
        csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .has_headers(false)
            .flexible(true)
            .from_reader(content)
            .into_byte_records()
            .map_while(Result::ok)
            .map(|row| -> Vec<String> {
                row.iter().map(|value| String::from_utf8_lossy(value).trim().to_owned()).collect()
            })
    };
    let Some(first) = rows().next() else { return Err("the file has no rows".into()) };
    // A header has no numbers, and no two equal names.
    let is_number = |value: &String| value.parse::<f64>().is_ok();
    let mut names = first.clone();
    names.sort();
    names.dedup();
    let header = !first.iter().any(is_number) && names.len() == first.len();
    let mut columns: Vec<Column> = (0..first.len())
        .map(|index| Column {
            name: if header { first[index].clone() } else { index.to_string() },
            ..Column::default()
        })
        .collect();
    let (mut count, mut bad) = (0, 0);
    for row in rows().skip(usize::from(header)) {
        if row.len() != columns.len() {
            bad += 1;
            continue;
        }
        count += 1;
        columns.iter_mut().zip(&row).for_each(|(column, value)| column.add(value));
    }
    if count == 0 || columns.len() < 2 {
        return Err(format!(
            "{count} rows of {} columns were found: a table has at least two columns and one row",
            columns.len()
        ));
    }
    if size > LOOK {
        count = (count as f64 * size as f64 / bytes.len() as f64) as usize;
    }
    let column_names = || columns.iter().map(|column| column.name.as_str());
    let (target, why) = match look.target {
        Some(name) => (name, "".to_owned()),
        None => match usual(column_names(), &TARGETS) {
            Some(name) => (name, "guessed by its name".to_owned()),
            None => (columns[columns.len() - 1].name.as_str(), "the last column".to_owned()),
        },
    };
    let Some(target) = columns.iter().find(|column| column.name == target) else {
        let names: Vec<&str> = column_names().collect();
        return Err(format!(
            "there is no column `{target}`; the columns are: {}",
            names.join(", ")
        ));
    };
    let decimal_comma = columns.iter().any(|column| column.commas > 0 && column.is_number());
    let classes = target.distinct.len();
    // As the data set decides.
    let regression = target.is_number() && (target.fractions > 0 || classes > 20);
    let mut guess = Guess {
        component: "csv",
        samples: count,
        task: if regression { Task::Numbers } else { Task::Classes },
        rate: if count < 20_000 { 1e-2 } else { 1e-3 },
        ..Guess::default()
    };
    guess.summary = format!(
        "a table of {count}{} rows and {} columns; {} from the others",
        if size > LOOK { " or so" } else { "" },
        columns.len(),
        if regression {
            format!("`{}`, a number,", target.name)
        } else {
            format!("`{}`, one of {classes} classes,", target.name)
        }
    );
    let others: Vec<&str> = column_names().filter(|name| *name != target.name).take(6).collect();
    let why = [why, format!("or: {}", others.join(", "))].join("; ");
    guess.set("target", &text(&target.name), why.trim_start_matches("; "));
    if regression {
        guess.set("task", "\"regression\"", "or \"classification\", if each value is a class");
        guess.set("standardize-target", "true", "errors are in standard deviations of the target");
    } else {
        guess.set("task", "\"classification\"", "or \"regression\", if it is a number");
    }
    let useless: Vec<(&Column, String)> = columns
        .iter()
        .filter(|column| column.name != target.name)
        .filter_map(|column| column.useless().map(|why| (column, why)))
        .collect();
    if !useless.is_empty() {
        let reasons: Vec<String> =
            useless.iter().map(|(column, why)| format!("{}: {why}", column.name)).collect();
        let names = useless.iter().map(|(column, _)| column.name.as_str());
        guess.set("ignore", &list(names), &reasons.join("; "));
    }
    let used = |column: &&Column| !useless.iter().any(|(other, _)| other.name == column.name);
    let missing = columns.iter().filter(used).filter(|column| column.missing > 0).count();
    if missing > 0 {
        let comment = format!("{missing} columns lack values; or: \"drop\" leaves out such rows");
        guess.set("missing", "\"fill\"", &comment);
    }
    if !header {
        guess.set("header", "false", "the first row holds values");
    }
    if delimiter != b',' {
        guess.set("delimiter", &text(&char::from(delimiter).to_string()), "");
    }
    if decimal_comma {
        guess.set("decimal", "\",\"", "");
    }
    if bad > 0 {
        let comment = format!("{bad} rows have another number of values");
        guess.set("on-bad-row", "\"skip\"", &comment);
    }
    let hidden = if count < 5_000 { "[64]" } else { "[256, 128]" };
    guess.model = Some(Component::new("mlp", "the model for tables").set(
        "hidden",
        hidden,
        "width of each layer",
    ));
    Ok(guess)
}
