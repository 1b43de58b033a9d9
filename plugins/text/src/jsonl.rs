//! Data set `jsonl`: texts of a JSON lines file.

use std::{
    collections::{HashMap, VecDeque},
    ops::Range,
    path::{Path, PathBuf},
};

use fluxbay_plugin::{prelude::*, serde};

use crate::{
    lines::Lines,
    rows::{Names, Row},
    tokenizer::{Source, Tokenizer},
    windows::{self, Ids},
};

choice! {
    /// What a sample is.
    pub enum Task {
        /// A text with one of several classes.
        Classification,
        /// A text with a number.
        Regression,
        /// A window of all texts, one after the other; the target is the window one token later.
        LanguageModel,
        /// Two texts, such as a question and its answer: the input is the first, the target the second.
        Pairs,
        /// A prompt and its response for a language model: the target is the input one token later, and
        /// the field `response` is 1 where a target belongs to the response or ends it.
        Response,
    }
}

choice! {
    /// What is done with a row that cannot be read: a line that is no JSON object, or lacks a field.
    pub enum OnBadRow {
        /// The file is refused, with line and reason.
        Error,
        /// The row is left out. The number of such rows is logged and written to
        /// `skipped-rows.json` in the run's folder.
        Skip,
    }
}

config! {
    /// The file and its fields.
    pub struct Config {
        /// File with a JSON object in each line, relative to the run file.
        path: PathBuf,
        /// File with the same fields for validation; without it the loader divides `path`.
        validation_path: Option<PathBuf> = null,
        /// What a sample is.
        task: Task = "classification",
        /// Field with the text.
        text: String = "text",
        /// Field with a second text, such as the hypothesis to a premise, or the response to a prompt.
        pair: Option<String> = null,
        /// Field with the class or number: a text, a number, or a truth value.
        label: String = "label",
        /// Classes in their order; by default those of the file, numbers in their order if all are
        /// numbers, else alphabetically.
        classes: Option<Vec<String>> = null,
        /// A `tokenizer.json`, or the folder that holds it. Without one a byte-level BPE is trained on
        /// the texts of `path` and written to the run's folder.
        tokenizer: Option<PathBuf> = null,
        /// Most tokens of a tokenizer that is trained.
        vocabulary: usize = 8192 => 258..,
        /// Tokens of a sample: longer texts are cut, shorter ones padded.
        length: usize = 128 => 1..,
        /// Whether the tokenizer adds its special tokens, such as `[CLS]`, to a sample.
        special_tokens: bool = true,
        /// Token that a sample is padded with, by default that of the tokenizer.
        padding_token: Option<String> = null,
        /// Token between the texts of a language model, by default that of the tokenizer.
        end_token: Option<String> = null,
        /// What is done with a row that cannot be read.
        on_bad_row: OnBadRow = "error",
    }
}

/// What is kept with the run.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
struct Learned {
    /// Content of the tokenizer's file.
    tokenizer: String,
    classes: Option<Vec<String>>,
}

/// The samples of a file.
enum Samples {
    /// A line each, with its class or the bits of an `f32`.
    Texts(Lines, Vec<u32>),
    Windows(Ids, windows::Part),
}

/// Files of texts that are predicted from, without labels.
struct Inputs {
    /// Files that were not read yet.
    files: VecDeque<PathBuf>,
    /// Whether keys name the file, too.
    several: bool,
    path: PathBuf,
    /// The rows of the present file, and their numbers in it.
    lines: Lines,
    numbers: Vec<u64>,
    /// The rows that were read last.
    piece: Range<usize>,
}

/// The data set `jsonl`.
pub struct Jsonl {
    config: Config,
    source: Source,
    learned: Option<Learned>,
    tokenizer: Option<Tokenizer>,
    /// The tokenizer of texts that a model writes, once it was needed.
    of_texts: Option<Tokenizer>,
    padding: u32,
    parts: Vec<(&'static str, Samples)>,
    /// Files that are predicted from, in place of `parts`.
    inputs: Option<Inputs>,
}

impl Component for Jsonl {
    type Config = Config;

