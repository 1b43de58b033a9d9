//! JSON lines.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader};

use serde_json::{Map, Value};

use super::written::{Component, Guess, Task, text};
use super::{Found, Look, usual};

/// Most rows that are looked at.
const LOOK: usize = 5_000;
/// Names that labels often have.
const LABELS: [&str; 9] =
    ["label", "labels", "class", "target", "category", "sentiment", "stars", "rating", "y"];
/// Names of two texts that belong together.
const PAIRS: [(&str, &str); 6] = [
    ("premise", "hypothesis"),
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("question", "answer"),
    ("question", "sentence"),
    ("text1", "text2"),
];

/// What a field holds.
#[derive(Default)]
struct Field {
    texts: usize,
    bytes: usize,
    words: Vec<usize>,
    numbers: usize,
    fractions: usize,
    others: usize,
    distinct: HashSet<String>,
}

impl Field {
    fn add(&mut self, value: &Value) {
        match value {
            Value::String(text) => {
                self.texts += 1;
                self.bytes += text.len();
                self.words.push(text.split_whitespace().count());
            }
            Value::Number(number) => {
                self.numbers += 1;
                self.fractions += usize::from(number.is_f64());
            }
            Value::Bool(_) => self.numbers += 1,
            _ => self.others += 1,
        }
        if self.distinct.len() <= 200 {
            self.distinct.insert(value.to_string());
        }
    }
}

pub fn guess(look: &Look<'_>) -> Found {
    let file = File::open(look.data).map_err(|error| error.to_string())?;
    let size = file.metadata().map_err(|error| error.to_string())?.len();
    let (mut fields, mut rows, mut bad) = (BTreeMap::<String, Field>::new(), 0, 0);
    let (mut order, mut seen) = (Vec::new(), 0);
    for line in BufReader::new(file).lines().take(LOOK) {
        let line = line.map_err(|error| error.to_string())?;
        seen += line.len() + 1;
        if line.trim().is_empty() {
            continue;
        }
        let Ok(row) = serde_json::from_str::<Map<String, Value>>(&line) else {
            bad += 1;
            continue;
        };
        rows += 1;
        for (name, value) in &row {
            if !fields.contains_key(name) {
                order.push(name.clone());
            }
            fields.entry(name.clone()).or_default().add(value);
        }
    }
    if rows == 0 {
        return Err(format!("no line of the first {LOOK} is a JSON object"));
    }
    let samples = (rows as f64 * (size as f64 / seen.max(1) as f64).max(1.0)) as usize;
    let is_text = |name: &&String| fields[*name].texts == rows;
    // The longest texts, unless the longest field is the label that was asked for.
    let mut texts: Vec<&String> =
        order.iter().filter(is_text).filter(|name| look.target != Some(name.as_str())).collect();
    texts.sort_by_key(|name| std::cmp::Reverse(fields[*name].bytes));
    let Some(mut main) = texts.first().map(|name| name.as_str()) else {
        return Err(format!("no field holds texts; the fields are: {}", order.join(", ")));
    };
    let mut pair = None;
    for (first, second) in PAIRS {
        let has = |name: &str| texts.iter().any(|text| *text == name);
        if has(first) && has(second) && (main == first || main == second) {
            (main, pair) = (first, Some(second));
            break;
        }
    }
    let is_label = |name: &&str| {
        let field = &fields[*name];
        let few = field.distinct.len() > 1 && field.distinct.len() <= (rows / 2).min(100);
        *name != main
            && Some(*name) != pair
            && field.texts + field.numbers == rows
            && (few || field.fractions > 0)
    };
    let labels: Vec<&str> = order.iter().map(String::as_str).filter(is_label).collect();
    let label = match look.target {
        Some(name) if !fields.contains_key(name) => {
            return Err(format!(
                "there is no field `{name}`; the fields are: {}",
                order.join(", ")
            ));
        }
        Some(name) => Some((name, "")),
        None => usual(labels.iter().copied(), &LABELS)
            .map(|name| (name, "guessed by its name"))
            .or_else(|| labels.first().map(|name| (*name, "the field with few different values"))),
    };
    let mut guess = Guess { component: "jsonl", samples, rate: 1e-2, ..Guess::default() };
    let or = |taken: &str| {
        let others: Vec<&str> =
            order.iter().map(String::as_str).filter(|name| *name != taken).take(6).collect();
        if others.is_empty() { String::new() } else { format!("or: {}", others.join(", ")) }
    };
    guess.set("text", &text(main), &or(main));
    if let Some(pair) = pair {
        guess.set("pair", &text(pair), "the second text; leave it out for one text");
    }
    // Nine texts of ten fit, at four tokens for three words.
    let mut words: Vec<usize> = fields[main].words.clone();
    words.sort_unstable();
    let usual_words =
        words.get(words.len() * 9 / 10).copied().unwrap_or(64) * if pair.is_some() { 2 } else { 1 };
    let length = (usual_words * 4 / 3 + 2).next_multiple_of(16).clamp(16, 512);
    let letters = fields[main].bytes as f64 * samples as f64 / rows as f64;
    let vocabulary = match letters {
        ..100_000.0 => 1_000,
        ..2_000_000.0 => 4_000,
        _ => 16_000,
    };
    match label {
        Some((label, why)) => {
            let field = &fields[label];
            let regression = field.fractions > 0;
            let why = [why, &or(label)].join("; ");
            guess.set("label", &text(label), why.trim_start_matches("; "));
            if regression {
                guess.set("task", "\"regression\"", "");
                guess.task = Task::Numbers;
            } else {
                guess.set("task", "\"classification\"", "or \"regression\", if it is a number");
            }
            guess.summary = format!(
                "JSON lines, {samples} rows or so; `{label}`, {}, from `{main}`",
                if regression {
                    "a number".to_owned()
                } else {
                    format!("one of {} classes", field.distinct.len())
                }
            );
            guess.model = Some(
                Component::new("bag-of-embeddings", "fast, blind to the order of words")
                    .set("width", "64", ""),
            );
        }
        None => {
            guess.set("task", "\"language-model\"", "no field looks like a label: set `label`");
            guess.task = Task::Tokens;
            guess.rate = 1e-3;
            guess.samples = (letters / 3.0) as usize / length.max(1);
            guess.summary = format!("JSON lines, {samples} rows or so; the next token of `{main}`");
            guess.model = Some(
                Component::new("gpt", "predicts the next token")
                    .set("layers", "2", "")
                    .set("width", "128", ""),
            );
        }
    }
    guess.set("length", &length.to_string(), "tokens of a sample");
    guess.set(
        "vocabulary",
        &vocabulary.to_string(),
        "of a tokenizer trained here; or: tokenizer = \"tokenizer.json\"",
    );
    if bad > 0 {
        guess.set("on-bad-row", "\"skip\"", &format!("{bad} lines are no JSON objects"));
    }
    Ok(guess)
}
