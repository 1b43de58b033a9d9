//! The contract between the host and its plugins, frozen as 1.0: `repr(C)` tables, one file each.
//!
//! This folder imports nothing else of this crate, and its tables are made of integers, pointers,
//! (pointer, length) texts, [`Handle`](handle::Handle)s and function pointers. The rules that hold
//! for every function:
//!
//! - **Result**: an `i32` [`status`]. The side that fails first leaves a text with
//!   [`HostTable::fail`](host::HostTable), the other side reads it with `last_error`. The text
//!   belongs to the thread. Nothing ever unwinds through a table.
//! - **Text and slices** are borrowed for the call, unless the function says otherwise. Texts that
//!   the host hands out stay valid until the next call of the host on the same thread.
//! - **Ownership**: what a table gives is given back through the same table. A
//!   [`Handle`](handle::Handle) that comes out of a function is one reference, owned by the caller;
//!   a handle passed in stays with the caller.
//! - **Threads**: `[training]` functions may be called only by the thread that trains, and only
//!   while the host is calling the plugin; elsewhere they answer with an error. `[any]` functions
//!   may be called always and anywhere. `[loader]` functions of a plugin are called by several
//!   threads at a time.
//! - **Growth**: once 1.0 is frozen, a table never changes. New abilities are extensions, asked for
//!   by id on both sides.

pub mod callback;
pub mod child;
pub mod dataset;
pub mod display;
pub mod entry;
pub mod event;
pub mod figures;
pub mod handle;
pub mod host;
pub mod kind;
pub mod learner;
pub mod log;
pub mod logger;
pub mod loss;
pub mod metric;
pub mod model;
pub mod operation;
pub mod optimizer;
pub mod phase;
pub mod schedule;
pub mod setup;
pub mod state;
pub mod status;
pub mod tensor;
pub mod text;
pub mod version;
