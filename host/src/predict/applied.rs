//! A model with its parameters, ready to be applied.

use std::{path::PathBuf, rc::Rc};

use candle_core::{DType, Tensor};
use fluxbay_plugin::steps::{RawInput, ValueStep};

use super::point::Point;
use super::stream::Stream;
use crate::breadcrumb::Activity;
use crate::bundle::Source;
use crate::calls::{Call, CallResult};
use crate::learner::{
    Instance, Stop,
    ports::{Batches, Data, DataField, SplitSize},
};
use crate::library::{Catalog, escape};
use crate::loader::{DataSummary, PluginSamples};
use crate::record::used_plugins;
use crate::run_file::{Colours, Diagnostics, RunDescription, render};
use crate::session::{Composed, DataState, SavedData, Session, Surroundings, sizes_from};

/// Why a model cannot be applied.
#[derive(Debug)]
pub enum PredictError {
    /// Problems of the run, each with its place.
    Problems(Diagnostics),
    /// What happened, why, and what to do.
    Text(String),
}

impl std::fmt::Display for PredictError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PredictError::Problems(problems) => {
                f.write_str(render(problems, Colours::Never).trim_end())
            }
            PredictError::Text(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for PredictError {}

impl From<String> for PredictError {
    fn from(text: String) -> PredictError {
        PredictError::Text(text)
    }
}

impl From<Diagnostics> for PredictError {
    fn from(problems: Diagnostics) -> PredictError {
        PredictError::Problems(problems)
    }
}

/// What is done with the data set of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataUse {
    /// It is not created: inputs come as tensors.
    None,
    /// It reads files to predict from.
    Files,
    /// It turns texts into token ids and back.
    Texts,
    /// It is opened with the files of the run.
    Run,
}

/// The form of the data that a model was trained on.
struct Form(Vec<DataField>);

impl Data for Form {
    fn fields(&self) -> &[DataField] {
        &self.0
    }
    fn split(&self, _: &str) -> Option<SplitSize> {
        None
    }
    fn epoch(&self, split: &str, _: u64) -> Result<Box<dyn Batches>, String> {
        Err(format!("a model that is applied reads no split, so there is no `{split}`"))
    }
}

/// A model of a run with its parameters. It belongs to the thread that made it.
pub struct Applied {
    session: Session,
    /// The data set, unless inputs come as tensors.
    data: Option<Rc<Instance>>,
    model: usize,
    fields: Vec<DataField>,
    trained_on: DataSummary,
    class_names: Vec<String>,
}

impl std::fmt::Debug for Applied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Applied").field("session", &self.session).finish_non_exhaustive()
    }
}

