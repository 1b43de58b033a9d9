//! One source, several instruction sets: a [`Kernel`] is compiled for each [`Isa`], and [`dispatch`]
//! picks the best one at run time.

/// An instruction set, as a type.
pub(crate) trait Isa: Copy {
    /// Whether a fused multiply-add is one instruction.
    const FMA: bool;
    /// Whether a vector holds 16 numbers of 32 bits.
    const WIDE: bool;
}

/// Instructions that every processor has.
#[derive(Clone, Copy)]
pub(crate) struct Plain;
/// AVX2 and FMA.
#[derive(Clone, Copy)]
pub(crate) struct Avx2;
/// AVX-512 F, BW, DQ, VL.
#[derive(Clone, Copy)]
pub(crate) struct Avx512;

impl Isa for Plain {
    const FMA: bool = false;
    const WIDE: bool = false;
}
impl Isa for Avx2 {
    const FMA: bool = true;
    const WIDE: bool = false;
}
impl Isa for Avx512 {
    const FMA: bool = true;
    const WIDE: bool = true;
}

/// A loop. `run` and all that it calls must be `#[inline(always)]`, or it is not compiled for the
/// instruction set.
pub(crate) trait Kernel {
    type Output;
    fn run<S: Isa>(self, isa: S) -> Self::Output;
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,bmi2")]
fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx2)
}

/// Best set of this processor: 1 plain, 2 AVX2, 3 AVX-512; 0 before the first look-up.
#[cfg(target_arch = "x86_64")]
static LEVEL: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);

#[cfg(target_arch = "x86_64")]
#[cold]
#[inline(never)]
fn look_up() -> u8 {
    let avx2 = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("bmi2");
    let avx512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    let level = 1 + u8::from(avx2) + u8::from(avx2 && avx512);
    LEVEL.store(level, std::sync::atomic::Ordering::Relaxed);
    level
}

/// Runs a kernel with the best instruction set of this processor.
#[inline]
pub(crate) fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    {
        let known = LEVEL.load(std::sync::atomic::Ordering::Relaxed);
        let level = if known == 0 { look_up() } else { known };
        if level == 3 {
            // SAFETY: the processor has the instructions that the function is compiled for.
            return unsafe { run_avx512(kernel) };
        }
        if level == 2 {
            // SAFETY: as above.
            return unsafe { run_avx2(kernel) };
        }
    }
    kernel.run(Plain)
}
