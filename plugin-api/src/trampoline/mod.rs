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

/// The rows of one table, as a `'static` slice: what [`__row!`](crate::__row) gives for each component, without
/// those that have none.
#[doc(hidden)]
#[macro_export]
macro_rules! __rows {
    ($row:ty, $table:ident, $components:ident, $( $kind:ident: $type:ty, $name:expr );+) => {{
        const ALL: &[::core::option::Option<$row>] = &{
            let mut index = 0;
            [ $( {
                let manifest = &$components[index];
                index += 1;
                let _ = (index, manifest);
                $crate::__row!($table $kind: $type, $name, manifest)
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

/// The row of a component in a table, by the name of the table, the kind of the component, and its part
/// of the manifest; none where the table has none for it.
#[doc(hidden)]
#[macro_export]
macro_rules! __row {
    (component $($rest:tt)+) => { $crate::__component!($($rest)+) };
    (metric metric: $type:ty, $name:expr, $manifest:expr) => {
        ::core::option::Option::Some($crate::trampoline::metric::row::<$type>($name))
    };
    (model_names model: $type:ty, $name:expr, $manifest:expr) => {
        ::core::option::Option::Some($crate::trampoline::model::row::<$type>($name))
    };
    (dataset_state dataset: $($rest:tt)+) => {
        $crate::__row!(@dataset get_learns state_row $($rest)+)
    };
    (dataset_inputs dataset: $($rest:tt)+) => {
        $crate::__row!(@dataset get_predicts inputs_row $($rest)+)
    };
    (dataset_fill dataset: $($rest:tt)+) => {
        $crate::__row!(@dataset get_context fill_row $($rest)+)
    };
    (dataset_text dataset: $($rest:tt)+) => {
        $crate::__row!(@dataset get_texts text_row $($rest)+)
    };
    (dataset_ragged dataset: $($rest:tt)+) => {
        $crate::__row!(@dataset get_ragged ragged_row $($rest)+)
    };
    (dataset_steps dataset: $type:ty, $name:expr, $manifest:expr) => {
        ::core::option::Option::Some($crate::trampoline::dataset::steps_row::<$type>($name))
    };
    (transform_steps transform: $type:ty, $name:expr, $manifest:expr) => {
        ::core::option::Option::Some($crate::trampoline::transform::steps_row::<$type>($name))
    };
    (kinds transform: $($rest:tt)+) => { $crate::__row!(@kind transform $($rest)+) };
    (kinds sampler: $($rest:tt)+) => { $crate::__row!(@kind sampler $($rest)+) };
    (kinds communicator: $($rest:tt)+) => { $crate::__row!(@kind communicator $($rest)+) };
    (@dataset $declares:ident $row:ident $type:ty, $name:expr, $manifest:expr) => {
        if $manifest.$declares() {
            ::core::option::Option::Some($crate::trampoline::dataset::$row::<$type>($name))
        } else {
            ::core::option::Option::None
        }
    };
    (@kind $kind:ident $type:ty, $name:expr, $manifest:expr) => {
        ::core::option::Option::Some($crate::trampoline::$kind::kind_row::<$type>(
            $name,
            $manifest.get_state_version(),
        ))
    };
    ($($other:tt)+) => {
        ::core::option::Option::None
    };
}
