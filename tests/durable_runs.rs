//! Runs that lose nothing: interrupted, killed, damaged and resumed through the binary, compared bit for bit.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use fluxbay::durable::compare::directories;
use fluxbay::record::checkpoint;
use fluxbay_tests::{build_plugin, fluxbay, plugin_dir, run, scratch, succeed, write};
use serde_json::Value;
use tempfile::TempDir;

/// A small run over the built-in digits: 4 steps of training and 2 of validation an epoch.
fn digits(more: &str) -> String {
    format!(
        "[run]\nepochs = 3\nseed = 5\nthreads = 1\n[data]\ncomponent = \"digits\"\n[loader]\nbatch-size = 360\nvalidation = 0.2\n\
         [loss]\ncomponent = \"cross-entropy\"\n[[phase]]\ncomponent = \"training\"\n[[phase]]\ncomponent = \"validation\"\n{more}"
    )
}

const MLP: &str = "[model]\ncomponent = \"mlp\"\nhidden = [8]\ndropout = 0.2\n";
const ADAMW: &str = "[optimizer]\ncomponent = \"adamw\"\nlearning-rate = 0.01\n";

/// A folder with a run file and the standard plugins.
struct Place {
    dir: TempDir,
    plugins: TempDir,
}

impl Place {
    fn new(run_file: &str) -> Place {
        let place = Place { dir: scratch(), plugins: plugin_dir() };
        write(place.dir.path(), "run.toml", run_file);
        place
    }

