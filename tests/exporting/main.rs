//! Every operation as a model of its own: exported, and compared with what onnxruntime has checked.

mod cases;
mod onnxruntime;

use candle_core::{Device, Tensor};
use fluxbay_plugin::abi::handle::{Handle, dtype};
use fluxbay_plugin::abi::operation::op;

use cases::{Bench, case};

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
