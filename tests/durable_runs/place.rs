//! What the tests share: small runs, a folder to train in, processes that are met while they run.

use std::{
    fs,
    io::Read as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use fluxbay::durable::compare::directories;
use fluxbay_tests::{build_plugin, fluxbay, plugin_dir, scratch, succeed, write};
use serde_json::Value;
use tempfile::TempDir;

/// A small run over the built-in digits: 4 steps of training and 2 of validation an epoch.
pub fn digits(more: &str) -> String {
    format!(
        "[run]\nepochs = 3\nseed = 5\nthreads = 1\n[data]\ncomponent = \"digits\"\n[loader]\nbatch-size = 360\nvalidation = 0.2\n\
         [loss]\ncomponent = \"cross-entropy\"\n[[phase]]\ncomponent = \"training\"\n[[phase]]\ncomponent = \"validation\"\n{more}"
    )
}

pub const MLP: &str = "[model]\ncomponent = \"mlp\"\nhidden = [8]\ndropout = 0.2\n";

pub const ADAMW: &str = "[optimizer]\ncomponent = \"adamw\"\nlearning-rate = 0.01\n";

/// A run of many small steps.
pub fn long(epochs: u32) -> String {
    digits(&format!(
        "{MLP}{ADAMW}[[logger]]\ncomponent = \"jsonl\"\n[[callback]]\ncomponent = \"log-metrics\"\n"
    ))
    .replace("epochs = 3", &format!("epochs = {epochs}"))
    .replace("batch-size = 360", "batch-size = 60")
}

const SLOW: &str = r#"
use fluxbay_plugin::prelude::*;

config! {
    /// When and how long.
    pub struct Slow {
        /// How long a step takes longer.
        milliseconds: u64,
        /// The only step that does, by its number since the run began, and leaves the file
        /// `in-step` before; by default all do.
        step: Option<u64> = null,
    }
}

impl Component for Slow {
    type Config = Slow;
    fn new(config: Slow, _: &mut Setup) -> Result<Self> {
        Ok(config)
    }
}

impl Callback for Slow {
    fn on(&mut self, event: &Event, _: &Learner) -> Result<()> {
        match self.step {
            Some(step) if step != event.total_steps() => return Ok(()),
            Some(_) => std::fs::write("in-step", "")?,
            None => {}
        }
        std::thread::sleep(std::time::Duration::from_millis(self.milliseconds));
        Ok(())
    }
}

plugin! {
    summary: "Slow.",
    callback "slow" => Slow { summary: "Waits at the end of steps.", on: [StepEnd] },
}
"#;

/// A folder with a run file and the standard plugins.
pub struct Place {
    pub dir: TempDir,
    pub plugins: TempDir,
}

impl Place {
    pub fn new(run_file: &str) -> Place {
        let place = Place { dir: scratch(), plugins: plugin_dir() };
        write(place.dir.path(), "run.toml", run_file);
        place
    }

    /// With the callback `slow`, which makes steps take as long as it is told, whatever the
    /// machine.
    pub fn with_slow(self) -> Place {
        fs::copy(build_plugin("slow", SLOW), self.plugins.path().join("slow.so")).unwrap();
        self
    }

    pub fn fluxbay(&self, arguments: &[&str]) -> Command {
        let mut command = fluxbay(self.dir.path(), self.plugins.path());
        command.args(arguments);
        command
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn state(&self, name: &str) -> Value {
        serde_json::from_str(&fs::read_to_string(self.path(name).join("state.json")).unwrap())
            .unwrap()
    }

    /// What differs between two runs of this place.
    pub fn differences(&self, one: &str, other: &str) -> Vec<String> {
        let found = directories(&self.path(one), &self.path(other)).unwrap();
        assert!(found.fields > 20, "hardly anything was compared");
        // Only the clock is another.
        let differences =
            found.differences.into_iter().filter(|one| !one.field.ends_with(": elapsed"));
        differences.map(|one| format!("{}: {} and {}", one.field, one.first, one.second)).collect()
    }

    pub fn assert_same(&self, one: &str, other: &str) {
        assert_eq!(self.differences(one, other), Vec::<String>::new());
    }
}

/// Ends a process if the test fails before it ended.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    pub fn start(mut command: Command) -> Running {
        Running(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
    }

    pub fn signal(&self, name: &str) {
        succeed(Command::new("kill").args([name, &self.0.id().to_string()]));
    }

    /// Waits, and gives the exit code and what was said.
    pub fn finish(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.0.wait().unwrap().code(), said)
    }
}

pub fn wait_for(what: &str, mut happens: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !happens() {
        assert!(begin.elapsed() < Duration::from_secs(120), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % bound
    }
}
