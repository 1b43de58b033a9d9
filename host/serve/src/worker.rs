//! The process of the model: takes requests from the server, computes those that wait together, answers. A
//! plugin that crashes or hangs ends this process alone; the server reports it and starts another one.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::Arc,
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

use candle_core::{DType, Device, Tensor};
use fluxbay::{
    predict::{
        Applied, DataUse, Format, PredictError, Prediction, PredictorOptions, Reading, Table,
        TableOptions,
    },
    supervisor::worker::{self as supervised, Patience},
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::wire::{Content, Reply, Request, length};

/// Least time that opening the model may take.
const OPENING: Duration = Duration::from_secs(60);
/// Bytes that are read at a time.
const PIECE: usize = 64 << 10;

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
    /// Time of a request: a call of a plugin that takes longer answers nobody, and is ended.
    pub timeout: Duration,
}

/// What the server tells of the model.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct About {
    pub run: String,
    /// Name, type and shape of the input.
    pub input: String,
    pub dtype: String,
    pub shape: Vec<usize>,
    /// Number of classes of the input, for token ids.
    pub input_classes: u64,
    pub classes: Vec<String>,
    /// Name of the data set, if it reads files.
    pub files: Option<String>,
    /// Whether rows in JSON can be turned into a file for the data set.
    pub rows: bool,
}

/// Runs the model for the server that started this process, whose requests come over stdin. `number` is the
/// value of the hidden option.
///
/// # Errors
/// The option was given by hand, or stdin is no socket of the server.
pub fn run(number: i32, folder: &Path, options: &ModelOptions) -> Result<(), String> {
    let by_hand = |error: io::Error| format!("only the server starts this process ({error})");
    supervised::begin(number).map_err(by_hand)?;
    // The server ends this process; a terminal or a service manager signals both.
    for signal in [SIGINT, SIGTERM] {
        let ignored = Arc::new(AtomicBool::new(false));
        let _ = signal_hook::flag::register(signal, ignored);
    }
    let socket = rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3).map_err(io::Error::from);
    let socket = UnixStream::from(socket.map_err(by_hand)?);
    // Plugins read nothing from the server.
    let nothing = std::fs::File::open("/dev/null").map_err(by_hand)?;
    rustix::stdio::dup2_stdin(&nothing).map_err(io::Error::from).map_err(by_hand)?;
    fluxbay::surroundings::watch();
    let limit = |limit| Patience { limit, ..Patience::DEFAULT };
    // Without the thread, calls that hang are ended all the same, but not warned about.
    let _ = supervised::watch(limit(options.timeout.max(OPENING)));
    let mut outgoing = Outgoing { socket: socket.try_clone().map_err(by_hand)?, out: Vec::new() };
    let opened = Worker::open(folder, options)
        .map_err(|error| error.to_string())
        .and_then(|worker| Ok((worker.about(folder)?, worker)));
    match opened {
        Ok((about, worker)) => {
            let about = serde_json::to_string(&about).map_err(|error| error.to_string())?;
            outgoing.add(&Reply::Opened(about));
            outgoing.send();
            let _ = supervised::watch(limit(options.timeout));
            let incoming = Incoming { socket, read: Vec::new(), start: 0, closed: false };
            worker.work(incoming, outgoing);
        }
        Err(text) => {
            outgoing.add(&Reply::NotOpened(text));
            outgoing.send();
        }
    }
    supervised::done(0);
    Ok(())
}

/// Messages to the server.
struct Outgoing {
    socket: UnixStream,
    out: Vec<u8>,
}

impl Outgoing {
    fn add(&mut self, reply: &Reply) {
        reply.write(&mut self.out);
    }

    /// Sends the collected messages. Errors are ignored: this process ends when its server does.
    fn send(&mut self) {
        let _ = self.socket.write_all(&self.out);
        self.out.clear();
    }
}

/// How long to wait for a request.
enum Until {
    Comes,
    Now,
    Then(Instant),
}

/// Requests of the server.
struct Incoming {
    socket: UnixStream,
    /// Bytes that were read; those from `start` on belong to no request yet.
    read: Vec<u8>,
    start: usize,
    closed: bool,
}

