//! From the plugin to the host: one safe function for each of the host's.
//!
//! The rest of this crate calls these; nothing else here touches the host's table.

use std::{
    ptr,
    sync::atomic::{AtomicPtr, Ordering},
};

use crate::{
    Error, Result, Tensor,
    abi::{
        event::EventRaw,
        handle::Handle,
        host::HostTable,
        learner::{BatchRaw, LearnerTable, ProgressRaw},
        log::LogRecordRaw,
        logger::{CheckpointRequest, RecordRaw, RecordTable},
        metric::MetricInput as MetricInputRaw,
        setup::{SetupTable, Slot},
        state::{Point, StateTable},
        status,
        tensor::{ApplyRaw, InitRaw, TensorInfo, TensorTable, ViewRaw},
        text::Text,
    },
    tensor::Element,
};

static HOST: AtomicPtr<HostTable> = AtomicPtr::new(ptr::null_mut());

/// Remembers the host's table; false where it is null or older than this crate needs.
pub(crate) fn connect(host: *const HostTable) -> bool {
    // SAFETY: the host hands over its static table; its size comes first, so that a shorter table
    // is seen here.
    if host.is_null() || unsafe { (*host).size } < size_of::<HostTable>() as u64 {
        return false;
    }
    HOST.store(host.cast_mut(), Ordering::Release);
    true
}

#[inline]
fn host() -> Option<&'static HostTable> {
    // SAFETY: null, or the host's static table that `connect` checked.
    unsafe { HOST.load(Ordering::Acquire).as_ref() }
}

#[cold]
#[inline(never)]
fn no_host() -> Error {
    Error::new(
        "no host is there: tensors, state and the learner exist only while a fluxbay host runs the plugin",
    )
}

macro_rules! tables {
    ($($name:ident: $table:ty),+ $(,)?) => { $(
        #[inline]
        fn $name() -> Result<&'static $table> {
            match host() {
                // SAFETY: the host's tables are static and never null (checked against its
                // contract).
                Some(host) => Ok(unsafe { &*host.$name }),
                None => Err(no_host()),
            }
        }
    )+ };
}

tables! {
    setup: SetupTable,
    tensor: TensorTable,
    state: StateTable,
    learner: LearnerTable,
    record: RecordTable,
    display: crate::abi::display::DisplayTable,
    child: crate::abi::child::ChildTable,
}

#[cold]
#[inline(never)]
fn failed(code: i32) -> Error {
    let mut text = Text::EMPTY;
    if let Some(host) = host() {
        // SAFETY: `text` is valid for the write.
        unsafe { (host.last_error)(&mut text) };
    }
    // SAFETY: valid until the next call of the host on this thread; copied here.
    Error::from_status(code, unsafe { text.to_text() }.into_owned())
}

#[inline]
fn check(code: i32) -> Result<()> {
    if code == status::OK { Ok(()) } else { Err(failed(code)) }
}

/// Leaves an error's text with the host and answers its status.
#[cold]
#[inline(never)]
pub(crate) fn leave(error: &Error) -> i32 {
    if let Some(host) = host() {
        // SAFETY: the text is borrowed for the call.
        unsafe { (host.fail)(Text::new(error.message())) };
    }
    error.status()
}

pub(crate) fn log(record: &LogRecordRaw) {
    if let Some(host) = host() {
        // SAFETY: the record and its texts are borrowed for the call.
        unsafe { (host.log)(record) };
    }
}

/// Calls a function of a table whose last argument is written to, and gives what was written.
macro_rules! ask {
    ($table:ident . $function:ident ( $($argument:expr),* ), $initial:expr) => {{
        let table = $table()?;
        let mut value = $initial;
        // SAFETY: arguments are borrowed for the call, `value` is valid for the write.
        check(unsafe { (table.$function)($($argument,)* &mut value) })?;
        Ok::<_, Error>(value)
    }};
}

/// Calls a function of a table that gives nothing but its status.
macro_rules! tell {
    ($table:ident . $function:ident ( $($argument:expr),* )) => {{
        let table = $table()?;
        // SAFETY: arguments are borrowed for the call.
        check(unsafe { (table.$function)($($argument),*) })
    }};
}

