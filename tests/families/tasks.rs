//! The phases of tasks against PyTorch and transformers: with equal weights and batches, the losses of
//! all steps agree. `tests/reference/tasks.py` records the expected numbers.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use fluxbay::learner::ports::DataBatch;
use fluxbay::session::{Device, Session, Tensor};
use fluxbay_tests::{repository, scratch};
use serde_json::Value;

use crate::{BATCH, elements, folder, gradient_agrees, numbers, open, predictions_agree};

const TIME: usize = 7;
const VOCABULARY: u32 = 23;

fn recorded() -> Vec<Value> {
    let text = fs::read_to_string(repository().join("tests/reference/tasks.json")).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    all["cases"].as_array().unwrap().clone()
}

fn ids(field: &str, step: usize) -> Tensor {
    let span = f64::from(VOCABULARY - 1);
    let id = |u: f64| 1 + ((u + 1.0) / 2.0 * span).floor() as u32;
    let ids: Vec<u32> =
        numbers(&format!("{field}/{step}"), BATCH * TIME).into_iter().map(id).collect();
    Tensor::from_vec(ids, (BATCH, TIME), &Device::Cpu).unwrap()
}

/// The batch of a step, with the fields that a case needs.
fn batch(name: &str, step: usize) -> DataBatch {
    let mut fields = vec![if name.starts_with("transcription") {
        let sounds = numbers(&format!("sounds/{step}"), BATCH * 6 * 18);
        let sounds: Vec<f32> = sounds.into_iter().map(|x| x as f32).collect();
        Tensor::from_vec(sounds, (BATCH, 6, 18), &Device::Cpu).unwrap()
    } else {
        ids("xs", step)
    }];
    if name == "distillation" {
        let class = |u: f64| ((u + 1.0) / 2.0 * 5.0).floor() as u32;
        let classes: Vec<u32> =
            numbers(&format!("ys/{step}"), BATCH).into_iter().map(class).collect();
        fields.push(Tensor::from_vec(classes, BATCH, &Device::Cpu).unwrap());
    } else {
        fields.push(ids("ys", step));
    }
    if name == "causal-mask" {
        let marks = numbers(&format!("response/{step}"), BATCH * TIME);
        let marks: Vec<u32> = marks.into_iter().map(|u| u32::from(u > 0.0)).collect();
        fields.push(Tensor::from_vec(marks, (BATCH, TIME), &Device::Cpu).unwrap());
    }
    DataBatch { fields, samples: BATCH, index: 0 }
}

/// A run file for a case; the folders of weights are written into `dir`.
fn run_file(dir: &Path, case: &Value) -> String {
    let name = case["name"].as_str().unwrap();
    let data = match name {
        "distillation" => "classes = 5\n",
        "causal-mask" => "classes = 23\ntargets = [7]\nthird = \"response\"\n",
        _ => "classes = 23\ntargets = [7]\n",
    };
    let inputs = match name.starts_with("transcription") {
        true => "inputs = [6, 18]\n",
        false => "inputs = [7]\nvocabulary = 23\n",
    };
    let mut file = format!(
        "[run]\nthreads = 1\ndefault-callbacks = false\n[data]\ncomponent = \"shapes\"\n{inputs}\
         {data}[loader]\nbatch-size = 4\n[loss]\ncomponent = \"cross-entropy\"\n"
    );
    let models = case["models"].as_object().unwrap();
    for (key, model) in models {
        folder(&dir.join(key), model);
        let part = |section: &str| match models.len() {
            1 => format!("[{section}]\n"),
            _ => format!("[{section}.{key}]\n"),
        };
        file += &part("model");
        file += &format!("component = {}\nfrom = {key:?}\n", model["component"]);
        for (setting, value) in model["settings"].as_object().unwrap() {
            file += &format!("{setting} = {value}\n");
        }
        file += &part("optimizer");
        file += "component = \"adamw\"\nlearning-rate = 1e-2\nweight-decay = 0.01\n";
    }
    let phase = case["phase"].as_str().unwrap();
    let (component, settings) = phase.split_once('\n').unwrap();
    let component = component.trim_end_matches('"');
    // The phase that trains comes first, then the one that measures.
    file + &format!(
        "[[phase]]\n{component}\"\n{settings}\n[[phase]]\n{component}-validation\"\n{settings}\n"
    )
}

fn loss(session: &Session) -> f64 {
    session.number("step.loss").unwrap()
}