    fn fluxbay(&self, arguments: &[&str]) -> Command {
        let mut command = fluxbay(self.dir.path(), self.plugins.path());
        command.args(arguments);
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn state(&self, name: &str) -> Value {
        serde_json::from_str(&fs::read_to_string(self.path(name).join("state.json")).unwrap()).unwrap()
    }

    /// What differs between two runs of this place.
    fn differences(&self, one: &str, other: &str) -> Vec<String> {
        let found = directories(&self.path(one), &self.path(other)).unwrap();
        assert!(found.fields > 20, "hardly anything was compared");
        // Only the clock is another.
        let differences = found.differences.into_iter().filter(|one| !one.field.ends_with(": elapsed"));
        differences.map(|one| format!("{}: {} and {}", one.field, one.first, one.second)).collect()
    }

    fn assert_same(&self, one: &str, other: &str) {
        assert_eq!(self.differences(one, other), Vec::<String>::new());
    }
}

/// Runs `verify-resume` and gives what it says.
fn verify(run_file: &str, interruptions: u32) -> Value {
    let place = Place::new(run_file);
    let finished = run(&mut place.fluxbay(&["verify-resume", "run.toml", "--json", "--interruptions", &interruptions.to_string()]));
    let said: Value = serde_json::from_str(&finished.stdout).unwrap_or_else(|_| panic!("{}\n{}", finished.stdout, finished.stderr));
    assert_eq!(finished.code == Some(0), said["same"] == true);
    said
}

fn assert_resumes(run_file: &str, interruptions: u32) {
    let said = verify(run_file, interruptions);
    assert_eq!(said["same"], true, "{said:#}");
    assert_eq!(said["interrupted-after-steps"].as_array().unwrap().len(), interruptions as usize);
}

/// Runs that between them have every standard component.
fn standard_runs(data: &Path) -> Vec<String> {
    let all_schedules = "[[callback]]\ncomponent = \"scheduler\"\n[callback.schedules]\n\"optimizer.learning-rate\" = { component = \"sequence\", \
         parts = [{ value = 0.01, steps = 1 }, { component = \"shifted\", schedule = { component = \"linear\", start = 0.1, end = 0.01, steps = 4 }, offset = 1, steps = 2 }, \
         { component = \"points\", points = [[1, 0.0], [9, 0.1]], steps = 1 }, { component = \"step\", start = 0.1, decay = 0.5, every = 2, steps = 1 }, \
         { component = \"exp\", start = 0.1, decay = 0.9, steps = 1 }, { component = \"shifted\", schedule = { component = \"poly\", start = 0.1, degree = 2, steps = 9 }, offset = 1, steps = 2 }, \
         { component = \"inv\", start = 0.1, decay = 0.01, steps = 1 }, { component = \"shifted\", schedule = { component = \"onecycle\", steps = 12, max = 0.01 }, offset = 1 }] }\n\
         \"optimizer.weight-decay\" = { component = \"constant\", value = 0.02 }\n\"hyper.ema.decay\" = { component = \"loop\", period = 5, schedule = { component = \"warmup\", steps = 2, schedule = \
         { component = \"cos-anneal\", high = 0.9, low = 0.1, period = 4 } } }\n\
         \"hyper.label-smoothing.amount\" = { component = \"sequence\", parts = [{ component = \"triangle-decay2\", low = 0.01, high = 0.1, period = 3, \
         steps = 2 }, { component = \"triangle-exp\", low = 0.01, high = 0.1, period = 3, decay = 0.9, steps = 2 }, \
         { component = \"sin\", low = 0.01, high = 0.1, period = 3, steps = 2 }, { component = \"sin-decay2\", low = 0.01, high = 0.1, period = 3, \
         steps = 2 }, { component = \"sin-exp\", low = 0.01, high = 0.1, period = 3, decay = 0.9 }] }\n";
    let classification = digits(&format!(
        "{MLP}{ADAMW}[[callback]]\ncomponent = \"gradient-accumulation\"\nsteps = 3\n[[callback]]\ncomponent = \"ema\"\n[[callback]]\ncomponent = \"label-smoothing\"\n{all_schedules}[[callback]]\ncomponent = \"early-stopping\"\n[[callback]]\n\
         component = \"metrics\"\nmetrics = [\"accuracy\", {{ component = \"top-k\", k = 3 }}, \"precision\", \"recall\", \"f1\", \
         \"confusion-matrix\", \"smooth-loss\", \"perplexity\"]\n\
         [[callback]]\ncomponent = \"recorder\"\n[[callback]]\ncomponent = \"log-metrics\"\n[[callback]]\ncomponent = \"log-hyperparameters\"\n\
         [[callback]]\ncomponent = \"log-histograms\"\nevery = 2\n[[callback]]\ncomponent = \"log-images\"\nevery = 5\nshape = [8, 8]\n\
         [[callback]]\ncomponent = \"traces\"\nvalues = {{ loss = \"step.loss\" }}\n[[callback]]\ncomponent = \"progress\"\n\
         [[callback]]\ncomponent = \"metrics-printer\"\n[[callback]]\ncomponent = \"stop-on-nan\"\n[[callback]]\ncomponent = \"sanity-check\"\n\
         [[logger]]\ncomponent = \"jsonl\"\n[[logger]]\ncomponent = \"csv\"\n[[logger]]\ncomponent = \"tensorboard\"\n"
    ));
    let convolution = digits(
        "[model]\ncomponent = \"cnn\"\nchannels = [2]\nhidden = []\n[optimizer]\ncomponent = \"sgd\"\nlearning-rate = 0.05\nmomentum = 0.9\n\
         [[callback]]\ncomponent = \"lr-finder\"\nsteps = 5\n[[callback]]\ncomponent = \"to-device\"\ndtype = \"f32\"\n\
         [[callback]]\ncomponent = \"memory-trim\"\nevery = 3\n[[callback]]\ncomponent = \"checkpointer\"\nkeep-top-k = 2\n\
         [[callback]]\ncomponent = \"mixup\"\n[[callback]]\ncomponent = \"scheduler\"\n[callback.schedules]\n\"hyper.mixup.alpha\" = \
         { component = \"shifted\", offset = 2, schedule = { component = \"interpolator\", rate = 2, schedule = \
         { component = \"triangle\", low = 0.1, high = 0.4, period = 6 } } }\n\
         [[callback]]\ncomponent = \"gradient-clipping\"\nnorm = 1.0\n[[callback]]\ncomponent = \"reduce-on-plateau\"\npatience = 1\n\
         [[callback]]\ncomponent = \"traces\"\nvalues = { loss = \"step.loss\" }\n[[callback]]\ncomponent = \"throttle\"\nevent = \"step-end\"\nevery = 3\n\
         callback = { component = \"log-traces\" }\n[[callback]]\ncomponent = \"conditional\"\nfrom-epoch = 2\ncallback = { component = \"ema\", \
         decay = 0.9 }\n[[logger]]\ncomponent = \"jsonl\"\n",
    )
    .replace("component = \"training\"", "component = \"low-loss\"\nbelow = 0.001");
    let adversarial = "[run]\nepochs = 2\nseed = 3\nthreads = 1\n[data]\ncomponent = \"mixture\"\nsamples = 96\n[loader]\nbatch-size = 16\nvalidation = 0.0\n\
         [model.generator]\ncomponent = \"mlp\"\nhidden = [8]\ninputs = 4\noutputs = 2\n[model.critic]\ncomponent = \"mlp\"\nhidden = [8]\noutputs = 1\n\
         [optimizer.generator]\ncomponent = \"adam\"\nlearning-rate = 0.001\n[optimizer.critic]\ncomponent = \"rmsprop\"\nlearning-rate = 0.001\n\
         [loss]\ncomponent = \"mse\"\n[[phase]]\ncomponent = \"gan\"\nlatent = 4\n"
        .to_owned();
    let features = "[run]\nepochs = 2\nseed = 3\nthreads = 1\n[data]\ncomponent = \"digits\"\n[loader]\nbatch-size = 480\nvalidation = 0.2\n\
         [model.encoder]\ncomponent = \"mlp\"\nhidden = [8]\noutputs = 8\n[model.decoder]\ncomponent = \"mlp\"\nhidden = []\ninputs = 8\noutputs = 64\n\
         [model.probe]\ncomponent = \"mlp\"\nhidden = []\ninputs = 8\noutputs = 10\n[optimizer.encoder]\ncomponent = \"lion\"\n\
         [optimizer.decoder]\ncomponent = \"adam\"\n[optimizer.probe]\ncomponent = \"sgd\"\n[loss]\ncomponent = \"cross-entropy\"\n\
         [[phase]]\ncomponent = \"masked-reconstruction\"\n[[phase]]\ncomponent = \"linear-probe\"\n[[phase]]\ncomponent = \"linear-probe-validation\"\n"
        .to_owned();
    let text = format!(
        "[run]\nepochs = 2\nseed = 3\nthreads = 1\n[data]\ncomponent = \"text\"\npath = {:?}\ncontext = 8\n[loader]\nbatch-size = 16\n[model]\n\
         component = \"gpt\"\nlayers = 1\nwidth = 8\nheads = 2\ndropout = 0.1\n{ADAMW}[loss]\ncomponent = \"cross-entropy\"\n[[phase]]\n\
         component = \"training\"\n[[phase]]\ncomponent = \"validation\"\n",
        data.join("text.txt")
    );
    let regression = format!(
        "[run]\nepochs = 2\nseed = 3\nthreads = 1\n[data]\ncomponent = \"csv\"\npath = {:?}\ntarget = \"y\"\n[loader]\nbatch-size = 8\n[model]\n\
         component = \"sequential\"\n[[model.layers]]\ntype = \"linear\"\nout = 4\n[[model.layers]]\ntype = \"linear\"\nout = 1\n{ADAMW}\
         [loss.a]\ncomponent = \"huber\"\n[loss.b]\ncomponent = \"mae\"\n[loss.c]\ncomponent = \"mse\"\n[[phase]]\ncomponent = \"training\"\n\
         [[phase]]\ncomponent = \"validation\"\n[[callback]]\ncomponent = \"metrics\"\nmetrics = [\"mse\", \"rmse\", \"mae\", \"r2\"]\n",
        data.join("table.csv")
    );
    let two_classes = format!(
        "[run]\nepochs = 2\nseed = 3\nthreads = 1\n[data]\ncomponent = \"idx\"\nimages = {:?}\nlabels = {:?}\n[loader]\nbatch-size = 8\n[model]\n\
         component = \"mlp\"\nhidden = [4]\n{ADAMW}[loss]\ncomponent = \"cross-entropy\"\n[[phase]]\ncomponent = \"training\"\n[[phase]]\n\
         component = \"validation\"\n[[callback]]\ncomponent = \"metrics\"\nmetrics = [\"auroc\"]\n",
        data.join("images"),
        data.join("labels")
    );
    vec![classification, convolution, adversarial, features, text, regression, two_classes]
}

fn standard_data() -> TempDir {
    let dir = scratch();
    let line = "it was the best of times, it was the worst of times, it was the age of wisdom.\n";
    write(dir.path(), "text.txt", &line.repeat(8));
    let rows: String = (0..60).map(|x| format!("{x},{},{}\n", x * x % 17, 3 * x + x % 5)).collect();
    write(dir.path(), "table.csv", &format!("a,b,y\n{rows}"));
    let idx = |shape: &[u32], bytes: Vec<u8>| {
        let mut file = vec![0, 0, 8, shape.len() as u8];
        file.extend(shape.iter().flat_map(|size| size.to_be_bytes()));
        file.extend(bytes);
        file
    };
    fs::write(dir.path().join("images"), idx(&[60, 2, 2], (0..240_u32).map(|x| (x * 37 % 251) as u8).collect())).unwrap();
    fs::write(dir.path().join("labels"), idx(&[60], (0..60_u32).map(|x| (x % 2) as u8).collect())).unwrap();
    dir
}

#[test]
fn every_standard_component_is_in_a_run_that_is_verified() {
    let place = Place::new("");
    let data = standard_data();
    let runs = standard_runs(data.path()).concat();
    let listed = succeed(&mut place.fluxbay(&["list", "--json"])).stdout;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let mut names = Vec::new();
    components(&listed, &mut names);
    assert!(names.len() > 50, "{names:?}");
    let missing: Vec<&String> = names.iter().filter(|name| !runs.contains(&format!("\"{name}\""))).collect();
    assert!(missing.is_empty(), "in no run that is verified: {missing:?}");
}

/// Names of all components of a listing.
fn components(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| components(item, names)),
        Value::Object(fields) => {
            if let (Some(_), Some(name)) = (fields.get("kind"), fields.get("name").and_then(Value::as_str)) {
                names.push(name.to_owned());
            }
            fields.values().for_each(|value| components(value, names));
        }
        _ => {}
    }
}

