//! A trained model as a function, for programs.

use std::{
    path::{Path, PathBuf},
    rc::Rc,
    sync::{Mutex, PoisonError, mpsc},
    thread::JoinHandle,
};

use candle_core::{DType, Module, Tensor};

use super::{Applied, DataUse, PredictError};
use crate::bundle::Source;
use crate::durable::changes;
use crate::library::{Catalog, ScanOptions, SearchPath};
use crate::loader::element_type;
use crate::record::file;
use crate::run_file::{Diagnostics, Draft, Inputs, resolve};

/// How a model is opened.
#[derive(Clone, Debug, Default)]
pub struct PredictorOptions {
    /// Folders that are searched for plugins first. `FLUXBAY_PLUGIN_PATH`, the folders that the run
    /// used, the user's folder and that of the executable follow.
    pub plugin_dirs: Vec<PathBuf>,
    /// Folders whose plugins are used although others could change them.
    pub allow_untrusted: Vec<PathBuf>,
    /// A checkpoint whose parameters are used, not the final ones.
    pub checkpoint: Option<PathBuf>,
    /// Name of the model; empty for the only one.
    pub model: String,
    /// Threads to compute on; 0 for the run's setting.
    pub threads: usize,
}

impl PredictorOptions {
    /// Opens the model of a bundle or a run on this thread.
    ///
    /// # Errors
    /// As [`Predictor::open`].
    pub fn open(&self, folder: &Path, data: DataUse) -> Result<Applied, PredictError> {
        let source = Source::open(folder, self.checkpoint.as_deref())?;
        let mut set = Vec::new();
        if self.threads > 0 {
            set.push(format!("run.threads={}", self.threads));
        }
        let inputs = Inputs { files: vec![folder.join(file::RESOLVED)], set, ..Inputs::default() };
        let mut problems = Diagnostics::new();
        let mut draft = Draft::read(&inputs, &mut problems);
        draft.keep_models(data != DataUse::None);
        let mut project = draft.plugin_dirs();
        project.extend(changes::folders(&source.plugins));
        let options = ScanOptions {
            allow_untrusted: self.allow_untrusted.clone(),
            disabled: draft.plugins.disable.clone(),
            ..ScanOptions::of_user()
        };
        let path = SearchPath::standard(&self.plugin_dirs, &project);
        let catalog = Catalog::scan(&path, &options);
        let run = resolve(draft, &catalog, &mut problems);
        if problems.has_errors() {
            return Err(PredictError::Problems(problems));
        }
        Applied::open(run, Rc::new(catalog), &source, &self.model, data)
    }
}

/// An input or output of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name: that of the field of the data.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Shape of one sample, without the batch's dimension.
    pub shape: Vec<usize>,
    /// Number of classes, if it holds class labels or token ids.
    pub classes: Option<usize>,
}

/// A call of the model: its inputs, and where the outputs go.
struct Call {
    inputs: Vec<Tensor>,
    outputs: mpsc::Sender<Result<Vec<Tensor>, PredictError>>,
}

/// A trained model of any plugin as a function of tensors. It runs on a thread of its own, so that it
/// can be used from any thread and by several at a time, which take turns.
///
/// As a [`Module`] it is a layer of a candle model:
///
/// ```no_run
/// use candle_core::{DType, Device, Module, Tensor};
/// use fluxbay::Predictor;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let digits = Predictor::open("runs/20260101-000000-digits/bundle")?;
/// let images = Tensor::zeros((2, 8, 8), DType::F32, &Device::Cpu)?;
/// let logits = digits.forward(&images)?;
/// assert_eq!(logits.dims(), [2, 10]);
/// // The same with the names of inputs and outputs.
/// let outputs = digits.run(&[("xs", &images)])?;
/// assert_eq!(outputs[0].0, "yhats");
/// # Ok(())
/// # }
/// ```
///
/// It computes on the processor in evaluation mode and does not pass gradients on.
pub struct Predictor {
    calls: Mutex<Option<mpsc::Sender<Call>>>,
    thread: Option<JoinHandle<()>>,
    input: Port,
    target: Option<Port>,
}

impl std::fmt::Debug for Predictor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Predictor").field("input", &self.input).finish_non_exhaustive()
    }
}

impl Predictor {
    /// Opens the model of a bundle, whose files are verified, or of a run.
    ///
    /// # Errors
    /// A changed bundle, a folder without a model, a plugin that is missing or refused, parameters
    /// that do not fit.
    pub fn open(folder: impl AsRef<Path>) -> Result<Predictor, PredictError> {
        Predictor::open_with(folder, PredictorOptions::default())
    }

