//! The contract between the host and its plugins, frozen as 1.0: `repr(C)` tables, one file each.
//!
//! This folder imports nothing else of this crate. Its tables consist of integers, pointers,
//! (pointer, length) texts, [`Handle`](handle::Handle)s and function pointers. Rules for every
//! function:
//!
//! - **Result**: an `i32` [`status`]. The side that fails leaves a text with
//!   [`HostTable::fail`](host::HostTable) before it returns, the other side reads it with
//!   `last_error`. The text belongs to the thread. Nothing unwinds through a table.
//! - **Text and slices** are borrowed for the call, unless the function says otherwise. Texts that
//!   the host returns are valid until the next call of the host on the same thread.
//! - **Ownership**: what a table returns is given back through the same table. A
//!   [`Handle`](handle::Handle) that a function returns is one reference, owned by the caller; a
//!   handle passed as an argument stays with the caller.
//! - **Threads**: `[training]` functions may be called only by the thread that trains. Those of the
//!   host return an error on other threads, and while the host is not calling the plugin. `[any]`
//!   functions may be called always and on every thread. `[loader]` functions of a plugin are called
//!   by several threads at a time.
//! - **One call at a time**: the host calls one function of an instance at a time. While a function
//!   of an instance runs, no other function of that instance is called, not even through a function
//!   of the host that the running one calls: the host refuses that call with an error. So a plugin
//!   may hold its instance exclusively during a call. There are two exceptions. `[loader]` functions
//!   run beside each other and share the instance, but never beside another function of it. And a
//!   phase whose `epoch` calls the learner's `step` is called back in its own `step`; the author's
//!   crate does not offer that function.
//! - **Growth**: a table of 1.0 never changes. New abilities are extensions, requested by id on both
//!   sides: [`Entry::extension`](entry::Entry) and [`HostTable::extension`](host::HostTable).
//!
//! Three tables hold the numbers that grow: [`kind`], [`event`] and [`operation`].

pub mod anomaly;
pub mod callback;
pub mod child;
pub mod communicator;
pub mod dataset;
pub mod display;
pub mod entry;
pub mod event;
pub mod figures;
pub mod freezing;
pub mod handle;
pub mod host;
pub mod kind;
pub mod kinds;
pub mod learner;
pub mod log;
pub mod logger;
pub mod loss;
pub mod metric;
pub mod model;
pub mod operation;
pub mod optimizer;
pub mod packing;
pub mod phase;
pub mod position;
pub mod sampler;
pub mod schedule;
pub mod setup;
pub mod state;
pub mod status;
pub mod steps;
pub mod tensor;
pub mod text;
pub mod transform;
pub mod version;
