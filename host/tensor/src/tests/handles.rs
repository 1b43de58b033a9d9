//! Misuse of handles, of the tape and of parameters; what in-place changes may touch.

use candle_core::{Device, Tensor};
use fluxbay_plugin::abi::handle::Handle;
use fluxbay_plugin::abi::operation::{OPERATIONS, op};

use super::super::{Behaviour, Detected, Engine, Init, Kind, Mode, Recording, TensorError};
use super::{double, f32s, f64s, single, u32s};

fn why_not<T: std::fmt::Debug>(answer: crate::Result<T>) -> TensorError {
    *answer.expect_err("it is refused")
}

fn stale_unknown_and_empty_handles_are_errors() {
    let mut engine = single(0);
    let x = f32s(&mut engine, &[1], &[1.0]);
    engine.retain(x).unwrap();
    engine.release(x).unwrap();
    assert_eq!(engine.scalar(x).unwrap(), 1.0);
    engine.release(x).unwrap();
    let reused = f32s(&mut engine, &[1], &[2.0]);
    assert_ne!(x, reused);
    for bad in [x, Handle(77), Handle::NONE, Handle(reused.0 + (5 << 32))] {
        assert!(matches!(why_not(engine.value(bad)), TensorError::BadHandle { .. }), "{bad:?}");
        assert!(matches!(why_not(engine.release(bad)), TensorError::BadHandle { .. }));
        assert!(matches!(
            why_not(engine.apply1(op::NEG, &[bad], &[], &[])),
            TensorError::BadHandle { .. }
        ));
    }
    engine.release(reused).unwrap();
    assert_eq!(engine.living(), 0);
}

#[test]
fn lent_elements_come_back_once_nothing_refers_to_them() {
    let mut engine = single(0);
    let lent = |engine: &mut Engine| {
        engine.insert_lent(Tensor::from_slice(&[1.0_f32, 2.0], 2, &Device::Cpu).unwrap()).unwrap()
    };
    let come_back = |engine: &mut Engine| {
        engine.take_returned().map(|buffer| buffer.as_slice::<f32>().unwrap().to_vec())
    };

    let x = lent(&mut engine);
    engine.retain(x).unwrap();
    engine.release(x).unwrap();
    assert_eq!(come_back(&mut engine), None, "one reference is left");
    engine.release(x).unwrap();
    assert_eq!(come_back(&mut engine), Some(vec![1.0, 2.0]));
    assert_eq!(come_back(&mut engine), None);

    let x = lent(&mut engine);
    let view = engine.apply1(op::RESHAPE, &[x], &[1, 2], &[]).unwrap();
    engine.release(x).unwrap();
    assert_eq!(come_back(&mut engine), None, "a view sees them");
    assert_eq!(engine.value(view).unwrap().to_vec2::<f32>().unwrap(), [[1.0, 2.0]]);
    engine.release(view).unwrap();
    assert_eq!(come_back(&mut engine), None, "they are the view's");

    engine.set_mode(Mode { recording: Recording::On, ..engine.mode() });
    let model = engine.model("model");
    let w = engine.parameter(model, "w", &[2], Init::Constant(3.0), Kind::Trainable).unwrap();
    let x = lent(&mut engine);
    let product = engine.apply1(op::MUL, &[x, w], &[], &[]).unwrap();
    let loss = engine.apply1(op::SUM, &[product], &[0], &[]).unwrap();
    engine.release(x).unwrap();
    assert_eq!(come_back(&mut engine), None, "the tape sees them");
    engine.backward(loss, None).unwrap();
    let gradient = engine.gradient(0).unwrap().unwrap();
    assert_eq!(engine.value(gradient).unwrap().to_vec1::<f32>().unwrap(), [1.0, 2.0]);

    let own = f32s(&mut engine, &[2], &[1.0, 2.0]);
    engine.release(own).unwrap();
    assert_eq!(come_back(&mut engine), None, "it was not lent");
}

