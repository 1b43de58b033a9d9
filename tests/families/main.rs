//! Published models against their reference implementations: with equal weights and batches, the
//! predictions, the gradients and the losses of all steps agree, and the names of the tensors are the
//! published ones.
//!
//! `tests/reference/families.py` records the expected numbers and the versions.

mod exported;
mod packed;
mod shapes;
mod tasks;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::OnceLock;

use fluxbay::learner::ports::DataBatch;
use fluxbay::library::{Catalog, ScanOptions, SearchOrigin, SearchPath};
use fluxbay::record::tensors;
use fluxbay::run_file::{Diagnostics, Draft, Inputs, resolve};
use fluxbay::session::{Composed, DType, Device, FineTuningReport, Session, Surroundings, Tensor};
use fluxbay_tests::{build_plugin, fluxbay, plugin_dir, repository, scratch, succeed, write};
use serde_json::{Value, json};

/// Samples of a batch.
const BATCH: usize = 4;

fn plugins() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = plugin_dir().keep();
        fs::copy(build_plugin("shapes", shapes::SHAPES), dir.join("shapes.so")).unwrap();
        dir
    })
}

/// What was recorded; its cases by name.
fn recorded() -> &'static (Value, BTreeMap<String, Value>) {
    static RECORDED: OnceLock<(Value, BTreeMap<String, Value>)> = OnceLock::new();
    RECORDED.get_or_init(|| {
        let text = fs::read_to_string(repository().join("tests/reference/families.json")).unwrap();
        let all: Value = serde_json::from_str(&text).unwrap();
        let cases = all["cases"].as_array().unwrap().iter();
        let cases =
            cases.map(|case| (case["name"].as_str().unwrap().to_owned(), case.clone())).collect();
        (all, cases)
    })
}

fn case(name: &str) -> &'static Value {
    &recorded().1[name]
}

fn sizes(value: &Value) -> Vec<usize> {
    let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().map(|size| size.as_u64().unwrap() as usize).collect()
}

/// The checksum of zlib.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 }
        })
    })
}

/// As `number` of the script.
fn numbers(name: &str, count: usize) -> Vec<f64> {
    let phase = f64::from(crc32(name.as_bytes()) % 1000) / 10.0;
    let number = |at: usize| {
        let x = (at as f64 * 12.9898 + phase).sin() * 43758.5453;
        2.0 * (x - x.floor()) - 1.0
    };
    (0..count).map(number).collect()
}

/// As `weights` of the script.
fn weights(name: &str, shape: &[usize]) -> Tensor {
    let count: usize = shape.iter().product();
    let fan = shape.iter().skip(1).product::<usize>() as f64;
    let weight = |x: f64| {
        if name.ends_with("running_var") {
            1.0 + 0.5 * x
        } else if shape.len() >= 2 {
            x * 1.5 / fan.sqrt()
        } else if name.ends_with("weight")
            || name.ends_with("gamma")
            || name.ends_with("magnitude_vector")
        {
            1.0 + 0.3 * x
        } else {
            0.3 * x
        }
    };
    let values: Vec<f32> = numbers(name, count).into_iter().map(|x| weight(x) as f32).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// As `batch` of the script.
fn batch(case: &Value, step: usize) -> DataBatch {
    let shape = [&[BATCH], &sizes(&case["inputs"])[..]].concat();
    let u = numbers(&format!("xs/{step}"), shape.iter().product());
    let whole = |u: f64, first: u32, count: u32| {
        first + ((u + 1.0) / 2.0 * f64::from(count - first)).floor() as u32
    };
    let float = |u: Vec<f64>, shape: Vec<usize>| {
        let values: Vec<f32> = u.into_iter().map(|u| u as f32).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    };
    let xs = match case["vocabulary"].as_u64() {
        None => float(u, shape),
        Some(vocabulary) => {
            let padding = case["padding"].as_u64().map(|padding| padding as u32);
            let first = padding.map_or(0, |padding| padding + 1);
            let mut ids: Vec<u32> =
                u.into_iter().map(|u| whole(u, first, vocabulary as u32)).collect();
            // Losses of single tokens are of texts without padding, whose embedding PyTorch does not
            // train.
            if let Some(padding) = padding.filter(|_| case["targets"] != case["inputs"]) {
                ids[2 * shape[1] - 2..2 * shape[1]].fill(padding);
            }
            Tensor::from_vec(ids, shape, &Device::Cpu).unwrap()
        }
    };
    let shape = [&[BATCH], &sizes(&case["targets"])[..]].concat();
    let u = numbers(&format!("ys/{step}"), shape.iter().product());
    let ys = match case["classes"].as_u64() {
        None => float(u, shape),
        Some(classes) => {
            let classes: Vec<u32> = u.into_iter().map(|u| whole(u, 0, classes as u32)).collect();
            Tensor::from_vec(classes, shape, &Device::Cpu).unwrap()
        }
    };
    DataBatch { fields: vec![xs, ys], samples: BATCH, index: 0 }
}

/// Writes the folder of weights of a case; returns the tensors.
fn folder(dir: &Path, case: &Value) -> Vec<(String, Tensor)> {
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join("config.json"), case["config"].to_string()).unwrap();
    let tensors: Vec<(String, Tensor)> = case["tensors"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, shape)| (name.clone(), weights(name, &sizes(shape))))
        .collect();
    fs::write(dir.join("model.safetensors"), tensors::encode(&tensors).unwrap()).unwrap();
    tensors
}

