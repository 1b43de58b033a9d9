//! What an instance declares while it is created: its access to the state, its order, its children.
//!
//! All functions here are `[training]` and may be called only within `create`. The manifest is the
//! upper bound: what it does not list is refused.

use abi_stable::StableAbi;

use super::text::Text;

/// A granted state path: a number that only the instance that requested it can use. Valid until the
/// instance ends.
pub type Slot = u32;

/// The setup functions.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct SetupTable {
    /// Requests read access to a state path such as `step.loss`.
    pub read: unsafe extern "C" fn(path: Text, slot: *mut Slot) -> i32,
    /// Requests write access, which includes reading.
    pub write: unsafe extern "C" fn(path: Text, slot: *mut Slot) -> i32,
    /// Makes this instance run after instance `name`, or after the instances of component `name`.
    pub run_after: unsafe extern "C" fn(name: Text) -> i32,
    /// Makes this instance run before instance `name`, or before the instances of component `name`.
    pub run_before: unsafe extern "C" fn(name: Text) -> i32,
    /// Narrows the subscription to the events named in such calls. Without a call, the instance
    /// subscribes to all events of the manifest.
    pub subscribe: unsafe extern "C" fn(event: Text) -> i32,
    /// The number of a standard event, or of a custom one that this instance emits or handles.
    pub event: unsafe extern "C" fn(name: Text, kind: *mut u32) -> i32,
    /// Declares a hyper-parameter of this instance with its initial value. Read it through the slot
    /// whenever it is used, since schedules may change it.
    ///
    /// Its state path is `optimizer.NAME` for the only optimizer, `optimizer.MODEL.NAME` for one of
    /// several, and `hyper.INSTANCE.NAME` for all other instances.
    pub hyper_parameter: unsafe extern "C" fn(name: Text, initial: f64, slot: *mut Slot) -> i32,
    /// Creates an instance that belongs to this one: `kind` is a number of
    /// [`kind`](super::kind), `component` its name, `config` a JSON object. It ends with its
    /// owner.
    pub child:
        unsafe extern "C" fn(kind: u32, component: Text, config: Text, child: *mut u32) -> i32,
    /// Declares a state tensor that this optimizer keeps per parameter, such as `momentum`. They are
    /// numbered in the order of these calls.
    pub optimizer_state: unsafe extern "C" fn(name: Text) -> i32,
    /// The instance id in this run.
    pub instance_id: unsafe extern "C" fn(id: *mut Text) -> i32,
    /// Folder that relative paths of the configuration start from: the run file's.
    pub base_dir: unsafe extern "C" fn(path: *mut Text) -> i32,
    /// Folder of the run, where an instance may keep files below its instance id; empty if there is
    /// none.
    pub run_dir: unsafe extern "C" fn(path: *mut Text) -> i32,
}