fn nonsense_is_answered_with_errors_for_every_operation() {
    let mut engine = single(0);
    let scalar = f32s(&mut engine, &[], &[1.0]);
    let empty = f32s(&mut engine, &[0, 3], &[]);
    let wide = f32s(&mut engine, &[2, 3, 4, 5, 1], &[0.5; 120]);
    let ids = u32s(&mut engine, &[2], &[9, 1]);
    let bytes = engine.insert(Tensor::from_slice(&[1_u8, 2], 2, &Device::Cpu).unwrap()).unwrap();
    let doubles = f64s(&mut engine, &[2], &[1.0, 2.0]);
    let attributes: [(&[i64], &[f64]); 6] = [
        (&[], &[]),
        (&[-9], &[f64::NAN]),
        (&[i64::MAX, i64::MIN, 3], &[0.0, 0.0]),
        (&[1, 1, 1, 1], &[]),
        (&[0, 0], &[-1.0]),
        (&[1], &[]),
    ];
    let pool = [scalar, empty, wide, ids, bytes, doubles];
    let mut outputs = Vec::new();
    let mut seen = 0;
    for info in OPERATIONS {
        for count in 0..=5 {
            for first in 0..pool.len() {
                let inputs: Vec<Handle> = (0..count)
                    .map(|at| pool[(first + at * (1 + first % 2)) % pool.len()])
                    .collect();
                for (ints, floats) in attributes {
                    // No panic is the point; most are errors, each of which names the operation.
                    if let Err(error) = engine.apply(info.code, &inputs, ints, floats, &mut outputs)
                    {
                        assert!(error.to_string().contains(info.name), "{}: {error}", info.name);
                        seen += 1;
                    }
                    outputs.drain(..).for_each(|output| engine.release(output).unwrap());
                }
            }
        }
    }
    assert!(seen > 10_000, "{seen}");
    assert!(matches!(
        why_not(engine.apply1(9999, &[], &[], &[])),
        TensorError::UnknownOperation { code: 9999, .. }
    ));
}

fn errors_name_the_operation_and_both_shapes() {
    let mut engine = single(0);
    let a = f32s(&mut engine, &[2, 3], &[0.0; 6]);
    let b = f32s(&mut engine, &[2, 4], &[0.0; 8]);
    let text = engine.apply1(op::MATMUL, &[a, b], &[], &[]).unwrap_err().to_string();
    assert!(
        text.starts_with("matmul: ") && text.contains("[2, 3]") && text.contains("[2, 4]"),
        "{text}"
    );
    let text = engine.apply1(op::ADD, &[a, b], &[], &[]).unwrap_err().to_string();
    assert!(text.contains("[2, 3]") && text.contains("[2, 4]"), "{text}");
}

fn a_parameter_keeps_its_handle_and_gets_gradients_of_its_model_only() {
    let mut engine = double(3);
    let (generator, critic) = (engine.model("generator"), engine.model("critic"));
    let g = engine.parameter(generator, "w", &[2], Init::Constant(3.0), Kind::Trainable).unwrap();
    let c = engine.parameter(critic, "w", &[2], Init::Constant(2.0), Kind::Trainable).unwrap();
    let product = engine.apply1(op::MUL, &[g, c], &[], &[]).unwrap();
    let loss = engine.apply1(op::SUM, &[product], &[0], &[]).unwrap();
    engine.backward(loss, Some(critic)).unwrap();
    assert_eq!(engine.gradient(0).unwrap(), None);
    let gradient = engine.gradient(1).unwrap().unwrap();
    assert_eq!(engine.read_f64(gradient).unwrap(), [3.0, 3.0]);
    engine.release(gradient).unwrap();

    let again = engine.apply1(op::MUL, &[g, c], &[], &[]).unwrap();
    let loss = engine.apply1(op::SUM, &[again], &[0], &[]).unwrap();
    engine.backward(loss, None).unwrap();
    let gradient = engine.gradient(1).unwrap().unwrap();
    assert_eq!(
        engine.read_f64(gradient).unwrap(),
        [6.0, 6.0],
        "gradients accumulate until they are cleared"
    );
    engine.apply(op::SCALE_, &[gradient], &[], &[0.5], &mut Vec::new()).unwrap();
    let same = engine.gradient(1).unwrap().unwrap();
    assert_eq!(
        engine.read_f64(same).unwrap(),
        [3.0, 3.0],
        "in-place changes reach the gradient itself"
    );
    engine.clear_gradients(Some(critic));
    assert_eq!(engine.gradient(1).unwrap(), None);
    assert!(engine.gradient(0).unwrap().is_some());
}