/// A run file for a case, whose model comes from folder `weights`.
fn run_file(case: &Value, more: &str) -> String {
    let optional = |key: &str| match &case[key] {
        Value::Null => String::new(),
        value => format!("{key} = {value}\n"),
    };
    let settings: String = case["settings"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(key, value)| format!("{key} = {value}\n"))
        .collect();
    format!(
        "[run]\nthreads = 1\ndefault-callbacks = false\n[data]\ncomponent = \"shapes\"\n{}{}{}{}\
         [loader]\nbatch-size = 4\n[[phase]]\ncomponent = \"training\"\n[loss]\ncomponent = {}\n\
         [optimizer]\ncomponent = \"adamw\"\nlearning-rate = 1e-3\nweight-decay = 0.01\n\
         [model]\ncomponent = {}\n{settings}{more}",
        optional("inputs"),
        optional("vocabulary"),
        optional("targets"),
        optional("classes"),
        case["loss"],
        case["component"],
    )
}

fn open(dir: &Path, text: &str) -> Result<(Session, Vec<FineTuningReport>), String> {
    let mut diagnostics = Diagnostics::new();
    let file = write(dir, "run.toml", text);
    let draft = Draft::read(&Inputs { files: vec![file], ..Inputs::default() }, &mut diagnostics);
    let mut path = SearchPath::new();
    path.push(plugins(), SearchOrigin::CommandLine);
    let catalog = Catalog::scan(&path, &ScanOptions::default());
    let run = resolve(draft, &catalog, &mut diagnostics);
    let messages = |problems: &Diagnostics| {
        let one = |one: &fluxbay::run_file::Diagnostic| {
            format!("{}\n{}", one.message, one.notes.join("\n"))
        };
        problems.iter().map(one).collect::<Vec<_>>().join("\n")
    };
    if diagnostics.has_errors() {
        return Err(messages(&diagnostics));
    }
    let session = Composed::new(Rc::new(catalog), run, Surroundings::default())
        .and_then(Composed::open)
        .map_err(|problems| messages(&problems))?;
    let reports = session.start_from_file().map_err(|problems| messages(&problems))?;
    Ok((session, reports))
}

fn elements(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
}