    fn new(mut config: Config, setup: &mut Setup) -> Result<Self> {
        config.path = setup.resolve_path(&config.path)?;
        for path in [&mut config.validation_path, &mut config.tokenizer].into_iter().flatten() {
            *path = setup.resolve_path(&*path)?;
        }
        let mut jsonl = Jsonl::with(config);
        jsonl.source.run_dir = setup.run_dir()?;
        Ok(jsonl)
    }
}

/// A file after the first pass.
struct Scanned {
    path: PathBuf,
    lines: Lines,
    /// Class by the order of appearance, or the bits of an `f32`.
    labels: Vec<u32>,
    /// Classes in that order, with the line of the first row.
    classes: Vec<(String, u64)>,
    skipped: Skipped,
}

/// Rows that are left out.
#[derive(Clone, Debug, Default)]
struct Skipped {
    rows: u64,
    /// Line and reason of the first ones.
    first: Vec<(u64, String)>,
}

impl Jsonl {
    fn with(config: Config) -> Jsonl {
        let source =
            Source { path: config.tokenizer.clone(), vocabulary: config.vocabulary, run_dir: None };
        Jsonl {
            config,
            source,
            learned: None,
            tokenizer: None,
            of_texts: None,
            padding: 0,
            parts: Vec::new(),
            inputs: None,
        }
    }

    fn names(&self, label: bool) -> Names {
        Names {
            text: self.config.text.clone(),
            pair: self.config.pair.clone(),
            label: label.then(|| self.config.label.clone()),
        }
    }

    /// Reads all rows once: their places and labels.
    fn scan(&self, path: &Path) -> Result<Scanned> {
        if self.has_two_texts() && self.config.pair.is_none() {
            bail!("the task has two texts: set `pair` to the field of the second");
        }
        let labelled = matches!(self.config.task, Task::Classification | Task::Regression);
        let names = self.names(labelled);
        let (mut labels, mut classes) = (Vec::new(), Vec::new());
        let mut numbers: HashMap<String, u32> = HashMap::new();
        let mut skipped = Skipped::default();
        let lines = Lines::open(path, |line, number| {
            let label = names.read(line).and_then(|row| self.label(row));
            match label {
                Ok(Label::None) => {}
                Ok(Label::Number(value)) => labels.push(value.to_bits()),
                Ok(Label::Class(class)) => {
                    let next = numbers.len() as u32;
                    labels.push(*numbers.entry(class).or_insert_with_key(|class| {
                        classes.push((class.clone(), number));
                        next
                    }));
                }
                Err(error) if self.config.on_bad_row == OnBadRow::Error => {
                    bail!(
                        "{}:{number}: {error}: correct the row, or set on-bad-row = \"skip\"",
                        path.display()
                    );
                }
                Err(error) => {
                    skipped.rows += 1;
                    if skipped.first.len() < 5 {
                        skipped.first.push((number, error.message().to_owned()));
                    }
                    return Ok(false);
                }
            }
            Ok(true)
        })?;
        if lines.len() == 0 {
            let reason = skipped
                .first
                .first()
                .map(|(line, reason)| format!(" that can be read; line {line}: {reason}"));
            bail!("{}: there are no rows{}", path.display(), reason.unwrap_or_default());
        }
        Ok(Scanned { path: path.to_owned(), lines, labels, classes, skipped })
    }

    fn of_texts(&mut self) -> Result<&Tokenizer> {
        if self.of_texts.is_none() {
            let Some(learned) = &self.learned else { bail!("the run has no tokenizer yet") };
            self.of_texts = Some(Tokenizer::of_whole_texts(learned.tokenizer.clone())?);
        }
        self.of_texts.as_ref().ok_or_else(|| Error::new("the run has no tokenizer yet"))
    }

    /// Makes samples of `length` tokens from now on.
    fn set_tokenizer(&mut self, mut tokenizer: Tokenizer) -> Result<()> {
        let Config { task, length, special_tokens, .. } = self.config;
        if task != Task::LanguageModel {
            self.padding = tokenizer.padding(self.config.padding_token.as_deref())?;
        }
        match task {
            Task::Classification | Task::Regression => {
                tokenizer.truncate(length, self.config.pair.is_some(), special_tokens)?;
            }
            Task::Pairs => tokenizer.truncate(length, false, special_tokens)?,
            Task::Response => tokenizer.keep_whole()?,
            Task::LanguageModel => {}
        }
        self.tokenizer = Some(tokenizer);
        Ok(())
    }

