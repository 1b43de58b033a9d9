//! The server's side of the model: starts its process, passes requests on and their answers back, and starts
//! it anew when a plugin has ended it.

use std::{
    collections::{HashMap, VecDeque},
    io::{self, BufReader, Write as _},
    net::Shutdown,
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream, process::CommandExt as _},
    },
    process::{Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use fluxbay::supervisor::{Ended, Supervised};
use tokio::sync::oneshot;

use crate::{
    metrics::Metrics,
    wire::{self, Content, Form, Reply},
    worker::About,
};

/// Requests that wait for the model; more are refused.
const QUEUE: usize = 1024;
/// Bytes of requests that are sent at a time.
const PIECE: usize = 256 << 10;
/// Time within which crashes are counted together.
const CRASHES_WITHIN: Duration = Duration::from_secs(60);
/// Time that the process of the model has to end.
const END: Duration = Duration::from_secs(5);
/// The option that a limit of a call comes from, for reports.
const LIMIT_OPTION: &str = "`--timeout`";

/// A request.
pub struct Request {
    pub content: Content,
    pub form: Form,
    /// Most samples.
    pub most: usize,
    /// When nobody waits for the answer any more.
    pub deadline: Instant,
}

/// Why a request has no predictions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The input is not usable.
    Input(String),
    /// The model failed.
    Model(String),
    /// The process of the model ended before it answered.
    Crashed(String),
}

/// Why a request is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busy {
    /// Too many wait already.
    Full,
    /// The process of the model is being started.
    Starting,
}

type Answer = Result<String, Refused>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The way to one process of the model.
struct Link {
    /// Requests for the thread that sends them; none once the server ends.
    queue: Mutex<Option<mpsc::Sender<(u64, Request)>>>,
    /// Who waits for which request.
    pending: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
    metrics: Arc<Metrics>,
}

impl Link {
    fn answer(&self, id: u64, answer: Answer) {
        if let Some(waiting) = lock(&self.pending).remove(&id) {
            self.metrics.leaves();
            // Nobody may wait any more.
            let _ = waiting.send(answer);
        }
    }

    /// Answers all that wait.
    fn crashed(&self, text: &str) {
        let waiting: Vec<_> = lock(&self.pending).drain().collect();
        for (_, waiting) in waiting {
            self.metrics.leaves();
            let _ = waiting.send(Err(Refused::Crashed(text.to_owned())));
        }
    }
}

/// A request that waits for its answer; dropping it withdraws the request.
pub struct Waiting {
    link: Arc<Link>,
    id: u64,
    answer: oneshot::Receiver<Answer>,
}

impl Waiting {
    /// The answer.
    pub async fn answer(&mut self) -> Answer {
        (&mut self.answer)
            .await
            .unwrap_or_else(|_| Err(Refused::Crashed("the server is ending".to_owned())))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if lock(&self.link.pending).remove(&self.id).is_some() {
            self.link.metrics.leaves();
        }
    }
}

/// What the thread that keeps the model shares with the rest of the server.
struct Shared {
    /// None while no process of the model can be asked.
    link: Mutex<Option<Arc<Link>>>,
    ending: AtomicBool,
    /// Ends the process of the model.
    killer: Mutex<Option<Box<dyn Fn() + Send>>>,
    metrics: Arc<Metrics>,
}

/// The model, in a process of its own.
pub struct Model {
    shared: Arc<Shared>,
    next: AtomicU64,
    keeper: Mutex<Option<JoinHandle<()>>>,
    pub about: About,
}

/// The model with the news that it cannot be served any more, and why.
pub type Opened = (Model, oneshot::Receiver<String>);

