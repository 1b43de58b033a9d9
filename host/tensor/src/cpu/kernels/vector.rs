//! Vectors of numbers as registers: for loops that keep more than a dozen sums at a time, which the
//! compiler does not vectorise by itself.
//!
//! Each instruction set of [`isa`](super::isa) has a vector for f32 and one for f64; an array of
//! eight stands in where there is none.

use std::ops::{Add, Mul};

use super::isa::Isa;
use super::number::Real;

/// A register of [`LANES`](Vector::LANES) numbers.
///
/// # Safety
/// All functions may be called only where the instruction set is there: in a
/// [`Kernel`](super::isa::Kernel) that runs with it.
pub(crate) trait Vector<T>: Copy {
    const LANES: usize;
    unsafe fn splat(value: T) -> Self;
    /// The numbers from `from` on, which may be read.
    unsafe fn load(from: *const T) -> Self;
    /// The first `count` numbers from `from` on, and zeros. No others are read.
    unsafe fn load_part(from: *const T, count: usize) -> Self;
    unsafe fn store(self, to: *mut T);
    /// Writes the first `count` numbers, and no others.
    unsafe fn store_part(self, to: *mut T, count: usize);
    unsafe fn add(self, other: Self) -> Self;
    /// `self a + b`.
    unsafe fn fma(self, a: Self, b: Self) -> Self;
    /// The sum of each vector's numbers.
    unsafe fn sums(vectors: [Self; 4]) -> [T; 4];
    /// Exchanges number `j` of vector `i` with number `i` of vector `j`, for as many vectors as a vector
    /// has numbers.
    unsafe fn transpose(square: &mut [Self]);
}

/// Most numbers of a vector.
pub(crate) const MOST_LANES: usize = 16;

/// A loop over vectors, of whichever an instruction set has.
pub(crate) trait ByVector<T> {
    /// # Safety
    /// The vector must be one of an instruction set that is there.
    unsafe fn run<V: Vector<T>>(self);
}

/// Runs a loop with the vector of the instruction set `S`.
///
/// # Safety
/// The instruction set must be there.
#[inline(always)]
pub(crate) unsafe fn with_vector<S: Isa, T: Real, B: ByVector<T>>(by: B) {
    // SAFETY: promised by the caller.
    unsafe {
        match (S::WIDE, S::FMA) {
            (true, _) => by.run::<T::Wide>(),
            (_, true) => by.run::<T::Narrow>(),
            _ => by.run::<[T; PLAIN]>(),
        }
    }
}

/// Calls a function that is generic over number, vector, rows and vectors of a register tile: with
/// the vector of the instruction set `S`, and the first tile where it is a wide one.
macro_rules! with_tile {
    ($S:ident, $T:ident, $function:ident, [$i:literal, $j:literal], [$k:literal, $l:literal], $argument:expr) => {
        match ($S::WIDE, $S::FMA) {
            (true, _) => $function::<$T, <$T as Real>::Wide, $i, $j>($argument),
            (_, true) => $function::<$T, <$T as Real>::Narrow, $k, $l>($argument),
            _ => $function::<$T, [$T; 8], $k, $l>($argument),
        }
    };
}
pub(super) use with_tile;