    /// Opens a file to predict from.
    fn input(&self, path: PathBuf, files: VecDeque<PathBuf>, several: bool) -> Result<Inputs> {
        let (names, mut numbers, mut skipped) = (self.names(false), Vec::new(), 0);
        let lines = Lines::open(&path, |line, number| {
            match names.read(line) {
                Ok(_) => numbers.push(number),
                Err(error) if self.config.on_bad_row == OnBadRow::Error => {
                    bail!(
                        "{}:{number}: {error}: correct the row, or set on-bad-row = \"skip\"",
                        path.display()
                    );
                }
                Err(_) => {
                    skipped += 1;
                    return Ok(false);
                }
            }
            Ok(true)
        })?;
        if skipped > 0 {
            log::warn!(
                "{}: {skipped} rows have no prediction: they cannot be read",
                path.display()
            );
        }
        Ok(Inputs { files, several, path, lines, numbers, piece: 0..0 })
    }

    /// Writes texts, one after the other, into the buffers of the inputs.
    fn fill_texts(
        &self,
        lines: &Lines,
        indices: impl Iterator<Item = usize>,
        buffers: &mut Buffers<'_>,
    ) -> Result<()> {
        let length = self.config.length;
        let Some(tokenizer) = &self.tokenizer else { bail!("the data set is not open") };
        let (pairs, samples) = (self.config.pair.is_some(), buffers.samples());
        let mut types = vec![0; if pairs { samples * length } else { 0 }];
        let mut lengths = Vec::with_capacity(samples);
        let mut texts = Texts::new(lines, self.names(false));
        let places = buffers.u32(0)?.chunks_exact_mut(length);
        for (at, (place, index)) in places.zip(indices).enumerate() {
            let row = texts.read(index)?;
            let types = types.get_mut(at * length..(at + 1) * length).filter(|_| pairs);
            let text = (&*row.text, row.pair.as_deref());
            let special = self.config.special_tokens;
            lengths.push(tokenizer.encode(text, special, self.padding, place, types)? as u32);
        }
        buffers.u32(2)?.copy_from_slice(&lengths);
        if pairs {
            buffers.u32(3)?.copy_from_slice(&types);
        }
        Ok(())
    }

    fn has_two_texts(&self) -> bool {
        matches!(self.config.task, Task::Pairs | Task::Response)
    }

    /// Inputs and targets of samples of two texts.
    fn pairs(&self, lines: &Lines, indices: &[u64]) -> Result<Vec<Vec<u32>>> {
        let length = self.config.length;
        let Some(tokenizer) = &self.tokenizer else { bail!("the data set is not open") };
        let mut texts = Texts::new(lines, self.names(false));
        let mut ids = [0, 1].map(|_| vec![0; indices.len() * length]);
        let [first, second] = &mut ids;
        let places = first.chunks_exact_mut(length).zip(second.chunks_exact_mut(length));
        for ((first, second), index) in places.zip(indices) {
            let row = texts.read(*index as usize)?;
            let pair = row.pair.as_deref().unwrap_or_default();
            for (text, place) in [(&*row.text, first), (pair, second)] {
                let special = self.config.special_tokens;
                tokenizer.encode((text, None), special, self.padding, place, None)?;
            }
        }
        Ok(ids.into())
    }

    /// Inputs and targets of prompts with their responses, and which targets belong to a response.
    fn responses(&self, lines: &Lines, indices: &[u64]) -> Result<Vec<Vec<u32>>> {
        let length = self.config.length;
        let Some(tokenizer) = &self.tokenizer else { bail!("the data set is not open") };
        let end = tokenizer.end(self.config.end_token.as_deref())?;
        let mut texts = Texts::new(lines, self.names(false));
        let mut fields = [0, 1, 2].map(|_| Vec::with_capacity(indices.len() * length));
        for index in indices {
            let row = texts.read(*index as usize)?;
            let mut ids = tokenizer.ids(&row.text)?;
            let prompt = ids.len();
            ids.extend(tokenizer.ids(row.pair.as_deref().unwrap_or_default())?);
            ids.push(end);
            for at in 0..length {
                let target = ids.get(at + 1).copied();
                fields[0].push(ids.get(at).copied().unwrap_or(self.padding));
                fields[1].push(target.unwrap_or(self.padding));
                fields[2].push(u32::from(target.is_some() && at + 1 >= prompt));
            }
        }
        Ok(fields.into())
    }

