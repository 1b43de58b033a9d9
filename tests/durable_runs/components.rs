//! Every standard component goes on where it stopped, and one that does not is found.

use std::{fs, path::Path};

use fluxbay_tests::{build_plugin, run, scratch, succeed, write};
use serde_json::Value;
use tempfile::TempDir;

use crate::place::{ADAMW, MLP, Place, digits};

/// Runs `verify-resume` and gives what it says.
fn verify(run_file: &str, interruptions: u32) -> Value {
    let place = Place::new(run_file);
    let finished = run(&mut place.fluxbay(&[
        "verify-resume",
        "run.toml",
        "--json",
        "--interruptions",
        &interruptions.to_string(),
    ]));
    let said: Value = serde_json::from_str(&finished.stdout)
        .unwrap_or_else(|_| panic!("{}\n{}", finished.stdout, finished.stderr));
    assert_eq!(finished.code == Some(0), said["same"] == true);
    said
}

pub fn assert_resumes(run_file: &str, interruptions: u32) {
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
         component = \"metrics\"\nmetrics = [\"accuracy\", \"iou\", \"dice\", \"mean-average-precision\", {{ component = \"top-k\", k = 3 }}, \"precision\", \"recall\", \"f1\", \
         \"confusion-matrix\", \"smooth-loss\", \"perplexity\"]\n\
         [[callback]]\ncomponent = \"recorder\"\n[[callback]]\ncomponent = \"log-metrics\"\n[[callback]]\ncomponent = \"log-hyperparameters\"\n\
         [[callback]]\ncomponent = \"log-histograms\"\nevery = 2\n[[callback]]\ncomponent = \"log-images\"\nevery = 5\nshape = [8, 8]\n\
         [[callback]]\ncomponent = \"traces\"\nvalues = {{ loss = \"step.loss\" }}\n[[callback]]\ncomponent = \"progress\"\n[[callback]]\ncomponent = \"worst-samples\"\n\
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
         component = \"training\"\n[[phase]]\ncomponent = \"validation\"\n[[callback]]\ncomponent = \"metrics\"\nmetrics = \
         [\"bleu\", \"rouge\", \"word-error-rate\", \"exact-match\"]\n",
        data.join("text.txt")
    );
    let phase = |name: &str, more: &str| {
        format!(
            "[[phase]]\ncomponent = \"{name}\"\n{more}[[phase]]\ncomponent = \"{name}-validation\"\n{more}"
        )
    };
    let letters = format!(
        "[run]\nepochs = 2\nseed = 3\nthreads = 1\n[data]\ncomponent = \"text\"\npath = {:?}\ncontext = 8\n[loader]\nbatch-size = 16\n\
         [loss]\ncomponent = \"cross-entropy\"\n",
        data.join("text.txt")
    );
    let tasks = format!(
        "{letters}[model]\ncomponent = \"gpt\"\nlayers = 1\nwidth = 8\nheads = 2\ndropout = 0.1\n{ADAMW}{}{}{}",
        phase("causal-language", "padding = 1\n"),
        phase("masked-language", "mask-token = 1\n"),
        phase("contrastive", "pair = \"xs\"\n"),
    );
    let pairs: String = ["student", "teacher", "policy", "reference"]
        .map(|name| {
            format!(
                "[model.{name}]\ncomponent = \"gpt\"\nlayers = 1\nwidth = 4\nheads = 1\n\
                 [optimizer.{name}]\ncomponent = \"adam\"\nlearning-rate = 0.001\n"
            )
        })
        .concat();
    let pairs = format!("{letters}{pairs}{}{}", phase("distillation", ""), phase("preference", ""));
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
    let with_loss = |run: String, loss: &str| {
        run.replace("component = \"cross-entropy\"", &format!("component = \"{loss}\""))
    };
    let sharpness = digits(&format!(
        "{MLP}[optimizer]\ncomponent = \"muon\"\nlearning-rate = 0.01\n[[callback]]\ncomponent = \"swa\"\n\
         [[callback]]\ncomponent = \"anomaly-detection\"\n"
    ))
    .replace("component = \"training\"", "component = \"sam\"");
    let schedule_free = digits(&format!(
        "{MLP}[optimizer]\ncomponent = \"schedule-free-adamw\"\nlearning-rate = 0.01\n\
         [[callback]]\ncomponent = \"schedule-free-average\"\n"
    ));
    let factored = digits(&format!(
        "{MLP}[optimizer]\ncomponent = \"adafactor\"\n[[callback]]\ncomponent = \"gradual-unfreezing\"\n\
         parts = [\"*hidden*\"]\n"
    ));
    let binary = format!(
        "[run]\nepochs = 2\nseed = 3\nthreads = 1\n[data]\ncomponent = \"idx\"\nimages = {:?}\nlabels = {:?}\n[loader]\nbatch-size = 8\n[model]\n\
         component = \"mlp\"\nhidden = [4]\noutputs = 1\n[optimizer]\ncomponent = \"adagrad\"\nlearning-rate = 0.01\n\
         [loss]\ncomponent = \"bce-with-logits\"\n[[phase]]\ncomponent = \"training\"\n[[phase]]\ncomponent = \"validation\"\n",
        data.join("images"),
        data.join("labels")
    );
    vec![
        classification,
        convolution,
        adversarial,
        features,
        text,
        regression,
        two_classes,
        with_loss(sharpness, "focal"),
        with_loss(schedule_free, "kl-divergence"),
        factored,
        binary,
        tasks,
        pairs,
    ]
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
    fs::write(
        dir.path().join("images"),
        idx(&[60, 2, 2], (0..240_u32).map(|x| (x * 37 % 251) as u8).collect()),
    )
    .unwrap();
    fs::write(dir.path().join("labels"), idx(&[60], (0..60_u32).map(|x| (x % 2) as u8).collect()))
        .unwrap();
    dir
}