/// Loads, predicts, goes back and trains as the reference; writes the names that it read.
fn agrees(name: &str) {
    let (case, dir) = (case(name), scratch());
    let given = folder(&dir.path().join("weights"), case);
    let (session, reports) = open(dir.path(), &run_file(case, "from = \"weights\"\n"))
        .unwrap_or_else(|problems| panic!("{name}: {problems}"));
    assert!(reports.len() == 1 && reports[0].is_complete(), "{name}: {}", reports[0].text());
    assert!(reports[0].unused.is_empty(), "{name}: {}", reports[0].text());

    let written = session.written_model().unwrap();
    assert!(written.config.is_some_and(|text| text.contains('{')), "{name}: no config.json");
    assert!(written.adapter.is_none(), "{name}");
    let mut compared = 0;
    for (path, tensor) in &written.tensors {
        // Files of other libraries than the one whose names are written have other names.
        let Some((_, before)) = given.iter().find(|(known, _)| known == path) else { continue };
        assert_eq!(elements(tensor), elements(before), "{name}: {path}");
        compared += 1;
    }
    let renamed = compared == 0;
    let left_out = case["left_out"].as_array().map(Vec::as_slice).unwrap_or_default();
    let left_out =
        |name: &str| left_out.iter().any(|part| name.starts_with(part.as_str().unwrap()));
    let expected = given.iter().filter(|(name, _)| !left_out(name)).count();
    assert!(renamed || compared == expected, "{name}: {compared} of {expected} written");

    for (step, expected) in case["losses"].as_array().unwrap().iter().enumerate() {
        session.run_step(0, batch(case, step)).unwrap();
        let (loss, expected) = (session.number("step.loss").unwrap(), expected.as_f64().unwrap());
        assert!(
            (loss - expected).abs() < 1e-5 * (1.0 + expected.abs()),
            "{name}, step {step}: loss {loss} instead of {expected}"
        );
        if step > 0 {
            continue;
        }
        predictions_agree(name, &session, case);
        let mut compared = 0;
        for (path, expected) in case["gradients"].as_object().unwrap() {
            let Some(mut gradient) = session.gradient("model", path) else { continue };
            // GPT-2's files have transposed matrices.
            if case["component"] == "gpt2" && path.contains(".c_") && path.ends_with(".weight") {
                gradient = gradient.t().unwrap();
            }
            assert_eq!(gradient.dims(), sizes(&case["tensors"][path]), "{name}: {path}");
            gradient_agrees(name, path, &elements(&gradient), expected);
            compared += 1;
        }
        assert!(renamed || compared == case["gradients"].as_object().unwrap().len(), "{name}");
    }
}

/// Compares the predictions of a step with those that are recorded; returns how many there are of each.
fn predictions_agree(name: &str, session: &Session, case: &Value) -> [usize; 2] {
    let found = elements(&session.tensor("step.yhats").unwrap());
    let recorded = case["logits"].as_array().unwrap();
    for (at, expected) in recorded.iter().enumerate() {
        let expected = expected.as_f64().unwrap();
        assert!(
            (found[at] - expected).abs() < 1e-5 * (1.0 + expected.abs()),
            "{name}: prediction {at} is {} instead of {expected}",
            found[at]
        );
    }
    [found.len(), recorded.len()]
}

/// Compares a gradient with its recorded norm and its product with a vector that belongs to the path.
fn gradient_agrees(name: &str, path: &str, gradient: &[f64], recorded: &Value) {
    let [norm, along] = [0, 1].map(|at| recorded[at].as_f64().unwrap());
    let ours = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
    let projected: f64 =
        gradient.iter().zip(numbers(path, gradient.len())).map(|(g, x)| g * x).sum();
    let tolerance = 1e-4 * norm + 1e-7;
    assert!(
        (ours - norm).abs() < tolerance && (projected - along).abs() < tolerance,
        "{name}: gradient of {path} has norm {ours} instead of {norm}, {projected} instead of {along} along a vector"
    );
}

macro_rules! agree {
    ($($test:ident: $($name:literal)+),+ $(,)?) => { $(
        #[test]
        fn $test() {
            $(agrees($name);)+
        }
    )+ };
}

