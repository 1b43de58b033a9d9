//! Callbacks that change training: clipping, accumulation, averages, softened and mixed targets.

use fluxbay::session::Session;

use crate::run::*;

const TRAINING: &str = "[[phase]]\ncomponent = \"training\"\n";
const PHASES: &str = "[[phase]]\ncomponent = \"training\"\n[[phase]]\ncomponent = \"validation\"\n";

fn callback(component: &str, more: &str) -> String {
    format!("[[callback]]\ncomponent = \"{component}\"\n{more}\n")
}

/// The change of `c` in one step, and the session afterwards.
fn step(callbacks: &str) -> (f64, Session) {
    let model = SCALAR.replace("0.001", "1.0");
    let session = session(&format!("{model}{TRAINING}{callbacks}"));
    let before = c(&session);
    session.run_step(0, crate::data::batch(0)).unwrap();
    (c(&session) - before, session)
}

#[test]
fn gradients_are_clipped_by_norm_and_by_value() {
    let (free, _) = step("");
    assert!(free > 30.0, "{free}");
    let (clipped, session) = step(&callback("gradient-clipping", "norm = 2.0"));
    assert!((clipped - 2.0).abs() < 1e-4, "{clipped}");
    let norm = session.number("step.gradient-norm").unwrap();
    assert!((norm / free - 1.0).abs() < 1e-4, "the norm before clipping: {norm} {free}");
    let (clipped, _) = step(&callback("gradient-clipping", "value = 0.5"));
    assert!((clipped - 0.5).abs() < 1e-4, "{clipped}");
}