macro_rules! verified {
    ($($name:ident: $index:expr),+ $(,)?) => { $(
        #[test]
        fn $name() {
            let data = standard_data();
            assert_resumes(&standard_runs(data.path())[$index], 3);
        }
    )+ };
}

verified! {
    accumulation_averages_schedules_metrics_and_loggers_go_on_in_the_middle_of_an_epoch: 0,
    convolutions_wrappers_and_a_phase_with_an_epoch_of_its_own_go_on_in_the_middle_of_an_epoch: 1,
    two_models_that_play_against_each_other_go_on_in_the_middle_of_an_epoch: 2,
    three_models_and_phases_go_on_in_the_middle_of_an_epoch: 3,
    a_transformer_goes_on_in_the_middle_of_an_epoch: 4,
    regression_goes_on_in_the_middle_of_an_epoch: 5,
    images_from_files_go_on_in_the_middle_of_an_epoch: 6,
}

/// A callback that keeps what it needs in places of its own.
const FORGETFUL: &str = r#"
use fluxbay_plugin::prelude::*;

struct Forgetful { sum: f64, loss: Read<f64>, out: Write<f64> }

impl Component for Forgetful {
    type Config = NoConfig;
    fn new(_: NoConfig, setup: &mut Setup) -> Result<Self> {
        Ok(Forgetful { sum: 0.0, loss: setup.read("step.loss")?, out: setup.write("cbstate.sum")? })
    }
}

impl Callback for Forgetful {
    fn on(&mut self, _: &Event, learner: &Learner) -> Result<()> {
        self.sum += learner.get(&self.loss)?;
        learner.set(&self.out, self.sum)
    }
}

