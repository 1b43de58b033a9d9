//! Tables of samplers.

use super::{
    dataset::slice,
    guard::guard,
    instance::{self, Plain, plain},
};
use crate::{
    Error, Sampler,
    abi::{
        entry::{Instance, kind},
        kinds::KindRow,
        sampler::{OrderContext, SamplerSpec, SamplerTable},
    },
    draws::Draws,
    sampler::TrainingSamples,
};

unsafe extern "C" fn open<S: Sampler>(
    this: Instance,
    spec: *const SamplerSpec,
    count: *mut u64,
) -> i32 {
    guard(|| {
        // SAFETY: the host passes back what `create` returned; the spec and its labels are borrowed
        // for the call.
        let (sampler, spec) = unsafe { (plain::<S>(this), &*spec) };
        let count_of = |number: u64| {
            usize::try_from(number)
                .map_err(|_| Error::new(format!("{number} samples are too many")))
        };
        let samples = count_of(spec.samples)?;
        // SAFETY: as above: one label per sample.
        let labels = (!spec.labels.is_null()).then(|| unsafe { slice(spec.labels, samples) });
        let training = TrainingSamples { count: samples, labels, classes: count_of(spec.classes)? };
        // SAFETY: the host gives a place for the result.
        unsafe { *count = sampler.open(&training)? as u64 };
        Ok(())
    })
}

unsafe extern "C" fn order<S: Sampler>(
    this: Instance,
    context: *const OrderContext,
    places: *mut u64,
    count: usize,
) -> i32 {
    guard(|| {
        // SAFETY: as above.
        let (sampler, context) = unsafe { (plain::<S>(this), &*context) };
        let places = if count == 0 {
            &mut [][..]
        } else {
            // SAFETY: the host lends `count` places for the call.
            unsafe { std::slice::from_raw_parts_mut(places, count) }
        };
        let mut draws = Draws::from_number([context.draw_low, context.draw_high]);
        sampler.order(context.epoch, &mut draws, places)
    })
}

struct Table<S>(std::marker::PhantomData<S>);

impl<S: Sampler> Table<S> {
    const TABLE: &'static SamplerTable = &SamplerTable {
        size: size_of::<SamplerTable>() as u64,
        open: open::<S>,
        order: order::<S>,
    };
}

/// The row of sampler `S` in the extension `fluxbay.kinds/1`.
pub const fn kind_row<S: Sampler>(name: &'static str, state_version: u32) -> KindRow {
    instance::kind_row::<Plain<S>>(
        kind::SAMPLER,
        name,
        state_version,
        std::ptr::from_ref(Table::<S>::TABLE).cast(),
    )
}
