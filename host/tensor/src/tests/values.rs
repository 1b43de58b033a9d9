//! Values of operations: against candle where it is right, against numbers from the literature or
//! by hand elsewhere.

use candle_core::{Device, Tensor};
use fluxbay_plugin::abi::handle::{Handle, dtype};
use fluxbay_plugin::abi::operation::op;

use super::super::{Behaviour, Engine, Mode, Recording};
use super::gradients::Dice;
use super::{double, f32s, f64s, single, u32s};

fn random(engine: &mut Engine, name: &str, shape: &[usize]) -> Handle {
    let mut dice = Dice::new(name);
    let values: Vec<f32> =
        (0..shape.iter().product()).map(|_| dice.within(-2.0, 2.0) as f32).collect();
    f32s(engine, shape, &values)
}

fn close(engine: &Engine, ours: Handle, theirs: &Tensor, tolerance: f32) {
    assert_eq!(engine.shape(ours).unwrap(), theirs.dims());
    let theirs: Vec<f32> = theirs.flatten_all().unwrap().to_vec1().unwrap();
    for (at, (a, b)) in engine.read_f32(ours).unwrap().iter().zip(&theirs).enumerate() {
        assert!((a - b).abs() <= tolerance * (1.0 + b.abs()), "element {at}: {a} instead of {b}");
    }
}

fn products_agree_with_candle_for_views_and_batches() {
    let mut engine = single(0);
    for (a, b) in [
        (&[7, 5][..], &[5, 9][..]),
        (&[3, 7, 5], &[5, 9]),
        (&[3, 7, 5], &[3, 5, 9]),
        (&[2, 1, 4, 6], &[3, 6, 2]),
        (&[300, 130], &[130, 70]),
    ] {
        let (x, y) = (random(&mut engine, "a", a), random(&mut engine, "b", b));
        let expected =
            engine.value(x).unwrap().broadcast_matmul(&engine.value(y).unwrap()).unwrap();
        let product = engine.apply1(op::MATMUL, &[x, y], &[], &[]).unwrap();
        close(&engine, product, &expected, 1e-5);
        // The same through a transposed view of the second.
        let rank = b.len() as i64;
        let stored = engine.apply1(op::TRANSPOSE, &[y], &[rank - 1, rank - 2], &[]).unwrap();
        let stored = engine.apply1(op::CONTIGUOUS, &[stored], &[], &[]).unwrap();
        let view = engine.apply1(op::TRANSPOSE, &[stored], &[rank - 1, rank - 2], &[]).unwrap();
        let product = engine.apply1(op::MATMUL, &[x, view], &[], &[]).unwrap();
        close(&engine, product, &expected, 1e-5);
    }
}

fn flat_linear_is_linear_of_flattened_samples_to_the_bit() {
    let mut engine = single(0);
    for sample in [&[][..], &[6], &[2, 3, 5], &[1, 40, 30]] {
        let inputs: usize = sample.iter().product();
        let x = random(&mut engine, "x", &[&[7], sample].concat());
        let (w, b) = (random(&mut engine, "w", &[5, inputs]), random(&mut engine, "b", &[5]));
        let flattened = engine.apply1(op::RESHAPE, &[x], &[7, inputs as i64], &[]).unwrap();
        let expected = engine.apply1(op::LINEAR, &[flattened, w, b], &[1], &[]).unwrap();
        let ours = engine.apply1(op::FLAT_LINEAR, &[x, w, b], &[1], &[]).unwrap();
        assert_eq!(
            (engine.shape(ours).unwrap(), engine.read_f32(ours).unwrap()),
            (&[7, 5][..], engine.read_f32(expected).unwrap())
        );
        let narrow = random(&mut engine, "w", &[5, inputs + 1]);
        let refused =
            engine.apply1(op::FLAT_LINEAR, &[x, narrow], &[], &[]).unwrap_err().to_string();
        assert!(
            refused.starts_with("flat-linear: ") && refused.contains("elements per sample"),
            "{refused}"
        );
    }
    let number = f32s(&mut engine, &[], &[1.0]);
    let w = random(&mut engine, "w", &[5, 1]);
    assert!(engine.apply1(op::FLAT_LINEAR, &[number, w], &[], &[]).is_err(), "there is no batch");
}

