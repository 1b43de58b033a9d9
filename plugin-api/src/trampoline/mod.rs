//! Between safe Rust and the contract's tables: the only folder of this crate, besides `abi`, with
//! `unsafe`.
//!
//! `calls` has the functions of the host, as safe functions. The other files hold, for each kind of
//! component, the functions that the host calls; each of them catches panics, so that nothing unwinds
//! into the host.

pub mod callback;
pub(crate) mod calls;
pub mod communicator;
pub mod dataset;
mod guard;
pub mod instance;
mod lent;
pub mod logger;
pub mod loss;
pub(crate) mod memory;
pub mod metric;
pub mod model;
pub mod optimizer;
pub mod phase;
pub mod plugin;
pub mod sampler;
pub mod schedule;
pub mod transform;

/// The rows of one table, as a `'static` slice: what the macro `$of` gives for each component from its
/// kind, its type, its name and its part of the manifest, without those that have none.
#[doc(hidden)]
#[macro_export]
macro_rules! __rows {
    ($row:ty, $of:ident, $components:ident, $( $kind:ident: $type:ty, $name:expr );+) => {{
        const ALL: &[::core::option::Option<$row>] = &{
            let mut index = 0;
            [ $( {
                let manifest = &$components[index];
                index += 1;
                let _ = (index, manifest);
                $crate::$of!($kind: $type, $name, manifest)
            } ),+ ]
        };
        const ROWS: [$row; $crate::__private::count(ALL)] = $crate::__private::rows(ALL);
        &ROWS
    }};
}

/// The table entry of a component, by its kind as [`plugin!`](crate::plugin!) names it; none for kinds
/// that the entry has no table for.
#[doc(hidden)]
#[macro_export]
macro_rules! __component {
    (phase: $($rest:tt)+) => { $crate::__component!(@ phase $($rest)+) };
    (callback: $($rest:tt)+) => { $crate::__component!(@ callback $($rest)+) };
    (model: $($rest:tt)+) => { $crate::__component!(@ model $($rest)+) };
    (loss: $($rest:tt)+) => { $crate::__component!(@ loss $($rest)+) };
    (dataset: $($rest:tt)+) => { $crate::__component!(@ dataset $($rest)+) };
    (metric: $($rest:tt)+) => { $crate::__component!(@ metric $($rest)+) };
    (schedule: $($rest:tt)+) => { $crate::__component!(@ schedule $($rest)+) };
    (logger: $($rest:tt)+) => { $crate::__component!(@ logger $($rest)+) };
    (optimizer: $($rest:tt)+) => { $crate::__component!(@ optimizer $($rest)+) };
    (transform: $($rest:tt)+) => { ::core::option::Option::None };
    (sampler: $($rest:tt)+) => { ::core::option::Option::None };
    (communicator: $($rest:tt)+) => { ::core::option::Option::None };
    (@ $kind:ident $type:ty, $name:expr, $manifest:expr) => {
        ::core::option::Option::Some($crate::trampoline::$kind::component::<$type>(
            $name,
            $manifest.get_state_version(),
        ))
    };
    ($kind:ident: $($rest:tt)+) => {
        ::core::compile_error!(::core::concat!(
            "`", ::core::stringify!($kind), "` is no kind of component; kinds are phase, callback, ",
            "model, loss, dataset, metric, schedule, logger, optimizer, transform, sampler, ",
            "communicator",
        ))
    };
}

/// The row of a component in the extension `fluxbay.kinds/1`, if the entry has no table for its kind.
#[doc(hidden)]
#[macro_export]
macro_rules! __kind_row {
    (transform: $type:ty, $name:expr, $manifest:expr) => {
        ::core::option::Option::Some($crate::trampoline::transform::kind_row::<$type>(
            $name,
            $manifest.get_state_version(),
        ))
    };
    (sampler: $type:ty, $name:expr, $manifest:expr) => {
        ::core::option::Option::Some($crate::trampoline::sampler::kind_row::<$type>(
            $name,
            $manifest.get_state_version(),
        ))
    };
    (communicator: $type:ty, $name:expr, $manifest:expr) => {
        ::core::option::Option::Some($crate::trampoline::communicator::kind_row::<$type>(
            $name,
            $manifest.get_state_version(),
        ))
    };
    ($($other:tt)+) => {
        ::core::option::Option::None
    };
}