/// Norm before clipping to 1, and the Euclidean distance that the parameters move in one step with
/// a rate of 1e-3. All gradients of the weights are `value`.
fn clipped(value: &str, inputs: usize) -> (f64, f64) {
    let dir = fluxbay_tests::scratch();
    let names: Vec<String> = (0..inputs).map(|index| format!("x{index}")).collect();
    let row = format!("{},0\n", vec![value; inputs].join(","));
    let table = format!("{},y\n{}", names.join(","), row.repeat(5));
    let path = fluxbay_tests::write(dir.path(), "data.csv", &table);
    let text = format!(
        "[run]\nseed = 7\nthreads = 1\ndefault-callbacks = false\n[data]\ncomponent = \"csv\"\npath = \"{}\"\ntarget = \"y\"\ntask = \"regression\"\nstandardize = false\n[loader]\nvalidation = 0.2\n[model]\ncomponent = \"sequential\"\n[[model.layers]]\ntype = \"linear\"\nout = 1\n[loss]\ncomponent = \"mae\"\n[optimizer]\ncomponent = \"sgd\"\nlearning-rate = 1e-3\n{TRAINING}{}",
        path.display(),
        callback("gradient-clipping", "norm = 1.0")
    );
    let session = whole_session(&text, Default::default());
    let parameters = || {
        let all = session.model_tensors().unwrap();
        let flat = |tensor: &fluxbay::session::Tensor| {
            tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        all.iter().flat_map(|(_, tensor)| flat(tensor)).collect::<Vec<f32>>()
    };
    let before = parameters();
    session.fit_epochs(1);
    let moves = before.iter().zip(parameters()).map(|(a, b)| f64::from(a - b).powi(2));
    (session.number("step.gradient-norm").unwrap(), moves.sum::<f64>().sqrt())
}

#[test]
fn huge_finite_gradients_are_clipped_too() {
    // The squares, the norm itself, and the factor overflow or underflow 32 bits.
    for (value, inputs) in [("1e20", 1), ("1e38", 16), ("3e38", 4)] {
        let (norm, moved) = clipped(value, inputs);
        let expected = value.parse::<f64>().unwrap() * (inputs as f64).sqrt();
        assert!((norm / expected - 1.0).abs() < 1e-5, "{value}: {norm}");
        assert!((moved - 1e-3).abs() < 1e-6, "{value}: {moved}");
    }
}

/// Parameter and number of updates after an epoch.
fn epoch(batch: usize, callbacks: &str) -> (f64, u64) {
    let text = fixture(&format!("{SCALAR}{TRAINING}{callbacks}"))
        .replace("batch-size = 8", &format!("batch-size = {batch}"));
    let session = whole_session(&text.replace("0.001", "0.0001"), Default::default());
    session.fit_epochs(1);
    let state: serde_json::Value =
        serde_json::from_slice(&session.checkpoint().unwrap()["learner.json"].bytes()).unwrap();
    (c(&session), state["updates"][0][1].as_u64().unwrap())
}

#[test]
fn accumulated_steps_update_as_one_large_batch_would_and_the_tail_counts() {
    let ((small, updates), (large, same)) =
        (epoch(8, &callback("gradient-accumulation", "steps = 4")), epoch(32, ""));
    assert_eq!((updates, same), (4, 4));
    assert!((small - large).abs() < 1e-5, "{small} {large}");
    let (_, updates) = epoch(8, &callback("gradient-accumulation", "steps = 5"));
    assert_eq!(updates, 4, "three of five steps, and one of what is left");
    // 128 samples in batches of 24: the last batch has 8, and counts by its samples.
    let ((tail, updates), (whole, _)) =
        (epoch(24, &callback("gradient-accumulation", "steps = 6")), epoch(128, ""));
    assert_eq!(updates, 1);
    assert!((tail - whole).abs() < 1e-5, "{tail} {whole}");
}

#[test]
fn validation_sees_the_averaged_parameters_and_training_goes_on_with_its_own() {
    let run = |callbacks: &str| {
        let session = session(&format!("{SCALAR}{PHASES}{callbacks}{}", callback("metrics", "")));
        session.fit_epochs(3);
        let of = |phase: &str| values(&session, &format!("cbstate.metrics-epoch.{phase}.loss"));
        (of("training"), of("validation"), c(&session))
    };
    let (training, validation, last) = run("");
    let (with_training, with_validation, averaged) =
        run(&callback("ema", "decay = 0.9\nwarmup = false"));
    assert_eq!(training, with_training, "training is as it was");
    assert!(
        validation.iter().zip(&with_validation).all(|(plain, average)| average > plain),
        "the average lags: {with_validation:?}"
    );
    assert!(averaged < last, "the model keeps the average: {averaged} {last}");
    let (_, without, kept) = run(&callback("ema", "decay = 0.9\nvalidate = false\nkeep = false"));
    assert_eq!((without, kept), (validation, last));
}

/// Loss and targets of one step on two classes.
fn classes(callbacks: &str) -> (f64, Vec<f32>, Vec<f32>) {
    let text = format!(
        "[run]\nseed = 7\nthreads = 1\ndefault-callbacks = false\n[data]\ncomponent = \"rows\"\n[loader]\nbatch-size = 8\n[loss]\ncomponent = \
         \"cross-entropy\"\n[model]\ncomponent = \"same\"\n[optimizer]\ncomponent = \"sgd\"\n{PHASES}{callbacks}"
    );
    let session = whole_session(&text, Default::default());
    session.run_epoch(0).unwrap();
    let flat =
        |path: &str| session.tensor(path).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    (session.number("step.loss").unwrap(), flat("step.xs"), flat("step.ys"))
}

#[test]
fn softened_targets_are_for_the_loss_and_the_labels_come_back() {
    let (plain, _, labels) = classes("");
    let (softened, _, after) = classes(&callback("label-smoothing", "amount = 0.2"));
    assert!(softened > plain, "{softened} {plain}");
    assert_eq!(after, labels);
}

#[test]
fn inputs_are_mixed_and_the_labels_come_back() {
    let (_, inputs, labels) = classes("");
    let (_, mixed, after) = classes(&callback("mixup", "alpha = 1.0"));
    assert!(inputs.iter().all(|x| *x == 0.0 || *x == 1.0));
    assert!(mixed.iter().any(|x| *x > 0.0 && *x < 1.0), "{mixed:?}");
    assert!(
        mixed.chunks(2).all(|row| (row[0] + row[1] - 1.0).abs() < 1e-6),
        "mixtures of rows: {mixed:?}"
    );
    assert_eq!(after, labels);
}

#[test]
fn images_get_a_rectangle_of_another_one_and_the_labels_come_back() {
    let step = |callbacks: &str| {
        let text = format!(
            "[run]\nseed = 7\nthreads = 1\ndefault-callbacks = false\n[data]\ncomponent = \"digits\"\n[loader]\nbatch-size = 8\n[loss]\ncomponent = \"cross-entropy\"\n[model]\ncomponent = \"mlp\"\nhidden = []\n[optimizer]\ncomponent = \"sgd\"\n{PHASES}{callbacks}"
        );
        let session = whole_session(&text, Default::default());
        session.run_epoch(0).unwrap();
        let flat = |path: &str| {
            let tensor = session.tensor(path).unwrap().flatten_all().unwrap();
            tensor.to_dtype(fluxbay::session::DType::F32).unwrap().to_vec1::<f32>().unwrap()
        };
        (session.number("step.loss").unwrap(), flat("step.xs"), flat("step.ys"))
    };
    let (loss, plain, labels) = step("");
    let (_, same, _) = step(&callback("cutmix", "probability = 0.0"));
    assert_eq!(plain, same);
    let (mixed_loss, mixed, after) = step(&callback("cutmix", ""));
    assert!(after == labels && mixed_loss != loss);
    let images: Vec<(&[f32], &[f32])> = plain.chunks(64).zip(mixed.chunks(64)).collect();
    // The pixels that differ in any image lie in one rectangle, which holds those of one other image.
    let places: Vec<usize> =
        (0..64).filter(|&at| images.iter().any(|(own, new)| own[at] != new[at])).collect();
    assert!(!places.is_empty());
    let side = |of: fn(usize) -> usize| {
        let all = places.iter().map(|place| of(*place));
        all.clone().min().unwrap()..=all.max().unwrap()
    };
    let (rows, columns) = (side(|place| place / 8), side(|place| place % 8));
    let inside: Vec<usize> = (0..64)
        .filter(|place| rows.contains(&(place / 8)) && columns.contains(&(place % 8)))
        .collect();
    for (_, new) in &images {
        let partner = |(own, _): &&(&[f32], &[f32])| inside.iter().all(|&at| own[at] == new[at]);
        assert!(images.iter().any(|image| partner(&image)));
    }
    // With `mixup = 1.0` they are weighted sums.
    let (_, sums, _) = step(&callback("cutmix", "mixup = 1.0"));
    let is_of_none = |(at, sum): (usize, &f32)| images.iter().all(|(own, _)| own[at % 64] != *sum);
    assert!(sums.iter().enumerate().any(is_of_none));
}

/// Trains an epoch of digits with batch normalisation, of which all is frozen, and the frozen bias of
/// a layer. Returns the names of the tensors whose bits changed.
fn changed(callbacks: &str) -> Vec<String> {
    let text = format!(
        "[run]\nseed = 7\nepochs = 1\nthreads = 1\ndefault-callbacks = false\n[data]\ncomponent = \"digits\"\n[loader]\nvalidation = 0.2\n[model]\ncomponent = \"sequential\"\n[[model.layers]]\ntype = \"flatten\"\n[[model.layers]]\ntype = \"batch-norm\"\n[[model.layers]]\ntype = \"linear\"\nout = 10\n[fine-tuning]\nfreeze = [\"model.1.*\", \"model.2.bias\"]\n[loss]\ncomponent = \"cross-entropy\"\n[optimizer]\ncomponent = \"adamw\"\nweight-decay = 0.1\n{PHASES}{callbacks}"
    );
    let session = whole_session(&text, Default::default());
    let bits = || {
        let tensors = session.model_tensors().unwrap();
        let of = |tensor: &fluxbay::session::Tensor| {
            let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            values.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        tensors.iter().map(|(name, tensor)| (name.clone(), of(tensor))).collect::<Vec<_>>()
    };
    let before = bits();
    assert_eq!(before.len(), 6, "{before:?}");
    assert_eq!(session.fit_epochs(1).ending, fluxbay::learner::Ending::Finished);
    let after = bits();
    before
        .into_iter()
        .zip(after)
        .filter(|(before, after)| before.1 != after.1)
        .map(|(before, _)| before.0)
        .collect()
}

#[test]
fn frozen_parameters_and_buffers_stay_as_they_are_bit_for_bit() {
    assert_eq!(changed(""), ["model.2.weight"]);
    assert_eq!(changed(&callback("ema", "decay = 0.9\nwarmup = false")), ["model.2.weight"]);
    assert_eq!(changed(&callback("swa", "start = 1")), ["model.2.weight"]);
}