impl Applied {
    /// Builds the models of a run and gives them the parameters of `source`. `run` holds the models and,
    /// unless `data` is [`DataUse::None`], the data set; see
    /// [`Draft::keep_models`](crate::run_file::Draft::keep_models). `model` names the model; it may be
    /// empty if the run has one.
    ///
    /// # Errors
    /// Problems of the run or its plugins; parameters that do not fit; a data set that reads no files
    /// to predict from.
    pub fn open(
        run: RunDescription,
        catalog: Rc<Catalog>,
        source: &Source,
        model: &str,
        data: DataUse,
    ) -> Result<Applied, PredictError> {
        let Some(saved) = &source.data else {
            return Err(PredictError::Text(format!(
                "{} does not say what the data of the model looked like, as runs of older releases: \
                 resume the run with this release, or train it again",
                escape::path(&source.folder)
            )));
        };
        let model = model_number(&run, model)?;
        let fields = fields_of(&saved.summary)?;
        let surroundings = Surroundings::default();
        let mut run = run;
        sizes_from(&mut run, &source.folder);
        let composed = Composed::new(catalog, run, surroundings)?;
        let spec = composed.run().data.clone();
        let instance = |composed: &Composed| {
            let id = spec.as_ref().map(|spec| spec.id.as_str())?;
            composed.instances().iter().find(|one| one.id == id).cloned()
        };
        let instance = if data == DataUse::None { None } else { instance(&composed) };
        if let Some(instance) = &instance
            && instance.component != saved.component
        {
            return Err(PredictError::Text(format!(
                "the model was trained on `{}`, and what that learnt is not for `{}`",
                saved.component, instance.component
            )));
        }
        let session = match data {
            DataUse::Run => composed.open_with(&DataState::Saved(saved.clone()))?,
            DataUse::None | DataUse::Files | DataUse::Texts => {
                composed.open_for(Rc::new(Form(fields.clone())))?
            }
        };
        warn_of_plugins(&session, &source.plugins);
        session.set_model_tensors(&source.tensors).map_err(|error| {
            format!("{} does not fit the model of the run: {error}", escape::path(&source.model))
        })?;
        let mut applied = Applied {
            session,
            data: instance,
            model,
            fields,
            trained_on: saved.summary.clone(),
            class_names: Vec::new(),
        };
        match data {
            DataUse::None => {}
            DataUse::Files => applied.prepare_files(saved)?,
            DataUse::Texts => applied.prepare_texts(saved)?,
            DataUse::Run => applied.class_names = applied.named_classes()?,
        }
        Ok(applied)
    }

    /// Prepares the data set for files.
    fn prepare_files(&mut self, saved: &SavedData) -> Result<(), PredictError> {
        let Some(instance) = &self.data else {
            return Err(PredictError::Text(
                "the run has no data set, so it cannot read files: apply its model from a program"
                    .to_owned(),
            ));
        };
        let side = instance.plugin_side();
        if !side.reads_inputs() {
            return Err(PredictError::Text(format!(
                "the data set `{}` reads no files to predict from (`predicts: true` in its `plugin!`); \
                 without an INPUT, predictions are for the run's own data, which \
                 `--set data.KEY=VALUE` changes",
                instance.component
            )));
        }
        self.restore(saved)?;
        self.class_names = self.named_classes()?;
        Ok(())
    }

    /// Prepares the data set for texts.
    fn prepare_texts(&mut self, saved: &SavedData) -> Result<(), PredictError> {
        match &self.data {
            Some(instance) if instance.plugin_side().has_texts() => self.restore(saved),
            Some(instance) => Err(PredictError::Text(format!(
                "the data set `{}` does not turn texts into token ids (`texts: true` in its \
                 `plugin!`), as `text`, `tokens` and `jsonl` do",
                instance.component
            ))),
            None => Err(PredictError::Text(
                "the run has no data set, so its model cannot read or write texts".to_owned(),
            )),
        }
    }

    /// Restores what the data set learnt.
    fn restore(&self, saved: &SavedData) -> Result<(), PredictError> {
        if let (Some(instance), Some(learnt)) = (&self.data, &saved.learnt) {
            let side = instance.plugin_side();
            if learnt.version > side.state_version() {
                return Err(PredictError::Text(format!(
                    "what the data set `{}` learnt has version {}, but the plugin reads up to version \
                     {}: use the newer plugin that wrote it",
                    instance.component,
                    learnt.version,
                    side.state_version()
                )));
            }
            instance
                .call(self.session.runtime(), Activity::OpeningData, |call| {
                    call.dataset_restore(learnt.version, &learnt.bytes)
                })
                .map_err(|stop| stop.to_string())?;
        }
        Ok(())
    }

