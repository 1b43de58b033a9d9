//! Tables of transforms.

use super::{
    dataset::{field_from, slice},
    guard::guard,
    instance::{self, Cell, cell},
};
use crate::{
    Error, Result,
    abi::{
        dataset::FieldSpec,
        entry::{Instance, kind},
        kinds::KindRow,
        steps::TransformStepsRow,
        text::Text,
        transform::{SampleRaw, TransformContext, TransformTable},
    },
    dataset::Field,
    draws::Draws,
    setup::Setup,
    tensor::DType,
    transform::{Sample, SampleMut, Transform},
};

/// A transform with what its last `describe` and `steps` returned.
pub struct TransformCell<T> {
    transform: T,
    output: Option<(Field, Vec<u64>)>,
    steps: String,
}

impl<T: Transform> Cell for TransformCell<T> {
    type Inner = T;

    fn wrap(transform: T, _: &mut Setup) -> Result<Self> {
        Ok(TransformCell { transform, output: None, steps: String::new() })
    }

    fn inner(&self) -> &T {
        &self.transform
    }

    fn inner_mut(&mut self) -> &mut T {
        &mut self.transform
    }
}

unsafe extern "C" fn describe<T: Transform>(
    this: Instance,
    input: *const FieldSpec,
    output: *mut FieldSpec,
) -> i32 {
    guard(|| {
        // SAFETY: the host passes back what `create` returned, and no other call runs meanwhile; the
        // input is borrowed for the call.
        let (cell, input) = unsafe { (cell::<TransformCell<T>>(this), field_from(&*input)) };
        let field = cell.transform.describe(&input)?;
        let shape = field.shape.iter().map(|size| *size as u64).collect();
        let (field, shape) = cell.output.insert((field, shape));
        let raw = FieldSpec {
            name: Text::new(&field.name),
            dtype: field.dtype.number(),
            reserved: 0,
            shape: shape.as_ptr(),
            rank: shape.len(),
            classes: field.classes.unwrap_or(0) as u64,
        };
        // SAFETY: the host gives a place for the result.
        unsafe { *output = raw };
        Ok(())
    })
}

unsafe extern "C" fn apply<T: Transform>(
    this: Instance,
    context: *const TransformContext,
    input: *const SampleRaw,
    output: *const SampleRaw,
) -> i32 {
    guard(|| {
        // SAFETY: several loader threads may be here at once, so the instance is only shared; `T` is
        // `Sync`. No function that changes it runs meanwhile (the host's promise for `[loader]`
        // functions).
        let cell = unsafe { &(*this.0.cast::<instance::Boxed<TransformCell<T>>>()).cell };
        // SAFETY: context and samples are borrowed for the call.
        let (context, input, output) = unsafe { (&*context, &*input, &*output) };
        // SAFETY: the fields and their shapes are borrowed for the call.
        let (from, to) = unsafe { (&*input.field, &*output.field) };
        // SAFETY: as above; the bytes of the output are lent exclusively, and differ from the input's.
        let (sample, mut result) = unsafe {
            let shape = slice(from.shape, from.rank);
            let bytes = slice(input.ptr.cast_const(), input.len);
            let place = if output.len == 0 {
                &mut [][..]
            } else {
                std::slice::from_raw_parts_mut(output.ptr, output.len)
            };
            let kind = |number| DType::from_number(number).unwrap_or(DType::F32);
            (
                Sample::from_parts(kind(from.dtype), shape, bytes, context),
                SampleMut::from_parts(kind(to.dtype), slice(to.shape, to.rank), place),
            )
        };
        let mut draws = Draws::from_number([context.draw_low, context.draw_high]);
        cell.transform.apply(&sample, &mut result, &mut draws)
    })
}

unsafe extern "C" fn steps<T: Transform>(
    this: Instance,
    input: *const FieldSpec,
    json: *mut Text,
) -> i32 {
    guard(|| {
        // SAFETY: the host passes back what `create` returned, and no other call runs meanwhile; the
        // input is borrowed for the call.
        let (cell, input) = unsafe { (cell::<TransformCell<T>>(this), field_from(&*input)) };
        cell.steps = match cell.transform.steps(&input)? {
            Some(steps) => {
                serde_json::to_string(&steps).map_err(|error| Error::new(error.to_string()))?
            }
            None => String::new(),
        };
        // SAFETY: the host gives a place for the result; the text lives until the next call of this
        // instance.
        unsafe { *json = Text::new(&cell.steps) };
        Ok(())
    })
}

/// The row of transform `T` in the extension `fluxbay.transform-steps/1`.
pub const fn steps_row<T: Transform>(name: &'static str) -> TransformStepsRow {
    TransformStepsRow {
        kind: kind::TRANSFORM,
        reserved: 0,
        component: Text::new(name),
        steps: steps::<T>,
    }
}

struct Table<T>(std::marker::PhantomData<T>);

impl<T: Transform> Table<T> {
    const TABLE: &'static TransformTable = &TransformTable {
        size: size_of::<TransformTable>() as u64,
        describe: describe::<T>,
        apply: apply::<T>,
    };
}

/// The row of transform `T` in the extension `fluxbay.kinds/1`.
pub const fn kind_row<T: Transform>(name: &'static str, state_version: u32) -> KindRow {
    instance::kind_row::<TransformCell<T>>(
        kind::TRANSFORM,
        name,
        state_version,
        std::ptr::from_ref(Table::<T>::TABLE).cast(),
    )
}