fn convolutions_agree_with_candle() {
    let mut engine = single(0);
    for (stride, padding, dilation, groups) in
        [(1, 0, 1, 1), (2, 1, 1, 1), (1, 2, 2, 2), (3, 1, 1, 4)]
    {
        let x = random(&mut engine, "x", &[3, 4, 11, 9]);
        let w = random(&mut engine, "w", &[8, 4 / groups, 3, 3]);
        let expected = engine
            .value(x)
            .unwrap()
            .conv2d(&engine.value(w).unwrap(), padding, stride, dilation, groups)
            .unwrap();
        let [s, p, d] = [stride, padding, dilation].map(|size| size as i64);
        let ours =
            engine.apply1(op::CONV2D, &[x, w], &[s, s, p, p, d, d, groups as i64], &[]).unwrap();
        close(&engine, ours, &expected, 1e-5);
    }
    let x = random(&mut engine, "x", &[2, 3, 5, 4]);
    let w = random(&mut engine, "w", &[3, 2, 3, 3]);
    let expected =
        engine.value(x).unwrap().conv_transpose2d(&engine.value(w).unwrap(), 1, 1, 2, 1).unwrap();
    let ours = engine.apply1(op::CONV_TRANSPOSE2D, &[x, w], &[2, 2, 1, 1, 1, 1], &[]).unwrap();
    close(&engine, ours, &expected, 1e-5);
    let x = random(&mut engine, "x", &[2, 3, 17]);
    let w = random(&mut engine, "w", &[4, 3, 5]);
    let expected = engine.value(x).unwrap().conv1d(&engine.value(w).unwrap(), 2, 1, 1, 1).unwrap();
    let ours = engine.apply1(op::CONV1D, &[x, w], &[1, 2], &[]).unwrap();
    close(&engine, ours, &expected, 1e-5);
}

fn pooling_agrees_with_candle_and_keeps_nan() {
    let mut engine = single(0);
    let x = random(&mut engine, "x", &[2, 3, 7, 8]);
    let expected = engine.value(x).unwrap().max_pool2d_with_stride(3, 2).unwrap();
    let ours = engine.apply1(op::MAX_POOL2D, &[x], &[3, 3, 2, 2], &[]).unwrap();
    close(&engine, ours, &expected, 0.0);
    let expected = engine.value(x).unwrap().avg_pool2d(2).unwrap();
    let ours = engine.apply1(op::AVG_POOL2D, &[x], &[2, 2], &[]).unwrap();
    close(&engine, ours, &expected, 1e-6);
    let nan = f32s(&mut engine, &[1, 1, 2, 2], &[1.0, f32::NAN, 3.0, 4.0]);
    let ours = engine.apply1(op::MAX_POOL2D, &[nan], &[2, 2], &[]).unwrap();
    assert!(engine.scalar(ours).unwrap().is_nan());
}