    /// The token ids of a text, for a model that was opened with [`DataUse::Texts`].
    ///
    /// # Errors
    /// The text has characters that the data set does not know.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, PredictError> {
        self.ask_data(|call| call.dataset_encode(text))
    }

    /// The text of token ids; as [`Applied::encode`].
    ///
    /// # Errors
    /// An id that the data set does not know.
    pub fn decode(&self, ids: &[u32]) -> Result<String, PredictError> {
        self.ask_data(|call| call.dataset_decode(ids))
    }

    /// The token that ends a text, if there is one; as [`Applied::encode`].
    ///
    /// # Errors
    /// What the data set refuses.
    pub fn end_token(&self) -> Result<Option<u32>, PredictError> {
        self.ask_data(|call| call.dataset_end_token())
    }

    fn ask_data<T>(
        &self,
        question: impl FnOnce(Call<'_>) -> CallResult<T>,
    ) -> Result<T, PredictError> {
        let Some(instance) = &self.data else {
            return Err(PredictError::Text("the model was opened without its data set".to_owned()));
        };
        instance
            .call(self.session.runtime(), Activity::OpeningData, question)
            .map_err(|stop| PredictError::Text(stop.to_string()))
    }

    /// Names of the classes of the target; empty unless all have one.
    fn named_classes(&self) -> Result<Vec<String>, PredictError> {
        let (Some(instance), Some((field, target))) = (&self.data, self.target()) else {
            return Ok(Vec::new());
        };
        let mut names = Vec::new();
        for class in 0..target.classes {
            let name = instance
                .call(self.session.runtime(), Activity::OpeningData, |call| {
                    call.dataset_class_name(field, class)
                })
                .map_err(|stop| stop.to_string())?;
            match name {
                Some(name) => names.push(name),
                None => return Ok(Vec::new()),
            }
        }
        Ok(names)
    }

    /// The fields of the data that the model was trained on.
    pub fn fields(&self) -> &[DataField] {
        &self.fields
    }

    /// The field with the targets, with its number: `ys`, or the second.
    pub fn target(&self) -> Option<(usize, &DataField)> {
        let named = self.fields.iter().position(|field| field.name == "ys");
        let index = named.unwrap_or(1);
        self.fields.get(index).map(|field| (index, field))
    }

    /// The field with the inputs of the model, with its number: `xs`, or the first.
    pub fn input(&self) -> Option<(usize, &DataField)> {
        let named = self.fields.iter().position(|field| field.name == "xs");
        let index = named.unwrap_or(0);
        self.fields.get(index).map(|field| (index, field))
    }

    /// Names of the classes of the target; empty if the data set does not name them.
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// Whether it was opened with a data set that reads files to predict from.
    pub fn reads_files(&self) -> bool {
        self.data.as_ref().is_some_and(|instance| instance.plugin_side().reads_inputs())
    }

    /// Number of the model that is applied.
    pub fn model(&self) -> usize {
        self.model
    }

    /// The session with the models.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Runs the model on inputs `[samples, ...]` and returns its outputs.
    ///
    /// # Errors
    /// What the model refuses.
    pub fn forward(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, PredictError> {
        let runtime = self.session.runtime();
        runtime.apply_model(self.model, inputs).map_err(|stop| PredictError::Text(stop.to_string()))
    }

    /// Runs the model on inputs `[samples, ...]` and returns what it computes at `point`.
    ///
    /// # Errors
    /// What the model refuses, or no such layer.
    pub fn forward_to(&self, inputs: &[Tensor], point: &Point) -> Result<Tensor, PredictError> {
        let runtime = self.session.runtime();
        let text = |stop: Stop| PredictError::Text(stop.to_string());
        let trace = runtime.trace_model(self.model, inputs).map_err(text)?;
        let name = &runtime.roles().map_err(text)?.models[self.model].name;
        point.find(name, &trace).map_err(PredictError::Text)
    }

    /// The samples of files, `most` at a time. Earlier streams end.
    ///
    /// # Errors
    /// The first file cannot be read, or has other fields than the training data.
    pub fn files(&self, files: &[PathBuf], most: usize) -> Result<Stream<'_>, PredictError> {
        let Some(instance) = &self.data else {
            return Err(PredictError::Text("the model was opened without its data set".to_owned()));
        };
        let side = std::sync::Arc::clone(instance.plugin_side());
        let samples = instance
            .call(self.session.runtime(), Activity::OpeningData, |call| {
                call.dataset_begin_inputs(files)?;
                PluginSamples::of_inputs(side)
            })
            .map_err(|stop| stop.to_string())?;
        let samples = self
            .session
            .composed()
            .transformed_inputs(std::sync::Arc::new(samples))
            .map_err(PredictError::Text)?;
        Stream::of_files(self, Rc::clone(instance), samples, most)
    }

    /// The samples of a split of the run's data.
    ///
    /// # Errors
    /// There is no such split.
    pub fn split(&self, name: &str) -> Result<Stream<'_>, PredictError> {
        Stream::of_split(self, name)
    }

    /// What is done with raw values before they are the input of the model: the raw inputs with their steps, and the
    /// steps of the transforms. `size` is the size of raw samples, such as height and width of images; empty for that of
    /// the data set. For a model that was opened with its data set.
    ///
    /// # Errors
    /// The instance that does not say what it does.
    pub fn steps(&self, size: &[u64]) -> Result<(Vec<RawInput>, Vec<ValueStep>), PredictError> {
        let name = self.input().map_or("", |(_, field)| field.name.as_str());
        self.session.composed().steps(name, size).map_err(PredictError::Text)
    }

    /// What differs between fields and those of the training data, as text; empty if nothing does.
    pub(super) fn other_fields(&self, now: &[crate::loader::Field]) -> Vec<String> {
        let fields = now.iter().map(|field| crate::loader::FieldSummary {
            name: field.name.clone(),
            dtype: field.dtype.as_str().to_owned(),
            shape: field.shape.clone(),
            classes: field.classes,
        });
        let without_splits = |fields| DataSummary { fields, splits: Vec::new() };
        without_splits(self.trained_on.fields.clone())
            .differences(&without_splits(fields.collect()))
    }
}

