//! What the tests share: a folder to train in, and several processes of one run.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use fluxbay::durable::compare::directories;
use fluxbay_tests::{Finished, build_plugin, fluxbay, plugin_dir, scratch, write};
use serde_json::Value;
use tempfile::TempDir;

/// A small run over the built-in digits, over the sockets.
pub fn digits(run: &str, more: &str) -> String {
    format!(
        "[run]\nepochs = 2\nseed = 5\nthreads = 1\nrank-timeout = 60\n{run}[data]\ncomponent = \"digits\"\n[loader]\n\
         batch-size = 299\nvalidation = 0.2\n[communicator]\ncomponent = \"sockets\"\n[loss]\n\
         component = \"cross-entropy\"\n[[phase]]\ncomponent = \"training\"\n[[phase]]\n\
         component = \"validation\"\n{more}"
    )
}

pub const MLP: &str = "[model]\ncomponent = \"mlp\"\nhidden = [8]\ndropout = 0.2\n";
pub const ADAMW: &str = "[optimizer]\ncomponent = \"adamw\"\nlearning-rate = 0.01\n";

pub const TROUBLE: &str = "[[callback]]\ncomponent = \"trouble\"\n";

/// The standard plugins, the communicator, and the callback `trouble`, which ends one rank in the way that
/// the environment says. All tests share the folder: its files do not change while several processes read them.
pub fn plugins() -> &'static Path {
    static PLUGINS: OnceLock<TempDir> = OnceLock::new();
    let dir = PLUGINS.get_or_init(|| {
        let dir = plugin_dir();
        let sources =
            [("sockets", include_str!("sockets.rs")), ("trouble", include_str!("trouble.rs"))];
        for (name, source) in sources {
            let built = build_plugin(name, source);
            fs::copy(built, dir.path().join(format!("{name}.so"))).unwrap();
        }
        dir
    });
    dir.path()
}

/// A folder with a run file.
pub struct Place {
    pub dir: TempDir,
}

impl Place {
    pub fn new(run_file: &str) -> Place {
        let place = Place { dir: scratch() };
        write(place.dir.path(), "run.toml", run_file);
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn state(&self, name: &str) -> Value {
        let text = fs::read_to_string(self.path(name).join("state.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    pub fn state_of_rank(&self, name: &str, rank: usize) -> Value {
        let file = self.path(name).join(format!("ranks/{rank}.json"));
        serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
    }

    pub fn fluxbay(&self, arguments: &[&str]) -> Command {
        let mut command = fluxbay(self.dir.path(), plugins());
        command.args(arguments);
        command
    }

    /// Starts the same command as every rank of several.
    pub fn start(&self, ranks: usize, arguments: &[&str]) -> Ranks {
        self.start_each(ranks, |_| self.fluxbay(arguments))
    }

    /// As [`Place::start`], with what `trouble` does: kind, rank and step.
    pub fn start_in_trouble(&self, ranks: usize, trouble: &str, arguments: &[&str]) -> Ranks {
        self.start_each(ranks, |_| {
            let mut command = self.fluxbay(arguments);
            command.env("TROUBLE", trouble);
            command
        })
    }

    /// Starts a command for each rank of several.
    pub fn start_each(&self, ranks: usize, command: impl Fn(usize) -> Command) -> Ranks {
        let meeting = scratch();
        let start = |rank: usize| {
            command(rank)
                .env("FLUXBAY_RANK", rank.to_string())
                .env("FLUXBAY_RANKS", ranks.to_string())
                .env("FLUXBAY_MEETING", meeting.path())
                .env("TMPDIR", self.dir.path())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        };
        Ranks { processes: (0..ranks).map(start).collect(), _meeting: Some(meeting) }
    }

    /// As [`Place::start`]; waits for all of them, which must succeed.
    pub fn succeed(&self, ranks: usize, arguments: &[&str]) -> Vec<Finished> {
        let all = self.start(ranks, arguments).wait(Duration::from_secs(120));
        for (rank, finished) in all.iter().enumerate() {
            assert_eq!(finished.code, Some(0), "rank {rank}: {}", finished.stderr);
        }
        all
    }

    /// What differs between two runs of this place, except times and what says how they were started.
    pub fn differences(&self, one: &str, other: &str) -> Vec<String> {
        let found = directories(&self.path(one), &self.path(other)).unwrap();
        assert!(found.fields > 20, "hardly anything was compared");
        found
            .differences
            .into_iter()
            .filter(|one| !one.field.ends_with(": elapsed"))
            .map(|one| format!("{}: {} and {}", one.field, one.first, one.second))
            .collect()
    }
}

/// The processes of a run.
pub struct Ranks {
    pub processes: Vec<Child>,
    _meeting: Option<TempDir>,
}

impl Ranks {
    /// A launcher that starts them.
    pub fn of(launcher: Child) -> Ranks {
        Ranks { processes: vec![launcher], _meeting: None }
    }

    /// Waits for all processes; those that are still there after `limit` are killed, which fails the
    /// test.
    pub fn wait(mut self, limit: Duration) -> Vec<Finished> {
        let end = Instant::now() + limit;
        let mut late = Vec::new();
        for (rank, process) in self.processes.iter_mut().enumerate() {
            while process.try_wait().unwrap().is_none() {
                if Instant::now() > end {
                    late.push(rank);
                    process.kill().unwrap();
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let finished: Vec<Finished> = self
            .processes
            .iter_mut()
            .map(|process| {
                let code = process.wait().unwrap().code();
                let (mut stdout, mut stderr) = (String::new(), String::new());
                process.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
                process.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
                Finished { code, stdout, stderr }
            })
            .collect();
        assert!(late.is_empty(), "ranks {late:?} did not end: {finished:#?}");
        finished
    }
}