fn reductions_and_softmax_agree_with_candle() {
    let mut engine = single(0);
    let x = random(&mut engine, "x", &[37, 65, 12]);
    for dim in 0..3 {
        let value = engine.value(x).unwrap();
        let (sum, max, softmax) = (
            value.sum(dim).unwrap(),
            value.max(dim).unwrap(),
            candle_nn::ops::softmax(&value, dim).unwrap(),
        );
        let argmax = value.argmax(dim).unwrap();
        let ours = engine.apply1(op::SUM, &[x], &[0, dim as i64], &[]).unwrap();
        close(&engine, ours, &sum, 1e-5);
        let ours = engine.apply1(op::MAX, &[x], &[0, dim as i64], &[]).unwrap();
        close(&engine, ours, &max, 0.0);
        let ours = engine.apply1(op::SOFTMAX, &[x], &[dim as i64], &[]).unwrap();
        close(&engine, ours, &softmax, 1e-6);
        let ours = engine.apply1(op::ARGMAX, &[x], &[0, dim as i64], &[]).unwrap();
        assert_eq!(
            engine.read_u32(ours).unwrap(),
            argmax.flatten_all().unwrap().to_vec1::<u32>().unwrap()
        );
    }
    let (first_last, all) = (
        engine.value(x).unwrap().sum((0, 2)).unwrap(),
        engine.value(x).unwrap().sum_all().unwrap(),
    );
    let ours = engine.apply1(op::SUM, &[x], &[0, 0, 2], &[]).unwrap();
    close(&engine, ours, &first_last, 1e-5);
    let ours = engine.apply1(op::SUM, &[x], &[0], &[]).unwrap();
    close(&engine, ours, &all, 1e-4);
}

fn cross_entropy_agrees_with_the_definition() {
    let mut engine = double(0);
    let x = f64s(&mut engine, &[2, 3], &[1.0, 2.0, 3.0, 0.0, 0.0, 0.0]);
    let labels = u32s(&mut engine, &[2], &[2, 0]);
    let each = engine.apply1(op::CROSS_ENTROPY, &[x, labels], &[2], &[]).unwrap();
    let values = engine.read_f64(each).unwrap();
    let first = (1.0 + (-1.0_f64).exp() + (-2.0_f64).exp()).ln();
    assert!(
        (values[0] - first).abs() < 1e-12 && (values[1] - 3.0_f64.ln()).abs() < 1e-12,
        "{values:?}"
    );
    // Smoothing 0.3: 0.7 of the above plus 0.1 of each class's.
    let smooth = engine.apply1(op::CROSS_ENTROPY, &[x, labels], &[2], &[0.3]).unwrap();
    let smooth = engine.read_f64(smooth).unwrap()[0];
    assert!((smooth - (0.7 * first + 0.1 * (3.0 * first + 1.0 + 2.0))).abs() < 1e-12, "{smooth}");
    let large = f64s(&mut engine, &[1, 2], &[1e4, -1e4]);
    let label = u32s(&mut engine, &[1], &[1]);
    let loss = engine.apply1(op::CROSS_ENTROPY, &[large, label], &[], &[]).unwrap();
    assert_eq!(engine.scalar(loss).unwrap(), 2e4);
    let wrong = u32s(&mut engine, &[1], &[2]);
    let text = engine.apply1(op::CROSS_ENTROPY, &[large, wrong], &[], &[]).unwrap_err().to_string();
    assert!(text.contains("label 2"), "{text}");
}

fn attention_agrees_with_its_parts() {
    for (time, causal) in [(5, 1), (70, 1), (70, 0), (130, 1)] {
        let mut engine = single(0);
        let (batch, heads, width) = (2, 3, 4);
        let channels = heads * width;
        let qkv = random(&mut engine, "qkv", &[batch, time, 3 * channels]);
        let ours = engine.apply1(op::ATTENTION, &[qkv], &[heads as i64, causal], &[]).unwrap();
        let packed = engine.value(qkv).unwrap();
        let part = |which: usize| {
            let part = packed.narrow(2, which * channels, channels).unwrap();
            part.reshape((batch, time, heads, width))
                .unwrap()
                .transpose(1, 2)
                .unwrap()
                .contiguous()
                .unwrap()
        };
        let scores = (part(0).matmul(&part(1).t().unwrap().contiguous().unwrap()).unwrap()
            * (1.0 / (width as f64).sqrt()))
        .unwrap();
        let hidden: Vec<f32> = (0..time * time)
            .map(|at| if causal == 1 && at % time > at / time { f32::NEG_INFINITY } else { 0.0 })
            .collect();
        let mask = Tensor::from_vec(hidden, (time, time), &Device::Cpu).unwrap();
        let weights = candle_nn::ops::softmax(&scores.broadcast_add(&mask).unwrap(), 3).unwrap();
        let expected = weights
            .matmul(&part(2))
            .unwrap()
            .transpose(1, 2)
            .unwrap()
            .reshape((batch, time, channels))
            .unwrap();
        close(&engine, ours, &expected, 1e-5);
    }
}

