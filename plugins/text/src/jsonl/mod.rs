//! Data set `jsonl`: texts of a JSON lines file.

mod inputs;
mod scan;
mod two_texts;

use std::path::PathBuf;

use fluxbay_plugin::{prelude::*, serde};
use fluxbay_table::skipped;

use crate::{
    lines::Lines,
    tokenizer::{Source, Tokenizer},
    windows::{self, Ids},
};
use inputs::Inputs;
use scan::{Scanned, Texts, sorted};

choice! {
    /// What a sample is.
    pub enum Task {
        /// A text with one of several classes.
        Classification,
        /// A text with a number.
        Regression,
        /// A piece of text; the target is the token after each.
        LanguageModel,
        /// Two texts, such as a question and its answer: the input is the first, the target the second.
        Pairs,
        /// A prompt and its response for a language model: the target is the input one token later, and
        /// the field `response` is 1 where a target belongs to the response or ends it.
        Response,
    }
}

choice! {
    /// How long a sample is.
    pub enum Padding {
        /// All have `length` tokens. A language model reads windows of all texts, one after the other.
        Length,
        /// As long as its text, at most `length` tokens; the loader pads batches to their longest. A
        /// language model reads a text as a sample.
        Longest,
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
        /// Most tokens of a sample: longer texts are cut.
        length: usize = 128 => 1..,
        /// How long a sample is.
        padding: Padding = "length",
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
    /// A line each, with its class or the bits of an `f32`; without them for a language model.
    Texts(Lines, Vec<u32>),
    Windows(Ids, windows::Part),
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
    /// Token behind each text of a language model.
    end: u32,
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

/// The fields of a text with a label.
const IDS: usize = 0;
const TARGETS: usize = 1;
const LENGTH: usize = 2;
const TYPES: usize = 3;
/// The third field of a prompt and its response.
const RESPONSE: usize = 2;

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
            end: 0,
            parts: Vec::new(),
            inputs: None,
        }
    }

    /// Whether a sample is as long as its text.
    fn is_ragged(&self) -> bool {
        self.config.padding == Padding::Longest
    }

    fn is_language_model(&self) -> bool {
        self.config.task == Task::LanguageModel
    }

    fn of_texts(&mut self) -> Result<&Tokenizer> {
        if self.of_texts.is_none() {
            let Some(learned) = &self.learned else { bail!("the run has no tokenizer yet") };
            self.of_texts = Some(Tokenizer::of_whole_texts(learned.tokenizer.clone())?);
        }
        self.of_texts.as_ref().ok_or_else(|| Error::new("the run has no tokenizer yet"))
    }

    /// Makes samples with this tokenizer from now on.
    fn set_tokenizer(&mut self, mut tokenizer: Tokenizer) -> Result<()> {
        let Config { task, length, special_tokens, .. } = self.config;
        if self.is_ragged() || !self.is_language_model() {
            self.padding = tokenizer.padding(self.config.padding_token.as_deref())?;
        }
        match task {
            Task::Classification | Task::Regression => {
                tokenizer.truncate(length, self.config.pair.is_some(), special_tokens)?;
            }
            Task::Pairs => tokenizer.truncate(length, false, special_tokens)?,
            Task::Response => tokenizer.keep_whole()?,
            Task::LanguageModel => self.end = tokenizer.end(self.config.end_token.as_deref())?,
        }
        if self.is_ragged() {
            // What is behind the end of a sample is the loader's.
            tokenizer.pads_left = false;
        }
        self.tokenizer = Some(tokenizer);
        Ok(())
    }

    /// Writes the inputs of texts, one after the other.
    fn fill_texts(
        &self,
        lines: &Lines,
        indices: impl Iterator<Item = usize>,
        buffers: &mut Buffers<'_>,
        context: &mut FillContext<'_>,
    ) -> Result<()> {
        let (length, pairs) = (self.config.length, self.config.pair.is_some());
        let wants = |field: usize| buffers.wants(field);
        let inputs = [IDS, LENGTH, TYPES].into_iter().take(if pairs { 3 } else { 2 });
        if !context.wants_lengths() && !inputs.into_iter().any(wants) {
            return Ok(());
        }
        let Some(tokenizer) = &self.tokenizer else { bail!("the data set is not open") };
        let mut texts = Texts::new(lines, self.config.names(false));
        let (mut ids, mut types) = (vec![0; length], vec![0; if pairs { length } else { 0 }]);
        for (at, index) in indices.enumerate() {
            let row = texts.read(index)?;
            let text = (&*row.text, row.pair.as_deref());
            let special = self.config.special_tokens;
            let kinds = pairs.then_some(&mut types[..]);
            let count = tokenizer.encode(text, special, self.padding, &mut ids, kinds)?;
            if self.is_ragged() {
                context.set_lengths(at, IDS, &[count])?;
            }
            let place = at * length..(at + 1) * length;
            if buffers.wants(IDS) {
                buffers.u32(IDS)?[place.clone()].copy_from_slice(&ids);
            }
            if buffers.wants(LENGTH) {
                buffers.u32(LENGTH)?[at] = count as u32;
            }
            if pairs {
                if self.is_ragged() {
                    context.set_lengths(at, TYPES, &[count])?;
                }
                if buffers.wants(TYPES) {
                    buffers.u32(TYPES)?[place].copy_from_slice(&types);
                }
            }
        }
        Ok(())
    }

    /// Writes texts for a language model: ids and the id after each.
    fn fill_whole(
        &self,
        lines: &Lines,
        indices: &[u64],
        buffers: &mut Buffers<'_>,
        context: &mut FillContext<'_>,
    ) -> Result<()> {
        let Some(tokenizer) = &self.tokenizer else { bail!("the data set is not open") };
        let length = self.config.length;
        let mut texts = Texts::new(lines, self.config.names(false));
        for (at, index) in indices.iter().enumerate() {
            let mut ids = tokenizer.ids(&texts.read(*index as usize)?.text)?;
            ids.push(self.end);
            ids.truncate(length + 1);
            let count = ids.len() - 1;
            for (field, ids) in [(IDS, &ids[..count]), (TARGETS, &ids[1..])] {
                context.set_lengths(at, field, &[count])?;
                if buffers.wants(field) {
                    buffers.u32(field)?[at * length..][..count].copy_from_slice(ids);
                }
            }
        }
        Ok(())
    }

    fn has_classes(&self) -> bool {
        self.learned.as_ref().is_some_and(|learned| learned.classes.is_some())
    }

    fn samples(
        &self,
        name: &'static str,
        scanned: Scanned,
        tokenizer: &Tokenizer,
        classes: Option<&[String]>,
    ) -> Result<Samples> {
        if self.is_language_model() && !self.is_ragged() {
            let end = tokenizer.end(self.config.end_token.as_deref())?;
            let (mut texts, mut at) = (Texts::new(&scanned.lines, self.config.names(false)), 0);
            let ids = windows::encode(tokenizer, Some(end), || {
                at += 1;
                (at <= scanned.lines.len())
                    .then(|| texts.read(at - 1).map(|row| row.text.into_owned()))
            })?;
            let length = self.config.length;
            let part = windows::Part::new(name, 0, ids.len(), length, length);
            return Ok(Samples::Windows(ids, part.context(scanned.path.display())?));
        }
        let labels = match classes {
            Some(classes) => {
                let positions = scanned.positions(classes, &self.config.label)?;
                scanned.labels.iter().map(|label| positions[*label as usize]).collect()
            }
            None => scanned.labels,
        };
        Ok(Samples::Texts(scanned.lines, labels))
    }

    /// Writes the targets of samples: of each the class or the bits of an `f32`.
    fn fill_targets(
        &self,
        labels: impl Iterator<Item = u32>,
        buffers: &mut Buffers<'_>,
    ) -> Result<()> {
        if self.has_classes() {
            buffers.u32(TARGETS)?.iter_mut().zip(labels).for_each(|(place, label)| *place = label);
        } else {
            let places = buffers.f32(TARGETS)?.iter_mut();
            places.zip(labels).for_each(|(place, label)| *place = f32::from_bits(label));
        }
        Ok(())
    }
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
        let mut scanned = vec![("training", self.config.scan(&path)?)];
        match &self.config.validation_path {
            Some(path) => scanned.push(("validation", self.config.scan(path)?)),
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
            let mut texts = Texts::new(&scanned[0].1.lines, self.config.names(false));
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
        match self.config.on_bad_row {
            OnBadRow::Error => Ok(()),
            OnBadRow::Skip => skipped::report(self.source.run_dir.as_deref(), &files),
        }
    }

    fn fields(&self) -> Vec<Field> {
        let vocabulary = self.tokenizer.as_ref().map_or(0, |tokenizer| tokenizer.vocabulary);
        let length = self.config.length;
        if self.is_language_model() {
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

    fn ragged(&self, field: usize) -> Option<Ragged> {
        match field {
            _ if !self.is_ragged() => None,
            IDS => Some(Ragged::first(f64::from(self.padding))),
            TARGETS if !self.config.has_labels() => Some(Ragged::first(f64::from(self.padding))),
            RESPONSE if self.config.task == Task::Response => Some(Ragged::first(0.0)),
            TYPES if self.config.has_labels() => Some(Ragged::first(0.0)),
            _ => None,
        }
    }

    fn splits(&self) -> Vec<Split> {
        let samples = |samples: &Samples| match samples {
            Samples::Texts(lines, _) => lines.len(),
            Samples::Windows(_, part) => part.count,
        };
        self.parts.iter().map(|(name, part)| Split::new(name, samples(part))).collect()
    }

    fn open_inputs(&mut self, files: &[PathBuf]) -> Result<()> {
        if !self.config.has_labels() {
            bail!("samples of this task are no texts to predict from");
        }
        let Some(learned) = &self.learned else {
            bail!("the tokenizer is not known: it is kept with a trained run");
        };
        let tokenizer = Tokenizer::from_json(learned.tokenizer.clone())?;
        self.set_tokenizer(tokenizer)?;
        self.inputs = Inputs::open(&self.config, files)?;
        Ok(())
    }

    fn read_inputs(&mut self, most: usize) -> Result<usize> {
        match &mut self.inputs {
            Some(inputs) => inputs.advance(&self.config, most),
            None => Ok(0),
        }
    }

    fn input_key(&self, index: usize) -> String {
        self.inputs.as_ref().map(|inputs| inputs.key(index)).unwrap_or_default()
    }

    fn class_name(&self, field: usize, class: usize) -> Option<String> {
        let classes = self.learned.as_ref()?.classes.as_ref()?;
        if field == TARGETS { classes.get(class).cloned() } else { None }
    }

    fn fill(&self, _: usize, _: &[u64], _: &mut Buffers<'_>) -> Result<()> {
        // Not called where `plugin!` has `context: true`.
        Err(Error::new("samples are written by `fill_with`"))
    }

    fn fill_with(
        &self,
        context: &mut FillContext<'_>,
        indices: &[u64],
        buffers: &mut Buffers<'_>,
    ) -> Result<()> {
        if let Some(inputs) = &self.inputs {
            let rows = indices.iter().map(|index| inputs.piece.start + *index as usize);
            self.fill_texts(&inputs.lines, rows, buffers, context)?;
            return self.fill_targets(indices.iter().map(|_| 0), buffers);
        }
        match &self.parts[context.split].1 {
            Samples::Windows(ids, part) => part.fill(ids, self.config.length, indices, buffers),
            Samples::Texts(lines, _) if self.is_language_model() => {
                self.fill_whole(lines, indices, buffers, context)
            }
            Samples::Texts(lines, _) if self.config.has_two_texts() => {
                if !context.wants_lengths() && (0..3).all(|field| !buffers.wants(field)) {
                    return Ok(());
                }
                for (number, field) in self.two_texts(lines, indices)?.into_iter().enumerate() {
                    if self.is_ragged() {
                        for (at, length) in field.lengths.iter().enumerate() {
                            context.set_lengths(at, number, &[*length])?;
                        }
                    }
                    if buffers.wants(number) {
                        buffers.u32(number)?.copy_from_slice(&field.elements);
                    }
                }
                Ok(())
            }
            Samples::Texts(lines, labels) => {
                let rows = indices.iter().map(|index| *index as usize);
                self.fill_texts(lines, rows, buffers, context)?;
                self.fill_targets(indices.iter().map(|index| labels[*index as usize]), buffers)
            }
        }
    }
}

#[cfg(test)]
mod tests;