/// The row of a component in the extension `fluxbay.metric/1`, if it is a metric.
#[doc(hidden)]
#[macro_export]
macro_rules! __metric_row {
    (metric: $type:ty, $name:expr, $manifest:expr) => {
        ::core::option::Option::Some($crate::trampoline::metric::row::<$type>($name))
    };
    ($($other:tt)+) => {
        ::core::option::Option::None
    };
}

/// The row of a component in the extension `fluxbay.model-names/1`, if it is a model.
#[doc(hidden)]
#[macro_export]
macro_rules! __model_names_row {
    (model: $type:ty, $name:expr, $manifest:expr) => {
        ::core::option::Option::Some($crate::trampoline::model::row::<$type>($name))
    };
    ($($other:tt)+) => {
        ::core::option::Option::None
    };
}

/// The row of a component in the extension `fluxbay.dataset-state/1`, if it is a data set that learns.
#[doc(hidden)]
#[macro_export]
macro_rules! __dataset_state_row {
    (dataset: $type:ty, $name:expr, $manifest:expr) => {
        if $manifest.get_learns() {
            ::core::option::Option::Some($crate::trampoline::dataset::state_row::<$type>($name))
        } else {
            ::core::option::Option::None
        }
    };
    ($($other:tt)+) => {
        ::core::option::Option::None
    };
}

/// The row of a component in the extension `fluxbay.dataset-fill/1`, if it is a data set that asks
/// for the context.
#[doc(hidden)]
#[macro_export]
macro_rules! __dataset_fill_row {
    (dataset: $type:ty, $name:expr, $manifest:expr) => {
        if $manifest.get_context() {
            ::core::option::Option::Some($crate::trampoline::dataset::fill_row::<$type>($name))
        } else {
            ::core::option::Option::None
        }
    };
    ($($other:tt)+) => {
        ::core::option::Option::None
    };
}

/// The row of a component in the extension `fluxbay.dataset-ragged/1`, if it is a data set whose samples
/// differ in size.
#[doc(hidden)]
#[macro_export]
macro_rules! __dataset_ragged_row {
    (dataset: $type:ty, $name:expr, $manifest:expr) => {
        if $manifest.get_ragged() {
            ::core::option::Option::Some($crate::trampoline::dataset::ragged_row::<$type>($name))
        } else {
            ::core::option::Option::None
        }
    };
    ($($other:tt)+) => {
        ::core::option::Option::None
    };
}

/// The row of a component in the extension `fluxbay.dataset-inputs/1`, if it is a data set that
/// reads files to predict from.
#[doc(hidden)]
#[macro_export]
macro_rules! __dataset_inputs_row {
    (dataset: $type:ty, $name:expr, $manifest:expr) => {
        if $manifest.get_predicts() {
            ::core::option::Option::Some($crate::trampoline::dataset::inputs_row::<$type>($name))
        } else {
            ::core::option::Option::None
        }
    };
    ($($other:tt)+) => {
        ::core::option::Option::None
    };
}

/// The row of a component in the extension `fluxbay.dataset-text/1`, if it is a data set that turns
/// texts into ids.
#[doc(hidden)]
#[macro_export]
macro_rules! __dataset_text_row {
    (dataset: $type:ty, $name:expr, $manifest:expr) => {
        if $manifest.get_texts() {
            ::core::option::Option::Some($crate::trampoline::dataset::text_row::<$type>($name))
        } else {
            ::core::option::Option::None
        }
    };
    ($($other:tt)+) => {
        ::core::option::Option::None
    };
}