fn scaled_attention_of_equal_sizes_is_attention_on_packed_inputs() {
    for (time, causal) in [(5, 1), (70, 0), (130, 1)] {
        let mut engine = single(0);
        let (batch, heads, width) = (2, 3, 4);
        let channels = heads * width;
        let qkv = random(&mut engine, "qkv", &[batch, time, 3 * channels]);
        let packed = engine.apply1(op::ATTENTION, &[qkv], &[heads as i64, causal], &[]).unwrap();
        let expected = engine.value(packed).unwrap();
        let part = |engine: &mut Engine, which: usize| {
            let start = (which * channels) as i64;
            let part = engine.apply1(op::NARROW, &[qkv], &[2, start, channels as i64], &[]);
            let sizes = [batch as i64, time as i64, heads as i64, width as i64];
            let part = engine.apply1(op::RESHAPE, &[part.unwrap()], &sizes, &[]).unwrap();
            engine.apply1(op::TRANSPOSE, &[part], &[1, 2], &[]).unwrap()
        };
        let parts = [0, 1, 2].map(|which| part(&mut engine, which));
        let ours = engine.apply1(op::SCALED_ATTENTION, &parts, &[causal], &[]).unwrap();
        let ours = engine.apply1(op::TRANSPOSE, &[ours], &[1, 2], &[]).unwrap();
        let sizes = [batch as i64, time as i64, channels as i64];
        let ours = engine.apply1(op::RESHAPE, &[ours], &sizes, &[]).unwrap();
        close(&engine, ours, &expected, 1e-5);
    }
}

fn scaled_attention_sees_what_its_lengths_window_and_bias_leave() {
    let mut engine = double(0);
    // One head of width 1 whose scores are 0: the result is the mean of the values seen.
    let ones =
        |engine: &mut Engine, count: usize| f64s(engine, &[2, 1, count, 1], &vec![0.0; 2 * count]);
    let (q, k) = (ones(&mut engine, 3), ones(&mut engine, 4));
    let values: Vec<f64> = (1..=8).map(f64::from).collect();
    let v = f64s(&mut engine, &[2, 1, 4, 1], &values);
    let lengths = u32s(&mut engine, &[2], &[4, 1]);
    let rounded = |values: Vec<f64>| -> Vec<f64> {
        values.into_iter().map(|x| (x * 1e9).round() / 1e9).collect()
    };
    let mut mean = |inputs: &[Handle], ints: &[i64]| {
        let out = engine.apply1(op::SCALED_ATTENTION, inputs, ints, &[]).unwrap();
        rounded(engine.read_f64(out).unwrap())
    };
    // The three queries are the last of four places.
    assert_eq!(mean(&[q, k, v], &[1]), [1.5, 2.0, 2.5, 5.5, 6.0, 6.5]);
    assert_eq!(mean(&[q, k, v, lengths], &[]), [2.5, 2.5, 2.5, 5.0, 5.0, 5.0]);
    assert_eq!(mean(&[q, k, v], &[0, 2]), [2.0, 3.0, 3.5, 6.0, 7.0, 7.5]);
    assert_eq!(mean(&[q, k, v, lengths], &[1, 2]), [1.5, 2.5, 3.5, 5.0, 0.0, 0.0]);
    let hidden = [0.0, f64::NEG_INFINITY, 0.0, f64::NEG_INFINITY];
    let bias = f64s(&mut engine, &[1, 4], &hidden);
    let out = engine.apply1(op::SCALED_ATTENTION, &[q, k, v, bias], &[], &[]).unwrap();
    assert_eq!(rounded(engine.read_f64(out).unwrap()), [2.0, 2.0, 2.0, 6.0, 6.0, 6.0]);
    let long = u32s(&mut engine, &[2], &[4, 5]);
    for (inputs, words) in [
        (&[q, k, v, long][..], "a length is 5"),
        (&[q, k, v, lengths, bias], "one too many"),
        (&[q, v, lengths], "takes q [b, h, n, d]"),
        (&[q, k, v, k], "does not broadcast"),
    ] {
        let refused = engine.apply1(op::SCALED_ATTENTION, inputs, &[], &[]).unwrap_err();
        assert!(refused.to_string().contains(words), "{refused}");
    }
}