/// Calls a function whose last argument is a text of the host's, and copies it.
macro_rules! ask_text {
    ($table:ident . $function:ident ( $($argument:expr),* )) => {{
        let text: Text = ask!($table.$function($($argument),*), Text::EMPTY)?;
        // SAFETY: valid until the next call of the host on this thread; copied here.
        Ok(unsafe { text.to_text() }.into_owned())
    }};
}

// -- setup --

pub(crate) fn setup_read(path: &str) -> Result<Slot> {
    ask!(setup.read(Text::new(path)), 0)
}

pub(crate) fn setup_write(path: &str) -> Result<Slot> {
    ask!(setup.write(Text::new(path)), 0)
}

pub(crate) fn setup_run_after(name: &str) -> Result<()> {
    tell!(setup.run_after(Text::new(name)))
}

pub(crate) fn setup_run_before(name: &str) -> Result<()> {
    tell!(setup.run_before(Text::new(name)))
}

pub(crate) fn setup_subscribe(event: &str) -> Result<()> {
    tell!(setup.subscribe(Text::new(event)))
}

pub(crate) fn setup_event(name: &str) -> Result<u32> {
    ask!(setup.event(Text::new(name)), 0)
}

pub(crate) fn setup_hyper_parameter(name: &str, initial: f64) -> Result<Slot> {
    ask!(setup.hyper_parameter(Text::new(name), initial), 0)
}

pub(crate) fn setup_child(kind: u32, component: &str, config: &str) -> Result<u32> {
    ask!(setup.child(kind, Text::new(component), Text::new(config)), 0)
}

pub(crate) fn setup_optimizer_state(name: &str) -> Result<()> {
    tell!(setup.optimizer_state(Text::new(name)))
}

pub(crate) fn setup_instance_id() -> Result<String> {
    ask_text!(setup.instance_id())
}

pub(crate) fn setup_base_dir() -> Result<String> {
    ask_text!(setup.base_dir())
}

pub(crate) fn setup_run_dir() -> Result<String> {
    ask_text!(setup.run_dir())
}

// -- state --

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

// -- learner --

pub(crate) fn progress() -> Result<ProgressRaw> {
    let table = learner()?;
    let mut progress = std::mem::MaybeUninit::<ProgressRaw>::zeroed();
    // SAFETY: `progress` is valid for the write.
    check(unsafe { (table.progress)(progress.as_mut_ptr()) })?;
    // SAFETY: all bytes zero is a value of this struct of integers, and the host has filled it.
    Ok(unsafe { progress.assume_init() })
}

pub(crate) fn phase_name(index: u32) -> Result<String> {
    ask_text!(learner.phase_name(index))
}

pub(crate) fn phase_kind(index: u32) -> Result<u32> {
    ask!(learner.phase_kind(index), 0)
}

pub(crate) fn event_name(kind: u32) -> Result<String> {
    ask_text!(learner.event_name(kind))
}

pub(crate) fn model_index(name: &str) -> Result<u32> {
    ask!(learner.model(Text::new(name)), 0)
}

pub(crate) fn loss_index(name: &str) -> Result<u32> {
    ask!(learner.loss_index(Text::new(name)), 0)
}

pub(crate) fn epoch_begin() -> Result<()> {
    tell!(learner.epoch_begin())
}

pub(crate) fn next_batch() -> Result<Option<BatchRaw>> {
    let empty = BatchRaw {
        fields: [Handle::NONE; crate::abi::learner::FIELDS],
        field_count: 0,
        samples: 0,
        index: 0,
    };
    let batch: BatchRaw = ask!(learner.next_batch(), empty)?;
    Ok((batch.field_count > 0).then_some(batch))
}

pub(crate) fn epoch_end(code: i32) -> Result<()> {
    tell!(learner.epoch_end(code))
}

pub(crate) fn step_begin(batch: &BatchRaw) -> Result<()> {
    tell!(learner.step_begin(batch))
}

pub(crate) fn step_end(code: i32) -> Result<()> {
    tell!(learner.step_end(code))
}

#[inline]
pub(crate) fn dispatch(kind: u32) -> Result<()> {
    tell!(learner.dispatch(kind))
}

pub(crate) fn forward(model: u32, inputs: &[Handle], outputs: &mut [Handle]) -> Result<usize> {
    ask!(
        learner.forward(model, inputs.as_ptr(), inputs.len(), outputs.as_mut_ptr(), outputs.len()),
        0
    )
}