fn in_place_changes_leave_views_and_the_tape_alone() {
    let mut engine = double(0);
    let model = engine.model("m");
    let w = engine.parameter(model, "w", &[2], Init::Constant(3.0), Kind::Trainable).unwrap();
    let view = engine.apply1(op::RESHAPE, &[w], &[2, 1], &[]).unwrap();
    let copy = engine.apply1(op::DETACH, &[w], &[], &[]).unwrap();
    let square = engine.apply1(op::SQR, &[w], &[], &[]).unwrap();
    let loss = engine.apply1(op::SUM, &[square], &[0], &[]).unwrap();
    engine.apply(op::SCALE_, &[w], &[], &[10.0], &mut Vec::new()).unwrap();
    assert_eq!(engine.read_f64(w).unwrap(), [30.0, 30.0]);
    assert_eq!(engine.read_f64(view).unwrap(), [3.0, 3.0]);
    assert_eq!(engine.read_f64(copy).unwrap(), [3.0, 3.0]);
    engine.backward(loss, None).unwrap();
    let gradient = engine.gradient(0).unwrap().unwrap();
    assert_eq!(
        engine.read_f64(gradient).unwrap(),
        [6.0, 6.0],
        "the gradient is taken where the loss was computed"
    );

    let text =
        engine.apply(op::SCALE_, &[square], &[], &[2.0], &mut Vec::new()).unwrap_err().to_string();
    assert!(text.contains("tape"), "{text}");
    let text = engine
        .apply(op::ADD_SCALED_, &[w, w], &[], &[2.0], &mut Vec::new())
        .unwrap_err()
        .to_string();
    assert!(text.contains("overwritten"), "{text}");
}

fn a_gradient_never_stops_silently() {
    let mut engine = double(0);
    let x = f64s(&mut engine, &[2], &[1.0, 2.0]);
    let constant = engine.apply1(op::SUM, &[x], &[0], &[]).unwrap();
    assert!(engine.backward(constant, None).unwrap_err().to_string().contains("does not depend"));
    engine.watch(x).unwrap();
    assert!(engine.backward(x, None).unwrap_err().to_string().contains("[2]"));

    let norm = engine.apply1(op::GLOBAL_NORM, &[x], &[], &[]).unwrap();
    let text = engine.gradient_of(norm, &[x]).unwrap_err().to_string();
    assert!(text.starts_with("global-norm: "), "{text}");

    let target = f64s(&mut engine, &[2], &[0.5, 0.5]);
    engine.watch(target).unwrap();
    let loss = engine.apply1(op::CROSS_ENTROPY, &[x, target], &[], &[]).unwrap();
    let text = engine.gradient_of(loss, &[target]).unwrap_err().to_string();
    assert!(text.contains("no gradient for its input 1"), "{text}");

    let y = engine.apply1(op::SQR, &[x], &[], &[]).unwrap();
    let first = engine.apply1(op::SUM, &[y], &[0], &[]).unwrap();
    let second = engine.apply1(op::MEAN, &[y], &[0], &[]).unwrap();
    engine.gradient_of(first, &[x]).unwrap();
    let text = engine.gradient_of(second, &[x]).unwrap_err().to_string();
    assert!(text.contains("already used"), "{text}");

    let y = engine.apply1(op::SQR, &[x], &[], &[]).unwrap();
    engine.clear_tape();
    let late = engine.apply1(op::SUM, &[y], &[0], &[]).unwrap();
    assert!(engine.gradient_of(late, &[x]).unwrap_err().to_string().contains("cleared"));
}

