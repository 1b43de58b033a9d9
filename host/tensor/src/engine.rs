//! The engine: all tensors of a run behind handles, operations on them, gradients, parameters,
//! random numbers.
//!
//! One thread owns it (it is `!Send`). The learner and the bridge to the plugins call it; it knows
//! neither of them. Wrong requests are answered with a [`TensorError`] and leave everything as it
//! was.

use candle_core::{CpuStorage, DType, Device, Shape, Storage, Tensor};
use fluxbay_plugin::abi::handle::Handle;
use fluxbay_plugin::abi::operation::{self, OPERATIONS, OperationInfo};
use smallvec::SmallVec;

use super::context::{Behaviour, Context, Mode, Recording};
use super::error::{Result, TensorError};
use super::operations::{self, Call, Gradient, Produced};
use super::parameters::{Init, Kind, Parameter, ParameterInfo, Parameters};
use super::pool::Pool;
use super::random::{Random, RandomState};
use super::slots::{Entry, Slots};
use super::tape::{Node, Source, Tape};
use super::value::{Value, code_of, dtype_of, elsewhere, is_floating, tensor};

/// How to make an [`Engine`].
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Where tensors live.
    pub device: Device,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Threads that kernels compute on, the caller's among them; 0 takes what the machine offers.
    pub threads: usize,
    /// Element type of new parameters: f32, or f64 for tests of gradients.
    pub parameter_dtype: DType,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self { device: Device::Cpu, seed: 0, threads: 0, parameter_dtype: DType::F32 }
    }
}

/// The elements of a contiguous CPU tensor, for reading without a copy.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// First element. Valid until the tensor is released or changed in place.
    pub pointer: *const u8,
    /// Length in bytes.
    pub bytes: usize,
    /// The contract's code of the element type.
    pub dtype: u32,
}

/// See the module.
pub struct Engine {
    context: Context,
    slots: Slots,
    tape: Tape,
    parameters: Parameters,
    parameter_dtype: DType,
    watched: u32,
    returned: Vec<CpuStorage>,
}

/// Room that is kept until somebody takes it; more is given to the allocator.
const MOST_RETURNED: usize = 16;

impl Engine {
    /// An engine without tensors. Fails if no thread can be started.
    pub fn new(options: EngineOptions) -> Result<Self> {
        if !matches!(options.parameter_dtype, DType::F32 | DType::F64) {
            return Err(TensorError::request(format!(
                "parameters are kept as f32 or f64, not {:?}",
                options.parameter_dtype
            )));
        }
        let threads = match options.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let pool = Pool::new(threads).map_err(|error| {
            TensorError::request(format!(
                "cannot start {threads} threads for tensor kernels: {error}"
            ))
        })?;
        Ok(Self {
            context: Context {
                pool,
                random: Random::new(options.seed),
                mode: Mode { recording: Recording::On, behaviour: Behaviour::Training },
                device: options.device,
            },
            slots: Slots::default(),
            tape: Tape::default(),
            parameters: Parameters::default(),
            parameter_dtype: options.parameter_dtype,
            watched: 0,
            returned: Vec::new(),
        })
    }

    // ---- handles and values
    // ------------------------------------------------------------------------------------------

    /// Takes a tensor in as a constant; the caller owns one reference. The tensor's elements must
    /// not be written by others.
    pub fn insert(&mut self, tensor: Tensor) -> Handle {
        self.slots.insert(Entry::new(Value::new(tensor.detach()), Source::None))
    }

    /// As [`Engine::insert`], of elements whose room [`Engine::take_returned`] gives back once
    /// nobody sees them any more.
    pub fn insert_lent(&mut self, tensor: Tensor) -> Handle {
        self.slots
            .insert(Entry { lent: true, ..Entry::new(Value::new(tensor.detach()), Source::None) })
    }

    /// The elements of a tensor that was lent and is gone; of no use but as room.
    pub fn take_returned(&mut self) -> Option<CpuStorage> {
        self.returned.pop()
    }

