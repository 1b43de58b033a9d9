//! The state tree.

use std::ptr;

use super::{ask, ask_text, check, state, tell};
use crate::{
    Error, Result,
    abi::{handle::Handle, setup::Slot, state::Point, text::Text},
};

#[inline]
pub(crate) fn state_kind(slot: Slot) -> Result<u32> {
    ask!(state.kind(slot), 0)
}

#[inline]
pub(crate) fn get_number(slot: Slot) -> Result<f64> {
    ask!(state.get_number(slot), 0.0)
}

#[inline]
pub(crate) fn set_number(slot: Slot, number: f64) -> Result<()> {
    tell!(state.set_number(slot, number))
}

#[inline]
pub(crate) fn set_flag(slot: Slot, flag: bool) -> Result<()> {
    tell!(state.set_flag(slot, u32::from(flag)))
}

pub(crate) fn get_text(slot: Slot) -> Result<String> {
    ask_text!(state.get_bytes(slot))
}

pub(crate) fn get_bytes(slot: Slot) -> Result<Vec<u8>> {
    let bytes: Text = ask!(state.get_bytes(slot), Text::EMPTY)?;
    // SAFETY: valid until the next call of the host on this thread; copied here.
    Ok(unsafe { bytes.as_bytes() }.to_vec())
}

pub(crate) fn set_text(slot: Slot, text: &str) -> Result<()> {
    tell!(state.set_text(slot, Text::new(text)))
}

pub(crate) fn set_bytes(slot: Slot, bytes: &[u8]) -> Result<()> {
    tell!(state.set_bytes(slot, Text::bytes(bytes)))
}

#[inline]
pub(crate) fn get_tensor(slot: Slot) -> Result<Handle> {
    ask!(state.get_tensor(slot), Handle::NONE)
}

#[inline]
pub(crate) fn set_tensor(slot: Slot, handle: Handle) -> Result<()> {
    tell!(state.set_tensor(slot, handle))
}

#[inline]
pub(crate) fn push(slot: Slot, x: f64, y: f64) -> Result<()> {
    tell!(state.push(slot, Point { x, y }))
}

pub(crate) fn series(slot: Slot) -> Result<Vec<Point>> {
    let table = state()?;
    let (mut points, mut count) = (ptr::null(), 0);
    // SAFETY: both places are valid for the write.
    check(unsafe { (table.series)(slot, &mut points, &mut count) })?;
    if count == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the host's points are valid until the next call of the host on this thread; copied
    // here.
    Ok(unsafe { std::slice::from_raw_parts(points, count) }.to_vec())
}

pub(crate) fn series_last(slot: Slot) -> Result<Option<Point>> {
    let table = state()?;
    let (mut points, mut count) = (ptr::null::<Point>(), 0_usize);
    // SAFETY: both places are valid for the write.
    check(unsafe { (table.series)(slot, &mut points, &mut count) })?;
    match count.checked_sub(1) {
        // SAFETY: the host's points are valid until the next call of the host on this thread; the
        // last one is copied here.
        Some(last) => Ok(Some(unsafe { *points.add(last) })),
        None => Ok(None),
    }
}

pub(crate) fn clear(slot: Slot) -> Result<()> {
    tell!(state.clear(slot))
}

pub(crate) fn state_child(slot: Slot, name: &str) -> Result<Slot> {
    ask!(state.child(slot, Text::new(name)), 0)
}

pub(crate) fn state_count(slot: Slot) -> Result<usize> {
    ask!(state.count(slot), 0)
}

pub(crate) fn state_name(slot: Slot, index: usize) -> Result<String> {
    ask_text!(state.name(slot, index))
}

#[inline]
pub(crate) fn tensor_at(slot: Slot, index: usize) -> Result<Handle> {
    ask!(state.tensor_at(slot, index), Handle::NONE)
}

#[inline]
pub(crate) fn set_tensor_at(slot: Slot, index: usize, handle: Handle) -> Result<()> {
    tell!(state.set_tensor_at(slot, index, handle))
}