plugin! {
    summary: "Forgets.",
    callback "forgetful" => Forgetful { summary: "Sums up losses and saves nothing.", on: [StepEnd], reads: ["step.loss"], writes: ["cbstate.sum"] },
}
"#;

#[test]
fn a_component_that_forgets_its_state_is_found_and_the_field_is_named() {
    let place = Place::new(&digits(&format!("{MLP}{ADAMW}[[callback]]\ncomponent = \"forgetful\"\n")));
    fs::copy(build_plugin("forgetful", FORGETFUL), place.plugins.path().join("forgetful.so")).unwrap();
    let finished = run(&mut place.fluxbay(&["verify-resume", "run.toml"]));
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    assert!(finished.stderr.contains("first in state `cbstate.sum`"), "{}", finished.stderr);
}

/// Ends a process if the test fails before it ended.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn start(mut command: Command) -> Running {
        Running(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
    }

    fn signal(&self, name: &str) {
        succeed(Command::new("kill").args([name, &self.0.id().to_string()]));
    }

    /// Waits, and gives the exit code and what was said.
    fn finish(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.0.wait().unwrap().code(), said)
    }
}

fn wait_for(what: &str, mut happens: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !happens() {
        assert!(begin.elapsed() < Duration::from_secs(120), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A run of many small steps.
fn long(epochs: u32) -> String {
    digits(&format!("{MLP}{ADAMW}[[logger]]\ncomponent = \"jsonl\"\n[[callback]]\ncomponent = \"log-metrics\"\n"))
        .replace("epochs = 3", &format!("epochs = {epochs}"))
        .replace("batch-size = 360", "batch-size = 60")
}

#[test]
fn a_signal_ends_the_run_after_its_step_and_it_goes_on_as_if_nothing_had_happened() {
    let place = Place::new(&long(60));
    succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "straight"]));
    for (signal, code, status) in [("-INT", 130, "SIGINT"), ("-TERM", 143, "SIGTERM")] {
        let name = status.to_lowercase();
        let running = Running::start(place.fluxbay(&["train", "run.toml", "--run-dir", &name]));
        let metrics = place.path(&name).join("metrics.jsonl");
        wait_for("training", || fs::metadata(&metrics).is_ok_and(|metadata| metadata.len() > 0));
        running.signal(signal);
        let (found, said) = running.finish();
        assert_eq!(found, Some(code), "{said}");
        assert!(said.contains("fluxbay resume"), "{said}");
        let state = place.state(&name);
        assert_eq!((&state["status"], &state["reason"], &state["exit-code"]), (&"interrupted".into(), &status.into(), &code.into()));
        let left = checkpoint::scan(&place.path(&name).join("checkpoints"));
        assert_eq!(left.last().unwrap().about.as_ref().unwrap().reason, "signal");
        succeed(&mut place.fluxbay(&["resume", &name]));
        place.assert_same("straight", &name);
    }
}

/// A callback whose steps take long, so that a run can be met in the middle of one.
const SLOW: &str = r#"
use fluxbay_plugin::prelude::*;

struct Slow;

impl Component for Slow {
    type Config = NoConfig;
    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(Slow)
    }
}

impl Callback for Slow {
    fn on(&mut self, event: &Event, _: &Learner) -> Result<()> {
        if event.total_steps() == 3 {
            std::fs::write("in-step-3", "")?;
            std::thread::sleep(std::time::Duration::from_secs(600));
        }
        Ok(())
    }
}

plugin! {
    summary: "Slow.",
    callback "slow" => Slow { summary: "Sleeps in the third step.", on: [StepEnd] },
}
"#;

#[test]
fn a_second_signal_ends_the_run_at_once_and_a_running_folder_is_locked() {
    let place = Place::new(&digits(&format!("{MLP}{ADAMW}[checkpoints]\nevery-steps = 1\n[[callback]]\ncomponent = \"slow\"\n")));
    fs::copy(build_plugin("slow", SLOW), place.plugins.path().join("slow.so")).unwrap();
    let running = Running::start(place.fluxbay(&["train", "run.toml", "--run-dir", "out"]));
    wait_for("the third step", || place.path("in-step-3").exists());
    let second = run(&mut place.fluxbay(&["resume", "out"]));
    assert_eq!(second.code, Some(2), "{}", second.stderr);
    assert!(
        second.stderr.contains("in use by another process") && second.stderr.contains(&running.0.id().to_string()),
        "{}",
        second.stderr
    );
    running.signal("-INT");
    std::thread::sleep(Duration::from_millis(300));
    running.signal("-INT");
    let begin = Instant::now();
    let (code, said) = running.finish();
    assert_eq!(code, Some(130), "{said}");
    assert!(begin.elapsed() < Duration::from_secs(60));
    let (found, damaged) = checkpoint::newest(&place.path("out/checkpoints"));
    assert!(damaged.is_empty() && found.unwrap().1.about.step >= 1);
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % bound
    }
}