fn rotary_rotates_pairs_by_their_angles() {
    let mut engine = double(0);
    let x = f64s(&mut engine, &[1, 1, 2, 4], &[1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0]);
    let cosines = f64s(&mut engine, &[2, 2], &[1.0, 1.0, 0.0, 0.6]);
    let sines = f64s(&mut engine, &[2, 2], &[0.0, 0.0, 1.0, 0.8]);
    let mut rotated = |ints: &[i64]| {
        let out = engine.apply1(op::ROTARY, &[x, cosines, sines], ints, &[]).unwrap();
        engine.read_f64(out).unwrap()
    };
    let near = |ours: Vec<f64>, theirs: [f64; 8]| {
        ours.iter().zip(theirs).for_each(|(a, b)| assert!((a - b).abs() < 1e-12, "{ours:?}"));
    };
    near(rotated(&[]), [1.0, 2.0, 3.0, 4.0, -3.0, -2.0, 1.0, 4.0]);
    near(rotated(&[1]), [1.0, 2.0, 3.0, 4.0, -2.0, 1.0, -1.4, 4.8]);
    let refused = engine.apply1(op::ROTARY, &[x, cosines, x], &[], &[]).unwrap_err().to_string();
    assert!(refused.contains("cosines and sines"), "{refused}");
}

/// Against PyTorch 2.15 (`interpolate`, `adaptive_avg_pool2d`).
fn resizing_agrees_with_pytorch() {
    let mut engine = double(0);
    let numbers = [1.0, 2.0, 4.0, 8.0, 0.0, -1.0, 3.0, 5.0, 2.0, 7.0, 1.0, -3.0];
    let x = f64s(&mut engine, &[1, 1, 3, 4], &numbers);
    let cases: [(u32, &[i64], &[f64]); 6] = [
        (op::RESIZE2D, &[2, 5], &[0.75, 1.1, 2.5, 4.8, 7.25, 1.5, 3.95, 3.25, 0.75, -1.0]),
        (op::RESIZE2D, &[2, 5, 0, 0, 1], &[1.0, 1.75, 3.0, 5.0, 8.0, 2.0, 5.75, 4.0, 0.0, -3.0]),
        (op::RESIZE2D, &[2, 2, 0, 1], &[1.160714286, 4.625, 2.5, 1.321428571]),
        (
            op::RESIZE2D,
            &[2, 5, 1],
            &[
                0.682716797,
                0.636119141,
                2.120605469,
                5.201396484,
                7.829849609,
                1.294822266,
                4.489876953,
                3.838867188,
                0.257654297,
                -1.457658203,
            ],
        ),
        (op::RESIZE2D, &[2, 2, 1, 1], &[0.726576284, 5.100400621, 2.660301394, 1.05612008]),
        (op::ADAPTIVE_AVG_POOL2D, &[2, 3], &[0.5, 2.0, 5.0, 2.0, 2.5, 1.5]),
    ];
    for (code, ints, expected) in cases {
        let ours = engine.apply1(code, &[x], ints, &[]).unwrap();
        let ours = engine.read_f64(ours).unwrap();
        assert_eq!(ours.len(), expected.len());
        for (a, b) in ours.iter().zip(expected) {
            assert!((a - b).abs() < 1e-8, "{ints:?}: {ours:?} instead of {expected:?}");
        }
    }
    for (ints, words) in [(&[0, 2][..], "cannot become"), (&[2, 2, 0, 1, 1], "exclude each other")]
    {
        let refused = engine.apply1(op::RESIZE2D, &[x], ints, &[]).unwrap_err().to_string();
        assert!(refused.contains(words), "{refused}");
    }
}