impl Model {
    /// Starts the process of the model and waits until the model is open. It is started again when it
    /// crashes, until that has happened `crashes` times within a minute.
    ///
    /// # Errors
    /// The model cannot be opened, or its process ended.
    pub fn open(crashes: usize, metrics: Arc<Metrics>) -> Result<Opened, String> {
        let shared = Arc::new(Shared {
            link: Mutex::new(None),
            ending: AtomicBool::new(false),
            killer: Mutex::new(None),
            metrics,
        });
        let (opened, ready) = mpsc::channel();
        let (failed, failure) = oneshot::channel();
        let keeper = Keeper { shared: Arc::clone(&shared), crashes };
        // The process of the model ends with the thread that starts it.
        let keeper = std::thread::Builder::new()
            .name("fluxbay-keeper".to_owned())
            .spawn(move || {
                if let Err(text) = keeper.keep(&opened) {
                    // One of them is waiting for it.
                    let _ = opened.send(Err(text.clone()));
                    let _ = failed.send(text);
                }
            })
            .map_err(|error| format!("the thread of the model cannot be started: {error}"))?;
        let about = ready.recv().map_err(|_| "the thread of the model ended".to_owned())??;
        let (next, keeper) = (AtomicU64::new(0), Mutex::new(Some(keeper)));
        Ok((Model { shared, next, keeper, about }, failure))
    }

    /// Passes a request to the model.
    ///
    /// # Errors
    /// Why it does not.
    pub fn submit(&self, request: Request) -> Result<Waiting, Busy> {
        let link = lock(&self.shared.link).clone().ok_or(Busy::Starting)?;
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        {
            let mut pending = lock(&link.pending);
            if pending.len() >= QUEUE {
                return Err(Busy::Full);
            }
            pending.insert(id, sender);
        }
        link.metrics.enters();
        let sent = match &*lock(&link.queue) {
            Some(queue) => queue.send((id, request)).is_ok(),
            None => false,
        };
        let waiting = Waiting { link, id, answer };
        if sent { Ok(waiting) } else { Err(Busy::Starting) }
    }

    /// Whether the model can be asked.
    pub fn is_open(&self) -> bool {
        lock(&self.shared.link).is_some()
    }

