//! The memory of the loaded libraries, to check a pointer before it is followed.

use std::ffi::{c_int, c_void};

/// A loadable segment of a library in this process.
#[derive(Clone, Copy, Debug)]
struct Segment {
    start: usize,
    end: usize,
    executable: bool,
}

/// All segments of all libraries of this process, sorted by address.
#[derive(Debug)]
pub(super) struct Image(Vec<Segment>);

impl Image {
    /// Queries the dynamic linker.
    pub(super) fn now() -> Self {
        let mut segments: Vec<Segment> = Vec::new();
        // SAFETY: `collect` is called during this call alone, with the pointer that is given here.
        unsafe { libc::dl_iterate_phdr(Some(collect), (&raw mut segments).cast()) };
        segments.sort_unstable_by_key(|segment| segment.start);
        Self(segments)
    }

    fn segment(&self, address: usize, length: usize) -> Option<&Segment> {
        let end = address.checked_add(length)?;
        let at = self.0.partition_point(|segment| segment.start <= address).checked_sub(1)?;
        self.0.get(at).filter(|segment| end <= segment.end)
    }

    /// Whether `length` bytes from `address` lie in one segment and the address is a multiple of
    /// `align`.
    pub(super) fn has_data(&self, address: usize, length: usize, align: usize) -> bool {
        address != 0 && address.is_multiple_of(align) && self.segment(address, length).is_some()
    }

    /// Whether `address` is in an executable segment.
    pub(super) fn has_code(&self, address: usize) -> bool {
        self.segment(address, 1).is_some_and(|segment| segment.executable)
    }
}

unsafe extern "C" fn collect(
    info: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    data: *mut c_void,
) -> c_int {
    // SAFETY: `now` gives this very vector, and nobody else has it during the call.
    let segments = unsafe { &mut *data.cast::<Vec<Segment>>() };
    // SAFETY: the linker's own description of a library, valid during the call.
    let info = unsafe { &*info };
    if info.dlpi_phdr.is_null() {
        return 0;
    }
    // SAFETY: the linker says how many headers there are.
    let headers =
        unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    for header in headers
        .iter()
        .filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_R != 0)
    {
        let start = (info.dlpi_addr as usize).wrapping_add(header.p_vaddr as usize);
        let end = start.saturating_add(header.p_memsz as usize);
        segments.push(Segment { start, end, executable: header.p_flags & libc::PF_X != 0 });
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_data_and_nothing_are_told_apart() {
        static DATA: [u64; 4] = [1; 4];
        let image = Image::now();
        let data = (&raw const DATA) as usize;
        assert!(image.has_data(data, 32, 8));
        assert!(!image.has_data(data + 1, 8, 8), "not aligned");
        assert!(
            !image.has_data(0, 8, 8)
                && !image.has_data(8, 8, 8)
                && !image.has_data(usize::MAX - 7, 8, 8)
        );
        assert!(!image.has_code(data));
        assert!(image.has_code(Image::now as fn() -> Image as usize));
        let on_the_heap = Box::new(1u64);
        assert!(!image.has_data((&raw const *on_the_heap) as usize, 8, 8));
    }
}