    /// Computes `task` for each number below `count` on the threads of the kernels, the caller's
    /// among them.
    pub fn share(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
        self.context.pool.run(count, task);
    }

    /// Lets threads of the kernels that would wait for the next kernel do `task` instead, piece by
    /// piece, in place of what was given before. A kernel begins without those that are in a piece,
    /// so pieces should be short. Nobody is woken for it, and nobody may come round to it.
    pub fn idle(&self, task: std::sync::Arc<crate::pool::Idle>) {
        self.context.pool.idle(task);
    }

    /// Adds a reference.
    #[inline]
    pub fn retain(&mut self, handle: Handle) -> Result<()> {
        self.slots.retain(handle)
    }

    /// Gives a reference back; the last one frees the tensor (what the tape needs of it stays).
    pub fn release(&mut self, handle: Handle) -> Result<()> {
        if let Some(gone) = self.slots.release(handle)?
            && gone.lent
            && self.returned.len() < MOST_RETURNED
            && let Some(room) = gone.value.into_room()
        {
            self.returned.push(room);
        }
        Ok(())
    }

    /// The tensor. A clone of it shares the elements: copy it to keep the values of a parameter.
    pub fn value(&self, handle: Handle) -> Result<&Tensor> {
        Ok(&self.slots.get(handle)?.value.tensor)
    }

    /// Its shape.
    pub fn shape(&self, handle: Handle) -> Result<&[usize]> {
        Ok(self.value(handle)?.dims())
    }

    /// The contract's code of its element type.
    pub fn dtype(&self, handle: Handle) -> Result<u32> {
        let dtype = self.value(handle)?.dtype();
        code_of(dtype).ok_or_else(|| {
            TensorError::request(format!("element type {dtype:?} has no code in the contract"))
        })
    }

    /// The only element, as a number.
    pub fn scalar(&self, handle: Handle) -> Result<f64> {
        let tensor = self.value(handle)?;
        let (storage, layout) = tensor.storage_and_layout();
        match &*storage {
            Storage::Cpu(CpuStorage::F32(elements)) if layout.shape().elem_count() == 1 => {
                Ok(f64::from(elements[layout.start_offset()]))
            }
            _ => scalar_of(tensor),
        }
    }

    /// All elements in row-major order, converted to f32.
    pub fn read_f32(&self, handle: Handle) -> Result<Vec<f32>> {
        Ok(self.value(handle)?.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?)
    }

    /// All elements in row-major order, converted to f64.
    pub fn read_f64(&self, handle: Handle) -> Result<Vec<f64>> {
        Ok(self.value(handle)?.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?)
    }

    /// All elements in row-major order, converted to u32; floating tensors are refused.
    pub fn read_u32(&self, handle: Handle) -> Result<Vec<u32>> {
        let tensor = self.value(handle)?;
        if is_floating(tensor.dtype()) {
            return Err(TensorError::request(format!(
                "elements of {:?} are not read as integers: convert them first",
                tensor.dtype()
            )));
        }
        Ok(tensor.flatten_all()?.to_dtype(DType::U32)?.to_vec1()?)
    }

    /// The elements in place; a tensor that is not contiguous is laid out in order first. CPU only.
    pub fn view(&mut self, handle: Handle) -> Result<View> {
        let entry = self.slots.get_mut(handle)?;
        if !entry.value.tensor.is_contiguous() {
            entry.value = entry.value.contiguous()?;
        }
        view_of(&entry.value.tensor)
    }

    /// A constant from raw elements in row-major order, native byte order.
    pub fn from_bytes(&mut self, dtype: u32, shape: &[usize], bytes: &[u8]) -> Result<Handle> {
        let tensor = tensor_from_bytes(dtype, shape, bytes)?;
        let tensor = if self.context.device.is_cpu() {
            tensor
        } else {
            tensor.to_device(&self.context.device)?
        };
        Ok(self.insert(tensor))
    }