fn going_back_for_one_model_leaves_the_rest_of_the_tape() {
    let mut engine = double(0);
    let (a, b) = (engine.model("a"), engine.model("b"));
    let wa = engine.parameter(a, "w", &[1], Init::Constant(2.0), Kind::Trainable).unwrap();
    let wb = engine.parameter(b, "w", &[1], Init::Constant(5.0), Kind::Trainable).unwrap();
    let fake = engine.apply1(op::SQR, &[wa], &[], &[]).unwrap();
    let judged = engine.apply1(op::MUL, &[fake, wb], &[], &[]).unwrap();
    engine.backward(judged, Some(b)).unwrap();
    let judged = engine.apply1(op::MUL, &[fake, wb], &[], &[]).unwrap();
    engine.backward(judged, Some(a)).unwrap();
    let (ga, gb) = (engine.gradient(0).unwrap().unwrap(), engine.gradient(1).unwrap().unwrap());
    assert_eq!((engine.scalar(ga).unwrap(), engine.scalar(gb).unwrap()), (20.0, 4.0));
}

fn parameters_are_listed_by_model_and_path_and_seeded_by_name() {
    let values = |order: &[(&str, &str)]| {
        let mut engine = single(11);
        engine.model("first");
        for (model, path) in order {
            let model = engine.model(model);
            engine
                .parameter(model, path, &[3], Init::Normal { mean: 0.0, std: 1.0 }, Kind::Trainable)
                .unwrap();
        }
        let listed: Vec<(usize, String, Handle)> =
            engine.parameters().map(|p| (p.model, p.path.to_owned(), p.handle)).collect();
        listed
            .into_iter()
            .map(|(model, path, handle)| (model, path, engine.read_f32(handle).unwrap()))
            .collect::<Vec<_>>()
    };
    let one = values(&[("first", "b.w"), ("first", "a.w"), ("second", "a.w")]);
    let two = values(&[("second", "a.w"), ("first", "a.w"), ("first", "b.w")]);
    assert_eq!(one, two);
    let paths: Vec<_> = one.iter().map(|(model, path, _)| (*model, path.as_str())).collect();
    assert_eq!(paths, [(0, "a.w"), (0, "b.w"), (1, "a.w")]);
    assert_ne!(one[0].2, one[2].2, "the same path in another model has other values");
}

fn parameters_refuse_what_does_not_fit() {
    let mut engine = single(0);
    let model = engine.model("net");
    engine.parameter(model, "w", &[2, 3], Init::Constant(0.0), Kind::Trainable).unwrap();
    let text = engine
        .parameter(model, "w", &[2, 3], Init::Constant(0.0), Kind::Trainable)
        .unwrap_err()
        .to_string();
    assert!(text.contains("net") && text.contains('w') && text.contains("taken"), "{text}");
    assert!(engine.parameter(5, "w", &[1], Init::Constant(0.0), Kind::Trainable).is_err());
    assert!(
        engine
            .parameter(model, "huge", &[usize::MAX, 2], Init::Constant(0.0), Kind::Trainable)
            .is_err()
    );
    let wrong = Tensor::zeros((3, 2), candle_core::DType::F32, &Device::Cpu).unwrap();
    assert!(engine.set_parameter(0, &wrong).unwrap_err().to_string().contains("[3, 2]"));
    engine
        .set_parameter(0, &Tensor::ones((2, 3), candle_core::DType::F32, &Device::Cpu).unwrap())
        .unwrap();
    let handle = engine.find_parameter(model, "w").unwrap().handle;
    assert_eq!(engine.read_f32(handle).unwrap(), [1.0; 6]);
}

