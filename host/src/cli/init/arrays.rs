//! Arrays of NumPy and safetensors files.

use std::fs::File;
use std::io::Read as _;

use candle_core::npy::NpzTensors;

use super::written::{Component, Guess, Task, text};
use super::{Found, Look, usual};

/// Names that inputs and targets often have.
const INPUTS: [&str; 8] = ["x", "xs", "inputs", "data", "images", "x_train", "train_x", "arr_0"];
const TARGETS: [&str; 7] = ["y", "ys", "targets", "labels", "y_train", "train_y", "arr_1"];

/// Name, shape, and whether elements have a fraction.
type Array = (String, Vec<usize>, bool);

fn tensors(look: &Look<'_>) -> Result<Vec<Array>, String> {
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    let mut file = File::open(look.data).map_err(|error| failed(&error))?;
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(|error| failed(&error))?;
    let mut header = Vec::new();
    let length = u64::from_le_bytes(length).min(100 << 20);
    file.take(length).read_to_end(&mut header).map_err(|error| failed(&error))?;
    let metadata: safetensors::tensor::Metadata =
        serde_json::from_slice(&header).map_err(|error| format!("the header: {error}"))?;
    let mut arrays: Vec<Array> = metadata
        .tensors()
        .into_iter()
        .map(|(name, info)| {
            let float = format!("{:?}", info.dtype).contains('F');
            (name, info.shape.clone(), float)
        })
        .collect();
    arrays.sort();
    Ok(arrays)
}

fn npz(look: &Look<'_>) -> Result<Vec<Array>, String> {
    let archive = NpzTensors::new(look.data).map_err(|error| error.to_string())?;
    let mut arrays = Vec::new();
    for name in archive.names() {
        let (shape, dtype) = archive.get_shape_and_dtype(name).map_err(|error| {
            format!("array `{name}`: {error}; init reads arrays that numpy.savez wrote, not compressed ones")
        })?;
        arrays.push((name.clone(), shape.into_dims(), dtype.is_float()));
    }
    arrays.sort();
    Ok(arrays)
}

pub fn guess(look: &Look<'_>) -> Found {
    let is_npz = look.data.extension().is_some_and(|extension| extension == "npz");
    let arrays = if is_npz { npz(look)? } else { tensors(look)? };
    let names = || arrays.iter().map(|(name, _, _)| name.as_str());
    let listed = || -> String {
        let all: Vec<String> =
            arrays.iter().map(|(name, shape, _)| format!("{name} {shape:?}")).collect();
        all.join(", ")
    };
    let get = |name: &str| arrays.iter().find(|(own, _, _)| own == name);
    let target = match look.target {
        Some(name) => {
            get(name).ok_or_else(|| format!("there is no array `{name}`: {}", listed()))?
        }
        None => usual(names(), &TARGETS).and_then(get).ok_or_else(|| {
            format!("no array looks like targets, name one with --target: {}", listed())
        })?,
    };
    let samples = target.1.first().copied().unwrap_or(0);
    let fits = |(name, shape, _): &&Array| name != &target.0 && shape.first() == Some(&samples);
    let candidates: Vec<&Array> = arrays.iter().filter(fits).collect();
    let input = usual(candidates.iter().map(|(name, _, _)| name.as_str()), &INPUTS)
        .and_then(get)
        .or_else(|| {
            candidates.iter().copied().max_by_key(|(_, shape, _)| shape.iter().product::<usize>())
        })
        .ok_or_else(|| {
            format!("no array has {samples} samples as `{}` has: {}", target.0, listed())
        })?;
    let shape = &input.1[1..];
    let classes = !target.2;
    let mut guess = Guess {
        component: "arrays",
        samples,
        task: if classes { Task::Classes } else { Task::Numbers },
        rate: 1e-3,
        summary: format!(
            "{samples} arrays of shape {shape:?}; {} from them",
            if classes { "a class" } else { "numbers" }
        ),
        ..Guess::default()
    };
    guess.set("inputs", &text(&input.0), &format!("of: {}", listed()));
    guess.set("targets", &text(&target.0), "");
    guess.set("task", if classes { "\"classification\"" } else { "\"regression\"" }, "");
    for (train, validation) in
        [("_train", "_val"), ("_train", "_test"), ("train_", "val_"), ("train_", "test_")]
    {
        let pair = [&input.0, &target.0].map(|name| name.replace(train, validation));
        if pair[0] != input.0 && pair[1] != target.0 && pair.iter().all(|name| get(name).is_some())
        {
            guess.set("validation-inputs", &text(&pair[0]), "");
            guess.set("validation-targets", &text(&pair[1]), "");
            guess.validation = true;
            break;
        }
    }
    let image = match *shape {
        [height, width] => height >= 8 && width >= 8,
        [channels, height, width] => channels <= 4 && height >= 8 && width >= 8,
        _ => false,
    };
    if !image && input.2 {
        guess.set("standardize", "true", "each input to mean 0 and deviation 1");
    }
    guess.model = Some(if image && classes {
        Component::new("cnn", "for images [channels, height, width]; or: mlp")
    } else {
        Component::new("mlp", "").set("hidden", "[128]", "width of each layer")
    });
    Ok(guess)
}