    /// How many tensors are held by somebody: for tests against leaks and for reports.
    pub fn living(&self) -> usize {
        self.slots.living()
    }

    // ---- operations
    // --------------------------------------------------------------------------------------------------

    /// Applies an operation and appends its results, one reference each, to `outputs`. See
    /// [`operation::op`] for the codes.
    pub fn apply(
        &mut self,
        code: u32,
        inputs: &[Handle],
        ints: &[i64],
        floats: &[f64],
        outputs: &mut Vec<Handle>,
    ) -> Result<()> {
        let info = operation::find(code).ok_or_else(|| {
            Box::new(TensorError::UnknownOperation { code, known: OPERATIONS.len() })
        })?;
        let targets = operations::targets(code, inputs.len(), ints, self.context.mode);
        for (index, &handle) in inputs.iter().enumerate() {
            if targets >> index & 1 == 1 {
                self.own_target(info, inputs, index, handle)?;
            }
        }
        let mut values: SmallVec<[&Value; 6]> = SmallVec::new();
        let mut sources: SmallVec<[Source; 4]> = SmallVec::new();
        let recording = self.context.mode.recording == Recording::On;
        let mut wants: SmallVec<[bool; 8]> = SmallVec::new();
        for &handle in inputs {
            let entry = self.slots.get(handle)?;
            values.push(&entry.value);
            let source = if recording { entry.source } else { Source::None };
            wants.push(source != Source::None);
            sources.push(source);
        }
        let call = Call { info, inputs: &values, wants: &wants, ints, floats };
        let Produced { outputs: results, gradient } = operations::apply(&mut self.context, &call)?;
        let records = call.records();
        let node = match gradient {
            _ if !records => None,
            Gradient::Constant => None,
            Gradient::Function(backward) => Some(Ok(backward)),
            Gradient::Missing => {
                Some(Err("it has no gradient; detach its input, or compute the loss without it"))
            }
        };
        let source = match node {
            Some(backward) if results.iter().any(|value| is_floating(value.dtype())) => {
                #[cfg(debug_assertions)]
                let shapes = results.iter().map(|value| value.tensor.shape().clone()).collect();
                Some(self.tape.push(Node {
                    operation: info.name,
                    inputs: sources,
                    #[cfg(debug_assertions)]
                    shapes,
                    backward,
                }))
            }
            _ => None,
        };
        drop(values);
        for (output, value) in results.into_iter().enumerate() {
            let source = match source {
                Some(id) if is_floating(value.dtype()) => {
                    Source::Node { id, output: output as u32 }
                }
                _ => Source::None,
            };
            outputs.push(self.slots.insert(Entry::new(value, source)));
        }
        Ok(())
    }

    /// Bits of the inputs that an operation would overwrite in the present mode: who may do that is
    /// for the caller to check.
    pub fn overwrites(&self, code: u32, inputs: usize, ints: &[i64]) -> u32 {
        operations::targets(code, inputs, ints, self.context.mode)
    }

    /// Where tensors live.
    pub fn device(&self) -> &Device {
        &self.context.device
    }

    /// Makes sure that nobody else sees the elements of an in-place target: others keep the old
    /// ones.
    fn own_target(
        &mut self,
        info: &'static OperationInfo,
        inputs: &[Handle],
        index: usize,
        handle: Handle,
    ) -> Result<()> {
        let refuse =
            |message: String| TensorError::Operation { operation: info.name, message }.into();
        if inputs.iter().enumerate().any(|(other, &input)| other != index && input == handle) {
            return Err(refuse(format!(
                "input {index} is overwritten, so it cannot be another input too"
            )));
        }
        let entry = self.slots.get_mut(handle)?;
        if matches!(entry.source, Source::Node { .. }) {
            return Err(refuse(format!(
                "input {index} was computed on the tape and cannot be overwritten; detach it first"
            )));
        }
        if !entry.value.is_unique() {
            entry.value = entry.value.copied()?;
        }
        Ok(())
    }