fn frozen_parameters_and_buffers_are_constants() {
    let mut engine = single(0);
    let model = engine.model("net");
    let w = engine.parameter(model, "w", &[1], Init::Constant(2.0), Kind::Trainable).unwrap();
    let buffer = engine.parameter(model, "mean", &[1], Init::Constant(3.0), Kind::Buffer).unwrap();
    engine.freeze(0, true).unwrap();
    let product = engine.apply1(op::MUL, &[w, buffer], &[], &[]).unwrap();
    assert!(engine.backward(product, None).is_err());
    engine.freeze(0, false).unwrap();
    let product = engine.apply1(op::MUL, &[w, buffer], &[], &[]).unwrap();
    engine.backward(product, None).unwrap();
    assert!(engine.gradient(0).unwrap().is_some() && engine.gradient(1).unwrap().is_none());
}

fn frozen_tensors_are_not_overwritten() {
    let mut engine = single(0);
    let model = engine.model("net");
    let mut make = |path: &str, value: f64, kind| {
        engine.parameter(model, path, &[2], Init::Constant(value), kind).unwrap()
    };
    let (w, b) = (make("w", 1.0, Kind::Trainable), make("b", 0.0, Kind::Trainable));
    let (mean, variance) = (make("mean", 0.5, Kind::Buffer), make("variance", 4.0, Kind::Buffer));
    let x = f32s(&mut engine, &[2, 2], &[1.5, 2.5, 4.5, 8.5]);
    let norm = |engine: &mut Engine| {
        let y = engine.apply1(op::BATCH_NORM, &[x, w, b, mean, variance], &[], &[1e-30]).unwrap();
        engine.read_f32(y).unwrap()
    };
    for index in [2, 3] {
        engine.freeze(index, true).unwrap();
    }
    // (x - 0.5) / 2: the frozen statistics are used.
    assert_eq!(norm(&mut engine), [0.5, 1.0, 2.0, 4.0]);
    assert_eq!(engine.read_f32(mean).unwrap(), [0.5, 0.5]);
    assert_eq!(engine.read_f32(variance).unwrap(), [4.0, 4.0]);
    // A buffer that a model overwrites itself, and a parameter that a callback overwrites.
    let one = f32s(&mut engine, &[2], &[1.0, 1.0]);
    engine.freeze(0, true).unwrap();
    for (target, value) in [(mean, 0.5), (w, 1.0)] {
        engine.apply(op::LERP_, &[target, one], &[], &[0.5], &mut Vec::new()).unwrap();
        engine.apply(op::SCALE_, &[target], &[], &[3.0], &mut Vec::new()).unwrap();
        assert_eq!(engine.read_f32(target).unwrap(), [value, value]);
    }
    for index in [0, 2, 3] {
        engine.freeze(index, false).unwrap();
    }
    norm(&mut engine);
    assert_ne!(engine.read_f32(mean).unwrap(), [0.5, 0.5]);
}