#[test]
fn killed_at_100_random_moments_nothing_is_lost_and_the_end_is_the_same() {
    const KILLS: u32 = 100;
    const SEED: u64 = 20_260_301;
    let text = format!("{}[checkpoints]\nevery-steps = 1\nkeep-last = 3\n", long(300));
    let place = Place::new(&text);
    let (mut random, mut kills, mut in_save, mut before_first, mut finished) = (Random(SEED), 0, 0, 0, 0);
    // How long it takes to come to the first step, so that most kills come later.
    let begin = Instant::now();
    let probe = Running::start(place.fluxbay(&["train", "run.toml", "--run-dir", "probe"]));
    wait_for("the first checkpoint", || !checkpoint::scan(&place.path("probe/checkpoints")).is_empty());
    let start = begin.elapsed();
    drop(probe);
    succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "straight", "--set", "checkpoints.every-steps=0"]));
    while kills < KILLS {
        let name = format!("killed-{finished}");
        let folder = place.path(&name).join("checkpoints");
        let arguments: &[&str] = if place.path(&name).exists() { &["resume", &name] } else { &["train", "run.toml", "--run-dir", &name] };
        let mut running = Running::start(place.fluxbay(arguments));
        let start = start.as_micros() as u64;
        let wait = start * 4 / 5 + random.below(start / 2);
        std::thread::sleep(Duration::from_micros(wait));
        if running.0.try_wait().unwrap().is_some() {
            // It came to its end before it could be killed: the next one begins.
            let (code, said) = running.finish();
            assert_eq!(code, Some(0), "after {kills} kills: {said}");
            place.assert_same("straight", &name);
            finished += 1;
            continue;
        }
        running.0.kill().unwrap();
        running.0.wait().unwrap();
        kills += 1;
        let hidden = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with('.');
        in_save += u32::from(fs::read_dir(&folder).is_ok_and(|entries| entries.flatten().any(hidden)));
        let found = checkpoint::scan(&folder);
        before_first += u32::from(found.is_empty());
        for found in &found {
            checkpoint::verify(&found.path).unwrap_or_else(|damage| panic!("kill {kills}: {}: {damage}", found.path.display()));
        }
    }
    let name = format!("killed-{finished}");
    if place.path(&name).exists() {
        succeed(&mut place.fluxbay(&["resume", &name]));
        place.assert_same("straight", &name);
        finished += 1;
    }
    println!(
        "killed {kills} times in {finished} runs ({in_save} within a save, {before_first} before a first one), seed {SEED}: 0 lost, 0 unreadable, \
         each end the same as that of a run that was never killed"
    );
    assert!(in_save > 0, "no kill fell into a save");
}

#[test]
fn every_flipped_byte_of_a_checkpoint_is_found_before_training_goes_on() {
    const SEED: u64 = 7;
    let place = Place::new(&digits(&format!("{MLP}{ADAMW}[checkpoints]\nkeep-last = 0\n")));
    succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "out"]));
    let found = checkpoint::scan(&place.path("out/checkpoints"));
    let last = &found.last().unwrap().path;
    let files: Vec<(PathBuf, Vec<u8>)> =
        fs::read_dir(last).unwrap().flatten().map(|entry| (entry.path(), fs::read(entry.path()).unwrap())).collect();
    let total: u64 = files.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    let mut random = Random(SEED);
    for flip in 0..1000 {
        let mut at = random.below(total) as usize;
        // The small files get their share as well: every second flip falls into any file with the same chance.
        let file = if flip % 2 == 0 { random.below(files.len() as u64) as usize } else { usize::MAX };
        let (path, whole) = match files.get(file).filter(|(_, bytes)| !bytes.is_empty()) {
            Some(file) => {
                at %= file.1.len();
                file
            }
            None => files
                .iter()
                .find(|(_, bytes)| {
                    let inside = at < bytes.len();
                    at -= if inside { 0 } else { bytes.len() };
                    inside
                })
                .unwrap(),
        };
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << random.below(8);
        fs::write(path, &bytes).unwrap();
        // What `resume` does before it uses anything.
        assert!(checkpoint::read(last).is_err(), "flip {flip} in {} at {at} went unseen", path.display());
        if flip % 250 == 0 {
            let refused = run(&mut place.fluxbay(&["resume", "--from", last.to_str().unwrap()]));
            assert_eq!(refused.code, Some(2), "{}", refused.stderr);
            let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
            assert!(refused.stderr.contains(&name(last)) && refused.stderr.contains("is whole"), "{}", refused.stderr);
            assert!(refused.stderr.contains(&name(&found[found.len() - 2].path)), "the one before is offered: {}", refused.stderr);
        }
        fs::write(path, whole).unwrap();
    }
    println!("1000 flipped bits in {total} bytes of {} files, seed {SEED}: all found", files.len());
}

#[test]
fn a_damaged_checkpoint_is_named_and_the_one_before_is_taken() {
    let place = Place::new(&digits(&format!("{MLP}{ADAMW}[checkpoints]\nkeep-last = 0\n")));
    succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "straight"]));
    succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "out"]));
    let found = checkpoint::scan(&place.path("out/checkpoints"));
    let last = found.last().unwrap().path.join("model.safetensors");
    let whole = fs::read(&last).unwrap();
    fs::write(&last, &whole[..whole.len() / 2]).unwrap();
    let resumed = succeed(&mut place.fluxbay(&["resume", "out"]));
    let before = found[found.len() - 2].path.file_name().unwrap().to_string_lossy().into_owned();
    assert!(resumed.stderr.contains("`model.safetensors` is cut short") && resumed.stderr.contains(&before), "{}", resumed.stderr);
    place.assert_same("straight", "out");
}