pub(crate) fn loss(loss: u32, yhats: Handle, ys: Handle) -> Result<Handle> {
    ask!(learner.loss(loss, yhats, ys), Handle::NONE)
}

pub(crate) fn backward(model: u32, loss: Handle) -> Result<()> {
    tell!(learner.backward(model, loss))
}

pub(crate) fn update(model: u32) -> Result<()> {
    tell!(learner.update(model))
}

pub(crate) fn set_mode(mode: u32) -> Result<u32> {
    ask!(learner.set_mode(mode), 0)
}

pub(crate) fn rehearse_begin(phase: u32) -> Result<()> {
    tell!(learner.rehearse_begin(phase))
}

pub(crate) fn rehearse_step() -> Result<()> {
    tell!(learner.rehearse_step())
}

pub(crate) fn rehearse_end() -> Result<()> {
    tell!(learner.rehearse_end())
}

pub(crate) fn trim_memory() -> Result<u64> {
    ask!(learner.trim_memory(), 0)
}

// -- record and display --

pub(crate) fn record_metric(scope: u32, name: &str, value: f64) -> Result<()> {
    tell!(record.metric(scope, Text::new(name), value))
}

pub(crate) fn record_log(raw: &RecordRaw) -> Result<()> {
    tell!(record.log(raw))
}

pub(crate) fn loggers() -> Result<usize> {
    ask!(record.loggers(), 0)
}

pub(crate) fn checkpoint(request: &CheckpointRequest) -> Result<bool> {
    let kept: u32 = ask!(record.checkpoint(request), 0)?;
    Ok(kept != 0)
}

pub(crate) fn print(text: &str) -> Result<()> {
    tell!(display.print(Text::new(text)))
}

pub(crate) fn progress_begin(label: &str, total: u64) -> Result<()> {
    tell!(display.progress_begin(Text::new(label), total))
}

pub(crate) fn progress_set(position: u64, message: &str) -> Result<()> {
    tell!(display.progress_set(position, Text::new(message)))
}

pub(crate) fn progress_end(message: &str) -> Result<()> {
    tell!(display.progress_end(Text::new(message)))
}

pub(crate) fn interactive() -> bool {
    // SAFETY: takes nothing, gives a number.
    display().is_ok_and(|table| unsafe { (table.interactive)() } != 0)
}

// -- children --

pub(crate) fn metric_reset(index: u32) -> Result<()> {
    tell!(child.metric_reset(index))
}

pub(crate) fn metric_update(index: u32, input: &MetricInputRaw) -> Result<f64> {
    ask!(child.metric_update(index, input), 0.0)
}

pub(crate) fn metric_compute(index: u32) -> Result<f64> {
    ask!(child.metric_compute(index), 0.0)
}

pub(crate) fn metric_details(index: u32) -> Result<String> {
    ask_text!(child.metric_details(index))
}

pub(crate) fn schedule_value(index: u32, t: f64) -> Result<f64> {
    ask!(child.schedule_value(index, t), 0.0)
}

pub(crate) fn schedule_length(index: u32) -> Result<u64> {
    ask!(child.schedule_length(index), 0)
}

pub(crate) fn callback_on(index: u32, event: &EventRaw) -> Result<()> {
    tell!(child.callback_on(index, event))
}

pub(crate) fn callback_handles(index: u32, kind: u32) -> Result<bool> {
    let handles: u32 = ask!(child.callback_handles(index, kind), 0)?;
    Ok(handles != 0)
}

// -- tensors --

pub(crate) fn create(dtype: u32, shape: &[u64], bytes: &[u8]) -> Result<Handle> {
    ask!(tensor.create(dtype, shape.as_ptr(), shape.len(), Text::bytes(bytes)), Handle::NONE)
}

#[inline]
pub(crate) fn retain(handle: Handle) -> Result<()> {
    tell!(tensor.retain(handle))
}

#[inline]
pub(crate) fn release(handle: Handle) -> Result<()> {
    tell!(tensor.release(handle))
}

pub(crate) fn info(handle: Handle) -> Result<TensorInfo> {
    let empty = TensorInfo { dtype: 0, rank: 0, shape: [0; crate::abi::tensor::MAX_RANK] };
    ask!(tensor.info(handle), empty)
}