    /// Applies an operation with one result.
    pub fn apply1(
        &mut self,
        code: u32,
        inputs: &[Handle],
        ints: &[i64],
        floats: &[f64],
    ) -> Result<Handle> {
        let mut outputs = Vec::with_capacity(1);
        self.apply(code, inputs, ints, floats, &mut outputs)?;
        match outputs[..] {
            [output] => Ok(output),
            _ => Err(TensorError::request(format!(
                "operation {code} has {} results, not one",
                outputs.len()
            ))),
        }
    }

    /// Recording and training behaviour of what follows.
    #[inline]
    pub fn set_mode(&mut self, mode: Mode) {
        self.context.mode = mode;
    }

    /// The present mode.
    pub fn mode(&self) -> Mode {
        self.context.mode
    }

    /// Threads that kernels compute on.
    pub fn threads(&self) -> usize {
        self.context.pool.threads()
    }

    // ---- parameters
    // --------------------------------------------------------------------------------------------------

    /// The number of the model of this name; models are listed in the order in which they are first
    /// named.
    pub fn model(&mut self, name: &str) -> usize {
        self.parameters.model(name)
    }

    /// The model's name.
    pub fn model_name(&self, model: usize) -> Option<&str> {
        self.parameters.models.get(model).map(String::as_str)
    }

    /// Makes a parameter. The engine keeps a reference as long as it lives; the caller gets one of
    /// its own. A path that is taken is an error: share a parameter by passing its handle on.
    pub fn parameter(
        &mut self,
        model: usize,
        path: &str,
        shape: &[usize],
        init: Init,
        kind: Kind,
    ) -> Result<Handle> {
        let Some(model_name) = self.parameters.models.get(model) else {
            return Err(TensorError::request(format!("there is no model number {model}")));
        };
        let refuse = |message: String| {
            TensorError::Parameter { model: model_name.clone(), path: path.to_owned(), message }
                .into()
        };
        if path.is_empty() {
            return Err(refuse("the path is empty".into()));
        }
        let place = match self.parameters.find(model, path) {
            Ok(index) => {
                let shape = self.shape(self.parameters.list[index].handle)?;
                return Err(refuse(format!("the path is taken by a parameter of shape {shape:?}")));
            }
            Err(place) => place,
        };
        element_count(shape).ok_or_else(|| refuse(format!("shape {shape:?} is too large")))?;
        let mut value = init.values(
            shape,
            self.parameter_dtype,
            &self.context.random,
            &format!("init/{model_name}/{path}"),
        );
        if !self.context.device.is_cpu() {
            value = Value::new(value.tensor.to_device(&self.context.device)?);
        }
        let index = self.parameters.list.len();
        let source =
            if kind == Kind::Trainable { Source::Parameter(index as u32) } else { Source::None };
        let handle = self.slots.insert(Entry::new(value, source));
        self.slots.retain(handle)?;
        self.parameters.list.push(Parameter {
            model,
            path: path.to_owned(),
            handle,
            kind,
            frozen: false,
            gradient: None,
        });
        self.parameters.order.insert(place, index);
        Ok(handle)
    }

