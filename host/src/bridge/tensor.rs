//! The tensor table.

use fluxbay_plugin::abi::{
    handle::Handle,
    operation,
    tensor::{ApplyRaw, InitRaw, MAX_RANK, TensorInfo, TensorTable, ViewRaw},
    text::Text,
};

use super::answer::{Out, answer, borrowed, buffer, slice, text};
use super::learner::mode_code;
use crate::calls::context::lend;
use crate::learner::Runtime;
use crate::learner::refusal::{Answer, Refusal};
use crate::tensor::{Init, Kind, View, timeline};

pub static TABLE: TensorTable =
    TensorTable { create, retain, release, info, read, view, apply, parameter, mode, device };

/// A shape that a plugin passes.
///
/// # Safety
/// As [`slice`].
unsafe fn shape(ptr: *const u64, rank: usize) -> Answer<Vec<usize>> {
    if rank > MAX_RANK {
        return Err(Refusal::Text(format!(
            "a tensor has at most {MAX_RANK} dimensions, not {rank}"
        )));
    }
    // SAFETY: promised by the caller.
    let sizes = unsafe { slice(ptr, rank)? };
    let size = |&size: &u64| {
        usize::try_from(size)
            .map_err(|_| Refusal::Text(format!("a dimension of {size} is too large")))
    };
    sizes.iter().map(size).collect()
}

unsafe extern "C" fn create(
    dtype: u32,
    dims: *const u64,
    rank: usize,
    bytes: Text,
    tensor: *mut Handle,
) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let (dims, bytes, tensor) =
            unsafe { (shape(dims, rank)?, bytes.as_bytes(), Out::new(tensor)?) };
        let created = runtime.engine.borrow_mut().from_bytes(dtype, &dims, bytes)?;
        runtime.own(created, caller);
        tensor.put(created);
        Ok(())
    })
}

unsafe extern "C" fn retain(tensor: Handle) -> i32 {
    answer(|runtime, caller| runtime.retain(caller, tensor))
}

unsafe extern "C" fn release(tensor: Handle) -> i32 {
    answer(|runtime, caller| runtime.release(caller, tensor))
}

unsafe extern "C" fn info(tensor: Handle, info: *mut TensorInfo) -> i32 {
    answer(|runtime, _| {
        // SAFETY: lent for the call.
        let info = unsafe { Out::new(info)? };
        let engine = runtime.engine.borrow();
        let dims = engine.shape(tensor)?;
        if dims.len() > MAX_RANK {
            return Err(Refusal::Text(format!(
                "a tensor of {} dimensions has more than the contract's {MAX_RANK}",
                dims.len()
            )));
        }
        let mut shape = [0; MAX_RANK];
        for (to, &from) in shape.iter_mut().zip(dims) {
            *to = from as u64;
        }
        info.put(TensorInfo { dtype: engine.dtype(tensor)?, rank: dims.len() as u32, shape });
        Ok(())
    })
}

unsafe extern "C" fn read(tensor: Handle, dtype: u32, bytes: *mut u8, len: usize) -> i32 {
    answer(|runtime, _| {
        // SAFETY: lent for the call.
        let into = unsafe { buffer(bytes, len)? };
        copy_elements(runtime, tensor, dtype, into)
    })
}

fn copy_elements(runtime: &Runtime, tensor: Handle, dtype: u32, into: &mut [u8]) -> Answer {
    let mut engine = runtime.engine.borrow_mut();
    if engine.dtype(tensor)? == dtype
        && let Ok(view) = engine.view(tensor)
    {
        // SAFETY: the view's bytes are valid while the engine is borrowed, and nothing changes them
        // meanwhile.
        let elements = unsafe { slice(view.pointer, view.bytes)? };
        return copy(elements, into);
    }
    let to = crate::tensor::dtype_of(dtype)
        .ok_or_else(|| format!("there is no element type with number {dtype}"))?;
    let converted = engine.value(tensor)?.to_dtype(to)?.contiguous()?;
    let view = View::of(&converted)?;
    // SAFETY: the view's bytes are those of `converted`, which nothing changes.
    copy(unsafe { slice(view.pointer, view.bytes)? }, into)
}