/// Prefetches the cache line at `from`, which may be any address.
#[inline(always)]
pub(crate) fn prefetch<T>(from: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: nothing is read; every processor of this architecture has the instruction.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(from.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = from;
}

const PLAIN: usize = 8;

impl<T: Copy + Default + Add<Output = T> + Mul<Output = T>> Vector<T> for [T; PLAIN] {
    const LANES: usize = PLAIN;
    #[inline(always)]
    unsafe fn splat(value: T) -> Self {
        [value; PLAIN]
    }
    #[inline(always)]
    unsafe fn load(from: *const T) -> Self {
        // SAFETY: promised by the caller.
        unsafe { from.cast::<Self>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn load_part(from: *const T, count: usize) -> Self {
        let mut part = [T::default(); PLAIN];
        for (lane, value) in part.iter_mut().enumerate().take(count) {
            // SAFETY: promised by the caller.
            *value = unsafe { *from.add(lane) };
        }
        part
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut T) {
        // SAFETY: promised by the caller.
        unsafe { to.cast::<Self>().write_unaligned(self) }
    }
    #[inline(always)]
    unsafe fn store_part(self, to: *mut T, count: usize) {
        for (lane, value) in self.into_iter().enumerate().take(count) {
            // SAFETY: promised by the caller.
            unsafe { *to.add(lane) = value };
        }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        std::array::from_fn(|lane| self[lane] + other[lane])
    }
    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        std::array::from_fn(|lane| self[lane] * a[lane] + b[lane])
    }
    #[inline(always)]
    unsafe fn sums(vectors: [Self; 4]) -> [T; 4] {
        vectors.map(|[a, b, c, d, e, f, g, h]| ((a + e) + (c + g)) + ((b + f) + (d + h)))
    }
    #[inline(always)]
    unsafe fn transpose(square: &mut [Self]) {
        exchange(square);
    }
}

/// [`Vector::transpose`], number by number.
#[inline(always)]
fn exchange<T, V: Vector<T>>(square: &mut [V]) {
    assert_eq!(square.len(), V::LANES);
    let numbers = square.as_mut_ptr().cast::<T>();
    for row in 1..V::LANES {
        for column in 0..row {
            // SAFETY: a vector is its numbers one after the other, and both places lie in the square.
            unsafe {
                let (below, above) = (row * V::LANES + column, column * V::LANES + row);
                numbers.add(below).swap(numbers.add(above));
            }
        }
    }
}

/// The vectors of x86-64 processors.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Vector, exchange};

    /// A [`Vector`] by the functions that do its work; `$load_part` and `$store_part` take the
    /// number of lanes.
    macro_rules! vector {
        ($vector:ty, $type:ty, $lanes:literal, $splat:path, $load:path, $load_part:path, $store:path, $store_part:path, $add:path, $fma:path,
         $sums:path, $transpose:path) => {
            impl Vector<$type> for $vector {
                const LANES: usize = $lanes;
                #[inline(always)]
                unsafe fn splat(value: $type) -> Self {
                    // SAFETY: the caller promises the instruction set, and in what follows besides
                    // that the numbers may be used.
                    unsafe { $splat(value) }
                }
                #[inline(always)]
                unsafe fn load(from: *const $type) -> Self {
                    // SAFETY: as above.
                    unsafe { $load(from) }
                }
                #[inline(always)]
                unsafe fn load_part(from: *const $type, count: usize) -> Self {
                    // SAFETY: as above; lanes that are left out are not touched.
                    unsafe { $load_part(from, count) }
                }
                #[inline(always)]
                unsafe fn store(self, to: *mut $type) {
                    // SAFETY: as above.
                    unsafe { $store(to, self) }
                }
                #[inline(always)]
                unsafe fn store_part(self, to: *mut $type, count: usize) {
                    // SAFETY: as above; lanes that are left out are not touched.
                    unsafe { $store_part(to, count, self) }
                }
                #[inline(always)]
                unsafe fn add(self, other: Self) -> Self {
                    // SAFETY: as above.
                    unsafe { $add(self, other) }
                }
                #[inline(always)]
                unsafe fn fma(self, a: Self, b: Self) -> Self {
                    // SAFETY: as above.
                    unsafe { $fma(self, a, b) }
                }
                #[inline(always)]
                unsafe fn sums(vectors: [Self; 4]) -> [$type; 4] {
                    // SAFETY: as above.
                    unsafe { $sums(vectors) }
                }
                #[inline(always)]
                unsafe fn transpose(square: &mut [Self]) {
                    // SAFETY: as above.
                    #[allow(unused_unsafe)]
                    unsafe {
                        $transpose(square)
                    }
                }
            }
        };
    }
    vector!(
        __m512,
        f32,
        16,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        load_16,
        _mm512_storeu_ps,
        store_16,
        _mm512_add_ps,
        _mm512_fmadd_ps,
        sums_16,
        transpose_16
    );
    vector!(
        __m512d,
        f64,
        8,
        _mm512_set1_pd,
        _mm512_loadu_pd,
        load_8_wide,
        _mm512_storeu_pd,
        store_8_wide,
        _mm512_add_pd,
        _mm512_fmadd_pd,
        sums_8_wide,
        exchange
    );
    vector!(
        __m256,
        f32,
        8,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        load_8,
        _mm256_storeu_ps,
        store_8,
        _mm256_add_ps,
        _mm256_fmadd_ps,
        sums_8,
        transpose_8
    );
    vector!(
        __m256d,
        f64,
        4,
        _mm256_set1_pd,
        _mm256_loadu_pd,
        load_4,
        _mm256_storeu_pd,
        store_4,
        _mm256_add_pd,
        _mm256_fmadd_pd,
        sums_4,
        exchange
    );

    /// Ones below, zeros above: `FIRST` read `count` places before its middle has all bits of the
    /// first `count` set.
    static FIRST_32: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    static FIRST_64: [i64; 8] = [-1, -1, -1, -1, 0, 0, 0, 0];

    // In all that follow: `count` is at most the number of lanes, or as many lanes are meant.

    #[target_feature(enable = "avx512f")]
    #[inline]
    unsafe fn load_16(from: *const f32, count: usize) -> __m512 {
        // SAFETY: promised by the caller.
        unsafe { _mm512_maskz_loadu_ps(((1_u32 << count.min(16)) - 1) as u16, from) }
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    unsafe fn store_16(to: *mut f32, count: usize, vector: __m512) {
        // SAFETY: promised by the caller.
        unsafe { _mm512_mask_storeu_ps(to, ((1_u32 << count.min(16)) - 1) as u16, vector) }
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    unsafe fn load_8_wide(from: *const f64, count: usize) -> __m512d {
        // SAFETY: promised by the caller.
        unsafe { _mm512_maskz_loadu_pd(((1_u16 << count.min(8)) - 1) as u8, from) }
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    unsafe fn store_8_wide(to: *mut f64, count: usize, vector: __m512d) {
        // SAFETY: promised by the caller.
        unsafe { _mm512_mask_storeu_pd(to, ((1_u16 << count.min(8)) - 1) as u8, vector) }
    }

    #[target_feature(enable = "avx")]
    #[inline]
    fn first_8(count: usize) -> __m256i {
        // SAFETY: eight numbers lie from there on.
        unsafe { _mm256_loadu_si256(FIRST_32.as_ptr().add(8 - count.min(8)).cast()) }
    }

    #[target_feature(enable = "avx")]
    #[inline]
    fn first_4(count: usize) -> __m256i {
        // SAFETY: four numbers lie from there on.
        unsafe { _mm256_loadu_si256(FIRST_64.as_ptr().add(4 - count.min(4)).cast()) }
    }

    #[target_feature(enable = "avx")]
    #[inline]
    unsafe fn load_8(from: *const f32, count: usize) -> __m256 {
        // SAFETY: promised by the caller.
        unsafe { _mm256_maskload_ps(from, first_8(count)) }
    }

    #[target_feature(enable = "avx")]
    #[inline]
    unsafe fn store_8(to: *mut f32, count: usize, vector: __m256) {
        // SAFETY: promised by the caller.
        unsafe { _mm256_maskstore_ps(to, first_8(count), vector) }
    }

    #[target_feature(enable = "avx")]
    #[inline]
    unsafe fn load_4(from: *const f64, count: usize) -> __m256d {
        // SAFETY: promised by the caller.
        unsafe { _mm256_maskload_pd(from, first_4(count)) }
    }

    #[target_feature(enable = "avx")]
    #[inline]
    unsafe fn store_4(to: *mut f64, count: usize, vector: __m256d) {
        // SAFETY: promised by the caller.
        unsafe { _mm256_maskstore_pd(to, first_4(count), vector) }
    }

    #[target_feature(enable = "avx512f,avx512dq")]
    #[inline]
    fn sums_16(vectors: [__m512; 4]) -> [f32; 4] {
        let [a, b, c, d] = vectors;
        let folded = |vector| {
            _mm256_add_ps(_mm512_castps512_ps256(vector), _mm512_extractf32x8_ps::<1>(vector))
        };
        sums_8([folded(a), folded(b), folded(c), folded(d)])
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn sums_8_wide(vectors: [__m512d; 4]) -> [f64; 4] {
        let [a, b, c, d] = vectors;
        let folded = |vector| {
            _mm256_add_pd(_mm512_castpd512_pd256(vector), _mm512_extractf64x4_pd::<1>(vector))
        };
        sums_4([folded(a), folded(b), folded(c), folded(d)])
    }

    #[target_feature(enable = "avx")]
    #[inline]
    fn sums_8([a, b, c, d]: [__m256; 4]) -> [f32; 4] {
        // Neighbours, then pairs of neighbours, of four vectors in each half: what is left is to
        // add the halves.
        let fours = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
        let sums = _mm_add_ps(_mm256_castps256_ps128(fours), _mm256_extractf128_ps::<1>(fours));
        let mut all = [0.0; 4];
        // SAFETY: the array has four numbers.
        unsafe { _mm_storeu_ps(all.as_mut_ptr(), sums) };
        all
    }

    #[target_feature(enable = "avx")]
    #[inline]
    fn sums_4([a, b, c, d]: [__m256d; 4]) -> [f64; 4] {
        let (first, last) = (_mm256_hadd_pd(a, b), _mm256_hadd_pd(c, d));
        let sums = _mm256_add_pd(
            _mm256_permute2f128_pd::<0x20>(first, last),
            _mm256_permute2f128_pd::<0x31>(first, last),
        );
        let mut all = [0.0; 4];
        // SAFETY: the array has four numbers.
        unsafe { _mm256_storeu_pd(all.as_mut_ptr(), sums) };
        all
    }

    /// [`Vector::transpose`]: twos, fours, and then the quarters of vectors.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn transpose_16(square: &mut [__m512]) {
        let square: &mut [__m512; 16] = square.try_into().expect("16 vectors");
        let (mut twos, mut fours) = (*square, *square);
        let mut at = 0;
        while at < 16 {
            twos[at] = _mm512_unpacklo_ps(square[at], square[at + 1]);
            twos[at + 1] = _mm512_unpackhi_ps(square[at], square[at + 1]);
            at += 2;
        }
        let low =
            |a, b| _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
        let high =
            |a, b| _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
        let mut at = 0;
        while at < 16 {
            fours[at] = low(twos[at], twos[at + 2]);
            fours[at + 1] = high(twos[at], twos[at + 2]);
            fours[at + 2] = low(twos[at + 1], twos[at + 3]);
            fours[at + 3] = high(twos[at + 1], twos[at + 3]);
            at += 4;
        }
        // The even and the odd quarters of the first eight vectors, and of the last eight.
        let mut at = 0;
        while at < 4 {
            let [a, b, c, d] = [fours[at], fours[at + 4], fours[at + 8], fours[at + 12]];
            let even = [_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0x88>(c, d)];
            let odd = [_mm512_shuffle_f32x4::<0xdd>(a, b), _mm512_shuffle_f32x4::<0xdd>(c, d)];
            square[at] = _mm512_shuffle_f32x4::<0x88>(even[0], even[1]);
            square[at + 4] = _mm512_shuffle_f32x4::<0x88>(odd[0], odd[1]);
            square[at + 8] = _mm512_shuffle_f32x4::<0xdd>(even[0], even[1]);
            square[at + 12] = _mm512_shuffle_f32x4::<0xdd>(odd[0], odd[1]);
            at += 1;
        }
    }

    /// As [`transpose_16`], with halves of vectors.
    #[target_feature(enable = "avx")]
    #[inline]
    fn transpose_8(square: &mut [__m256]) {
        let square: &mut [__m256; 8] = square.try_into().expect("eight vectors");
        let (mut twos, mut fours) = (*square, *square);
        let mut at = 0;
        while at < 8 {
            twos[at] = _mm256_unpacklo_ps(square[at], square[at + 1]);
            twos[at + 1] = _mm256_unpackhi_ps(square[at], square[at + 1]);
            at += 2;
        }
        let mut at = 0;
        while at < 8 {
            fours[at] = _mm256_shuffle_ps::<0x44>(twos[at], twos[at + 2]);
            fours[at + 1] = _mm256_shuffle_ps::<0xee>(twos[at], twos[at + 2]);
            fours[at + 2] = _mm256_shuffle_ps::<0x44>(twos[at + 1], twos[at + 3]);
            fours[at + 3] = _mm256_shuffle_ps::<0xee>(twos[at + 1], twos[at + 3]);
            at += 4;
        }
        let mut at = 0;
        while at < 4 {
            square[at] = _mm256_permute2f128_ps::<0x20>(fours[at], fours[at + 4]);
            square[at + 4] = _mm256_permute2f128_ps::<0x31>(fours[at], fours[at + 4]);
            at += 1;
        }
    }
}