impl Incoming {
    /// The next request, if it comes in time; none, and `closed`, where there are no more.
    fn next(&mut self, until: &Until) -> Option<Request> {
        loop {
            match self.whole() {
                Ok(Some(request)) => return Some(request),
                Ok(None) if self.closed => return None,
                Ok(None) => {}
                Err(_) => {
                    self.closed = true;
                    return None;
                }
            }
            let left = match until {
                Until::Comes => None,
                Until::Now => Some(Duration::ZERO),
                Until::Then(then) => Some(then.saturating_duration_since(Instant::now())),
            };
            if left.is_some_and(|left| !self.is_readable(left)) {
                return None;
            }
            self.read_more();
        }
    }

    /// The request whose bytes are all there.
    fn whole(&mut self) -> io::Result<Option<Request>> {
        let bytes = &self.read[self.start..];
        let Some(length) = length(bytes)? else { return Ok(None) };
        let Some(message) = bytes.get(..length) else { return Ok(None) };
        let request = Request::read(message)?;
        self.start += length;
        if self.start == self.read.len() {
            self.read.clear();
            self.start = 0;
        }
        Ok(Some(request))
    }

    fn is_readable(&self, left: Duration) -> bool {
        let mut polled = [PollFd::new(&self.socket, PollFlags::IN)];
        let left = Timespec::try_from(left).ok();
        poll(&mut polled, left.as_ref()).is_ok_and(|ready| ready > 0)
    }

    fn read_more(&mut self) {
        self.read.drain(..self.start);
        self.start = 0;
        let before = self.read.len();
        let missing = length(&self.read).ok().flatten().map_or(0, |length| length - before);
        self.read.resize(before + missing.clamp(PIECE, 16 * PIECE), 0);
        let count = match self.socket.read(&mut self.read[before..]) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.read.truncate(before);
                return;
            }
            Err(_) => 0,
        };
        self.closed |= count == 0;
        self.read.truncate(before + count);
    }
}

/// A request whose samples are encoded.
struct Ready {
    request: Request,
    keys: Vec<String>,
    samples: usize,
    input: Tensor,
}

/// Why a request has no predictions.
enum Refused {
    /// The input is not usable.
    Input(String),
    /// The model failed.
    Model(String),
}

struct Worker<'a> {
    applied: Applied,
    options: &'a ModelOptions,
    /// Number of the field with the inputs.
    field: usize,
    dtype: DType,
    shape: Vec<usize>,
    classes: usize,
}