    fn has_classes(&self) -> bool {
        self.learned.as_ref().is_some_and(|learned| learned.classes.is_some())
    }

    fn label(&self, row: Row<'_>) -> Result<Label> {
        let Some(value) = row.label else { return Ok(Label::None) };
        let name = &self.config.label;
        if self.config.task == Task::Regression {
            return match value.as_f64() {
                Some(number) => Ok(Label::Number(number as f32)),
                None => bail!("field `{name}` holds {value}, not a number"),
            };
        }
        if value.is_f64() {
            bail!("field `{name}` holds {value}, which is no class: set task = \"regression\"");
        }
        Ok(Label::Class(match value {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        }))
    }

    /// The numbers of the classes of a file, in the order in which they appear there.
    fn positions(&self, scanned: &Scanned, classes: &[String]) -> Result<Vec<u32>> {
        let position: HashMap<&str, u32> = classes.iter().map(String::as_str).zip(0..).collect();
        let found = scanned.classes.iter().map(|(class, line)| {
            position.get(class.as_str()).copied().ok_or_else(|| {
                Error::new(format!(
                    "{}:{line}: class {class:?} of field `{}` is not one of {classes:?}",
                    scanned.path.display(),
                    self.config.label
                ))
            })
        });
        found.collect()
    }

    fn samples(
        &self,
        name: &'static str,
        scanned: Scanned,
        tokenizer: &Tokenizer,
        classes: Option<&[String]>,
    ) -> Result<Samples> {
        if self.config.task == Task::LanguageModel {
            let end = tokenizer.end(self.config.end_token.as_deref())?;
            let (mut texts, mut at) = (Texts::new(&scanned.lines, self.names(false)), 0);
            let ids = windows::encode(tokenizer, Some(end), || {
                at += 1;
                (at <= scanned.lines.len())
                    .then(|| texts.read(at - 1).map(|row| row.text.into_owned()))
            })?;
            let length = self.config.length;
            let part = windows::Part::new(name, 0, ids.len(), length, length);
            return Ok(Samples::Windows(ids, part.context(scanned.path.display())?));
        }
        let mut labels = Vec::new();
        if let Some(classes) = classes {
            let positions = self.positions(&scanned, classes)?;
            labels.extend(scanned.labels.iter().map(|label| positions[*label as usize]));
        } else {
            labels.extend(&scanned.labels);
        }
        Ok(Samples::Texts(scanned.lines, labels))
    }

    /// Logs the rows that were left out and writes them to the run's folder.
    fn report(&self, files: &[(PathBuf, usize, Skipped)]) -> Result<()> {
        for (path, rows, skipped) in files.iter().filter(|(_, _, skipped)| skipped.rows > 0) {
            let described: Vec<String> = skipped
                .first
                .iter()
                .map(|(line, reason)| format!("line {line}: {reason}"))
                .collect();
            log::warn!(
                "{}: {} of {} rows are skipped because they cannot be read: {}{}",
                path.display(),
                skipped.rows,
                *rows as u64 + skipped.rows,
                described.join("; "),
                if skipped.rows > described.len() as u64 { "; ..." } else { "" }
            );
        }
        let dir = self.source.run_dir.as_ref().filter(|dir| dir.is_dir());
        let (Some(dir), OnBadRow::Skip) = (dir, self.config.on_bad_row) else { return Ok(()) };
        let files: Vec<_> = files
            .iter()
            .map(|(path, rows, skipped)| {
                let first: Vec<_> = skipped
                    .first
                    .iter()
                    .map(|(line, reason)| serde_json::json!({"line": line, "reason": reason}))
                    .collect();
                serde_json::json!({
                    "path": path.display().to_string(),
                    "read": rows,
                    "skipped": skipped.rows,
                    "first": first,
                })
            })
            .collect();
        let file = dir.join("skipped-rows.json");
        std::fs::write(&file, serde_json::json!({ "files": files }).to_string() + "\n")
            .context(file.display())
    }
}

/// The label of a row.
enum Label {
    None,
    Class(String),
    Number(f32),
}

/// Reads rows by their number, with one buffer for all.
struct Texts<'a> {
    lines: &'a Lines,
    names: Names,
    buffer: Vec<u8>,
}

