//! Tables of metrics.

use super::{
    guard::guard,
    instance::{self, Cell, cell},
};
use crate::{
    Metric, Result,
    abi::{
        entry::{Component, Instance, kind},
        metric::{MetricInput as MetricInputRaw, MetricRow, MetricTable},
        text::Text,
    },
    metric::MetricInput,
    setup::Setup,
};

/// A metric with the text of its last `details`.
pub struct MetricCell<M> {
    metric: M,
    details: String,
}

impl<M: Metric> Cell for MetricCell<M> {
    type Inner = M;

    fn wrap(metric: M, _: &mut Setup) -> Result<Self> {
        Ok(MetricCell { metric, details: String::new() })
    }

    fn inner(&self) -> &M {
        &self.metric
    }

    fn inner_mut(&mut self) -> &mut M {
        &mut self.metric
    }
}

unsafe extern "C" fn reset<M: Metric>(this: Instance) -> i32 {
    guard(|| {
        // SAFETY: the host passes back what `create` returned and calls one function of an instance at a time.
        unsafe { cell::<MetricCell<M>>(this) }.metric.reset();
        Ok(())
    })
}

unsafe extern "C" fn update<M: Metric>(
    this: Instance,
    input: *const MetricInputRaw,
    value: *mut f64,
) -> i32 {
    guard(|| {
        // SAFETY: as above; the input is borrowed for the call.
        let (cell, raw) = unsafe { (cell::<MetricCell<M>>(this), &*input) };
        let result = cell.metric.update(&MetricInput::lent(raw))?;
        // SAFETY: the host gives a place for the result.
        unsafe { *value = result };
        Ok(())
    })
}

unsafe extern "C" fn compute<M: Metric>(this: Instance, value: *mut f64) -> i32 {
    guard(|| {
        // SAFETY: as above.
        let result = unsafe { cell::<MetricCell<M>>(this) }.metric.compute()?;
        // SAFETY: the host gives a place for the result.
        unsafe { *value = result };
        Ok(())
    })
}

unsafe extern "C" fn details<M: Metric>(this: Instance, json: *mut Text) -> i32 {
    guard(|| {
        // SAFETY: as above.
        let cell = unsafe { cell::<MetricCell<M>>(this) };
        cell.details = cell.metric.details()?;
        // SAFETY: the host gives a place for the result; the text lives until the next call of this
        // instance.
        unsafe { *json = Text::new(&cell.details) };
        Ok(())
    })
}

unsafe extern "C" fn direction<M: Metric>(this: Instance, direction: *mut u32) -> i32 {
    guard(|| {
        // SAFETY: as above.
        let answer = unsafe { cell::<MetricCell<M>>(this) }.metric.direction();
        // SAFETY: the host gives a place for the result.
        unsafe { *direction = answer.number() };
        Ok(())
    })
}

/// The row of metric `M` in the extension `fluxbay.metric/1`.
pub const fn row<M: Metric>(name: &'static str) -> MetricRow {
    MetricRow {
        kind: kind::METRIC,
        reserved: 0,
        component: Text::new(name),
        direction: direction::<M>,
    }
}

struct Table<M>(std::marker::PhantomData<M>);

impl<M: Metric> Table<M> {
    const TABLE: &'static MetricTable = &MetricTable {
        reset: reset::<M>,
        update: update::<M>,
        compute: compute::<M>,
        details: details::<M>,
    };
}

/// The component that offers metric `M`.
pub const fn component<M: Metric>(name: &'static str, state_version: u32) -> Component {
    let mut component = instance::component::<MetricCell<M>>(kind::METRIC, name, state_version);
    component.metric = Table::<M>::TABLE;
    component
}
