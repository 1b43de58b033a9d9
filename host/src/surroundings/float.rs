//! Floating-point control: rounding mode, flush-to-zero, exception masks of the calling thread.

use std::sync::{Mutex, PoisonError};

/// The control words of the calling thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    /// MXCSR without its exception flags on x86-64; FPCR on AArch64.
    word: u32,
    /// The x87 control word; 0 elsewhere.
    x87: u16,
}

/// Bits of MXCSR that control something; the lowest six are flags of exceptions that happened.
#[cfg(target_arch = "x86_64")]
const CONTROL: u32 = !0x3f;

const STANDARD_WORD: u32 = if cfg!(target_arch = "x86_64") { 0x1f80 } else { 0 };
const STANDARD_X87: u16 = if cfg!(target_arch = "x86_64") { 0x37f } else { 0 };

impl Control {
    /// Reads the control words. A few nanoseconds.
    #[inline]
    pub fn read() -> Control {
        Control { word: word(), x87: x87() }
    }

    /// Writes the control words.
    pub fn write(self) {
        set(self);
    }

    /// Whether vector arithmetic of the calling thread is still controlled by this word: the part of
    /// [`Control::read`] that matters for every operation, in about a nanosecond.
    #[inline]
    pub fn holds(self) -> bool {
        word() == self.word
    }

    /// The control word that a process starts with: round to nearest, denormals kept, no exceptions
    /// trapped. The host computes with it.
    pub const STANDARD: Control = Control { word: STANDARD_WORD, x87: STANDARD_X87 };

    /// What differs from `before`, for a message.
    pub fn difference(self, before: Control) -> String {
        let mut parts = Vec::new();
        if cfg!(target_arch = "x86_64") {
            let rounding = ["to nearest", "downward", "upward", "toward zero"];
            let mode = |control: Control| rounding[(control.word >> 13 & 3) as usize];
            if mode(self) != mode(before) {
                parts.push(format!("rounding from {} to {}", mode(before), mode(self)));
            }
            for (bit, name) in [(15, "flush to zero"), (6, "denormals are zero")] {
                if (self.word ^ before.word) >> bit & 1 == 1 {
                    let to = if self.word >> bit & 1 == 1 { "on" } else { "off" };
                    parts.push(format!("{name} {to}"));
                }
            }
            if (self.word ^ before.word) & 0x1f80 != 0 {
                parts.push("exception masks".to_owned());
            }
            if self.x87 != before.x87 {
                parts.push(format!("x87 control from {:#06x} to {:#06x}", before.x87, self.x87));
            }
        }
        if parts.is_empty() {
            parts.push(format!("control word from {:#x} to {:#x}", before.word, self.word));
        }
        parts.join(", ")
    }
}

/// Differences that [`restore_standard`] found and that were not taken yet.
static RESTORED: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// Most of them that are kept.
const MOST_RESTORED: usize = 16;

/// Restores the standard control word after a call that changed it, and returns what differed.
#[cold]
pub fn restore_standard() -> String {
    let difference = Control::read().difference(Control::STANDARD);
    Control::STANDARD.write();
    let mut restored = RESTORED.lock().unwrap_or_else(PoisonError::into_inner);
    if restored.len() < MOST_RESTORED {
        restored.push(difference.clone());
    }
    difference
}

/// Takes what [`restore_standard`] found since the last call, for a check of a plugin.
pub fn take_restored() -> Vec<String> {
    std::mem::take(&mut RESTORED.lock().unwrap_or_else(PoisonError::into_inner))
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn word() -> u32 {
    let mut word = 0_u32;
    // SAFETY: `stmxcsr` stores four bytes at the address given, which is a local variable's.
    unsafe {
        std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut word, options(nostack, preserves_flags));
    }
    word & CONTROL
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn x87() -> u16 {
    let mut word = 0_u16;
    // SAFETY: `fnstcw` stores two bytes at the address given, which is a local variable's.
    unsafe {
        std::arch::asm!("fnstcw [{}]", in(reg) &raw mut word, options(nostack, preserves_flags));
    }
    word
}

#[cfg(target_arch = "x86_64")]
fn set(control: Control) {
    let (word, x87) = (control.word, control.x87);
    // SAFETY: both instructions load control words that were read from this processor before; the
    // words are local variables. Exception flags are cleared, which nothing here reads.
    unsafe {
        std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const word, options(nostack, preserves_flags));
        std::arch::asm!("fldcw [{}]", in(reg) &raw const x87, options(nostack, preserves_flags));
    }
}

#[cfg(target_arch = "aarch64")]
#[inline]
fn word() -> u32 {
    let word: u64;
    // SAFETY: reading FPCR has no effect but the result.
    unsafe { std::arch::asm!("mrs {}, fpcr", out(reg) word, options(nomem, nostack)) };
    word as u32
}

#[cfg(target_arch = "aarch64")]
fn set(control: Control) {
    // SAFETY: the word was read from FPCR before.
    unsafe {
        std::arch::asm!("msr fpcr, {}", in(reg) u64::from(control.word), options(nomem, nostack));
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
#[inline]
fn word() -> u32 {
    0
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn set(_: Control) {}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn x87() -> u16 {
    0
}
