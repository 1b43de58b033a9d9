//! Buffers of pixels that a thread uses again for the next image: memory that comes anew from the system
//! for each image costs as much time as resizing it.

use std::cell::RefCell;

/// Most buffers that a thread keeps, and most bytes of one.
const MOST: usize = 4;
const LARGEST: usize = 16 << 20;

thread_local! {
    static FREE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of `length` bytes, whatever they are.
pub fn take(length: usize) -> Vec<u8> {
    let free = FREE.with_borrow_mut(|free| {
        let at = free.iter().position(|buffer| buffer.capacity() >= length)?;
        Some(free.swap_remove(at))
    });
    let mut buffer = free.unwrap_or_default();
    buffer.resize(length, 0);
    buffer
}

/// A buffer of zeros.
pub fn zeroed(length: usize) -> Vec<u8> {
    let mut buffer = take(length);
    buffer.fill(0);
    buffer
}

/// Keeps a buffer for [`take`].
pub fn give(buffer: Vec<u8>) {
    if buffer.capacity() > LARGEST {
        return;
    }
    FREE.with_borrow_mut(|free| {
        if free.len() == MOST {
            free.remove(0);
        }
        free.push(buffer);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_if_it_is_large_enough() {
        let large = vec![7; 1000];
        let place = large.as_ptr();
        give(large);
        let other = take(2000);
        assert_ne!(other.as_ptr(), place);
        let again = take(500);
        assert_eq!((again.as_ptr(), again.len()), (place, 500));
        give(again);
        assert_eq!(zeroed(900), [0; 900]);
    }
}
