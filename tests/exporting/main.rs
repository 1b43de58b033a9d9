//! Every operation as a model of its own: exported, and compared with what onnxruntime has checked and with tract.

mod cases;
mod onnxruntime;
mod preprocessing;
mod tract;

use std::collections::BTreeSet;

use candle_core::{Device, Tensor};
use fluxbay_plugin::abi::handle::{Handle, dtype};
use fluxbay_plugin::abi::operation::{OPERATIONS, op};

use cases::{Bench, Case, RANDOM, Sizes, VARIANTS, case};

/// Operations that tract does not run in some variant, with a part of its message.
const UNABLE: [(&str, &str); 1] = [("to-dtype", "Unknown DatumType Bfloat16")];

/// Largest difference between tract and the host.
const TOLERANCE: f64 = 1e-5;

#[test]
fn every_operation_agrees_with_tract() {
    let (mut wrong, mut unable) = (Vec::new(), BTreeSet::new());
    let mut check = |operation: &'static str, variant: String, case: &Case| {
        let name = format!("{operation}-{variant}");
        let model = case.export(None).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (inputs, outputs) = case.example();
        let expected = UNABLE.iter().find(|(unable, _)| *unable == operation);
        match (tract::difference(&model, &inputs, &outputs), expected) {
            (Ok(difference), _) if difference <= TOLERANCE => {}
            (Err(message), Some((_, part))) if message.contains(part) => {
                unable.insert(operation);
            }
            (found, _) => wrong.push(format!("{name}: {found:?}")),
        }
    };
    for info in OPERATIONS {
        for variant in 0..VARIANTS {
            let Some(case) = cases::of(info.code, variant, Sizes::of(variant)) else { continue };
            check(info.name, variant.to_string(), &case);
        }
        for number in (0..RANDOM).filter(|_| info.differentiable) {
            let sizes = Sizes::random(info.code, number);
            let Some(case) = cases::of(info.code, number, sizes) else { continue };
            check(info.name, format!("random-{number}"), &case);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(unable, UNABLE.iter().map(|(operation, _)| *operation).collect());
}

#[test]
fn losses_random_numbers_and_operations_in_place_are_refused_with_their_layer() {
    let refused = |build: fn(&mut Bench, Handle) -> Vec<Handle>| {
        let case = case(&[3], build).unwrap();
        case.export(None).unwrap_err().to_string()
    };
    let loss = refused(|bench, x| {
        let (weight, target) = (bench.parameter(&[3, 3]), bench.parameter(&[3]));
        let y = bench.apply(op::LINEAR, &[x, weight], &[], &[]);
        let target = {
            let n = bench.samples(x);
            bench.apply(op::BROADCAST_AS, &[target], &[n, 3], &[])
        };
        vec![bench.apply(op::MSE, &[y, target], &[], &[])]
    });
    assert!(loss.contains("`mse` in layer `layer` cannot be exported: a loss"), "{loss}");
    let random = refused(|bench, x| {
        let noise = bench.apply(op::UNIFORM, &[], &[-1, i64::from(dtype::F32), 3], &[]);
        vec![bench.apply(op::ADD, &[x, noise], &[], &[])]
    });
    assert!(random.contains("`uniform` before the first layer"), "{random}");
    let in_place = refused(|bench, x| {
        let buffer = bench.parameter(&[3]);
        let all = bench.all(op::SCALE_, &[buffer], &[], &[2.0]);
        assert!(all.is_empty());
        vec![bench.apply(op::ADD, &[x, buffer], &[], &[])]
    });
    assert!(in_place.contains("`scale`"), "{in_place}");
}

#[test]
fn what_a_model_computes_outside_of_operations_is_noticed() {
    let outside = case(&[3], |bench, x| {
        let sum = bench.engine.read_f32(x).unwrap().iter().sum::<f32>();
        let sum = bench.engine.insert(Tensor::new(&[sum], &Device::Cpu).unwrap()).unwrap();
        vec![bench.apply(op::ADD, &[x, sum], &[], &[])]
    })
    .unwrap();
    let error = outside.export(None).unwrap_err().to_string();
    assert!(error.contains("`add`") && error.contains("without operations of the host"), "{error}");
    // A constant that depends on the number of samples alone is exported for one number.
    let sized = case(&[3], |bench, x| {
        let ones = vec![1.0_f32; bench.samples(x) as usize];
        let ones = Tensor::from_vec(ones, (bench.samples(x) as usize, 1), &Device::Cpu).unwrap();
        let ones = bench.engine.insert(ones).unwrap();
        vec![bench.apply(op::ADD, &[x, ones], &[], &[])]
    })
    .unwrap();
    assert!(sized.export(None).unwrap_err().to_string().contains("`--batch N`"));
    assert!(sized.export(Some(4)).is_ok());
}
