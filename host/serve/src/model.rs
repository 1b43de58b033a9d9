//! The thread of the model: takes requests from a queue, computes those that wait together, answers.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use candle_core::{DType, Tensor};
use fluxbay::predict::{
    Applied, DataUse, Format, PredictError, Prediction, PredictorOptions, Reading, Table,
    TableOptions,
};
use tokio::sync::oneshot;

use crate::metrics::Metrics;

/// Requests that wait for the model; more are refused.
const QUEUE: usize = 1024;

/// How the model is opened and called.
pub struct ModelOptions {
    pub plugin_dirs: Vec<PathBuf>,
    pub allow_untrusted: Vec<PathBuf>,
    pub model: String,
    pub threads: usize,
    /// Most samples of one call.
    pub batch: usize,
    /// How long the first request waits for others.
    pub wait: Duration,
}

/// What a request asks to predict from.
pub enum Content {
    /// Inputs of the model, `[samples, ...]`.
    Inputs(Tensor),
    /// The content of a file that the data set reads.
    File(Vec<u8>),
}

/// How the predictions of a request are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Form {
    pub top: usize,
    pub probabilities: bool,
    pub raw: bool,
}

/// A request.
pub struct Request {
    pub content: Content,
    pub form: Form,
    /// Most samples.
    pub most: usize,
    /// When nobody waits for the answer any more.
    pub deadline: Instant,
    pub answer: oneshot::Sender<Result<String, Refused>>,
}

/// Why a request has no predictions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The input is not usable.
    Input(String),
    /// The model failed.
    Model(String),
}

/// What the server tells of the model.
#[derive(Clone, Debug)]
pub struct About {
    pub run: String,
    /// Name, type and shape of the input.
    pub input: String,
    pub dtype: DType,
    pub shape: Vec<usize>,
    /// Number of classes of the input, for token ids.
    pub input_classes: u64,
    pub classes: Vec<String>,
    /// Name of the data set, if it reads files.
    pub files: Option<String>,
    /// Whether rows in JSON can be turned into a file for the data set.
    pub rows: bool,
}

/// The model behind its queue.
pub struct Model {
    queue: Mutex<Option<mpsc::SyncSender<Request>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    metrics: Arc<Metrics>,
    pub about: About,
}

impl Model {
    /// Opens the model on its thread.
    pub fn open(
        folder: &Path,
        options: ModelOptions,
        metrics: Arc<Metrics>,
    ) -> Result<Model, String> {
        let (queue, waiting) = mpsc::sync_channel(QUEUE);
        let (opened, ready) = mpsc::channel();
        let folder = folder.to_owned();
        let counters = Arc::clone(&metrics);
        let thread = std::thread::Builder::new()
            .name("fluxbay-model".to_owned())
            .spawn(move || {
                let worker = match Worker::open(&folder, &options, &counters) {
                    Ok(worker) => worker,
                    Err(error) => return drop(opened.send(Err(error.to_string()))),
                };
                if opened.send(worker.about(&folder)).is_ok() {
                    worker.work(&waiting);
                }
            })
            .map_err(|error| format!("the thread of the model cannot be started: {error}"))?;
        let about = ready.recv().map_err(|_| "the thread of the model ended".to_owned())??;
        Ok(Model {
            queue: Mutex::new(Some(queue)),
            thread: Mutex::new(Some(thread)),
            metrics,
            about,
        })
    }

    /// Passes a request to the model; false if too many wait already.
    pub fn submit(&self, request: Request) -> bool {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(queue) = &*queue else { return false };
        self.metrics.enters();
        let accepted = queue.try_send(request).is_ok();
        if !accepted {
            self.metrics.leaves();
        }
        accepted
    }

