//! Borrowed UTF-8 text and byte slices.

use abi_stable::StableAbi;

/// Borrowed UTF-8 text: `len` bytes at `ptr`. An empty text may have any pointer.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct Text {
    /// First byte.
    pub ptr: *const u8,
    /// Number of bytes.
    pub len: usize,
}

// SAFETY: a `Text` is a pair of numbers; reading through it is the unsafe step, and names its own
// conditions.
unsafe impl Send for Text {}
// SAFETY: as above.
unsafe impl Sync for Text {}

impl Text {
    /// The empty text.
    pub const EMPTY: Text = Text::new("");

    /// Borrows `text`.
    pub const fn new(text: &str) -> Text {
        Text { ptr: text.as_ptr(), len: text.len() }
    }

    /// Borrows `bytes`, which need not be UTF-8 where the function says "bytes".
    pub const fn bytes(bytes: &[u8]) -> Text {
        Text { ptr: bytes.as_ptr(), len: bytes.len() }
    }

    /// The bytes, for as long as the other side promised.
    ///
    /// # Safety
    /// `ptr` must be valid for reads of `len` bytes during `'a`, unless `len` is 0.
    pub unsafe fn as_bytes<'a>(self) -> &'a [u8] {
        if self.len == 0 || self.ptr.is_null() {
            return &[];
        }
        // SAFETY: promised by the caller.
        unsafe { std::slice::from_raw_parts(self.ptr, self.len) }
    }

    /// The text with anything that is not UTF-8 replaced.
    ///
    /// # Safety
    /// As [`Text::as_bytes`].
    pub unsafe fn to_text<'a>(self) -> std::borrow::Cow<'a, str> {
        // SAFETY: promised by the caller.
        String::from_utf8_lossy(unsafe { self.as_bytes() })
    }
}