impl<'a> Worker<'a> {
    fn open(folder: &Path, options: &'a ModelOptions) -> Result<Worker<'a>, PredictError> {
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
        let Some((field, input)) = applied.input() else {
            return Err(PredictError::Text("the data of the model had no fields".to_owned()));
        };
        let dtype = fluxbay::loader::element_type(input.dtype).ok_or_else(|| {
            PredictError::Text("the input has an unknown element type".to_owned())
        })?;
        let shape = input.shape.clone();
        let classes = applied.target().map_or(0, |(_, target)| target.classes);
        let classes = usize::try_from(classes).unwrap_or(0);
        Ok(Worker { applied, options, field, dtype, shape, classes })
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
            dtype: self.dtype.as_str().to_owned(),
            shape: self.shape.clone(),
            input_classes: field.classes,
            classes: self.applied.class_names().to_vec(),
            files: data.filter(|_| reads).map(|data| data.component.clone()),
            rows,
        })
    }

    /// Computes requests until the server closes, or until an instance has panicked: it cannot be called
    /// again in this process.
    fn work(&self, mut incoming: Incoming, mut outgoing: Outgoing) {
        // A request that did not fit into the batch before.
        let mut kept = None;
        loop {
            let first = match kept.take() {
                Some(ready) => ready,
                None => match incoming.next(&Until::Comes) {
                    Some(request) => match self.accept(request, &mut outgoing) {
                        Some(ready) => ready,
                        // It was refused, or nobody waits for it.
                        None => {
                            outgoing.send();
                            if self.is_spent(&mut outgoing) {
                                return;
                            }
                            continue;
                        }
                    },
                    None => return,
                },
            };
            let mut samples = first.samples;
            let mut batch = vec![first];
            let until = if self.options.wait.is_zero() {
                Until::Now
            } else {
                Until::Then(Instant::now() + self.options.wait)
            };
            while samples < self.options.batch {
                let Some(request) = incoming.next(&until) else { break };
                let Some(ready) = self.accept(request, &mut outgoing) else { continue };
                if samples + ready.samples > self.options.batch {
                    kept = Some(ready);
                    break;
                }
                samples += ready.samples;
                batch.push(ready);
            }
            self.compute(batch, &mut outgoing);
            outgoing.send();
            if self.is_spent(&mut outgoing) {
                return;
            }
        }
    }

    /// Whether an instance has panicked, which is reported to the server.
    fn is_spent(&self, outgoing: &mut Outgoing) -> bool {
        let instances = self.applied.session().composed().instances();
        let Some(spent) = instances.iter().find(|instance| instance.is_poisoned()) else {
            return false;
        };
        outgoing.add(&Reply::Ending(format!(
            "`{}` ({} of {}) panicked and cannot be called again",
            spent.id, spent.component, spent.plugin
        )));
        outgoing.send();
        true
    }

    /// Encodes a request; answers it if that fails, and forgets it if nobody waits.
    fn accept(&self, request: Request, outgoing: &mut Outgoing) -> Option<Ready> {
        if request.left.is_zero() {
            return None;
        }
        match self.encode(&request) {
            Ok((keys, input)) => {
                let samples = input.dims().first().copied().unwrap_or(0);
                Some(Ready { request, keys, samples, input })
            }
            Err(Refused::Input(text)) => {
                outgoing.add(&Reply::Input(request.id, text));
                None
            }
            Err(Refused::Model(text)) => {
                outgoing.add(&Reply::Model(request.id, text));
                None
            }
        }
    }

    fn encode(&self, request: &Request) -> Result<(Vec<String>, Tensor), Refused> {
        match &request.content {
            Content::Inputs { samples, bytes } => {
                let mut shape = vec![*samples];
                shape.extend(&self.shape);
                let input = Tensor::from_raw_buffer(bytes, self.dtype, &shape, &Device::Cpu)
                    .map_err(|error| Refused::Model(error.to_string()))?;
                Ok(((0..*samples).map(|index| index.to_string()).collect(), input))
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
        file.write_all(bytes).map_err(|error| failed(&error))?;
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
    fn compute(&self, batch: Vec<Ready>, outgoing: &mut Outgoing) {
        if let [one] = batch.as_slice()
            && one.samples > self.options.batch
        {
            let answer = self.in_pieces(one, outgoing);
            return self.answer(batch, vec![answer], outgoing);
        }
        let inputs: Vec<&Tensor> = batch.iter().map(|ready| &ready.input).collect();
        let together = if inputs.len() == 1 {
            Ok(inputs[0].clone())
        } else {
            Tensor::cat(&inputs, 0).map_err(|error| error.to_string())
        };
        let outputs = together.and_then(|input| self.forward(&input, outgoing));
        let mut answers = Vec::with_capacity(batch.len());
        let mut start = 0;
        for ready in &batch {
            answers.push(match &outputs {
                Ok(output) => {
                    output.narrow(0, start, ready.samples).map_err(|error| error.to_string())
                }
                // One request may be the reason: each is tried alone.
                Err(_) if batch.len() > 1 => self.forward(&ready.input, outgoing),
                Err(text) => Err(text.clone()),
            });
            start += ready.samples;
        }
        self.answer(batch, answers, outgoing);
    }

    fn forward(&self, input: &Tensor, outgoing: &mut Outgoing) -> Result<Tensor, String> {
        let samples = input.dims().first().copied().unwrap_or(0);
        outgoing.add(&Reply::Computed(samples as u64));
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
    fn in_pieces(&self, ready: &Ready, outgoing: &mut Outgoing) -> Result<Tensor, String> {
        let mut parts = Vec::new();
        let mut start = 0;
        while start < ready.samples {
            let length = self.options.batch.min(ready.samples - start);
            let piece = ready.input.narrow(0, start, length).map_err(|error| error.to_string())?;
            parts.push(self.forward(&piece, outgoing)?);
            start += length;
        }
        Tensor::cat(&parts, 0).map_err(|error| error.to_string())
    }

    fn answer(
        &self,
        batch: Vec<Ready>,
        outputs: Vec<Result<Tensor, String>>,
        outgoing: &mut Outgoing,
    ) {
        for (ready, output) in batch.into_iter().zip(outputs) {
            let id = ready.request.id;
            outgoing.add(&match output.and_then(|output| self.written(&ready, &output)) {
                Ok(json) => Reply::Answer(id, json),
                Err(text) => {
                    log::error!("a request failed: {text}");
                    Reply::Model(id, text)
                }
            });
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