fn batch_norm_trains_and_evaluates_with_running_statistics() {
    let mut engine = double(0);
    let x = f64s(&mut engine, &[4, 1], &[1.0, 2.0, 3.0, 6.0]);
    let (w, b) = (f64s(&mut engine, &[1], &[2.0]), f64s(&mut engine, &[1], &[0.5]));
    let (mean, variance) = (f64s(&mut engine, &[1], &[0.0]), f64s(&mut engine, &[1], &[1.0]));
    let y = engine.apply1(op::BATCH_NORM, &[x, w, b, mean, variance], &[], &[0.0, 0.1]).unwrap();
    let y = engine.read_f64(y).unwrap();
    assert!((y[0] - (2.0 * (1.0 - 3.0) / 3.5_f64.sqrt() + 0.5)).abs() < 1e-12, "{y:?}");
    assert!((engine.scalar(mean).unwrap() - 0.3).abs() < 1e-12);
    assert!(
        (engine.scalar(variance).unwrap() - (0.9 + 0.1 * 14.0 / 3.0)).abs() < 1e-12,
        "the running variance divides by n - 1"
    );
    engine.set_mode(Mode { recording: Recording::Off, behaviour: Behaviour::Evaluation });
    let y = engine.apply1(op::BATCH_NORM, &[x, w, b, mean, variance], &[], &[0.0, 0.1]).unwrap();
    let (m, v) = (engine.scalar(mean).unwrap(), engine.scalar(variance).unwrap());
    assert!((engine.read_f64(y).unwrap()[3] - (2.0 * (6.0 - m) / v.sqrt() + 0.5)).abs() < 1e-12);
    assert!((m - 0.3).abs() < 1e-12, "evaluation leaves the statistics alone");
}

fn dropout_drops_the_share_asked_for_and_keeps_the_mean() {
    let mut engine = single(9);
    let x = f32s(&mut engine, &[100_000], &[1.0; 100_000]);
    let y = engine.apply1(op::DROPOUT, &[x], &[], &[0.3]).unwrap();
    let y = engine.read_f32(y).unwrap();
    let dropped = y.iter().filter(|&&y| y == 0.0).count();
    assert!((29_000..31_000).contains(&dropped), "{dropped}");
    assert!(y.iter().all(|&y| y == 0.0 || (y - 1.0 / 0.7).abs() < 1e-6));
    let again = engine.apply1(op::DROPOUT, &[x], &[], &[0.3]).unwrap();
    assert_ne!(engine.read_f32(again).unwrap(), y);
}

fn random_tensors_follow_their_distribution_and_their_stream() {
    let mut engine = single(4);
    let stream = engine.stream("noise");
    let f = i64::from(dtype::F32);
    let normal = engine.apply1(op::NORMAL, &[], &[stream, f, 50_000], &[1.0, 2.0]).unwrap();
    let values = engine.read_f64(normal).unwrap();
    let mean = values.iter().sum::<f64>() / 50_000.0;
    let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 50_000.0;
    assert!((mean - 1.0).abs() < 0.05 && (variance - 4.0).abs() < 0.15, "{mean} {variance}");
    let state = engine.random_state();
    let uniform = engine.apply1(op::UNIFORM, &[], &[stream, f, 1000], &[2.0, 3.0]).unwrap();
    let values = engine.read_f32(uniform).unwrap();
    assert!(values.iter().all(|x| (2.0..3.0).contains(x)));
    engine.set_random_state(&state);
    engine.apply1(op::UNIFORM, &[], &[-1, f, 1000], &[]).unwrap();
    let again = engine.apply1(op::UNIFORM, &[], &[stream, f, 1000], &[2.0, 3.0]).unwrap();
    assert_eq!(engine.read_f32(again).unwrap(), values, "another stream does not shift this one");
    let order = engine.apply1(op::PERMUTATION, &[], &[stream, 100], &[]).unwrap();
    let order = engine.read_u32(order).unwrap();
    let mut sorted = order.clone();
    sorted.sort_unstable();
    assert!(sorted == (0..100).collect::<Vec<u32>>() && order != sorted);
    let coins = engine.apply1(op::BERNOULLI, &[], &[stream, f, 10_000], &[0.2]).unwrap();
    let heads = engine.read_f32(coins).unwrap().iter().sum::<f32>();
    assert!((1800.0..2200.0).contains(&heads), "{heads}");
}