    /// All parameters and buffers, by (model, path).
    pub fn parameters(&self) -> impl Iterator<Item = ParameterInfo<'_>> {
        self.parameters.order.iter().map(|&index| self.parameters.info(index))
    }

    /// One parameter.
    pub fn find_parameter(&self, model: usize, path: &str) -> Option<ParameterInfo<'_>> {
        self.parameters.find(model, path).ok().map(|index| self.parameters.info(index))
    }

    /// Overwrites a parameter; shape and element type must be the same. Its handle stays valid.
    pub fn set_parameter(&mut self, index: usize, new: &Tensor) -> Result<()> {
        let (model, path, handle) = match self.parameters.list.get(index) {
            Some(parameter) => (parameter.model, &parameter.path, parameter.handle),
            None => {
                return Err(TensorError::request(format!("there is no parameter number {index}")));
            }
        };
        let device = self.context.device.clone();
        let entry = self.slots.get_mut(handle)?;
        let old = &entry.value.tensor;
        if (old.shape(), old.dtype()) != (new.shape(), new.dtype()) {
            return Err(TensorError::Parameter {
                model: self.parameters.models[model].clone(),
                path: path.clone(),
                message: format!(
                    "it has shape {:?} of {:?}, the new value {:?} of {:?}",
                    old.dims(),
                    old.dtype(),
                    new.dims(),
                    new.dtype()
                ),
            }
            .into());
        }
        entry.value = Value::new(new.to_device(&device)?.force_contiguous()?);
        Ok(())
    }

    /// Treats a parameter as a constant, or not any more.
    pub fn freeze(&mut self, index: usize, frozen: bool) -> Result<()> {
        let parameter = self.parameter_mut(index)?;
        parameter.frozen = frozen;
        let trains = parameter.kind == Kind::Trainable && !frozen;
        let handle = parameter.handle;
        self.slots.get_mut(handle)?.source =
            if trains { Source::Parameter(index as u32) } else { Source::None };
        Ok(())
    }

    fn parameter_mut(&mut self, index: usize) -> Result<&mut Parameter> {
        self.parameters
            .list
            .get_mut(index)
            .ok_or_else(|| TensorError::request(format!("there is no parameter number {index}")))
    }

    // ---- gradients
    // ---------------------------------------------------------------------------------------------------

    /// Goes back from a scalar and adds to each parameter's gradient; of one model only if asked.
    /// Uses up the part of the tape it went through. A parameter that did not take part keeps what
    /// it had (none, after [`Engine::clear_gradients`]).
    pub fn backward(&mut self, loss: Handle, model: Option<usize>) -> Result<()> {
        let seed = self.seed(loss)?;
        let Self { context, tape, parameters, slots, .. } = self;
        let list = &mut parameters.list;
        let of_model: Vec<bool> =
            list.iter().map(|p| model.is_none_or(|model| model == p.model)).collect();
        let is_target =
            |source| matches!(source, Source::Parameter(index) if of_model[index as usize]);
        tape.backward(context, seed, is_target, |context, source, gradient| {
            let Source::Parameter(index) = source else { return Ok(()) };
            let parameter = &mut list[index as usize];
            match parameter.gradient {
                None => parameter.gradient = Some(slots.insert(Entry::new(gradient, Source::None))),
                Some(handle) => {
                    let entry = slots.get_mut(handle)?;
                    // Taken out of the slot, so that the buffer is nobody else's and can be added
                    // to.
                    let earlier = std::mem::replace(&mut entry.value, gradient.clone());
                    entry.value = context.accumulate(earlier, gradient)?;
                }
            }
            Ok(())
        })
    }

    /// Gradients of a scalar with respect to tensors: watched ones, parameters, or values of the
    /// tape. Uses up the part of the tape it went through. A tensor that did not take part gets
    /// zeros.
    pub fn gradient_of(&mut self, loss: Handle, inputs: &[Handle]) -> Result<Vec<Handle>> {
        let seed = self.seed(loss)?;
        let mut targets = Vec::with_capacity(inputs.len());
        for (index, &input) in inputs.iter().enumerate() {
            let source = self.slots.get(input)?.source;
            if source == Source::None {
                return Err(TensorError::Gradient {
                    operation: "gradient-of",
                    message: format!(
                        "input {index} is a constant: watch it before the computation"
                    ),
                }
                .into());
            }
            targets.push(source);
        }
        let mut results: Vec<Option<Value>> = vec![None; targets.len()];
        let is_target = |source| targets.contains(&source);
        self.tape.backward(&mut self.context, seed, is_target, |context, source, gradient| {
            for (place, _) in targets.iter().enumerate().filter(|(_, target)| **target == source) {
                results[place] = Some(match results[place].take() {
                    None => gradient.clone(),
                    Some(earlier) => context.accumulate(earlier, gradient.clone())?,
                });
            }
            Ok(())
        })?;
        let mut handles = Vec::with_capacity(inputs.len());
        for (&input, result) in inputs.iter().zip(results) {
            let value = match result {
                Some(value) => value,
                None => Value::new(self.slots.get(input)?.value.tensor.zeros_like()?),
            };
            handles.push(self.slots.insert(Entry::new(value, Source::None)));
        }
        Ok(handles)
    }

    fn seed(&self, loss: Handle) -> Result<(Source, Value)> {
        let entry = self.slots.get(loss)?;
        let refuse =
            |message: String| TensorError::Gradient { operation: "backward", message }.into();
        if entry.value.count() != 1 {
            return Err(refuse(format!(
                "the loss must be one number, its shape is {:?}: take its mean or sum",
                entry.value.dims()
            )));
        }
        if entry.source == Source::None {
            return Err(refuse(
                "the loss does not depend on any parameter: it was computed while recording was off, or from detached or integer values"
                    .into(),
            ));
        }
        Ok((entry.source, Value::new(entry.value.tensor.ones_like()?)))
    }

    /// Lets gradients flow to a constant floating tensor in what is computed from now on, as long
    /// as the tensor lives.
    pub fn watch(&mut self, handle: Handle) -> Result<()> {
        let entry = self.slots.get_mut(handle)?;
        if !is_floating(entry.value.dtype()) {
            return Err(TensorError::Gradient {
                operation: "watch",
                message: format!("elements of {:?} have no gradient", entry.value.dtype()),
            }
            .into());
        }
        if entry.source == Source::None {
            entry.source = Source::Watched(self.watched);
            self.watched += 1;
        }
        Ok(())
    }

    /// A parameter's gradient, if it has one; the caller gets a reference. In-place operations on
    /// it change the gradient.
    pub fn gradient(&mut self, index: usize) -> Result<Option<Handle>> {
        let gradient = self.parameter_mut(index)?.gradient;
        if let Some(handle) = gradient {
            self.slots.retain(handle)?;
        }
        Ok(gradient)
    }

    /// As [`Engine::gradient`], without a reference for the caller: valid until the gradient is
    /// replaced or dropped.
    pub fn lent_gradient(&self, index: usize) -> Option<Handle> {
        self.parameters.list.get(index)?.gradient
    }

    /// Replaces a parameter's gradient by a tensor of the parameter's shape and type, or drops it.
    pub fn set_gradient(&mut self, index: usize, gradient: Option<Handle>) -> Result<()> {
        let handle = self.parameter_mut(index)?.handle;
        let fresh = match gradient {
            None => None,
            Some(gradient) => {
                let (new, old) = (&self.slots.get(gradient)?.value, &self.slots.get(handle)?.value);
                if (new.dims(), new.dtype()) != (old.dims(), old.dtype()) {
                    let parameter = &self.parameters.list[index];
                    return Err(TensorError::Parameter {
                        model: self.parameters.models[parameter.model].clone(),
                        path: parameter.path.clone(),
                        message: format!(
                            "it has shape {:?} of {:?}, the gradient {:?} of {:?}",
                            old.dims(),
                            old.dtype(),
                            new.dims(),
                            new.dtype()
                        ),
                    }
                    .into());
                }
                let value = new.contiguous()?;
                Some(self.slots.insert(Entry::new(value, Source::None)))
            }
        };
        if let Some(old) = std::mem::replace(&mut self.parameter_mut(index)?.gradient, fresh) {
            self.slots.release(old)?;
        }
        Ok(())
    }

    /// Drops all gradients: of one model only if asked.
    pub fn clear_gradients(&mut self, model: Option<usize>) {
        for parameter in &mut self.parameters.list {
            if model.is_none_or(|model| model == parameter.model)
                && let Some(handle) = parameter.gradient.take()
            {
                // The engine's own reference: it is there.
                drop(self.slots.release(handle));
            }
        }
    }

    /// Forgets what was recorded; called at the end of every step.
    pub fn clear_tape(&mut self) {
        self.tape.clear();
    }

    /// How many operations are recorded.
    pub fn tape_length(&self) -> usize {
        self.tape.len()
    }

    // ---- random numbers
    // ----------------------------------------------------------------------------------------------

    /// The number of the random stream of this name, for operations that take one.
    pub fn stream(&mut self, name: &str) -> i64 {
        self.context.random.stream(name) as i64
    }

    /// Makes a stream the current one; returns the number of the one before.
    pub fn set_stream(&mut self, stream: i64) -> i64 {
        self.context.random.set_current(usize::try_from(stream).unwrap_or(0)) as i64
    }

    /// Seed and counters of all streams.
    pub fn random_state(&self) -> RandomState {
        self.context.random.state()
    }

    /// Goes back to a state.
    pub fn set_random_state(&mut self, state: &RandomState) {
        self.context.random.restore(state);
    }
}

