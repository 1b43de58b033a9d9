//! The state table.

use fluxbay_plugin::abi::{
    handle::Handle,
    setup::Slot,
    state::{Point, StateTable},
    text::Text,
};

use super::answer::{Out, answer, text};
use crate::calls::context::lend;
use crate::learner::state::Value;

pub static TABLE: StateTable = StateTable {
    kind,
    get_number,
    set_number,
    set_flag,
    get_bytes,
    set_text,
    set_bytes,
    get_tensor,
    set_tensor,
    push,
    series,
    clear,
    child,
    count,
    name,
    tensor_at,
    set_tensor_at,
};

unsafe extern "C" fn kind(slot: Slot, kind: *mut u32) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let kind = unsafe { Out::new(kind)? };
        kind.put(runtime.values().value_kind(caller, slot)?);
        Ok(())
    })
}

unsafe extern "C" fn get_number(slot: Slot, number: *mut f64) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let number = unsafe { Out::new(number)? };
        number.put(runtime.values().get_number(caller, slot)?);
        Ok(())
    })
}

unsafe extern "C" fn set_number(slot: Slot, number: f64) -> i32 {
    answer(|runtime, caller| {
        let written = runtime.values().set_number(caller, slot, number);
        written.map_err(|refusal| runtime.name_schedule(caller, number, refusal))
    })
}

unsafe extern "C" fn set_flag(slot: Slot, flag: u32) -> i32 {
    answer(|runtime, caller| runtime.values().set_value(caller, slot, Value::Flag(flag != 0)))
}

unsafe extern "C" fn get_bytes(slot: Slot, bytes: *mut Text) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let bytes = unsafe { Out::new(bytes)? };
        let (ptr, len) = runtime.values().get_bytes(caller, slot)?;
        bytes.put(Text { ptr, len });
        Ok(())
    })
}

unsafe extern "C" fn set_text(slot: Slot, value: Text) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let value = unsafe { text(value)? };
        runtime.values().set_value(caller, slot, Value::Text(value.to_owned()))
    })
}

unsafe extern "C" fn set_bytes(slot: Slot, bytes: Text) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let bytes = unsafe { bytes.as_bytes() };
        runtime.values().set_value(caller, slot, Value::Bytes(bytes.to_owned()))
    })
}

unsafe extern "C" fn get_tensor(slot: Slot, tensor: *mut Handle) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let tensor = unsafe { Out::new(tensor)? };
        let found = runtime.values().get_tensor(caller, slot)?;
        runtime.own(found, caller);
        tensor.put(found);
        Ok(())
    })
}

unsafe extern "C" fn set_tensor(slot: Slot, tensor: Handle) -> i32 {
    answer(|runtime, caller| runtime.values().set_tensor(caller, slot, tensor))
}

unsafe extern "C" fn push(slot: Slot, point: Point) -> i32 {
    answer(|runtime, caller| runtime.values().push_point(caller, slot, point))
}

unsafe extern "C" fn series(slot: Slot, points: *mut *const Point, count: *mut usize) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let (points, count) = unsafe { (Out::new(points)?, Out::new(count)?) };
        let (ptr, len) = runtime.values().get_series(caller, slot)?;
        points.put(ptr);
        count.put(len);
        Ok(())
    })
}

unsafe extern "C" fn clear(slot: Slot) -> i32 {
    answer(|runtime, caller| runtime.values().clear_value(caller, slot))
}

unsafe extern "C" fn child(slot: Slot, name: Text, child: *mut Slot) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let (name, child) = unsafe { (text(name)?, Out::new(child)?) };
        child.put(runtime.values().child_slot(caller, slot, name)?);
        Ok(())
    })
}

unsafe extern "C" fn count(slot: Slot, count: *mut usize) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let count = unsafe { Out::new(count)? };
        count.put(runtime.values().count(caller, slot)?);
        Ok(())
    })
}

unsafe extern "C" fn name(slot: Slot, index: usize, name: *mut Text) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let name = unsafe { Out::new(name)? };
        name.put(lend(runtime.values().name_at(caller, slot, index)?));
        Ok(())
    })
}

unsafe extern "C" fn tensor_at(slot: Slot, index: usize, tensor: *mut Handle) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let tensor = unsafe { Out::new(tensor)? };
        let found = runtime.values().tensor_at(caller, slot, index)?;
        if found != Handle::NONE {
            runtime.own(found, caller);
        }
        tensor.put(found);
        Ok(())
    })
}

unsafe extern "C" fn set_tensor_at(slot: Slot, index: usize, tensor: Handle) -> i32 {
    answer(|runtime, caller| runtime.values().set_tensor_at(caller, slot, index, tensor))
}
