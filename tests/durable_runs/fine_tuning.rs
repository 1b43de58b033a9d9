//! Starting from parameters of a file.

use std::{collections::HashMap, fs};

use candle_core::{DType, Device, Tensor};
use fluxbay_tests::{run, succeed, write};

use crate::place::{ADAMW, MLP, Place, digits};

#[test]
fn a_foreign_file_is_taken_by_its_own_names_and_converted_and_the_rest_is_reported() {
    let place = Place::new(&digits(&format!("{MLP}{ADAMW}")));
    succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "first"]));
    let trained =
        fluxbay::record::tensors::decode(&fs::read(place.path("first/model.safetensors")).unwrap())
            .unwrap();
    // As another library would have saved it: other names, three other types, one tensor more and
    // one of another shape.
    let foreign: HashMap<String, Tensor> = trained
        .iter()
        .zip([DType::F16, DType::BF16, DType::F64])
        .map(|((name, tensor), dtype)| {
            (name.replace("model.", "net.encoder."), tensor.to_dtype(dtype).unwrap())
        })
        .chain([
            (
                "net.encoder.extra".to_owned(),
                Tensor::zeros((3,), DType::F32, &Device::Cpu).unwrap(),
            ),
            (
                trained[3].0.replace("model.", "net.encoder."),
                Tensor::zeros((1, 2), DType::F16, &Device::Cpu).unwrap(),
            ),
        ])
        .collect();
    assert_eq!(trained.len(), 4);
    candle_core::safetensors::save(&foreign, place.path("foreign.safetensors")).unwrap();
    let names: Vec<&str> = trained[..3].iter().map(|(name, _)| name.as_str()).collect();
    let tuning = format!(
        "[fine-tuning]\nfrom = \"foreign.safetensors\"\nmap = [\"net.encoder.=model.\"]\nfreeze = {names:?}\n"
    );
    write(
        place.dir.path(),
        "tune.toml",
        &digits(&format!("{MLP}{ADAMW}{tuning}")).replace("epochs = 3", "epochs = 1"),
    );
    let tuned = succeed(&mut place.fluxbay(&["train", "tune.toml", "--run-dir", "tuned"]));
    for words in [
        "3 of 4 parameters loaded",
        "different shape: ",
        "[1, 2] in the file",
        "only in the file: net.encoder.extra",
    ] {
        assert!(tuned.stderr.contains(words), "{words}: {}", tuned.stderr);
    }
    assert!(tuned.stderr.contains(&format!("{} is", trained[3].0)), "{}", tuned.stderr);
    let frozen =
        fluxbay::record::tensors::decode(&fs::read(place.path("tuned/model.safetensors")).unwrap())
            .unwrap();
    let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    for ((name, tensor), dtype) in trained.iter().zip([DType::F16, DType::BF16, DType::F64]) {
        let (_, taken) = frozen.iter().find(|(known, _)| known == name).unwrap();
        assert_eq!(taken.dtype(), DType::F32, "{name}");
        let converted =
            tensor.to_dtype(dtype).and_then(|tensor| tensor.to_dtype(DType::F32)).unwrap();
        assert_eq!(values(taken), values(&converted), "{name} as {dtype:?}");
    }
}

#[test]
fn training_starts_from_a_file_by_name_and_leaves_what_is_frozen() {
    let place = Place::new(&digits(&format!("{MLP}{ADAMW}")));
    succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "first"]));
    let tune = |more: &str| {
        write(
            place.dir.path(),
            "tune.toml",
            &digits(&format!(
                "{MLP}{ADAMW}[fine-tuning]\nfrom = \"first/model.safetensors\"\n{more}"
            )),
        );
    };
    tune("freeze = [\"model.*.0.*\", \"model.*bias\"]\n");
    let tuned = succeed(&mut place.fluxbay(&["train", "tune.toml", "--run-dir", "second"]));
    assert!(tuned.stderr.contains("4 of 4 parameters loaded"), "{}", tuned.stderr);
    let tensors = |name: &str| {
        fluxbay::record::tensors::decode(
            &fs::read(place.path(name).join("model.safetensors")).unwrap(),
        )
        .unwrap()
    };
    let (first, second) = (tensors("first"), tensors("second"));
    let values =
        |tensor: &fluxbay::session::Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let same: Vec<bool> = first
        .iter()
        .zip(&second)
        .map(|((_, one), (_, other))| values(one) == values(other))
        .collect();
    let names: Vec<&str> = first.iter().map(|(name, _)| name.as_str()).collect();
    for (name, same) in names.iter().zip(same) {
        assert_eq!(same, name.contains(".0.") || name.ends_with("bias"), "{name} of {names:?}");
    }
    tune("strict = true\nmap = [\"model.=other.\"]\n");
    let refused = run(&mut place.fluxbay(&["train", "tune.toml", "--run-dir", "third"]));
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("0 of 4 parameters loaded")
            && refused.stderr.contains("not in the file")
            && refused.stderr.contains("map")
            && !refused.stderr.contains("\\n")
    );
    assert!(!place.path("third").exists(), "nothing is left of a run that did not begin");
    tune("freeze = [\"model.nothing\"]\n");
    let refused = run(&mut place.fluxbay(&["train", "tune.toml", "--run-dir", "third"]));
    assert!(
        refused.code == Some(2) && refused.stderr.contains("matches no parameter"),
        "{}",
        refused.stderr
    );
    // A model of another shape: what fits is taken, the rest is named.
    tune("");
    let other = fs::read_to_string(place.path("tune.toml"))
        .unwrap()
        .replace("hidden = [8]", "hidden = [9]");
    write(place.dir.path(), "tune.toml", &other);
    let tuned = succeed(&mut place.fluxbay(&["train", "tune.toml", "--run-dir", "fourth"]));
    assert!(
        tuned.stderr.contains("1 of 4 parameters loaded")
            && tuned.stderr.contains("[9, 64] in the run, [8, 64] in the file"),
        "{}",
        tuned.stderr
    );
}