fn element_count(shape: &[usize]) -> Option<usize> {
    let count = shape.iter().try_fold(1_usize, |count, &size| count.checked_mul(size))?;
    (count <= isize::MAX as usize / 8).then_some(count)
}

/// The only element of a tensor of any type and place.
#[cold]
#[inline(never)]
fn scalar_of(tensor: &Tensor) -> Result<f64> {
    if tensor.elem_count() != 1 {
        return Err(TensorError::request(format!(
            "a tensor of shape {:?} is not one number",
            tensor.dims()
        )));
    }
    Ok(tensor.reshape(())?.to_dtype(DType::F64)?.to_scalar::<f64>()?)
}

/// The elements of a contiguous tensor.
fn view_of(tensor: &Tensor) -> Result<View> {
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else {
        return Err(elsewhere());
    };
    let range = layout.start_offset()..layout.start_offset() + layout.shape().elem_count();
    macro_rules! view {
        ($($variant:ident),*) => { match storage {
            $(CpuStorage::$variant(elements) => {
                let elements = &elements[range];
                View { pointer: elements.as_ptr().cast(), bytes: size_of_val(elements), dtype: code_of(DType::$variant).unwrap_or_default() }
            })*
            _ => return Err(no_view(tensor.dtype())),
        } };
    }
    Ok(view!(U8, U32, I64, BF16, F16, F32, F64))
}