fn the_first_result_that_is_not_finite_is_found() {
    let both = Some(Detected { nan: true, infinite: true });
    let mut engine = single(0);
    let model = engine.model("net");
    let w = engine.parameter(model, "w", &[1], Init::Constant(0.0), Kind::Trainable).unwrap();
    engine.detect_anomalies(both);
    let y = engine.apply1(op::SQR, &[w], &[], &[]).unwrap();
    let z = engine.apply1(op::LOG, &[y], &[], &[]).unwrap();
    engine.apply1(op::SQR, &[z], &[], &[]).unwrap();
    let found = engine.first_anomaly().cloned().unwrap();
    assert_eq!((found.operation, found.backward, found.nan), ("log", false, false));
    assert_eq!((found.from_input, found.parameter, found.direct), (false, Some(0), false));
    assert_eq!(found.number, 1);

    // The square root of 0 is finite, its gradient is not.
    engine.detect_anomalies(both);
    let y = engine.apply1(op::SQRT, &[w], &[], &[]).unwrap();
    assert_eq!(engine.first_anomaly(), None);
    engine.backward(y, None).unwrap();
    let found = engine.first_anomaly().cloned().unwrap();
    assert_eq!((found.operation, found.backward, found.direct), ("sqrt", true, true));

    // An infinity is not detected if only NaN is.
    engine.clear_tape();
    engine.detect_anomalies(Some(Detected { nan: true, infinite: false }));
    let y = engine.apply1(op::LOG, &[w], &[], &[]).unwrap();
    assert_eq!(engine.first_anomaly(), None);
    engine.apply1(op::SUB, &[y, y], &[], &[]).unwrap();
    let found = engine.first_anomaly().cloned().unwrap();
    assert_eq!((found.operation, found.nan), ("sub", true));

    // Overwritten tensors are read, too; an input that is not finite is named as such.
    engine.detect_anomalies(both);
    let bad = f32s(&mut engine, &[1], &[f32::NAN]);
    let target = f32s(&mut engine, &[1], &[1.0]);
    engine.apply(op::ASSIGN, &[target, bad], &[], &[], &mut Vec::new()).unwrap();
    let found = engine.first_anomaly().cloned().unwrap();
    assert_eq!((found.operation, found.from_input, found.parameter), ("assign", true, None));
    engine.detect_anomalies(None);
    assert_eq!(engine.first_anomaly(), None);
}

fn nothing_is_recorded_while_recording_is_off_or_without_parameters() {
    let mut engine = single(0);
    let model = engine.model("net");
    let w = engine.parameter(model, "w", &[1], Init::Constant(2.0), Kind::Trainable).unwrap();
    engine.set_mode(Mode { recording: Recording::Off, behaviour: Behaviour::Training });
    let y = engine.apply1(op::SQR, &[w], &[], &[]).unwrap();
    engine.set_mode(Mode { recording: Recording::On, behaviour: Behaviour::Training });
    engine.apply1(op::SQR, &[y], &[], &[]).unwrap();
    assert_eq!(engine.tape_length(), 0);
}

#[test]
fn views_show_the_elements_in_order() {
    let mut engine = single(0);
    let x = f32s(&mut engine, &[2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let t = engine.apply1(op::TRANSPOSE, &[x], &[0, 1], &[]).unwrap();
    let view = engine.view(t).unwrap();
    assert_eq!(view.bytes, 16);
    // SAFETY: the view's bytes are the tensor's, which lives until the end of the test.
    let elements = unsafe { std::slice::from_raw_parts(view.pointer.cast::<f32>(), 4) };
    assert_eq!(elements, [1.0, 3.0, 2.0, 4.0]);
    let bytes: Vec<u8> = [7.0_f32, 8.0].iter().flat_map(|x| x.to_ne_bytes()).collect();
    let made = engine.from_bytes(fluxbay_plugin::abi::handle::dtype::F32, &[2], &bytes).unwrap();
    assert_eq!(engine.read_f32(made).unwrap(), [7.0, 8.0]);
    assert!(engine.from_bytes(fluxbay_plugin::abi::handle::dtype::F32, &[3], &bytes).is_err());
    assert!(engine.from_bytes(99, &[2], &bytes).is_err());
}

on_each_backend!(
    stale_unknown_and_empty_handles_are_errors,
    nonsense_is_answered_with_errors_for_every_operation,
    errors_name_the_operation_and_both_shapes,
    a_parameter_keeps_its_handle_and_gets_gradients_of_its_model_only,
    in_place_changes_leave_views_and_the_tape_alone,
    a_gradient_never_stops_silently,
    going_back_for_one_model_leaves_the_rest_of_the_tape,
    parameters_are_listed_by_model_and_path_and_seeded_by_name,
    parameters_refuse_what_does_not_fit,
    frozen_parameters_and_buffers_are_constants,
    frozen_tensors_are_not_overwritten,
    the_first_result_that_is_not_finite_is_found,
    nothing_is_recorded_while_recording_is_off_or_without_parameters,
);