    /// Ends the process of the model, after the requests that wait.
    pub fn end(&self) {
        self.shared.ending.store(true, Ordering::Relaxed);
        if let Some(link) = &*lock(&self.shared.link) {
            drop(lock(&link.queue).take());
        }
        let Some(keeper) = lock(&self.keeper).take() else { return };
        let begin = Instant::now();
        while !keeper.is_finished() {
            if begin.elapsed() > END
                && let Some(kill) = lock(&self.shared.killer).take()
            {
                kill();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = keeper.join();
    }
}

/// Starts the process of the model, again and again.
struct Keeper {
    shared: Arc<Shared>,
    crashes: usize,
}

impl Keeper {
    /// Runs until the server ends; an error has to end the server. Sends to `opened` when the model is
    /// open for the first time.
    fn keep(&self, opened: &mpsc::Sender<Result<About, String>>) -> Result<(), String> {
        let mut crashes = VecDeque::new();
        let mut is_first = true;
        loop {
            let (supervised, mut socket, about) = match self.start()? {
                Some(opened) => opened,
                None if self.is_ending() => return Ok(()),
                None => return Err("the process of the model ended".to_owned()),
            };
            let (queue, requests) = mpsc::channel();
            let link = Arc::new(Link {
                queue: Mutex::new(Some(queue)),
                pending: Mutex::default(),
                metrics: Arc::clone(&self.shared.metrics),
            });
            let writer = socket.get_ref().try_clone().map_err(|error| error.to_string())?;
            let sender = {
                let link = Arc::clone(&link);
                std::thread::spawn(move || send(&link, &requests, &writer))
            };
            *lock(&self.shared.link) = Some(Arc::clone(&link));
            if self.is_ending() {
                drop(lock(&link.queue).take());
            }
            if std::mem::take(&mut is_first) {
                let _ = opened.send(Ok(about));
            }
            let ending = receive(&link, &mut socket);
            if ending.is_err() {
                // What is no message comes from a process whose memory is damaged.
                if let Some(kill) = &*lock(&self.shared.killer) {
                    kill();
                }
            }
            let ended = supervised.wait();
            *lock(&self.shared.link) = None;
            drop(lock(&link.queue).take());
            let text = match (ended, ending) {
                (_, Ok(Some(text))) => text,
                (Ok(Ended::Broken { text, .. }), _) => text,
                (Ok(Ended::Itself(_)), _) => "the process of the model ended".to_owned(),
                (Err(error), _) => format!("the process of the model cannot be watched: {error}"),
            };
            link.crashed(text.lines().next().unwrap_or_default());
            let _ = sender.join();
            if self.is_ending() {
                return Ok(());
            }
            self.shared.metrics.crash();
            let now = Instant::now();
            crashes.push_back(now);
            while crashes.front().is_some_and(|first| now - *first > CRASHES_WITHIN) {
                crashes.pop_front();
            }
            let (count, most) = (crashes.len(), self.crashes);
            if count >= most {
                return Err(format!(
                    "{text}\n  the model ended {count} times within {} s, as often as `--crashes {most}` allows: the server ends",
                    CRASHES_WITHIN.as_secs()
                ));
            }
            log::error!(
                "{text}\n  the model is started again (end {count} of {most} within {} s, then the server ends)",
                CRASHES_WITHIN.as_secs()
            );
        }
    }

    fn is_ending(&self) -> bool {
        self.shared.ending.load(Ordering::Relaxed)
    }

    /// Starts the process and waits until it has opened the model.
    fn start(&self) -> Result<Option<Started>, String> {
        let unable =
            |error: io::Error| format!("the process of the model cannot be started: {error}");
        let (own, other) = UnixStream::pair().map_err(unable)?;
        let supervised = Supervised::start(|option, number| {
            let mut arguments = std::env::args_os();
            let mut command = Command::new("/proc/self/exe");
            command.arg0(arguments.next().unwrap_or_else(|| "fluxbay-serve".into()));
            command
                .arg(option)
                .arg(number)
                .args(arguments)
                .stdin(Stdio::from(OwnedFd::from(other)));
            // A terminal's signals are for the server, which ends this process.
            command.process_group(0);
            command
        })
        .map_err(unable)?
        .limit_set_by(LIMIT_OPTION);
        *lock(&self.shared.killer) = Some(Box::new(supervised.killer()));
        let mut socket = BufReader::with_capacity(PIECE, own);
        let first = Reply::next(&mut socket);
        match first {
            Ok(Some(Reply::Opened(about))) => {
                let about = serde_json::from_str(&about).map_err(|error| error.to_string())?;
                Ok(Some((supervised, socket, about)))
            }
            Ok(Some(Reply::NotOpened(text))) => {
                let _ = supervised.wait();
                Err(text)
            }
            _ => match supervised.wait() {
                Ok(Ended::Broken { text, .. }) => Err(text),
                Ok(Ended::Itself(_)) => Ok(None),
                Err(error) => Err(unable(error)),
            },
        }
    }
}

/// A process whose model is open: the process, the stream of its answers, and what the model takes.
type Started = (Supervised, BufReader<UnixStream>, About);

/// Sends requests to the process until the queue is closed or the process has ended.
fn send(link: &Link, requests: &mpsc::Receiver<(u64, Request)>, mut socket: &UnixStream) {
    let mut out = Vec::new();
    while let Ok(first) = requests.recv() {
        let mut next = Some(first);
        while let Some((id, request)) = next {
            let left = request.deadline.saturating_duration_since(Instant::now());
            // Others have been withdrawn.
            if !left.is_zero() && lock(&link.pending).contains_key(&id) {
                let Request { content, form, most, .. } = request;
                wire::Request { id, content, form, most, left }.write(&mut out);
            }
            next = if out.len() < PIECE { requests.try_recv().ok() } else { None };
        }
        if socket.write_all(&out).is_err() {
            return;
        }
        out.clear();
        out.shrink_to(PIECE);
    }
    let _ = socket.shutdown(Shutdown::Write);
}

/// Passes answers on until the process closes; returns why it ends, if it says so.
///
/// # Errors
/// It sent what is no message.
fn receive(link: &Link, socket: &mut BufReader<UnixStream>) -> io::Result<Option<String>> {
    loop {
        match Reply::next(socket) {
            Ok(None) => return Ok(None),
            Ok(Some(Reply::Answer(id, json))) => link.answer(id, Ok(json)),
            Ok(Some(Reply::Input(id, text))) => link.answer(id, Err(Refused::Input(text))),
            Ok(Some(Reply::Model(id, text))) => link.answer(id, Err(Refused::Model(text))),
            Ok(Some(Reply::Computed(samples))) => link.metrics.batch(samples),
            Ok(Some(Reply::Ending(text))) => return Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(error),
            Ok(Some(Reply::Opened(_) | Reply::NotOpened(_))) => {
                return Err(io::ErrorKind::InvalidData.into());
            }
            // The process ended within a message.
            Err(_) => return Ok(None),
        }
    }
}