#[cold]
#[inline(never)]
fn no_view(dtype: DType) -> Box<TensorError> {
    TensorError::request(format!("element type {dtype:?} has no view"))
}

fn tensor_from_bytes(dtype: u32, shape: &[usize], bytes: &[u8]) -> Result<Tensor> {
    let dtype = dtype_of(dtype).ok_or_else(|| {
        TensorError::request(format!("there is no element type with code {dtype}"))
    })?;
    let size = dtype.size_in_bytes();
    let wanted = element_count(shape).map(|count| count * size);
    if wanted != Some(bytes.len()) {
        return Err(TensorError::request(format!(
            "shape {shape:?} of {dtype:?} does not take {} bytes",
            bytes.len()
        )));
    }
    macro_rules! read {
        ($($variant:ident $type:ty),*) => { match dtype {
            $(DType::$variant => {
                let elements: Vec<$type> = bytes.chunks_exact(size).map(|chunk| {
                    let mut raw = [0; size_of::<$type>()];
                    raw.copy_from_slice(chunk);
                    <$type>::from_ne_bytes(raw)
                }).collect();
                tensor(elements, Shape::from(shape))
            })*
            other => return Err(TensorError::request(format!("element type {other:?} is not offered"))),
        } };
    }
    Ok(read!(U8 u8, U32 u32, I64 i64, BF16 half::bf16, F16 half::f16, F32 f32, F64 f64))
}
