//! Winograd's method beside unfolding, its error, its blocks and parts.

use proptest::prelude::*;

use super::super::convolution;
use super::*;

fn numbers<T: Real>(count: usize, seed: usize) -> Vec<T> {
    let mix = |x: u64| (x ^ (x >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let value = |at: usize| (mix(mix((at * 8 + seed) as u64)) >> 40) as f64 / 8_388_608.0 - 1.0;
    (0..count).map(|at| T::of(value(at))).collect()
}

fn geometry(images: usize, channels: [usize; 2], size: [usize; 2], padding: usize) -> Geometry {
    Geometry {
        images,
        inputs: channels[0],
        outputs: channels[1],
        groups: 1,
        input: size,
        output: size.map(|size| size + 2 * padding - 2),
        kernel: [3, 3],
        stride: [1, 1],
        padding: [padding; 2],
        dilation: [1, 1],
        rounded: false,
    }
}

struct Results<T> {
    x: Vec<T>,
    w: Vec<T>,
    gradient: Vec<T>,
    out: Vec<T>,
    full: Backward<T>,
}

/// Result and gradients, by this method or by unfolding.
fn results<T: Real>(pool: &Pool, geometry: &Geometry, unfolded: bool) -> Results<T> {
    let x = numbers::<T>(geometry.images * geometry.input_size(), 1);
    let w = numbers::<T>(geometry.outputs * geometry.inputs * 9, 2);
    let mut gradient = numbers::<T>(geometry.images * geometry.output_size(), 3);
    let wanted = Wanted { input: true, weights: true, bias: true };
    // Both kinds of changes on the way are made once for each element.
    let finish = |_: usize, z: &mut [T]| z.iter_mut().for_each(|z| *z += T::ONE);
    let prepare = |_: usize, g: &mut [T]| g.iter_mut().for_each(|g| *g *= T::of(0.5));
    let (out, full) = match unfolded {
        true => (
            convolution::forward_unfolded(pool, geometry, &x, &w, &finish),
            convolution::backward_unfolded(pool, geometry, &x, &w, &mut gradient, &prepare, wanted),
        ),
        false => (
            forward(pool, geometry, &x, &w, &finish),
            backward(pool, geometry, &x, &w, &mut gradient, &prepare, wanted),
        ),
    };
    Results { x, w, gradient, out, full }
}

fn close<T: Real>(a: &[T], b: &[T], tolerance: f64) {
    assert_eq!(a.len(), b.len());
    let size = b.iter().map(|b| b.wide() * b.wide()).sum::<f64>() / b.len().max(1) as f64;
    for (at, (a, b)) in a.iter().zip(b).enumerate() {
        let error = (a.wide() - b.wide()).abs();
        let (a, b) = (a.wide(), b.wide());
        assert!(error <= tolerance * size.sqrt(), "{at}: {a} instead of {b}");
    }
}

fn same_as_unfolded<T: Real>(geometry: &Geometry, tolerance: f64) {
    let pool = Pool::new(2).unwrap();
    let (here, there) = (results::<T>(&pool, geometry, false), results::<T>(&pool, geometry, true));
    close(&here.gradient, &there.gradient, 0.0);
    close(&here.out, &there.out, tolerance);
    close(&here.full.input, &there.full.input, tolerance);
    close(&here.full.weights, &there.full.weights, tolerance);
    close(&here.full.bias, &there.full.bias, tolerance);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn results_and_gradients_are_those_of_unfolded_images(
        images in 1_usize..4, inputs in 1_usize..40, outputs in 1_usize..40, height in 3_usize..12, width in 3_usize..12,
        padding in 0_usize..4,
    ) {
        let geometry = geometry(images, [inputs, outputs], [height, width], padding);
        same_as_unfolded::<f64>(&geometry, 1e-12);
        same_as_unfolded::<f32>(&geometry, 1e-4);
    }
}

#[test]
fn many_channels_are_computed_in_parts_to_the_same_bits() {
    let geometry = geometry(5, [352, 368], [4, 5], 1);
    assert!(parts::are_needed(&geometry) && fits(&Geometry { images: 20, ..geometry }));
    let pool = Pool::new(2).unwrap();
    let x = numbers::<f32>(geometry.images * geometry.input_size(), 1);
    let w = numbers::<f32>(geometry.outputs * geometry.inputs * 9, 2);
    let gradient = numbers::<f32>(geometry.images * geometry.output_size(), 3);
    let (finish, prepare) = (
        |_: usize, z: &mut [f32]| z[0] += 1.0,
        |_: usize, g: &mut [f32]| g.iter_mut().for_each(|g| *g *= 0.5),
    );
    let wanted = Wanted { input: true, weights: true, bias: true };
    let here = parts::forward(&pool, &geometry, &x, &w, &finish);
    close(&here, &whole_forward(&pool, &geometry, &x, &w, &finish), 0.0);
    let (mut one, mut other) = (gradient.clone(), gradient);
    let here = parts::backward(&pool, &geometry, &x, &w, &mut one, &prepare, wanted);
    let there = whole_backward(&pool, &geometry, &x, &w, &mut other, &prepare, wanted);
    close(&one, &other, 0.0);
    close(&here.input, &there.input, 0.0);
    close(&here.weights, &there.weights, 0.0);
    close(&here.bias, &there.bias, 0.0);
}

#[test]
fn several_blocks_of_images_add_up() {
    let geometry = geometry(9, [33, 40], [30, 29], 1);
    let (tiles, dot) = (Tiles::new(&geometry), |a: &[f64], b: &[f64]| {
        a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>()
    });
    assert!(tiles.blocks().count() > 1 && fits(&geometry));
    let Results { x, w, gradient, out, full } =
        results::<f64>(&Pool::new(2).unwrap(), &geometry, false);
    // <conv(x, w), g> = <x, gradient of x> = <w, gradient of w>; 1 was added to the result.
    let out: Vec<f64> = out.iter().map(|out| out - 1.0).collect();
    let (all, to_x, to_w) = (dot(&out, &gradient), dot(&x, &full.input), dot(&w, &full.weights));
    assert!((all - to_x).abs() < 1e-9 * all.abs(), "{all} and {to_x}");
    assert!((all - to_w).abs() < 1e-9 * all.abs(), "{all} and {to_w}");
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let geometry = geometry(7, [32, 48], [13, 16], 1);
    assert!(fits(&geometry));
    let all: Vec<Results<f32>> =
        (1..4).map(|threads| results(&Pool::new(threads).unwrap(), &geometry, false)).collect();
    for other in &all[1..] {
        close(&other.out, &all[0].out, 0.0);
        close(&other.full.input, &all[0].full.input, 0.0);
        close(&other.full.weights, &all[0].full.weights, 0.0);
        close(&other.full.bias, &all[0].full.bias, 0.0);
    }
}

#[test]
fn the_error_in_f32_is_a_millionth_of_the_results() {
    let geometry = geometry(8, [64, 64], [12, 12], 1);
    let pool = Pool::new(2).unwrap();
    let exact = results::<f64>(&pool, &geometry, true);
    let found = results::<f32>(&pool, &geometry, false);
    let norm = |all: &mut dyn Iterator<Item = f64>| all.map(|x| x * x).sum::<f64>().sqrt();
    for (found, exact) in [(&found.out, &exact.out), (&found.full.input, &exact.full.input)] {
        let mut errors = found.iter().zip(exact).map(|(a, b)| f64::from(*a) - b);
        let error = norm(&mut errors) / norm(&mut exact.iter().copied());
        // With the points 1 and 2: 2e-6.
        assert!(error < 1.3e-6, "{error:e}");
    }
}
