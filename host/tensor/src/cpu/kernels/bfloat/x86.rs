//! The instructions of x86-64 processors (AVX512-BF16).

use std::arch::x86_64::*;

use super::super::vector::Vector;
use super::{LANES, Product, Sums};

/// Whether the processor has the instructions.
pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx512bf16")
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
}

/// # Safety
/// As [`Product::run`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) unsafe fn multiply(product: Product) {
    // SAFETY: promised by the caller, and the instructions are there.
    unsafe { super::multiply::<Register>(product) }
}

/// The lower `count` bits of 32.
#[inline(always)]
fn mask(count: usize) -> u32 {
    u32::MAX.checked_shr(32 - count.min(32) as u32).unwrap_or(0)
}

/// The same 512 bits, without a meaning of their own.
#[inline(always)]
fn bits(numbers: __m512bh) -> __m512i {
    // SAFETY: both types are 512 bits.
    unsafe { std::mem::transmute::<__m512bh, __m512i>(numbers) }
}

#[derive(Clone, Copy)]
struct Register(__m512);

impl Sums for Register {
    type Pairs = __m512i;
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller promises the instructions, as in what follows.
        Self(unsafe { _mm512_setzero_ps() })
    }
    #[inline(always)]
    unsafe fn load(from: *const u32) -> __m512i {
        // SAFETY: as above, and that the pairs may be read.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }
    #[inline(always)]
    unsafe fn store(pairs: __m512i, to: *mut u32) {
        // SAFETY: as above, and that they may be written.
        unsafe { _mm512_storeu_si512(to.cast(), pairs) }
    }
    #[inline(always)]
    unsafe fn neighbours(from: *const f32, count: usize) -> __m512i {
        let (from, mask) = (from.cast::<i32>(), mask(count));
        // SAFETY: as above, and that `count` numbers may be read.
        unsafe {
            let low = _mm512_maskz_loadu_epi32(mask as u16, from);
            let high = _mm512_maskz_loadu_epi32((mask >> 16) as u16, from.wrapping_add(LANES));
            bits(_mm512_cvtne2ps_pbh(_mm512_castsi512_ps(high), _mm512_castsi512_ps(low)))
        }
    }
    #[inline(always)]
    unsafe fn both(low: *const f32, high: *const f32, count: [usize; 2]) -> __m512i {
        let [in_low, in_high] = count.map(|count| mask(count) as u16);
        // SAFETY: as above, and that so many numbers may be read.
        unsafe {
            let low = _mm512_maskz_loadu_epi32(in_low, low.cast());
            let high = _mm512_maskz_loadu_epi32(in_high, high.cast());
            let all = _mm512_cvtne2ps_pbh(_mm512_castsi512_ps(high), _mm512_castsi512_ps(low));
            let turns = _mm512_set_epi16(
                31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5,
                20, 4, 19, 3, 18, 2, 17, 1, 16, 0,
            );
            _mm512_permutexvar_epi16(turns, bits(all))
        }
    }
    #[inline(always)]
    unsafe fn transposed(square: [__m512i; LANES]) -> [__m512i; LANES] {
        // SAFETY: as above. Both types are 512 bits without a meaning of their own.
        unsafe {
            let mut square = std::mem::transmute::<[__m512i; LANES], [__m512; LANES]>(square);
            <__m512 as Vector<f32>>::transpose(&mut square);
            std::mem::transmute::<[__m512; LANES], [__m512i; LANES]>(square)
        }
    }
    #[inline(always)]
    unsafe fn add(self, a: u32, b: __m512i) -> Self {
        // SAFETY: as above. Both types are 512 bits without a meaning of their own.
        unsafe {
            let a = std::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32(a as i32));
            let b = std::mem::transmute::<__m512i, __m512bh>(b);
            Self(_mm512_dpbf16_ps(self.0, b, a))
        }
    }
    #[inline(always)]
    unsafe fn finish(self, to: *mut f32, count: usize, alpha: f32, add: bool) {
        let mask = mask(count) as u16;
        // SAFETY: as above, and that `count` numbers may be read and written.
        unsafe {
            let mut sums = _mm512_mul_ps(self.0, _mm512_set1_ps(alpha));
            if add {
                sums = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, to), sums);
            }
            _mm512_mask_storeu_ps(to, mask, sums);
        }
    }
}