    /// Whether the thread of the model is there.
    pub fn is_alive(&self) -> bool {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Ends the thread, after the requests that wait.
    pub fn end(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

/// A request whose samples are encoded.
struct Ready {
    request: Request,
    keys: Vec<String>,
    samples: usize,
    input: Tensor,
}

struct Worker<'a> {
    applied: Applied,
    options: &'a ModelOptions,
    metrics: &'a Metrics,
    /// Number of the field with the inputs.
    field: usize,
    classes: usize,
}

impl<'a> Worker<'a> {
    fn open(
        folder: &Path,
        options: &'a ModelOptions,
        metrics: &'a Metrics,
    ) -> Result<Worker<'a>, PredictError> {
        let opening = PredictorOptions {
            plugin_dirs: options.plugin_dirs.clone(),
            allow_untrusted: options.allow_untrusted.clone(),
            checkpoint: None,
            model: options.model.clone(),
            threads: options.threads,
        };
        // A data set that reads no files leaves tensors as inputs.
        let applied = match opening.open(folder, DataUse::Files) {
            Ok(applied) => applied,
            Err(_) => opening.open(folder, DataUse::None)?,
        };
        let field = applied.input().map_or(0, |(number, _)| number);
        let classes = applied.target().map_or(0, |(_, target)| target.classes);
        let classes = usize::try_from(classes).unwrap_or(0);
        Ok(Worker { applied, options, metrics, field, classes })
    }

    fn about(&self, folder: &Path) -> Result<About, String> {
        let Some((_, field)) = self.applied.input() else {
            return Err("the data of the model had no fields".to_owned());
        };
        let run = self.applied.session().run();
        let data = run.data.as_ref();
        let reads = self.applied.reads_files();
        let setting = |key: &str| data.and_then(|data| data.config.get(key));
        // Rows become a file with commas and points, and a header.
        let rows = reads
            && setting("header").is_some_and(|header| header == true)
            && setting("delimiter").is_some_and(|delimiter| delimiter == ",")
            && setting("decimal").is_some_and(|decimal| decimal == ".")
            && setting("thousands").is_none_or(|thousands| thousands.is_null());
        Ok(About {
            run: folder.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            input: field.name.clone(),
            dtype: fluxbay::loader::element_type(field.dtype)
                .ok_or_else(|| "the input has an unknown element type".to_owned())?,
            shape: field.shape.clone(),
            input_classes: field.classes,
            classes: self.applied.class_names().to_vec(),
            files: data.filter(|_| reads).map(|data| data.component.clone()),
            rows,
        })
    }

    /// Computes requests until the queue is closed.
    fn work(&self, waiting: &mpsc::Receiver<Request>) {
        // A request that did not fit into the batch before.
        let mut kept = None;
        loop {
            let first = match kept.take() {
                Some(ready) => ready,
                None => match waiting.recv() {
                    Ok(request) => match self.next(request) {
                        Some(ready) => ready,
                        // It was refused, or nobody waits for it.
                        None => continue,
                    },
                    Err(_) => return,
                },
            };
            let mut samples = first.samples;
            let mut batch = vec![first];
            let until = Instant::now() + self.options.wait;
            while samples < self.options.batch {
                let left = until.saturating_duration_since(Instant::now());
                let request = if left.is_zero() {
                    waiting.try_recv().ok()
                } else {
                    waiting.recv_timeout(left).ok()
                };
                let Some(request) = request else { break };
                let Some(ready) = self.next(request) else { continue };
                if samples + ready.samples > self.options.batch {
                    kept = Some(ready);
                    break;
                }
                samples += ready.samples;
                batch.push(ready);
            }
            self.compute(batch);
        }
    }

    /// Encodes a request; answers it if that fails, and forgets it if nobody waits.
    fn next(&self, request: Request) -> Option<Ready> {
        self.metrics.leaves();
        if request.answer.is_closed() || Instant::now() > request.deadline {
            return None;
        }
        match self.encode(&request) {
            Ok((keys, input)) => {
                let samples = input.dims().first().copied().unwrap_or(0);
                Some(Ready { request, keys, samples, input })
            }
            Err(refused) => {
                let _ = request.answer.send(Err(refused));
                None
            }
        }
    }

    fn encode(&self, request: &Request) -> Result<(Vec<String>, Tensor), Refused> {
        match &request.content {
            Content::Inputs(input) => {
                let samples = input.dims().first().copied().unwrap_or(0);
                Ok(((0..samples).map(|index| index.to_string()).collect(), input.clone()))
            }
            Content::File(bytes) => self.read_file(bytes, request.most),
        }
    }

    /// Lets the data set read the content of a file.
    fn read_file(&self, bytes: &[u8], most: usize) -> Result<(Vec<String>, Tensor), Refused> {
        use std::os::fd::AsRawFd as _;
        let failed = |error: &dyn std::fmt::Display| Refused::Model(error.to_string());
        let file = rustix::fs::memfd_create("fluxbay-body", rustix::fs::MemfdFlags::CLOEXEC)
            .map_err(|error| failed(&error))?;
        let mut file = std::fs::File::from(file);
        std::io::Write::write_all(&mut file, bytes).map_err(|error| failed(&error))?;
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let named =
            |error: PredictError| Refused::Input(error.to_string().replace(&path, "the body"));
        let mut stream =
            self.applied.files(&[PathBuf::from(&path)], most.min(4096)).map_err(named)?;
        let (mut keys, mut parts, mut samples) = (Vec::new(), Vec::new(), 0);
        while let Some(batch) = stream.next_batch().map_err(named)? {
            samples += batch.keys.len();
            if samples > most {
                return Err(Refused::Input(format!(
                    "the body has more than {most} samples: send them in several requests"
                )));
            }
            keys.extend(batch.keys);
            parts.extend(batch.fields.into_iter().nth(self.field));
        }
        if parts.is_empty() {
            return Err(Refused::Input("the body has no samples".to_owned()));
        }
        let input = Tensor::cat(&parts, 0).map_err(|error| failed(&error))?;
        Ok((keys, input))
    }

    /// Computes the samples of several requests together and answers them.
    fn compute(&self, batch: Vec<Ready>) {
        if let [one] = batch.as_slice()
            && one.samples > self.options.batch
        {
            let answer = self.in_pieces(one);
            return self.answer(batch, vec![answer]);
        }
        let inputs: Vec<&Tensor> = batch.iter().map(|ready| &ready.input).collect();
        let together = if inputs.len() == 1 {
            Ok(inputs[0].clone())
        } else {
            Tensor::cat(&inputs, 0).map_err(|error| error.to_string())
        };
        let outputs = together.and_then(|input| self.forward(&input));
        let mut answers = Vec::with_capacity(batch.len());
        let mut start = 0;
        for ready in &batch {
            answers.push(match &outputs {
                Ok(output) => {
                    output.narrow(0, start, ready.samples).map_err(|error| error.to_string())
                }
                // One request may be the reason: each is tried alone.
                Err(_) if batch.len() > 1 => self.forward(&ready.input),
                Err(text) => Err(text.clone()),
            });
            start += ready.samples;
        }
        self.answer(batch, answers);
    }

    fn forward(&self, input: &Tensor) -> Result<Tensor, String> {
        let samples = input.dims().first().copied().unwrap_or(0);
        self.metrics.batch(samples);
        let input = input.contiguous().map_err(|error| error.to_string())?;
        let outputs = self.applied.forward(&[input]).map_err(|error| error.to_string())?;
        let output = outputs.into_iter().next().ok_or("the model has no output")?;
        match output.dims().first() {
            Some(rows) if *rows == samples => Ok(output),
            _ => Err(format!(
                "the output of the model has shape {:?}: it has no row for each of the {samples} samples",
                output.dims()
            )),
        }
    }

    /// The output for more samples than are computed at a time.
    fn in_pieces(&self, ready: &Ready) -> Result<Tensor, String> {
        let mut parts = Vec::new();
        let mut start = 0;
        while start < ready.samples {
            let length = self.options.batch.min(ready.samples - start);
            let piece = ready.input.narrow(0, start, length).map_err(|error| error.to_string())?;
            parts.push(self.forward(&piece)?);
            start += length;
        }
        Tensor::cat(&parts, 0).map_err(|error| error.to_string())
    }

    fn answer(&self, batch: Vec<Ready>, outputs: Vec<Result<Tensor, String>>) {
        for (ready, output) in batch.into_iter().zip(outputs) {
            let written = output.and_then(|output| self.written(&ready, &output)).map_err(|text| {
                log::error!("a request failed: {text}");
                Refused::Model(text)
            });
            // Nobody may wait any more.
            let _ = ready.request.answer.send(written);
        }
    }

    /// The answer to a request as JSON.
    fn written(&self, ready: &Ready, output: &Tensor) -> Result<String, String> {
        let form = ready.request.form;
        let reading = Reading { classes: self.classes, raw: form.raw };
        let predictions: Vec<Prediction> =
            reading.read(output, ready.samples).map_err(|error| error.to_string())?;
        let options = TableOptions {
            format: Format::Jsonl,
            top: form.top.max(1),
            probabilities: form.probabilities,
            classes: self.applied.class_names().to_vec(),
        };
        let mut table = Table::new(Vec::new(), options);
        for (key, prediction) in ready.keys.iter().zip(&predictions) {
            table.push(key, None, prediction).map_err(|error| error.to_string())?;
        }
        let lines = table.finish().map_err(|error| error.to_string())?;
        let lines = String::from_utf8(lines).map_err(|error| error.to_string())?;
        let lines: Vec<&str> = lines.lines().collect();
        Ok(format!("{{\"predictions\":[{}]}}\n", lines.join(",")))
    }
}