impl<'a> Texts<'a> {
    fn new(lines: &'a Lines, names: Names) -> Texts<'a> {
        Texts { lines, names, buffer: Vec::new() }
    }

    fn read(&mut self, index: usize) -> Result<Row<'_>> {
        self.lines.read(index, &mut self.buffer)?;
        self.names.read(&self.buffer)
    }
}

/// Classes in their order: numbers by value if all are numbers, else alphabetically.
fn sorted(classes: &[(String, u64)]) -> Vec<String> {
    let mut names: Vec<String> = classes.iter().map(|(class, _)| class.clone()).collect();
    names.sort();
    let numbers: Option<Vec<i64>> = names.iter().map(|name| name.parse().ok()).collect();
    if let Some(numbers) = numbers {
        let mut order: Vec<(i64, String)> = numbers.into_iter().zip(names).collect();
        order.sort();
        return order.into_iter().map(|(_, name)| name).collect();
    }
    names
}

impl Dataset for Jsonl {
    learns!(learned);

    fn encode(&mut self, text: &str) -> Result<Vec<u32>> {
        self.of_texts()?.ids(text)
    }

    fn decode(&mut self, ids: &[u32]) -> Result<String> {
        self.of_texts()?.text(ids)
    }

    fn end_token(&mut self) -> Result<Option<u32>> {
        Ok(self.of_texts()?.known_end())
    }

    fn open(&mut self) -> Result<()> {
        let path = self.config.path.clone();
        let mut scanned = vec![("training", self.scan(&path)?)];
        match &self.config.validation_path {
            Some(path) => scanned.push(("validation", self.scan(path)?)),
            None => scanned[0].0 = "all",
        }
        let task = self.config.task;
        let saved = self.learned.take();
        let classes = match (&saved, &self.config.classes) {
            _ if task != Task::Classification => None,
            (Some(saved), _) => saved.classes.clone(),
            (None, Some(given)) => Some(given.clone()),
            (None, None) => Some(sorted(&scanned[0].1.classes)),
        };
        let tokenizer = {
            let mut texts = Texts::new(&scanned[0].1.lines, self.names(false));
            let rows = 0..scanned[0].1.lines.len();
            let all = || {
                rows.flat_map(|row| {
                    let row = texts.read(row).unwrap_or_default();
                    [Some(row.text.into_owned()), row.pair.map(Into::into)].into_iter().flatten()
                })
            };
            self.source.tokenizer(saved.map(|saved| saved.tokenizer), all)?
        };
        let mut files = Vec::new();
        self.parts.clear();
        for (name, mut scanned) in scanned {
            let skipped = std::mem::take(&mut scanned.skipped);
            files.push((scanned.path.clone(), scanned.lines.len(), skipped));
            let samples = self.samples(name, scanned, &tokenizer, classes.as_deref())?;
            self.parts.push((name, samples));
        }
        self.learned = Some(Learned { tokenizer: tokenizer.json.clone(), classes });
        self.set_tokenizer(tokenizer)?;
        self.report(&files)
    }

    fn fields(&self) -> Vec<Field> {
        let vocabulary = self.tokenizer.as_ref().map_or(0, |tokenizer| tokenizer.vocabulary);
        let length = self.config.length;
        if self.config.task == Task::LanguageModel {
            return windows::fields(length, vocabulary);
        }
        let classes = self.learned.as_ref().and_then(|learned| learned.classes.as_ref());
        let ids =
            |name| Field { classes: Some(vocabulary), ..Field::new(name, DType::U32, &[length]) };
        let xs = ids("xs");
        match self.config.task {
            Task::Pairs => return vec![xs, ids("ys")],
            Task::Response => {
                return vec![xs, ids("ys"), Field::new("response", DType::U32, &[length])];
            }
            _ => {}
        }
        let ys = match classes {
            Some(classes) => Field::labels("ys", classes.len()),
            None => Field::new("ys", DType::F32, &[1]),
        };
        let mut fields = vec![xs, ys, Field::new("length", DType::U32, &[])];
        if self.config.pair.is_some() {
            fields.push(Field::new("types", DType::U32, &[length]));
        }
        fields
    }