agree! {
    bert_agrees_with_transformers: "bert" "bert-tokens" "bert-masked" "bert-embedding",
    bert_of_other_sizes_agrees_with_transformers: "bert-wide" "bert-deep",
    roberta_agrees_with_transformers: "roberta" "roberta-masked" "roberta-wide" "roberta-deep",
    distilbert_agrees_with_transformers: "distilbert" "distilbert-masked" "distilbert-wide" "distilbert-deep",
    modern_bert_agrees_with_transformers: "modern-bert" "modern-bert-mean" "modern-bert-masked",
    gpt2_agrees_with_transformers: "gpt2" "gpt2-wide" "gpt2-deep",
    llama_agrees_with_transformers: "llama" "llama-scaled" "llama-wide" "llama-deep",
    mistral_agrees_with_transformers: "mistral" "mistral-wide" "mistral-deep",
    qwen2_agrees_with_transformers: "qwen2" "qwen2-wide" "qwen2-deep",
    qwen3_agrees_with_transformers: "qwen3" "qwen3-wide" "qwen3-deep",
    gemma_agrees_with_transformers: "gemma" "gemma-wide" "gemma-deep",
    mixtral_agrees_with_transformers: "mixtral" "mixtral-wide" "mixtral-deep",
    qwen3_mixtures_agree_with_transformers: "qwen3moe" "qwen3moe-wide" "qwen3moe-deep",
    whisper_agrees_with_transformers: "whisper" "whisper-wide" "whisper-deep",
    resnet_agrees_with_transformers: "resnet-basic" "resnet-bottleneck" "resnet-narrow"
        "resnet-deep",
    unet_agrees_with_segmentation_models: "unet" "unet-shallow" "unet-bottleneck",
    vit_agrees_with_timm_and_transformers: "vit" "vit-transformers" "vit-wide",
    convnext_agrees_with_timm: "convnext" "convnext-narrow" "convnext-deep",
    clip_agrees_with_transformers: "clip-text" "clip-text-wide" "clip-text-deep" "clip-image"
        "clip-image-wide" "clip-image-deep",
    bags_and_transposed_convolutions_agree_with_pytorch: "layers",
    recurrent_layers_agree_with_pytorch: "recurrent",
}

#[test]
fn published_sizes_of_resnets_have_the_published_names() {
    for depth in [18, 50] {
        let dir = scratch();
        let case = json!({
            "component": "resnet", "settings": { "depth": depth }, "inputs": [3, 32, 32],
            "targets": [], "classes": 5, "loss": "cross-entropy",
        });
        let (session, _) = open(dir.path(), &run_file(&case, "")).unwrap();
        let ours: BTreeMap<String, Vec<usize>> =
            session.parameters().into_iter().map(|one| (one.path, one.shape)).collect();
        let names = &recorded().0["names"][format!("resnet{depth}")];
        let theirs: BTreeMap<String, Vec<usize>> = names
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, shape)| (name.clone(), sizes(shape)))
            .collect();
        assert_eq!(ours, theirs, "resnet{depth}");
    }
}

#[test]
fn models_with_sizes_of_their_own_are_read_again() {
    for (component, settings) in [
        ("resnet", json!({ "depth": 18, "stem": 8, "widths": [8, 16], "blocks": [1, 2] })),
        ("resnet", json!({ "depth": 50, "widths": [16, 32], "blocks": [1, 1] })),
        ("resnet", json!({ "depth": 34, "stem": 8 })),
        (
            "unet",
            json!({ "encoder": "resnet50", "widths": [16, 32], "blocks": [1, 1], "decoder": [8, 8, 8] }),
        ),
        ("unet", json!({ "encoder": "resnet18", "widths": [8, 16, 16, 16], "decoder": [8, 8, 8] })),
        ("convnext", json!({ "widths": [8, 16], "blocks": [1, 1] })),
        ("vit", json!({ "width": 16, "layers": 1, "heads": 2, "patch": 8 })),
    ] {
        let dir = scratch();
        let targets: &[usize] = if component == "unet" { &[32, 32] } else { &[] };
        let mut case = json!({
            "component": component, "settings": settings, "inputs": [3, 32, 32], "targets": targets,
            "classes": 5, "loss": "cross-entropy",
        });
        let (session, _) = open(dir.path(), &run_file(&case, ""))
            .unwrap_or_else(|problems| panic!("{component} {settings}: {problems}"));
        let written = session.written_model().unwrap();
        fs::create_dir_all(dir.path().join("weights")).unwrap();
        let file = |name: &str| dir.path().join("weights").join(name);
        fs::write(file("config.json"), written.config.unwrap()).unwrap();
        fs::write(file("model.safetensors"), tensors::encode(&written.tensors).unwrap()).unwrap();
        case["settings"] = json!({});
        let (_, reports) = open(dir.path(), &run_file(&case, "from = \"weights\"\n"))
            .unwrap_or_else(|problems| panic!("{component} {settings}: {problems}"));
        assert!(reports[0].is_complete() && reports[0].unused.is_empty(), "{}", reports[0].text());
    }
}