pub(crate) fn read(handle: Handle, dtype: u32, bytes: &mut [u8]) -> Result<()> {
    tell!(tensor.read(handle, dtype, bytes.as_mut_ptr(), bytes.len()))
}

pub(crate) fn view(handle: Handle) -> Result<ViewRaw> {
    ask!(tensor.view(handle), ViewRaw { ptr: ptr::null(), len: 0, dtype: 0, reserved: 0 })
}

#[inline]
pub(crate) fn apply(
    operation: u32,
    inputs: &[Handle],
    ints: &[i64],
    floats: &[f64],
    outputs: &mut [Handle],
) -> Result<usize> {
    let request = ApplyRaw {
        operation,
        reserved: 0,
        inputs: inputs.as_ptr(),
        input_count: inputs.len(),
        ints: ints.as_ptr(),
        int_count: ints.len(),
        floats: floats.as_ptr(),
        float_count: floats.len(),
    };
    ask!(tensor.apply(&request, outputs.as_mut_ptr(), outputs.len()), 0)
}

pub(crate) fn parameter(path: &str, shape: &[u64], init: &InitRaw) -> Result<Handle> {
    ask!(tensor.parameter(Text::new(path), shape.as_ptr(), shape.len(), init), Handle::NONE)
}

pub(crate) fn mode() -> Result<u32> {
    ask!(tensor.mode(), 0)
}

pub(crate) fn device() -> Result<String> {
    ask_text!(tensor.device())
}

/// [`apply`] on tensors.
pub(crate) fn apply_to(
    operation: u32,
    inputs: &[&Tensor],
    ints: &[i64],
    floats: &[f64],
    outputs: &mut [Handle],
) -> Result<usize> {
    let mut handles = [Handle::NONE; INPUTS];
    if inputs.len() > INPUTS {
        let many: Vec<Handle> = inputs.iter().map(|tensor| tensor.handle()).collect();
        return apply(operation, &many, ints, floats, outputs);
    }
    for (place, tensor) in handles.iter_mut().zip(inputs) {
        *place = tensor.handle();
    }
    apply(operation, &handles[..inputs.len()], ints, floats, outputs)
}

/// Handles that the host lends for a call, as tensors that are not released.
pub(crate) fn lent(handles: &[Handle]) -> &[Tensor] {
    // SAFETY: a `Tensor` is a `Handle` (`repr(transparent)`); behind the shared reference it is
    // never dropped.
    unsafe { std::slice::from_raw_parts(handles.as_ptr().cast(), handles.len()) }
}

/// As [`lent`] for one.
pub(crate) fn lent_one(handle: &Handle) -> &Tensor {
    &lent(std::slice::from_ref(handle))[0]
}

/// Inputs that need no list on the heap.
const INPUTS: usize = 8;

/// Elements of a view of `tensor`, whose type was compared with `T`.
pub(crate) fn view_elements<'a, T: Element>(tensor: &'a Tensor, view: &ViewRaw) -> &'a [T] {
    let _ = tensor;
    let count = view.len / size_of::<T>();
    if count == 0 || view.ptr.is_null() || !view.ptr.cast::<T>().is_aligned() {
        return &[];
    }
    // SAFETY: the host's elements are valid while the reference is held, which the borrow of
    // `tensor` proves, and while the tensor is not changed in place, which nothing does within the
    // caller's closure but a call of its own.
    unsafe { std::slice::from_raw_parts(view.ptr.cast(), count) }
}

/// Numbers as bytes.
pub(crate) fn bytes_of<T: Element>(elements: &[T]) -> &[u8] {
    // SAFETY: elements are plain numbers without padding (the trait is sealed); bytes have no
    // alignment.
    unsafe { std::slice::from_raw_parts(elements.as_ptr().cast(), size_of_val(elements)) }
}

/// Numbers as bytes that may be overwritten.
pub(crate) fn bytes_of_mut<T: Element>(elements: &mut [T]) -> &mut [u8] {
    // SAFETY: as above, and every pattern of bytes is a number.
    unsafe { std::slice::from_raw_parts_mut(elements.as_mut_ptr().cast(), size_of_val(elements)) }
}
