//! Products of random sizes and layouts, by the instructions and by the same steps in f32.

use proptest::prelude::*;

use super::*;

/// The instructions, in f32.
impl Sums for [f32; LANES] {
    type Pairs = [u32; LANES];
    unsafe fn zero() -> Self {
        [0.0; LANES]
    }
    unsafe fn load(from: *const u32) -> [u32; LANES] {
        // SAFETY: promised by the caller.
        unsafe { from.cast::<[u32; LANES]>().read_unaligned() }
    }
    unsafe fn store(pairs: [u32; LANES], to: *mut u32) {
        // SAFETY: promised by the caller.
        unsafe { to.cast::<[u32; LANES]>().write_unaligned(pairs) }
    }
    unsafe fn neighbours(from: *const f32, count: usize) -> [u32; LANES] {
        let half = |at: usize| match at < count {
            // SAFETY: promised by the caller.
            true => unsafe { *from.add(at) }.rounded().to_bits() >> 16,
            false => 0,
        };
        std::array::from_fn(|lane| half(2 * lane) | half(2 * lane + 1) << 16)
    }
    unsafe fn both(low: *const f32, high: *const f32, count: [usize; 2]) -> [u32; LANES] {
        let half = |from: *const f32, at: usize, count: usize| match at < count {
            // SAFETY: promised by the caller.
            true => unsafe { *from.add(at) }.rounded().to_bits() >> 16,
            false => 0,
        };
        std::array::from_fn(|lane| half(low, lane, count[0]) | half(high, lane, count[1]) << 16)
    }
    unsafe fn transposed(square: [[u32; LANES]; LANES]) -> [[u32; LANES]; LANES] {
        std::array::from_fn(|row| square.map(|column| column[row]))
    }
    unsafe fn add(self, a: u32, b: [u32; LANES]) -> Self {
        let parts = |pair: u32| [pair << 16, pair & 0xffff_0000].map(f32::from_bits);
        let [low, high] = parts(a);
        std::array::from_fn(|lane| {
            let [b_low, b_high] = parts(b[lane]);
            self[lane] + low * b_low + high * b_high
        })
    }
    unsafe fn finish(self, to: *mut f32, count: usize, alpha: f32, add: bool) {
        for (lane, sum) in self.iter().enumerate().take(count) {
            // SAFETY: promised by the caller.
            unsafe {
                let to = to.add(lane);
                *to = if add { *to + sum * alpha } else { sum * alpha };
            }
        }
    }
}

fn matrix(rows: usize, columns: usize, across: bool, seed: usize) -> (Vec<f32>, [usize; 2]) {
    let (long, short) = if across { (rows, columns) } else { (columns, rows) };
    let pitch = long + seed % 3;
    let number = |at: usize| ((at * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0;
    let elements = (0..short * pitch).map(number).collect();
    (elements, if across { [1, pitch] } else { [pitch, 1] })
}

fn check(
    sizes: [usize; 3],
    [a_across, b_across, add]: [bool; 3],
    seed: usize,
    way: unsafe fn(Product) -> bool,
) {
    let [m, n, k] = sizes;
    let ((a, a_strides), (b, b_strides)) =
        (matrix(m, k, a_across, seed), matrix(k, n, b_across, seed + 1));
    let row = n + 3;
    let before: Vec<f32> = (0..m * row).map(|at| at as f32 / 64.0).collect();
    let mut out = before.clone();
    let product = Product {
        sizes,
        a: a.as_ptr(),
        a_strides,
        b: b.as_ptr(),
        b_strides,
        out: out.as_mut_ptr(),
        out_strides: [row, 1],
        add,
        alpha: 0.5,
    };
    // SAFETY: the matrices lie in their vectors.
    if !unsafe { way(product) } {
        return;
    }
    for (at, (&found, &before)) in out.iter().zip(&before).enumerate() {
        let (i, j) = (at / row, at % row);
        let term = |t: usize| {
            let (a, b) = (
                a[i * a_strides[0] + t * a_strides[1]].rounded(),
                b[t * b_strides[0] + j * b_strides[1]].rounded(),
            );
            f64::from(a) * f64::from(b)
        };
        let mut expected = f64::from(before);
        if j < n {
            let sum = 0.5 * (0..k).map(term).sum::<f64>();
            expected = if add { expected + sum } else { sum };
        }
        assert!((f64::from(found) - expected).abs() < 1e-3, "({i}, {j}): {found} {expected}");
    }
}

unsafe fn in_f32(product: Product) -> bool {
    // SAFETY: promised by the caller.
    unsafe { multiply::<[f32; LANES]>(product) };
    true
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn products_of_pairs_are_products(
        m in 1_usize..110, n in 1_usize..140, k in 1_usize..300, a in any::<bool>(), b in any::<bool>(), add in any::<bool>(),
        seed in 0_usize..100,
    ) {
        check([m, n, k], [a, b, add], seed, in_f32);
        // Nothing where the processor does not have the instructions.
        check([m, n, k], [a, b, add], seed, run_native);
    }
}

#[test]
fn many_columns_are_computed_in_parts() {
    check([3, COLUMNS + 70, 40], [false, true, false], 1, in_f32);
}
