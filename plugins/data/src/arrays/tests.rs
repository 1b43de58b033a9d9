use super::*;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/arrays")
}

fn opened(file: &str, more: &str) -> Result<ArrayData> {
    let json = format!(r#"{{"path": {:?}{more}}}"#, folder().join(file));
    let config = <Config as fluxbay_plugin::Config>::from_json(&json).unwrap();
    let mut data = ArrayData { base: folder(), ..ArrayData::with(config) };
    data.open()?;
    Ok(data)
}

fn message(file: &str, more: &str) -> String {
    opened(file, more).err().expect("it is refused").message().to_owned()
}

/// All numbers of an array.
fn numbers(array: &Array) -> Vec<f64> {
    let mut all = Vec::new();
    array
        .scan(|_, bytes| {
            array.element.each(bytes, |number| all.push(number));
            Ok(())
        })
        .unwrap();
    all
}

#[test]
fn the_same_arrays_are_read_from_every_kind_of_file() {
    let stored = opened("stored.npz", "").unwrap();
    assert_eq!(stored.splits(), [Split::new("all", 12)]);
    assert_eq!(stored.fields(), [Field::new("xs", DType::F32, &[2, 3]), Field::labels("ys", 3)]);
    let xs = numbers(&stored.parts[0].inputs);
    assert_eq!(xs.len(), 72);
    assert_eq!(numbers(stored.parts[0].targets().unwrap())[..4], [0.0, 1.0, 2.0, 0.0]);
    let packed = opened("packed.npz", "").unwrap();
    assert_eq!(packed.splits(), [Split::new("training", 8), Split::new("validation", 4)]);
    let all = [numbers(&packed.parts[0].inputs), numbers(&packed.parts[1].inputs)].concat();
    assert_eq!(all, xs);
    let tensors = opened("tensors.safetensors", "").unwrap();
    assert_eq!(
        (numbers(&tensors.parts[0].inputs), tensors.fields()),
        (xs.clone(), stored.fields())
    );
    let single = opened("x.npy", r#", "targets": "y.npy""#).unwrap();
    assert_eq!(single.fields(), stored.fields());
    let rounded: Vec<f64> = xs.iter().map(|x| f64::from(*x as f32)).collect();
    assert_eq!(numbers(&single.parts[0].inputs), rounded);
}

#[test]
fn targets_are_classes_or_numbers() {
    let data = |more: &str| opened("tensors.safetensors", more).map(|data| data.fields());
    let values = data(r#", "targets": "values""#).unwrap();
    assert_eq!(values[1], Field::new("ys", DType::F32, &[1]));
    let values = data(r#", "targets": "y", "task": "regression""#).unwrap();
    assert_eq!(values[1], Field::new("ys", DType::F32, &[1]));
    let words = message("tensors.safetensors", r#", "targets": "negative""#);
    assert!(words.contains("targets of samples 0 to 12: -1 is no class or id"), "{words}");
    let words =
        message("tensors.safetensors", r#", "targets": "values", "task": "classification""#);
    assert!(words.contains("0.5 is no class or id"), "{words}");
}

#[test]
fn inputs_can_be_ids() {
    let ids = opened("tensors.safetensors", r#", "inputs": "ids", "ids": true"#).unwrap();
    let field = Field { classes: Some(7), ..Field::new("xs", DType::U32, &[4]) };
    assert_eq!(ids.fields()[0], field);
}

#[test]
fn inputs_are_scaled_with_the_training_samples() {
    let mut data = opened("stored.npz", r#", "standardize": true"#).unwrap();
    let first = numbers(&data.parts[0].inputs)[..12].to_vec();
    data.prepare(0, &[0, 1]).unwrap();
    let learned = data.learned.clone().unwrap();
    for (at, (mean, scale)) in learned.scaling.iter().enumerate() {
        let (a, b) = (first[at], first[at + 6]);
        assert!(
            (mean - (a + b) / 2.0).abs() < 1e-12 && (scale - (a - b).abs() / 2.0).abs() < 1e-12
        );
    }
    // What was learned is used for other data.
    let mut other = ArrayData::with(data.config.clone());
    other.restore(1, &data.learnt().unwrap()).unwrap();
    other.open().unwrap();
    other.prepare(0, &[3, 4, 5]).unwrap();
    assert_eq!(other.learned, Some(learned));
    other.config.targets = Some("bytes".into());
    other.config.path = folder().join("tensors.safetensors");
    other.config.inputs = Some("x".into());
    let words = other.open().unwrap_err().message().to_owned();
    assert!(words.contains("have 3 classes, these have 236"), "{words}");
}

#[test]
fn bytes_are_divided_by_255_unless_configured() {
    let bytes = opened("tensors.safetensors", r#", "inputs": "bytes""#).unwrap();
    assert_eq!(bytes.divisor(&bytes.parts[0].inputs), 255.0);
    let halves = opened("tensors.safetensors", r#", "inputs": "half", "divide": 2.0"#).unwrap();
    assert_eq!(halves.divisor(&halves.parts[0].inputs), 2.0);
}

#[test]
fn problems_name_the_file_and_what_to_do() {
    for (file, more, words) in [
        ("stored.npz", r#", "inputs": "z""#, "no array `z`; there are: x [12, 2, 3], y [12]"),
        ("tensors.safetensors", r#", "inputs": "x", "targets": "label""#, "no array `label`"),
        ("x.npy", "", "set targets to the .npy file"),
        ("fortran.npy", r#", "targets": "y.npy""#, "ascontiguousarray"),
        ("objects.npy", r#", "targets": "y.npy""#, "\"|O\""),
        ("none.npz", "", "none.npz: "),
        ("../arrays", "", "tests/arrays"),
    ] {
        let found = message(file, more);
        assert!(found.contains(words), "{file}: {found}");
    }
}

#[test]
fn damaged_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for file in ["stored.npz", "packed.npz", "x.npy", "tensors.safetensors"] {
        let whole = std::fs::read(folder().join(file)).unwrap();
        let path = dir.path().join(file);
        for share in 0..40 {
            std::fs::write(&path, &whole[..whole.len() * share / 40]).unwrap();
            assert!(file::open(&path).is_err(), "{file} cut to {share}/40");
        }
        // A changed byte is found, or changes a number; nothing panics.
        for at in (0..whole.len()).step_by(whole.len().div_ceil(200)) {
            let mut changed = whole.clone();
            changed[at] ^= 0x80;
            std::fs::write(&path, &changed).unwrap();
            for (_, array) in file::open(&path).unwrap_or_default() {
                assert!(array.scan(|_, _| Ok(())).is_ok());
            }
        }
    }
}

#[test]
fn files_to_predict_from_need_no_targets_and_are_read_in_pieces() {
    let all = opened("stored.npz", "").unwrap();
    let mut data = ArrayData { base: folder(), ..ArrayData::with(all.config.clone()) };
    let files = [folder().join("stored.npz"), folder().join("x.npy")];
    assert!(data.open_inputs(&files).unwrap_err().message().contains("without what"));
    data.restore(1, &all.learnt().unwrap()).unwrap();
    data.open_inputs(&files).unwrap();
    assert_eq!(data.fields(), all.fields());
    let mut keys = Vec::new();
    for expected in [8, 4, 8, 4, 0] {
        assert_eq!(data.read_inputs(8).unwrap(), expected);
        keys.extend((0..expected).map(|index| data.input_key(index)));
    }
    assert_eq!(keys.len(), 24);
    assert!(keys[8].ends_with("stored.npz:8") && keys[23].ends_with("x.npy:11"), "{keys:?}");
    data.open_inputs(&files[1..]).unwrap();
    data.read_inputs(2).unwrap();
    data.read_inputs(2).unwrap();
    assert_eq!(data.input_key(1), "3");
    let none = data.open_inputs(&[folder().join("none.npy")]).unwrap_err();
    assert!(none.message().contains("none.npy"), "{none}");
}