fn copy(elements: &[u8], into: &mut [u8]) -> Answer {
    if elements.len() != into.len() {
        return Err(Refusal::Text(format!(
            "the tensor's elements take {} bytes, the buffer for them has {}",
            elements.len(),
            into.len()
        )));
    }
    into.copy_from_slice(elements);
    Ok(())
}

unsafe extern "C" fn view(tensor: Handle, view: *mut ViewRaw) -> i32 {
    answer(|runtime, _| {
        // SAFETY: lent for the call.
        let out = unsafe { Out::new(view)? };
        let view = runtime.engine.borrow_mut().view(tensor)?;
        out.put(ViewRaw { ptr: view.pointer, len: view.bytes, dtype: view.dtype, reserved: 0 });
        Ok(())
    })
}

unsafe extern "C" fn apply(
    request: *const ApplyRaw,
    outputs: *mut Handle,
    capacity: usize,
    output_count: *mut usize,
) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let (request, outputs, count) =
            unsafe { (borrowed(request)?, buffer(outputs, capacity)?, Out::new(output_count)?) };
        // SAFETY: as above.
        let (inputs, ints, floats) = unsafe {
            (
                slice(request.inputs, request.input_count)?,
                slice(request.ints, request.int_count)?,
                slice(request.floats, request.float_count)?,
            )
        };
        let overwritten = runtime.engine.borrow().overwrites(request.operation, inputs.len(), ints);
        if overwritten != 0 {
            for (index, &input) in inputs.iter().enumerate() {
                if overwritten >> index & 1 == 1 {
                    runtime.values().check_target(caller, input)?;
                }
            }
        }
        let mut results = runtime.step.results.take();
        results.clear();
        let begin = timeline::begin();
        runtime.engine.borrow_mut().apply(request.operation, inputs, ints, floats, &mut results)?;
        if begin.is_some() {
            let name = operation::find(request.operation).map_or("operation", |info| info.name);
            timeline::end(begin, "operation", timeline::Name::Text(name));
        }
        let Some(places) = outputs.get_mut(..results.len()) else {
            return Err(no_room(runtime, &results, capacity));
        };
        places.copy_from_slice(&results);
        results.iter().for_each(|&result| runtime.own(result, caller));
        count.put(results.len());
        runtime.step.results.set(results);
        Ok(())
    })
}

/// Releases results that do not fit into the caller's buffer.
#[cold]
#[inline(never)]
fn no_room(runtime: &Runtime, results: &[Handle], capacity: usize) -> Refusal {
    let mut engine = runtime.engine.borrow_mut();
    if let Some(error) = results.iter().find_map(|&result| engine.release(result).err()) {
        return error.into();
    }
    Refusal::Text(format!(
        "the operation has {} results, there is room for {capacity}",
        results.len()
    ))
}

unsafe extern "C" fn parameter(
    path: Text,
    dims: *const u64,
    rank: usize,
    init: *const InitRaw,
    tensor: *mut Handle,
) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let (path, dims, init, tensor) =
            unsafe { (text(path)?, shape(dims, rank)?, borrowed(init)?, Out::new(tensor)?) };
        let (init, kind) = (first_values(init)?, kind_of(init)?);
        let parameter = runtime.make_parameter(caller, path, &dims, init, kind)?;
        runtime.own(parameter, caller);
        tensor.put(parameter);
        Ok(())
    })
}

fn first_values(raw: &InitRaw) -> Answer<Init> {
    Init::from_code(raw.kind, raw.a, raw.b)
        .ok_or_else(|| Refusal::Text(format!("there is no distribution with number {}", raw.kind)))
}

fn kind_of(raw: &InitRaw) -> Answer<Kind> {
    match raw.buffer {
        0 => Ok(Kind::Trainable),
        1 => Ok(Kind::Buffer),
        other => Err(Refusal::Text(format!("`buffer` of a parameter is 0 or 1, not {other}"))),
    }
}

unsafe extern "C" fn mode(mode: *mut u32) -> i32 {
    answer(|runtime, _| {
        // SAFETY: lent for the call.
        let mode = unsafe { Out::new(mode)? };
        mode.put(mode_code(runtime.engine.borrow().mode()));
        Ok(())
    })
}

unsafe extern "C" fn device(name: *mut Text) -> i32 {
    answer(|runtime, _| {
        // SAFETY: lent for the call.
        let name = unsafe { Out::new(name)? };
        name.put(lend(runtime.device_name()));
        Ok(())
    })
}