/// Warns of plugins that are not those of the run.
fn warn_of_plugins(session: &Session, lock: &str) {
    let used = used_plugins(lock);
    for loaded in session.composed().plugins().loaded() {
        let (name, hash) = (&loaded.manifest().plugin.name, loaded.sha256().hex());
        let mut same_name = used.iter().filter(|plugin| plugin.name == *name).peekable();
        if same_name.peek().is_some() && same_name.all(|plugin| plugin.sha256 != hash) {
            log::warn!(
                "plugin `{}` has changed since the model was trained (its sha256 differs): \
                 predictions may differ",
                escape::text(name)
            );
        }
    }
}

/// Number of the model with a name, or of the only one.
fn model_number(run: &RunDescription, name: &str) -> Result<usize, PredictError> {
    let names: Vec<&str> = run.models.iter().map(|model| model.name.as_str()).collect();
    if name.is_empty() && names.len() == 1 {
        return Ok(0);
    }
    names.iter().position(|known| *known == name).ok_or_else(|| {
        let list = names.join(", ");
        PredictError::Text(if name.is_empty() {
            format!("the run has several models ({list}): name one with --model NAME")
        } else {
            format!("the run has no model `{}`; it has {list}", escape::text(name))
        })
    })
}

/// The fields of a summary in the contract's terms.
fn fields_of(summary: &DataSummary) -> Result<Vec<DataField>, String> {
    let field = |field: &crate::loader::FieldSummary| {
        let dtype = field.dtype.parse::<DType>().ok();
        let code = dtype.and_then(crate::loader::element_code);
        let dtype = code.ok_or_else(|| {
            format!(
                "field `{}` of the saved data has an unknown type `{}`",
                field.name, field.dtype
            )
        })?;
        Ok(DataField {
            name: field.name.clone(),
            dtype,
            shape: field.shape.clone(),
            classes: field.classes.map_or(0, u64::from),
        })
    };
    summary.fields.iter().map(field).collect()
}
