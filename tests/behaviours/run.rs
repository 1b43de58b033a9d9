//! Sessions from the text of a run file, with the standard plugins and the fixture.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::OnceLock;

use fluxbay::learner::ports::Display;
use fluxbay::library::{Catalog, ScanOptions, SearchOrigin, SearchPath};
use fluxbay::run_file::{Diagnostics, Draft, Inputs, resolve};
use fluxbay::session::{Composed, Session, Surroundings};
use fluxbay_tests::{FIXTURE, build_plugin, plugin_dir, scratch, write};

/// A folder with the standard plugins and the fixture, created once.
pub fn plugins() -> &'static PathBuf {
    static DIR: OnceLock<Option<PathBuf>> = OnceLock::new();
    // A fixture that does not compile is tried once, not once per test.
    let made = DIR.get_or_init(|| std::panic::catch_unwind(make_plugins).ok());
    made.as_ref().expect("the fixture could not be built; the first failure says why")
}

fn make_plugins() -> PathBuf {
    let dir = plugin_dir().keep();
    let fixture = build_plugin("behaviour-fixture", FIXTURE);
    std::fs::copy(fixture, dir.join("behaviour-fixture.so")).expect("the fixture is a file");
    dir
}

/// Settings of every run of the fixture.
const COMMON: &str = r#"
[run]
seed = 7
epochs = 5
threads = 1
default-callbacks = false
[data]
component = "triples"
[loader]
batch-size = 8
shuffle = false
[loss]
component = "mae"
"#;

/// Model and optimizer of the fixture.
pub const SCALAR: &str = r#"
[model]
component = "scalar"
[optimizer]
component = "sgd"
learning-rate = 0.001
"#;

/// Resolves and composes a run of the fixture.
pub fn try_compose(text: &str) -> Result<Composed, Diagnostics> {
    try_compose_whole(&format!("{COMMON}{text}"), Surroundings::default())
}

/// Resolves and composes a run whose file is all of `text`.
pub fn try_compose_whole(text: &str, surroundings: Surroundings) -> Result<Composed, Diagnostics> {
    let dir = scratch();
    let file = write(dir.path(), "run.toml", text);
    let mut diagnostics = Diagnostics::new();
    let draft = Draft::read(&Inputs { files: vec![file], ..Inputs::default() }, &mut diagnostics);
    let mut path = SearchPath::new();
    path.push(plugins(), SearchOrigin::CommandLine);
    let catalog = Catalog::scan(&path, &ScanOptions::default());
    let run = resolve(draft, &catalog, &mut diagnostics);
    if diagnostics.has_errors() {
        return Err(diagnostics);
    }
    Composed::new(Rc::new(catalog), run, surroundings)
}

/// Resolves and composes a run from the whole text of its file.
#[allow(dead_code)]
pub fn compose_whole(text: &str) -> Result<Composed, Diagnostics> {
    try_compose_whole(text, Surroundings::default())
}

/// A session of a run whose file is all of `text`.
pub fn whole_session(text: &str, surroundings: Surroundings) -> Session {
    let composed = try_compose_whole(text, surroundings)
        .unwrap_or_else(|problems| panic!("{}", messages(&problems)));
    composed.open().unwrap_or_else(|problems| panic!("{}", messages(&problems)))
}

/// The run file of the fixture with additional lines.
pub fn fixture(text: &str) -> String {
    format!("{COMMON}{text}")
}

/// The errors of a run that cannot begin.
pub fn refusal(text: &str) -> String {
    match try_compose(text).and_then(Composed::open) {
        Ok(_) => panic!("it composes and opens"),
        Err(problems) => messages(&problems),
    }
}

/// The points of a series.
pub fn series(session: &Session, path: &str) -> Vec<(f64, f64)> {
    session.series(path).unwrap_or_default().into_iter().map(|point| (point.x, point.y)).collect()
}

/// The values of a series.
pub fn values(session: &Session, path: &str) -> Vec<f64> {
    series(session, path).into_iter().map(|(_, y)| y).collect()
}

/// The messages of all problems.
pub fn messages(diagnostics: &Diagnostics) -> String {
    diagnostics
        .iter()
        .map(|one| format!("{}\n{}", one.message, one.help.as_deref().unwrap_or_default()))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A session of the fixture; panics if it cannot be opened.
pub fn session(text: &str) -> Session {
    let composed = try_compose(text).unwrap_or_else(|problems| panic!("{}", messages(&problems)));
    composed.open().unwrap_or_else(|problems| panic!("{}", messages(&problems)))
}

/// A session of the scalar model with phases of these components and probes of these ids and
/// scripts.
pub fn probed(phases: &[&str], probes: &[(&str, &str)]) -> Session {
    let mut text = SCALAR.to_owned();
    for phase in phases {
        text += &format!("[[phase]]\ncomponent = \"{phase}\"\n");
    }
    for (id, script) in probes {
        text +=
            &format!("[[callback]]\ncomponent = \"probe\"\nid = \"{id}\"\nscript = \"{script}\"\n");
    }
    session(&text)
}

/// The log of a probe: events, each with the available parts of the step.
pub fn log(session: &Session, id: &str) -> String {
    session.text(&format!("cbstate.{id}")).unwrap_or_default()
}

/// The events of a probe.
pub fn events(session: &Session, id: &str) -> Vec<String> {
    log(session, id)
        .split(' ')
        .map(|entry| entry.split('[').next().unwrap_or_default().to_owned())
        .collect()
}

/// How often a probe was called for an event.
pub fn count(session: &Session, id: &str, event: &str) -> usize {
    events(session, id).iter().filter(|name| *name == event).count()
}

/// The only element of a parameter.
pub fn parameter(session: &Session, name: &str) -> f64 {
    let tensors = session.model_tensors().unwrap();
    let (_, tensor) = tensors
        .iter()
        .find(|(known, _)| known == name)
        .unwrap_or_else(|| panic!("no {name} among {tensors:?}"));
    f64::from(tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()[0])
}

/// `c`.
pub fn c(session: &Session) -> f64 {
    parameter(session, "model.c")
}

/// A display that records its output.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    printed: Rc<RefCell<String>>,
    open: Rc<RefCell<Vec<String>>>,
    closed: Rc<RefCell<u32>>,
}

impl Recording {
    /// Surroundings with this display.
    pub fn surroundings(&self) -> Surroundings {
        Surroundings { display: Rc::new(self.clone()), ..Surroundings::default() }
    }

    /// The printed text.
    pub fn text(&self) -> String {
        self.printed.borrow().clone()
    }

    /// Owners of the open bars, and how often all bars were closed.
    pub fn bars(&self) -> (Vec<String>, u32) {
        (self.open.borrow().clone(), *self.closed.borrow())
    }
}

impl Display for Recording {
    fn print(&self, _: &str, text: &str) {
        self.printed.borrow_mut().push_str(&format!("{text}\n"));
    }
    fn progress_begin(&self, by: &str, _: &str, _: u64) {
        self.open.borrow_mut().push(by.to_owned());
    }
    fn progress_set(&self, _: &str, _: u64, _: &str) {}
    fn progress_end(&self, by: &str, _: &str) {
        self.open.borrow_mut().retain(|open| open != by);
    }
    fn interactive(&self) -> bool {
        true
    }
    fn close(&self) {
        *self.closed.borrow_mut() += 1;
    }
}