#[test]
fn a_run_that_stopped_before_its_first_checkpoint_begins_anew_where_it_is() {
    let place = Place::new(&long(3));
    succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "straight"]));
    let mut command = place.fluxbay(&["train", "run.toml", "--run-dir", "out", "--interrupt-at", "5"]);
    command.args(["--set", "checkpoints.on-signal=false", "--set", "checkpoints.every-epochs=0"]);
    assert_eq!(run(&mut command).code, Some(130));
    assert!(checkpoint::scan(&place.path("out/checkpoints")).is_empty());
    // A torn last line, as a power cut may leave it.
    let metrics = place.path("out/metrics.jsonl");
    fs::write(&metrics, fs::read_to_string(&metrics).unwrap() + "{\"time\":17").unwrap();
    let resumed = succeed(&mut place.fluxbay(&["resume", "out"]));
    assert!(resumed.stderr.contains("before its first checkpoint"), "{}", resumed.stderr);
    place.assert_same("straight", "out");
}

#[test]
fn torn_lines_are_repaired_and_the_record_is_whole() {
    let place = Place::new(&long(3));
    succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "straight"]));
    assert_eq!(run(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "out", "--interrupt-at", "30"])).code, Some(130));
    for name in ["metrics.jsonl", "metrics.csv", "events.jsonl", "log.txt"] {
        let path = place.path("out").join(name);
        fs::write(&path, fs::read_to_string(&path).unwrap_or_default() + "{\"torn\":tru").unwrap();
    }
    succeed(&mut place.fluxbay(&["resume", "out"]));
    place.assert_same("straight", "out");
    let log = fs::read_to_string(place.path("out/log.txt")).unwrap();
    assert!(!log.contains("tru") && log.ends_with('\n'), "{log}");
    for name in ["environment.json", "profile.json", "state.json"] {
        serde_json::from_str::<Value>(&fs::read_to_string(place.path("out").join(name)).unwrap()).unwrap();
    }
    let profile: Value = serde_json::from_str(&fs::read_to_string(place.path("straight/profile.json")).unwrap()).unwrap();
    assert_eq!((&profile["phases"][0]["phase"], &profile["phases"][0]["steps"]), (&"training".into(), &72.into()));
    let of = |list: &str, key: &str| -> Vec<String> {
        profile[list].as_array().unwrap().iter().map(|row| row[key].as_str().unwrap().to_owned()).collect()
    };
    assert!(
        of("callbacks", "callback").contains(&"metrics".to_owned()) && of("events", "event").contains(&"epoch-end".to_owned()),
        "{profile:#}"
    );
    assert!(profile["own-cost"]["share"].as_f64().unwrap() < 0.05, "{profile:#}");
}

#[test]
fn changes_are_refused_by_name_until_they_are_allowed() {
    let place = Place::new(&digits(&format!("{MLP}{ADAMW}")));
    succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "out"]));
    let refused = run(&mut place.fluxbay(&["resume", "out", "--set", "run.epochs=4", "--set", "optimizer.learning-rate=0.5"]));
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("optimizer.learning-rate: 0.01 then, 0.5 now") && refused.stderr.contains("--allow-other-settings"));
    assert!(!refused.stderr.contains("run.epochs"), "training longer is no change: {}", refused.stderr);
    let allowed = ["resume", "out", "--set", "run.epochs=4", "--set", "optimizer.learning-rate=0.5", "--allow-other-settings"];
    succeed(&mut place.fluxbay(&allowed));
    assert_eq!(place.state("out")["epoch"], 4);
    assert!(fs::read_to_string(place.path("out/resolved.toml")).unwrap().contains("0.5"), "the run is what it is now");

    // The same plugin with other bytes: a section is added to the file.
    let plugin = fs::read_dir(place.plugins.path()).unwrap().flatten().find(|entry| entry.file_name().to_string_lossy().contains("models"));
    let path = plugin.unwrap().path();
    let mut bytes = fs::read(&path).unwrap();
    bytes.push(0);
    fs::write(&path, bytes).unwrap();
    let refused = run(&mut place.fluxbay(&["resume", "out", "--set", "run.epochs=5"]));
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("plugin `fluxbay-models` is another file than then"), "{}", refused.stderr);
    succeed(&mut place.fluxbay(&["resume", "out", "--set", "run.epochs=5", "--allow-other-plugins"]));
    assert_eq!(place.state("out")["epoch"], 5);
}

/// A callback whose state has a version; `{version}` and `{load}` are put in.
const VERSIONED: &str = r#"
use fluxbay_plugin::prelude::*;

struct Versioned { count: u64, out: Write<f64> }

impl Component for Versioned {
    type Config = NoConfig;
    fn new(_: NoConfig, setup: &mut Setup) -> Result<Self> {
        Ok(Versioned { count: 0, out: setup.write("cbstate.count")? })
    }
    fn save(&self) -> Result<Vec<u8>> {
        to_bytes(&self.count)
    }
    fn load(&mut self, version: u32, bytes: &[u8]) -> Result<()> {
        {load}
    }
}

impl Callback for Versioned {
    fn on(&mut self, _: &Event, learner: &Learner) -> Result<()> {
        self.count += 1;
        learner.print(&format!("count {}", self.count))?;
        learner.set(&self.out, self.count as f64)
    }
}

