//! Images that are unfolded beside each other, and one by one.

use proptest::prelude::*;

use super::*;

fn numbers(count: usize, seed: usize) -> Vec<f64> {
    (0..count).map(|at| ((at * 7919 + seed * 104_729) % 2003) as f64 / 1001.0 - 1.0).collect()
}

fn close(a: &[f64], b: &[f64]) {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-10), "{a:?} instead of {b:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn images_beside_each_other_give_what_single_ones_give(
        images in 1_usize..40, inputs in 1_usize..5, outputs in 1_usize..6, size in 3_usize..9, kernel in 1_usize..4,
        stride in 1_usize..4, padding in 0_usize..3, dilation in 1_usize..3,
    ) {
        let span = dilation * (kernel - 1) + 1;
        prop_assume!(size + 2 * padding >= span);
        let output = (size + 2 * padding - span) / stride + 1;
        let geometry = Geometry {
            images, inputs, outputs, groups: 1, input: [size; 2], output: [output; 2], kernel: [kernel; 2],
            stride: [stride; 2], padding: [padding; 2], dilation: [dilation; 2], rounded: false,
        };
        let pool = Pool::new(2).unwrap();
        let x = numbers(images * geometry.input_size(), 1);
        let w = numbers(geometry.weights(), 2);
        let gradient = numbers(images * geometry.output_size(), 3);
        let finish = |_: usize, z: &mut [f64]| z.iter_mut().for_each(|z| *z += 1.0);
        let prepare = |_: usize, g: &mut [f64]| g.iter_mut().for_each(|g| *g *= 0.5);
        close(
            &forward_together(&pool, &geometry, &x, &w, &finish),
            &forward_unfolded(&pool, &geometry, &x, &w, &finish),
        );
        let wanted = Wanted { input: true, weights: true, bias: true };
        let (mut here, mut there) = (gradient.clone(), gradient);
        let a = backward_together(&pool, &geometry, &x, &w, &mut here, &prepare, wanted);
        let b = backward_unfolded(&pool, &geometry, &x, &w, &mut there, &prepare, wanted);
        close(&here, &there);
        close(&a.input, &b.input);
        close(&a.weights, &b.weights);
        close(&a.bias, &b.bias);
    }
}