#[test]
fn losses_of_tasks_agree_with_pytorch() {
    let cases = recorded();
    assert!(cases.len() >= 10);
    for case in cases {
        let (dir, name) = (scratch(), case["name"].as_str().unwrap());
        let text = run_file(dir.path(), &case);
        let (session, _) =
            open(dir.path(), &text).unwrap_or_else(|problems| panic!("{name}: {problems}"));
        for (step, expected) in case["losses"].as_array().unwrap().iter().enumerate() {
            let expected = expected.as_f64().unwrap();
            let near = |found: f64, of: &str| {
                assert!(
                    (found - expected).abs() < 1e-5 * (1.0 + expected.abs()),
                    "{name}, step {step} of {of}: {found} instead of {expected}"
                );
            };
            session.run_step(1, batch(name, step)).unwrap();
            near(loss(&session), "the phase that measures");
            session.run_step(0, batch(name, step)).unwrap();
            near(loss(&session), "the phase that trains");
            if step == 0 && !case["logits"].is_null() {
                let [found, recorded] = predictions_agree(name, &session, &case);
                assert_eq!(found, recorded, "{name}");
                for (path, recorded) in case["gradients"].as_object().unwrap() {
                    let gradient = elements(&session.gradient("model", path).expect(path));
                    gradient_agrees(name, path, &gradient, recorded);
                }
            }
        }
        if let Some(other) =
            ["teacher", "reference"].iter().find(|key| !case["models"][*key].is_null())
        {
            let model = &case["models"][*other];
            let given = folder(&dir.path().join("again"), model);
            let now = session.model_tensors().unwrap();
            let of = now.iter().filter(|(path, _)| path.starts_with(other));
            assert!(of.clone().count() > 3);
            for (path, tensor) in of {
                let path = &path[other.len() + 1..];
                // GPT-2's files have transposed matrices.
                let Some((_, before)) = given.iter().find(|(known, _)| known == path) else {
                    continue;
                };
                if before.dims() == tensor.dims() && before.rank() < 2 {
                    let (a, b) = (tensor.to_vec1::<f32>(), before.to_vec1::<f32>());
                    assert_eq!(a.unwrap(), b.unwrap(), "{name}: {path} of {other} has changed");
                }
            }
        }
    }
}

#[test]
fn a_complete_whisper_is_written_under_its_published_names() {
    let cases = recorded();
    let case = cases.iter().find(|case| case["name"] == "transcription").unwrap();
    let dir = scratch();
    let (session, reports) = open(dir.path(), &run_file(dir.path(), case)).unwrap();
    assert!(reports[0].is_complete() && reports[0].unused.is_empty(), "{}", reports[0].text());
    let written = session.written_model().unwrap();
    let names: BTreeSet<&str> = written.tensors.iter().map(|(name, _)| name.as_str()).collect();
    let tensors = case["models"]["model"]["tensors"].as_object().unwrap();
    assert_eq!(names, tensors.keys().map(String::as_str).collect());
    assert!(written.config.unwrap().contains("WhisperForConditionalGeneration"));

    let phase = "component = \"causal-language\"\nbegin = 1\npadding = 5";
    let training = run_file(dir.path(), case).replace(phase, "component = \"training\"");
    let (session, _) = open(dir.path(), &training).unwrap();
    let refused = session.run_step(0, batch("transcription", 0)).unwrap_err().to_string();
    assert!(refused.contains("causal-language with `begin`"), "{refused}");
}

#[test]
fn masks_follow_the_seed_and_partners_are_found() {
    let cases = recorded();
    let of = |name: &str| cases.iter().find(|case| case["name"] == name).unwrap();
    let dir = scratch();
    let case = of("masked-kept");
    let text = run_file(dir.path(), case)
        .replace("share = 1.0", "share = 0.5")
        .replace("random = 0.0", "random = 0.5");
    let losses = |text: &str| {
        let (session, _) = open(dir.path(), text).unwrap();
        let losses = (0..3).map(|_| {
            session.run_step(0, batch("masked", 0)).unwrap();
            loss(&session)
        });
        losses.collect::<Vec<_>>()
    };
    let other = text.replace("threads = 1", "threads = 1\nseed = 5");
    assert_eq!(losses(&text), losses(&text));
    assert_ne!(losses(&text), losses(&other));

    let case = of("contrastive-clip");
    let (session, _) = open(dir.path(), &run_file(dir.path(), case)).unwrap();
    let mut pairs = batch("contrastive", 0);
    pairs.fields[1] = pairs.fields[0].clone();
    session.run_step(0, pairs).unwrap();
    let similarities = session.tensor("step.yhats").unwrap().to_vec2::<f32>().unwrap();
    let partners = session.tensor("step.ys").unwrap().to_vec1::<u32>().unwrap();
    assert_eq!(partners, [0, 1, 2, 3]);
    for (row, similarities) in similarities.iter().enumerate() {
        assert!((similarities[row] - 10.0).abs() < 1e-4, "{similarities:?}");
    }
}

#[test]
fn settings_of_tasks_that_do_not_fit_are_named() {
    let cases = recorded();
    let of = |name: &str| cases.iter().find(|case| case["name"] == name).unwrap();
    for (name, from, to, words) in [
        ("causal-after", "after = [7]", "", "set after"),
        ("masked-kept", "random = 0.0", "random = 1.0\nmasked = 0.5", "are more than 1"),
        ("contrastive-clip", "temperature = 0.1", "temperature = 0.0", "must be above 0"),
        ("contrastive-clip", "temperature = 0.1", "models = [\"one\"]", "it names two, or none"),
        ("preference-0.0", "beta = 0.2", "beta = -1.0", "must be above 0"),
    ] {
        let dir = scratch();
        let text = run_file(dir.path(), of(name)).replace("masked = 0.0\n", "").replace(from, to);
        let refused = open(dir.path(), &text).err().unwrap_or_else(|| panic!("{name}: {to} works"));
        assert!(refused.contains(words), "{name}: {refused}");
    }
}