/// Components that keep nothing from step to step but parameters, which the other models cover:
/// models of published families, data sets that are read by index, transforms and samplers whose
/// draws follow from epoch and sample (`transforms.rs`).
const WITHOUT_STATE: [&str; 39] = [
    "cutmix",
    "ctc",
    "packed",
    "shards",
    "impute",
    "noise",
    "one-hot",
    "scale",
    "spec-augment",
    "mpi",
    "bag-of-embeddings",
    "bert",
    "clip",
    "convnext",
    "gpt2",
    "llama",
    "modern-bert",
    "resnet",
    "unet",
    "vit",
    "whisper",
    "arrays",
    "audio",
    "images",
    "jsonl-table",
    "parquet",
    "tokens",
    "center-crop",
    "color-jitter",
    "flip",
    "normalize",
    "rand-augment",
    "random-crop",
    "random-erasing",
    "random-resized-crop",
    "resize",
    "rotation",
    "trivial-augment",
    "balanced",
];

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
    let is_missing = |name: &&String| {
        !runs.contains(&format!("\"{name}\"")) && !WITHOUT_STATE.contains(&name.as_str())
    };
    let missing: Vec<&String> = names.iter().filter(is_missing).collect();
    assert!(missing.is_empty(), "in no run that is verified: {missing:?}");
}

/// Names of all components of a listing.
fn components(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| components(item, names)),
        Value::Object(fields) => {
            if let (Some(_), Some(name)) =
                (fields.get("kind"), fields.get("name").and_then(Value::as_str))
            {
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
    a_search_for_flat_minima_with_averaged_weights_resumes_within_an_epoch: 7,
    an_optimizer_without_schedule_resumes_within_an_epoch: 8,
    a_factored_optimizer_resumes_within_an_epoch: 9,
    a_binary_classification_resumes_within_an_epoch: 10,
    phases_of_tasks_of_one_model_resume_within_an_epoch: 11,
    phases_of_tasks_of_two_models_resume_within_an_epoch: 12,
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
    let place =
        Place::new(&digits(&format!("{MLP}{ADAMW}[[callback]]\ncomponent = \"forgetful\"\n")));
    fs::copy(build_plugin("forgetful", FORGETFUL), place.plugins.path().join("forgetful.so"))
        .unwrap();
    let finished = run(&mut place.fluxbay(&["verify-resume", "run.toml"]));
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    assert!(finished.stderr.contains("first in state `cbstate.sum`"), "{}", finished.stderr);
}