    fn splits(&self) -> Vec<Split> {
        let samples = |samples: &Samples| match samples {
            Samples::Texts(lines, _) => lines.len(),
            Samples::Windows(_, part) => part.count,
        };
        self.parts.iter().map(|(name, part)| Split::new(name, samples(part))).collect()
    }

    fn open_inputs(&mut self, files: &[PathBuf]) -> Result<()> {
        if !matches!(self.config.task, Task::Classification | Task::Regression) {
            bail!("samples of this task are no texts to predict from");
        }
        let Some(learned) = &self.learned else {
            bail!("the tokenizer is not known: it is kept with a trained run");
        };
        let tokenizer = Tokenizer::from_json(learned.tokenizer.clone())?;
        self.set_tokenizer(tokenizer)?;
        let mut files: VecDeque<PathBuf> = files.iter().cloned().collect();
        let several = files.len() > 1;
        self.inputs = match files.pop_front() {
            Some(path) => Some(self.input(path, files, several)?),
            None => None,
        };
        Ok(())
    }

    fn read_inputs(&mut self, most: usize) -> Result<usize> {
        while let Some(inputs) = &mut self.inputs {
            let (start, rows) = (inputs.piece.end, inputs.lines.len());
            if start < rows {
                inputs.piece = start..rows.min(start + most);
                return Ok(inputs.piece.len());
            }
            let Some(path) = inputs.files.pop_front() else { return Ok(0) };
            let (files, several) = (std::mem::take(&mut inputs.files), inputs.several);
            self.inputs = Some(self.input(path, files, several)?);
        }
        Ok(0)
    }

    fn input_key(&self, index: usize) -> String {
        let Some(inputs) = &self.inputs else { return String::new() };
        match inputs.numbers.get(inputs.piece.start + index) {
            Some(line) if inputs.several => format!("{}:{line}", inputs.path.display()),
            Some(line) => line.to_string(),
            None => String::new(),
        }
    }

    fn class_name(&self, field: usize, class: usize) -> Option<String> {
        let classes = self.learned.as_ref()?.classes.as_ref()?;
        if field == 1 { classes.get(class).cloned() } else { None }
    }