#[test]
fn a_resnet_for_small_images_begins_with_three_by_three() {
    let dir = scratch();
    let case = json!({
        "component": "resnet", "settings": { "depth": 18, "small-images": true }, "inputs": [3, 32, 32],
        "targets": [], "classes": 5, "loss": "cross-entropy",
    });
    let (session, _) = open(dir.path(), &run_file(&case, "")).unwrap();
    let parameters = session.parameters();
    let first = parameters.iter().find(|one| one.path == "conv1.weight").unwrap();
    assert_eq!(first.shape, [64, 3, 3, 3]);
}

#[test]
fn what_does_not_fit_is_named_and_a_head_of_other_classes_begins_anew() {
    let (case, dir) = (case("distilbert"), scratch());
    let mut tensors = folder(&dir.path().join("weights"), case);
    let save = |tensors: &[(String, Tensor)]| {
        let bytes = tensors::encode(tensors).unwrap();
        fs::write(dir.path().join("weights/model.safetensors"), bytes).unwrap();
    };
    let other = run_file(case, "from = \"weights\"\n").replace("classes = 5", "classes = 3");
    let (session, reports) = open(dir.path(), &other).unwrap();
    let shapes: BTreeSet<&str> =
        reports[0].other_shape.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(shapes, BTreeSet::from(["model.classifier.bias", "model.classifier.weight"]));
    assert_eq!(session.written_model().unwrap().tensors.len(), tensors.len());

    let removed = tensors.remove(3);
    tensors.push(("distilbert.other.weight".to_owned(), removed.1.clone()));
    save(&tensors);
    let refused = open(dir.path(), &run_file(case, "from = \"weights\"\n")).unwrap_err();
    for words in [
        "do not fit the model".to_owned(),
        format!("`{}` is not in the file", removed.0),
        "the model does not know `distilbert.other.weight`".to_owned(),
    ] {
        assert!(refused.contains(&words), "{words}: {refused}");
    }
    fs::remove_file(dir.path().join("weights/config.json")).unwrap();
    let refused = open(dir.path(), &run_file(case, "from = \"weights\"\n")).unwrap_err();
    assert!(refused.contains("cannot read") && refused.contains("config.json"), "{refused}");
}

#[test]
fn adapters_agree_with_peft_and_are_read_written_and_added() {
    adapters_agree("bert-lora", "");
}

#[test]
fn weight_decomposed_adapters_agree_with_peft() {
    adapters_agree("bert-dora", "weight-decomposed = true\n");
}

#[test]
fn weight_decomposed_adapters_begin_as_the_weights() {
    let (case, dir) = (case("bert-dora"), scratch());
    folder(&dir.path().join("weights"), case);
    let from = "from = \"weights\"\n";
    let lora = format!(
        "{from}[model.lora]\nrank = 2\ntargets = [\"query\", \"value\"]\ntrain = [\"classifier\"]\n\
         weight-decomposed = true\n"
    );
    let losses = [from, &lora].map(|more| {
        let (session, _) = open(dir.path(), &run_file(case, more)).unwrap();
        session.run_step(0, batch(case, 0)).unwrap();
        session.number("step.loss").unwrap()
    });
    assert!((losses[0] - losses[1]).abs() < 1e-6, "{losses:?}");
}