plugin! {
    summary: "Versioned.",
    callback "versioned" => Versioned { summary: "Counts epochs.", state_version: {version}, on: [EpochEnd], writes: ["cbstate.count"] },
}
"#;

#[test]
fn state_of_another_version_is_upgraded_by_the_component_or_refused() {
    let place = Place::new(&digits(&format!("{MLP}{ADAMW}[[callback]]\ncomponent = \"versioned\"\n")));
    let install = |version: u32, load: &str| {
        let source = VERSIONED.replace("{version}", &version.to_string()).replace("{load}", load);
        let path = place.plugins.path().join("versioned.so");
        // Never in place: a mapped file that changes ends the process that mapped it.
        let _ = fs::remove_file(&path);
        fs::copy(build_plugin("versioned", &source), path).unwrap();
    };
    let resume =
        |epochs: u32| run(&mut place.fluxbay(&["resume", "out", "--set", &format!("run.epochs={epochs}"), "--allow-other-plugins"]));
    install(1, "let _ = version; self.count = from_bytes(bytes)?; Ok(())");
    assert!(succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "out"])).stderr.contains("count 6"));
    install(2, "if version != 2 { bail!(\"state of version {version} is too old for this\"); } self.count = from_bytes(bytes)?; Ok(())");
    let refused = resume(4);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("`versioned`") && refused.stderr.contains("state of version 1 is too old for this"),
        "{}",
        refused.stderr
    );
    install(3, "let count: u64 = from_bytes(bytes)?; self.count = if version < 3 { count * 100 } else { count }; Ok(())");
    let upgraded = resume(4);
    assert!(upgraded.code == Some(0) && upgraded.stderr.contains("count 602"), "{}", upgraded.stderr);
    install(2, "let _ = version; self.count = from_bytes(bytes)?; Ok(())");
    let older = resume(5);
    assert_eq!(older.code, Some(2), "{}", older.stderr);
    assert!(older.stderr.contains("has version 3") && older.stderr.contains("reads up to version 2"), "{}", older.stderr);
}

#[test]
fn a_run_that_had_ended_early_stays_ended_unless_told_otherwise() {
    let place = Place::new(&digits(&format!(
        "{MLP}{ADAMW}[[callback]]\ncomponent = \"early-stopping\"\ncriterion = {{ type = \"number-limit\", n = 2 }}\n"
    )));
    let straight = succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "straight"]));
    assert!(straight.stderr.contains("stopped early in epoch 2"), "{}", straight.stderr);
    succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "out"]));
    let again = succeed(&mut place.fluxbay(&["resume", "out"]));
    assert!(again.stderr.contains("stopped early in epoch 2"), "{}", again.stderr);
    assert_eq!((&place.state("out")["status"], &place.state("out")["by"]), (&"stopped".into(), &"early-stopping".into()));
    place.assert_same("straight", "out");
    let past = succeed(&mut place.fluxbay(&["resume", "out", "--past-stop"]));
    assert!(past.stderr.contains("stopped early in epoch 3"), "{}", past.stderr);
}

/// A callback that asks for checkpoints.
const ASKING: &str = r#"
use fluxbay_plugin::{Better, Ranking, prelude::*};

struct Asking;

impl Component for Asking {
    type Config = NoConfig;
    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(Asking)
    }
}

impl Callback for Asking {
    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        if event.is_training() && event.step() != 2 {
            return Ok(());
        }
        let ranking = Ranking { metric: "validation/loss".into(), keep: Some(2), better: Better::Higher };
        if learner.request_checkpoint(&ranking)? { Ok(()) } else { Err(Error::new("the run keeps no checkpoints")) }
    }
}

plugin! {
    summary: "Asks.",
    callback "asking" => Asking { summary: "Asks for checkpoints in a step and at the end of an epoch.", on: [StepEnd, EpochEnd] },
}
"#;

#[test]
fn an_instance_asks_for_checkpoints_and_says_how_many_are_kept() {
    let place = Place::new(&digits(&format!(
        "{MLP}{ADAMW}[checkpoints]\nevery-epochs = 0\nat-end = false\n[[callback]]\ncomponent = \"asking\"\n"
    )));
    fs::copy(build_plugin("asking", ASKING), place.plugins.path().join("asking.so")).unwrap();
    succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "out"]));
    let found = checkpoint::scan(&place.path("out/checkpoints"));
    let abouts: Vec<_> = found.iter().map(|found| found.about.clone().unwrap()).collect();
    // Asked for in steps 2, 7 and 12 of 15, and at the ends of the epochs after steps 5, 10 and 15. The loss falls: the worst two
    // are those with that of the first epoch, and the newest stays as well.
    let kept: Vec<(u64, &str)> = abouts.iter().map(|about| (about.sequence, about.phase.as_str())).collect();
    assert_eq!(kept, [(5, ""), (7, "training"), (15, "")]);
    assert!(abouts.iter().all(|about| about.asked_by == ["asking"]), "{abouts:?}");
    assert_eq!(abouts[1].reason, "asked for by asking");
    succeed(&mut place.fluxbay(&["resume", "--from", found[1].path.to_str().unwrap()]));
    assert_eq!(place.state("out")["status"], "finished");
}