    /// As [`Predictor::open`], with options.
    ///
    /// # Errors
    /// As [`Predictor::open`].
    pub fn open_with(
        folder: impl AsRef<Path>,
        options: PredictorOptions,
    ) -> Result<Predictor, PredictError> {
        let folder = folder.as_ref().to_owned();
        let (opened, ready) = mpsc::channel();
        let (calls, waiting) = mpsc::channel::<Call>();
        let thread = std::thread::Builder::new()
            .name("fluxbay-predictor".to_owned())
            .spawn(move || {
                let applied = match options.open(&folder, DataUse::None) {
                    Ok(applied) => applied,
                    Err(error) => return drop(opened.send(Err(error))),
                };
                if opened.send(ports(&applied)).is_err() {
                    return;
                }
                while let Ok(Call { inputs, outputs }) = waiting.recv() {
                    // The caller may have given up.
                    let _ = outputs.send(applied.forward(&inputs));
                }
            })
            .map_err(|error| {
                PredictError::Text(format!("the thread of the model cannot be started: {error}"))
            })?;
        let ended = || PredictError::Text("the thread of the model ended".to_owned());
        let (input, target) = ready.recv().map_err(|_| ended())??;
        Ok(Predictor { calls: Mutex::new(Some(calls)), thread: Some(thread), input, target })
    }

    /// The input.
    pub fn input(&self) -> &Port {
        &self.input
    }

    /// What the model was trained to predict, if the data had targets.
    pub fn target(&self) -> Option<&Port> {
        self.target.as_ref()
    }

    /// Runs the model on named inputs, each `[samples, ...]` on the processor, and returns its outputs
    /// by name: `yhats`, and `yhats-1` and so on if there are several.
    ///
    /// # Errors
    /// An unknown or missing input, one of another type or shape, or what the model refuses.
    pub fn run(&self, inputs: &[(&str, &Tensor)]) -> Result<Vec<(String, Tensor)>, PredictError> {
        let wanted = &self.input.name;
        if let Some((other, _)) = inputs.iter().find(|(name, _)| name != wanted) {
            return Err(PredictError::Text(format!(
                "the model has no input `{other}`; its input is `{wanted}`"
            )));
        }
        let Some((_, input)) = inputs.first() else {
            return Err(PredictError::Text(format!("the input `{wanted}` is missing")));
        };
        let outputs = self.apply(input)?;
        let name = |index: usize| match index {
            0 => "yhats".to_owned(),
            index => format!("yhats-{index}"),
        };
        Ok(outputs.into_iter().enumerate().map(|(index, one)| (name(index), one)).collect())
    }

    fn apply(&self, input: &Tensor) -> Result<Vec<Tensor>, PredictError> {
        let refused =
            |what: String| PredictError::Text(format!("the input `{}` {what}", self.input.name));
        if !input.device().is_cpu() {
            return Err(refused("is not on the processor: move it with `to_device`".to_owned()));
        }
        if input.dtype() != self.input.dtype {
            return Err(refused(format!(
                "has element type {}, the model takes {}",
                input.dtype().as_str(),
                self.input.dtype.as_str()
            )));
        }
        if input.rank() == 0 {
            return Err(refused("is a scalar, but its first dimension counts samples".to_owned()));
        }
        let input = input.force_contiguous().map_err(|error| refused(error.to_string()))?;
        let (outputs, answer) = mpsc::channel();
        let ended = || PredictError::Text("the thread of the model ended".to_owned());
        self.calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .ok_or_else(ended)?
            .send(Call { inputs: vec![input], outputs })
            .map_err(|_| ended())?;
        answer.recv().map_err(|_| ended())?
    }
}

impl Module for Predictor {
    /// The first output for inputs `[samples, ...]`.
    fn forward(&self, xs: &Tensor) -> candle_core::Result<Tensor> {
        let outputs = self.apply(xs).map_err(candle_core::Error::wrap)?;
        outputs.into_iter().next().ok_or_else(|| candle_core::Error::msg("the model has no output"))
    }
}

impl Drop for Predictor {
    fn drop(&mut self) {
        // The thread ends with its queue, and destroys the instances that belong to it.
        drop(self.calls.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Input and target of a model.
fn ports(applied: &Applied) -> Result<(Port, Option<Port>), PredictError> {
    let port = |field: &crate::learner::ports::DataField| {
        let dtype = element_type(field.dtype).ok_or_else(|| {
            PredictError::Text(format!("field `{}` has an unknown element type", field.name))
        })?;
        Ok::<Port, PredictError>(Port {
            name: field.name.clone(),
            dtype,
            shape: field.shape.clone(),
            classes: usize::try_from(field.classes).ok().filter(|classes| *classes > 0),
        })
    };
    let Some((number, input)) = applied.input() else {
        return Err(PredictError::Text("the data of the model had no fields".to_owned()));
    };
    let target = applied.target().filter(|(target, _)| *target != number);
    Ok((port(input)?, target.map(|(_, field)| port(field)).transpose()?))
}