/// Reads the adapters of a case, trains them as PEFT, writes them and adds them to the weights.
fn adapters_agree(name: &str, more: &str) {
    let (case, dir) = (case(name), scratch());
    let base = folder(&dir.path().join("weights"), case);
    let adapter: Vec<(String, Tensor)> = case["adapter"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, shape)| (name.clone(), weights(name, &sizes(shape))))
        .collect();
    let write_adapter = |tensors: &[(String, Tensor)]| {
        fs::create_dir_all(dir.path().join("adapter")).unwrap();
        let path = dir.path().join("adapter/adapter_model.safetensors");
        fs::write(path, tensors::encode(tensors).unwrap()).unwrap();
    };
    write_adapter(&adapter);
    let lora = format!(
        "from = \"weights\"\n[model.lora]\nfrom = \"adapter\"\nrank = 2\nalpha = 4.0\n\
         targets = [\"query\", \"value\"]\ntrain = [\"classifier\"]\n{more}"
    );
    let (session, _) = open(dir.path(), &run_file(case, &lora)).unwrap();

    let written = session.written_model().unwrap();
    let (own, config) = written.adapter.unwrap();
    assert!(config.contains("\"peft_type\": \"LORA\"") && config.contains("\"r\": 2"), "{config}");
    let names = |tensors: &[(String, Tensor)]| -> BTreeSet<String> {
        tensors.iter().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(names(&own), names(&adapter));
    for (name, tensor) in &own {
        let (_, given) = adapter.iter().find(|(known, _)| known == name).unwrap();
        assert_eq!(elements(tensor), elements(given), "{name}");
    }
    assert_eq!(names(&written.tensors), names(&base), "adapters are added to the weights");

    for (step, expected) in case["losses"].as_array().unwrap().iter().enumerate() {
        session.run_step(0, batch(case, step)).unwrap();
        let (loss, expected) = (session.number("step.loss").unwrap(), expected.as_f64().unwrap());
        assert!((loss - expected).abs() < 1e-5, "step {step}: {loss} instead of {expected}");
    }
    // Weights without adapters keep every bit; with them added, the model is the same.
    let written = session.written_model().unwrap();
    let (_, kept) =
        base.iter().find(|(name, _)| name.ends_with("0.attention.self.key.weight")).unwrap();
    let now =
        |name: &str| &written.tensors.iter().find(|(known, _)| known.ends_with(name)).unwrap().1;
    assert_eq!(elements(now("0.attention.self.key.weight")), elements(kept));
    let merged = dir.path().join("merged");
    fs::create_dir_all(&merged).unwrap();
    fs::write(merged.join("config.json"), written.config.unwrap()).unwrap();
    fs::write(merged.join("model.safetensors"), tensors::encode(&written.tensors).unwrap())
        .unwrap();
    let (plain, _) = open(dir.path(), &run_file(case, "from = \"merged\"\n")).unwrap();
    let [ours, theirs] = [&session, &plain].map(|session| {
        session.run_step(0, batch(case, 9)).unwrap();
        session.number("step.loss").unwrap()
    });
    assert!((ours - theirs).abs() < 1e-5, "{ours} with adapters, {theirs} with them added");

    write_adapter(&adapter[1..]);
    let refused = open(dir.path(), &run_file(case, &lora)).unwrap_err();
    assert!(refused.contains("adapters in") && refused.contains("is not in the file"), "{refused}");
    let wrong = lora.replace("\"value\"", "\"values\"");
    let refused = open(dir.path(), &run_file(case, &wrong)).unwrap_err();
    assert!(refused.contains("no linear layer `values`"), "{refused}");
}

#[test]
fn a_run_is_evaluated_and_resumed_without_the_folder_that_it_began_with() {
    let dir = scratch();
    let text = r#"
[run]
epochs = 1
default-callbacks = false
[data]
component = "digits"
[loader]
batch-size = 256
[model]
component = "vit"
layers = 1
width = 8
heads = 2
[loss]
component = "cross-entropy"
[optimizer]
component = "adamw"
"#;
    write(dir.path(), "first.toml", text);
    let command = |arguments: &[&str]| {
        let mut command = fluxbay(dir.path(), plugins());
        command.args(arguments);
        command
    };
    succeed(&mut command(&["train", "first.toml", "--run-dir", "first"]));
    // The folder of a run is a folder of weights.
    let (from, small) =
        ("component = \"vit\"\nfrom = \"first\"\n", "layers = 1\nwidth = 8\nheads = 2\n");
    let text = text.replace("component = \"vit\"\n", from).replace(small, "");
    write(dir.path(), "second.toml", &text);
    let trained = succeed(&mut command(&["train", "second.toml", "--run-dir", "second"]));
    assert!(trained.stderr.contains("weights from"), "{}", trained.stderr);
    assert!(trained.stderr.contains("parameters loaded"), "{}", trained.stderr);
    fs::rename(dir.path().join("first"), dir.path().join("elsewhere")).unwrap();
    succeed(&mut command(&["evaluate", "second"]));
    succeed(&mut command(&["resume", "second", "--set", "run.epochs=2"]));
}