fn statistics_and_indexing_give_the_values_expected() {
    let mut engine = single(0);
    let x = f32s(&mut engine, &[2, 4], &[3.0, 1.0, 2.0, 1.0, -1.0, 5.0, 0.0, 9.0]);
    let mut outputs = Vec::new();
    engine.apply(op::SORT, &[x], &[1], &[], &mut outputs).unwrap();
    assert_eq!(
        engine.read_u32(outputs[1]).unwrap(),
        [1, 3, 2, 0, 0, 2, 1, 3],
        "equal elements keep their order"
    );
    outputs.clear();
    engine.apply(op::TOP_K, &[x], &[2], &[], &mut outputs).unwrap();
    assert_eq!(engine.read_f32(outputs[0]).unwrap(), [3.0, 2.0, 9.0, 5.0]);
    let counts = engine.apply1(op::HISTOGRAM, &[x], &[5], &[0.0, 5.0]).unwrap();
    assert_eq!(engine.read_u32(counts).unwrap(), [1, 2, 1, 1, 1]);
    let y = f32s(&mut engine, &[1], &[2.0]);
    let norm = engine.apply1(op::GLOBAL_NORM, &[x, y], &[], &[]).unwrap();
    assert!((engine.scalar(norm).unwrap() - 126.0_f64.sqrt()).abs() < 1e-5);
    let ids = u32s(&mut engine, &[3], &[1, 0, 1]);
    let rows = engine.apply1(op::EMBEDDING, &[x, ids], &[], &[]).unwrap();
    assert_eq!(engine.shape(rows).unwrap(), [3, 4]);
    assert_eq!(engine.read_f32(rows).unwrap()[..4], [-1.0, 5.0, 0.0, 9.0]);
    let hot = engine.apply1(op::ONE_HOT, &[ids], &[3], &[]).unwrap();
    assert_eq!(engine.read_f32(hot).unwrap(), [0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    let bad = u32s(&mut engine, &[1], &[2]);
    assert!(
        engine
            .apply1(op::EMBEDDING, &[x, bad], &[], &[])
            .unwrap_err()
            .to_string()
            .contains("index 2")
    );
    let range =
        engine.apply1(op::ARANGE, &[], &[i64::from(dtype::I64)], &[0.0, 10.0, 3.0]).unwrap();
    assert_eq!(engine.read_f64(range).unwrap(), [0.0, 3.0, 6.0, 9.0]);
}

fn functions_of_one_number_are_accurate_in_single_precision() {
    let mut engine = single(0);
    let xs: Vec<f32> = (-400..400).map(|at| at as f32 * 0.02 + 0.003).collect();
    let x = f32s(&mut engine, &[xs.len()], &xs);
    let gelu = |x: f64| {
        0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
    };
    let exact: [(u32, &dyn Fn(f64) -> f64); 8] = [
        (op::EXP, &f64::exp),
        (op::TANH, &f64::tanh),
        (op::SIGMOID, &|x| 1.0 / (1.0 + (-x).exp())),
        (op::GELU, &gelu),
        (op::GELU_ERF, &|x| 0.5 * x * (1.0 + libm::erf(x / 2.0_f64.sqrt()))),
        (op::SILU, &|x| x / (1.0 + (-x).exp())),
        (op::SOFTPLUS, &|x| x.exp().ln_1p()),
        (op::ERF, &libm::erf),
    ];
    for (code, exact) in exact {
        let y = engine.apply1(code, &[x], &[], &[]).unwrap();
        for (&x, y) in xs.iter().zip(engine.read_f32(y).unwrap()) {
            let expected = exact(f64::from(x));
            let error = (f64::from(y) - expected).abs();
            assert!(
                error <= 1e-6 * expected.abs() + 3e-7,
                "operation {code} at {x}: {y} instead of {expected}"
            );
        }
    }
}

fn segments_and_groups_agree_with_their_definitions() {
    let mut engine = single(0);
    let x = f32s(&mut engine, &[4, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    let segments = u32s(&mut engine, &[4], &[2, 0, 2, 2]);
    for (mode, expected) in
        [(0, [3.0, 4.0, 0.0, 0.0, 13.0, 16.0]), (1, [3.0, 4.0, 0.0, 0.0, 13.0 / 3.0, 16.0 / 3.0])]
    {
        let out = engine.apply1(op::SEGMENT_REDUCE, &[x, segments], &[3, mode], &[]).unwrap();
        for (found, expected) in engine.read_f32(out).unwrap().into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "mode {mode}: {found}, not {expected}");
        }
    }
    // The second group has no rows.
    let groups = u32s(&mut engine, &[4], &[2, 0, 0, 2]);
    let first = f32s(&mut engine, &[1, 2], &[1.0, 10.0]);
    let second = f32s(&mut engine, &[1, 2], &[f32::NAN, 0.0]);
    let third = f32s(&mut engine, &[1, 2], &[-1.0, 0.5]);
    let inputs = [x, groups, first, second, third];
    let out = engine.apply1(op::GROUPED_LINEAR, &inputs, &[], &[]).unwrap();
    assert_eq!(engine.read_f32(out).unwrap(), [0.0, 43.0, 65.0, -3.0]);

    let refused = |engine: &mut Engine, code, inputs: &[Handle], ints: &[i64], words: &str| {
        let error = engine.apply1(code, inputs, ints, &[]).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    refused(&mut engine, op::SEGMENT_REDUCE, &[x, segments], &[2], "index 2 of input 1");
    refused(&mut engine, op::SEGMENT_REDUCE, &[x, segments], &[3, 2], "mode 2");
    let short = u32s(&mut engine, &[3], &[0, 0, 0]);
    refused(&mut engine, op::SEGMENT_REDUCE, &[x, short], &[3], "3 segments do not fit 4 rows");
    refused(&mut engine, op::GROUPED_LINEAR, &[x, short, first], &[], "3 groups do not fit 4 rows");
    refused(&mut engine, op::GROUPED_LINEAR, &[x, groups, first], &[], "index 2 of input 1");
    refused(&mut engine, op::GROUPED_LINEAR, &[x, groups, first, x], &[], "input 3 has shape");
}

on_each_backend!(
    segments_and_groups_agree_with_their_definitions,
    products_agree_with_candle_for_views_and_batches,
    flat_linear_is_linear_of_flattened_samples_to_the_bit,
    convolutions_agree_with_candle,
    pooling_agrees_with_candle_and_keeps_nan,
    reductions_and_softmax_agree_with_candle,
    cross_entropy_agrees_with_the_definition,
    attention_agrees_with_its_parts,
    scaled_attention_of_equal_sizes_is_attention_on_packed_inputs,
    scaled_attention_sees_what_its_lengths_window_and_bias_leave,
    rotary_rotates_pairs_by_their_angles,
    resizing_agrees_with_pytorch,
    batch_norm_trains_and_evaluates_with_running_statistics,
    dropout_drops_the_share_asked_for_and_keeps_the_mean,
    random_tensors_follow_their_distribution_and_their_stream,
    statistics_and_indexing_give_the_values_expected,
    functions_of_one_number_are_accurate_in_single_precision,
);