#[test]
fn a_full_disk_ends_the_run_loudly_and_it_goes_on_when_there_is_room() {
    let place = Place::new(&long(80));
    succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "straight"]));
    let train = place.fluxbay(&["train", "run.toml", "--run-dir", "out"]);
    // Files may have 120 KiB, less than the metrics will need.
    let mut limited = Command::new("bash");
    limited.args(["-c", "ulimit -f 120; exec \"$0\" \"$@\""]).arg(train.get_program()).args(train.get_args());
    limited.current_dir(place.dir.path());
    for (name, value) in train.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    let finished = run(&mut limited);
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    assert!(finished.stderr.contains("cannot write") && finished.stderr.contains("File too large"), "{}", finished.stderr);
    let (found, damaged) = checkpoint::newest(&place.path("out/checkpoints"));
    assert!(found.is_some() && damaged.is_empty());
    succeed(&mut place.fluxbay(&["resume", "out"]));
    place.assert_same("straight", "out");
}

#[test]
fn a_folder_that_cannot_be_written_is_told_before_anything_is_trained() {
    let place = Place::new(&digits(&format!("{MLP}{ADAMW}")));
    let refused = run(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "/proc/fluxbay-run"]));
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("cannot create the folder /proc/fluxbay-run"), "{}", refused.stderr);
}

/// A logger that fails after some records.
const FAILING: &str = r#"
use std::path::Path;

use fluxbay_plugin::prelude::*;

struct Failing { left: u32 }

impl Component for Failing {
    type Config = NoConfig;
    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(Failing { left: 3 })
    }
}

impl Logger for Failing {
    fn open(&mut self, _: &Path) -> Result<()> {
        Ok(())
    }
    fn write(&mut self, _: &Record<'_>) -> Result<()> {
        self.left = self.left.checked_sub(1).ok_or_else(|| Error::new("the server does not answer"))?;
        Ok(())
    }
    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

plugin! {
    summary: "Fails.",
    logger "failing" => Failing { summary: "Fails after three records." },
}
"#;

#[test]
fn a_logger_that_fails_is_loud_and_the_run_goes_on_unless_it_is_required() {
    let more = "[[callback]]\ncomponent = \"log-metrics\"\n[[logger]]\ncomponent = \"failing\"\n";
    let place = Place::new(&digits(&format!("{MLP}{ADAMW}{more}")));
    fs::copy(build_plugin("failing", FAILING), place.plugins.path().join("failing.so")).unwrap();
    let finished = succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "out"]));
    assert!(
        finished.stderr.contains("the server does not answer") && finished.stderr.contains("without this logger"),
        "{}",
        finished.stderr
    );
    assert!(fs::read_to_string(place.path("out/events.jsonl")).unwrap().contains("instance-disabled"));
    write(place.dir.path(), "run.toml", &digits(&format!("{MLP}{ADAMW}{more}on-error = \"stop\"\n")));
    let failed = run(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "required"]));
    assert_eq!(failed.code, Some(1), "{}", failed.stderr);
}

#[test]
fn training_starts_from_a_file_by_name_and_leaves_what_is_frozen() {
    let place = Place::new(&digits(&format!("{MLP}{ADAMW}")));
    succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "first"]));
    let tune = |more: &str| {
        write(place.dir.path(), "tune.toml", &digits(&format!("{MLP}{ADAMW}[fine-tuning]\nfrom = \"first/model.safetensors\"\n{more}")));
    };
    tune("freeze = [\"model.*.0.*\", \"model.*bias\"]\n");
    let tuned = succeed(&mut place.fluxbay(&["train", "tune.toml", "--run-dir", "second"]));
    assert!(tuned.stderr.contains("4 of 4 parameters taken"), "{}", tuned.stderr);
    let tensors = |name: &str| fluxbay::record::tensors::decode(&fs::read(place.path(name).join("model.safetensors")).unwrap()).unwrap();
    let (first, second) = (tensors("first"), tensors("second"));
    let values = |tensor: &fluxbay::session::Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let same: Vec<bool> = first.iter().zip(&second).map(|((_, one), (_, other))| values(one) == values(other)).collect();
    let names: Vec<&str> = first.iter().map(|(name, _)| name.as_str()).collect();
    for (name, same) in names.iter().zip(same) {
        assert_eq!(same, name.contains(".0.") || name.ends_with("bias"), "{name} of {names:?}");
    }
    tune("strict = true\nmap = [\"model.=other.\"]\n");
    let refused = run(&mut place.fluxbay(&["train", "tune.toml", "--run-dir", "third"]));
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("0 of 4 parameters taken") && refused.stderr.contains("not in the file") && refused.stderr.contains("map")
    );
    assert!(!place.path("third").exists(), "nothing is left of a run that did not begin");
    tune("freeze = [\"model.nothing\"]\n");
    let refused = run(&mut place.fluxbay(&["train", "tune.toml", "--run-dir", "third"]));
    assert!(refused.code == Some(2) && refused.stderr.contains("no parameter is called so"), "{}", refused.stderr);
    // A model of another shape: what fits is taken, the rest is named.
    tune("");
    let other = fs::read_to_string(place.path("tune.toml")).unwrap().replace("hidden = [8]", "hidden = [9]");
    write(place.dir.path(), "tune.toml", &other);
    let tuned = succeed(&mut place.fluxbay(&["train", "tune.toml", "--run-dir", "fourth"]));
    assert!(tuned.stderr.contains("1 of 4 parameters taken") && tuned.stderr.contains("[9, 64] here, [8, 64] there"), "{}", tuned.stderr);
}