    fn fill(&self, split: usize, indices: &[u64], buffers: &mut Buffers<'_>) -> Result<()> {
        if let Some(inputs) = &self.inputs {
            let rows = indices.iter().map(|index| inputs.piece.start + *index as usize);
            self.fill_texts(&inputs.lines, rows, buffers)?;
            match self.has_classes() {
                true => buffers.u32(1)?.fill(0),
                false => buffers.f32(1)?.fill(0.0),
            }
            return Ok(());
        }
        let (lines, labels) = match &self.parts[split].1 {
            Samples::Windows(ids, part) => {
                return part.fill(ids, self.config.length, indices, buffers);
            }
            Samples::Texts(lines, labels) => (lines, labels),
        };
        let fields = match self.config.task {
            Task::Pairs => self.pairs(lines, indices)?,
            Task::Response => self.responses(lines, indices)?,
            _ => Vec::new(),
        };
        if !fields.is_empty() {
            for (field, values) in fields.iter().enumerate() {
                buffers.u32(field)?.copy_from_slice(values);
            }
            return Ok(());
        }
        self.fill_texts(lines, indices.iter().map(|index| *index as usize), buffers)?;
        if self.has_classes() {
            for (place, index) in buffers.u32(1)?.iter_mut().zip(indices) {
                *place = labels[*index as usize];
            }
        } else {
            for (place, index) in buffers.f32(1)?.iter_mut().zip(indices) {
                *place = f32::from_bits(labels[*index as usize]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REVIEWS: &str = "{\"text\": \"a good film\", \"label\": \"good\"}\n{\"text\": \"a bad film\", \"label\": \"bad\"}\n\n{\"text\": \"\", \"label\": \"bad\"}\n";

    fn jsonl(content: &str, more: &str) -> Result<Jsonl> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows.jsonl");
        std::fs::write(&path, content).unwrap();
        let json = format!(r#"{{"path": {path:?}, "vocabulary": 300{more}}}"#);
        let mut jsonl = Jsonl::with(<Config as fluxbay_plugin::Config>::from_json(&json).unwrap());
        jsonl.open()?;
        Ok(jsonl)
    }

    fn message(content: &str, more: &str) -> String {
        jsonl(content, more).err().expect("it is refused").message().to_owned()
    }

    fn labels(jsonl: &Jsonl) -> &[u32] {
        match &jsonl.parts[0].1 {
            Samples::Texts(_, labels) => labels,
            Samples::Windows(..) => panic!("windows have no labels"),
        }
    }

    #[test]
    fn classes_are_sorted_and_kept() {
        let reviews = jsonl(REVIEWS, "").unwrap();
        assert_eq!(labels(&reviews), [1, 0, 0]);
        assert_eq!(reviews.fields()[1], Field::labels("ys", 2));
        let numbers: String = ["10", "9", "\"9\""]
            .map(|label| format!("{{\"text\": \"a\", \"label\": {label}}}\n"))
            .concat();
        let numbers = jsonl(&numbers, "").unwrap();
        assert_eq!(labels(&numbers), [1, 0, 0]);
        let mut other = Jsonl::with(numbers.config.clone());
        other.restore(1, &reviews.learnt().unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        other.config.path = dir.path().join("other.jsonl");
        std::fs::write(&other.config.path, "{\"text\": \"x\", \"label\": \"good\"}").unwrap();
        other.open().unwrap();
        assert_eq!((labels(&other), other.fields()), (&[1][..], reviews.fields()));
        std::fs::write(&other.config.path, "\n{\"text\": \"x\", \"label\": \"fine\"}").unwrap();
        let error = other.open().unwrap_err();
        assert!(
            error.message().contains("other.jsonl:2: class \"fine\" of field `label`"),
            "{error}"
        );
    }

    #[test]
    fn given_classes_keep_their_order() {
        let reviews = jsonl(REVIEWS, r#", "classes": ["good", "bad"]"#).unwrap();
        assert_eq!(labels(&reviews), [0, 1, 1]);
        assert!(
            message(REVIEWS, r#", "classes": ["good"]"#).contains("rows.jsonl:2: class \"bad\"")
        );
    }

    #[test]
    fn a_number_can_be_the_target() {
        let rows = "{\"text\": \"a\", \"label\": 0.5}\n{\"text\": \"b\", \"label\": 2}\n";
        let numbers = jsonl(rows, r#", "task": "regression""#).unwrap();
        assert_eq!(labels(&numbers), [0.5_f32.to_bits(), 2_f32.to_bits()]);
        assert_eq!(numbers.fields()[1], Field::new("ys", DType::F32, &[1]));
        assert!(
            message(rows, "").contains("rows.jsonl:1: field `label` holds 0.5, which is no class")
        );
    }

    #[test]
    fn bad_rows_are_refused_with_their_line_or_skipped() {
        let rows = format!("{REVIEWS}{{\"text\": 3, \"label\": 1}}\nnothing\n");
        assert!(message(&rows, "").contains("rows.jsonl:5: field `text` holds 3, not a text"));
        let dir = tempfile::tempdir().unwrap();
        let mut skipping = jsonl(REVIEWS, r#", "on-bad-row": "skip""#).unwrap();
        skipping.config.path = dir.path().join("rows.jsonl");
        skipping.source.run_dir = Some(dir.path().to_owned());
        std::fs::write(&skipping.config.path, &rows).unwrap();
        skipping.open().unwrap();
        assert_eq!(skipping.splits(), [Split::new("all", 3)]);
        let report = std::fs::read(dir.path().join("skipped-rows.json")).unwrap();
        let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
        assert_eq!(report["files"][0]["skipped"], 2);
        assert_eq!(report["files"][0]["first"][1]["line"], 6);
        assert!(message("\n", "").contains("there are no rows"));
    }

    #[test]
    fn texts_without_labels_are_predicted_from() {
        let mut reviews = jsonl(REVIEWS, "").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let files = ["one", "two"].map(|name| dir.path().join(name));
        std::fs::write(&files[0], "{\"text\": \"a\"}\n\n{\"text\": \"b\"}\n{\"text\": \"c\"}\n")
            .unwrap();
        std::fs::write(&files[1], "{\"text\": \"d\"}\n").unwrap();
        reviews.open_inputs(&files).unwrap();
        let mut keys = Vec::new();
        loop {
            let count = reviews.read_inputs(2).unwrap();
            if count == 0 {
                break;
            }
            keys.extend((0..count).map(|index| reviews.input_key(index)));
        }
        let places = [(0, 1), (0, 3), (0, 4), (1, 1)];
        assert_eq!(keys, places.map(|(file, line)| format!("{}:{line}", files[file].display())));
        assert_eq!(reviews.class_name(1, 1).as_deref(), Some("good"));
        std::fs::write(&files[1], "{\"body\": \"d\"}\n").unwrap();
        let error = reviews.open_inputs(&files[1..]).unwrap_err();
        assert!(error.message().contains("two:1: there is no field `text`"), "{error}");
    }

    /// The fields of all samples.
    fn filled(data: &Jsonl) -> Vec<Vec<u32>> {
        let Samples::Texts(lines, _) = &data.parts[0].1 else { panic!("these are windows") };
        let fields = match data.config.task {
            Task::Pairs => data.pairs(lines, &[0, 1]).unwrap(),
            _ => data.responses(lines, &[0, 1]).unwrap(),
        };
        assert_eq!(fields.len(), data.fields().len());
        fields
    }

    // No two letters follow each other twice, so that each byte is a token.
    const ANSWERS: &str = "{\"q\": \"ab\", \"a\": \"cd\"}\n{\"q\": \"efgh\", \"a\": \"ijkl\"}\n";

    #[test]
    fn two_texts_are_input_and_target() {
        let more = r#", "task": "pairs", "text": "q", "pair": "a", "length": 3"#;
        let pairs = jsonl(ANSWERS, more).unwrap();
        let [xs, ys] = &filled(&pairs)[..] else { panic!("two fields") };
        let ids = |text: &str| pairs.tokenizer.as_ref().unwrap().ids(text).unwrap();
        assert_eq!((&xs[..2], xs[2], &ys[..2]), (&ids("ab")[..], 0, &ids("cd")[..]));
        assert_eq!((&xs[3..], &ys[3..]), (&ids("efg")[..], &ids("ijk")[..]));
        let more = more.replace(r#", "pair": "a""#, "");
        assert!(message(ANSWERS, &more).contains("set `pair`"));
    }

    #[test]
    fn targets_of_responses_are_marked() {
        let more = r#", "task": "response", "text": "q", "pair": "a", "length": 6"#;
        let answers = jsonl(ANSWERS, more).unwrap();
        let [xs, ys, response] = &filled(&answers)[..] else { panic!("three fields") };
        let ids = |text: &str| answers.tokenizer.as_ref().unwrap().ids(text).unwrap();
        // Padding is 0, the end 1.
        assert_eq!(xs[..6], [&ids("abcd")[..], &[1, 0]].concat());
        assert_eq!(ys[..6], [&ids("bcd")[..], &[1, 0, 0]].concat());
        assert_eq!(response[..6], [0, 1, 1, 1, 0, 0]);
        // A long response is cut.
        assert_eq!(xs[6..], ids("efghij"));
        assert_eq!(response[6..], [0, 0, 0, 1, 1, 1]);
    }

    #[test]
    fn all_texts_become_windows_for_a_language_model() {
        let rows = "{\"text\": \"abcdefgh\"}\n{\"text\": \"ijkl\"}\n";
        let model = jsonl(rows, r#", "task": "language-model", "length": 4"#).unwrap();
        let Samples::Windows(ids, part) = &model.parts[0].1 else { panic!("these are texts") };
        // Each text ends with a token of its own.
        assert_eq!((ids.len(), part.count), (14, 3));
        let mut all = [0; 14];
        ids.copy(0, &mut all);
        assert_eq!((all[8], all[13]), (1, 1));
        assert_eq!(model.fields()[1].shape, [4]);
    }
}
