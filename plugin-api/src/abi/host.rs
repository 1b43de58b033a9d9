//! What the host offers to every plugin.

use abi_stable::StableAbi;

use super::{
    child::ChildTable, display::DisplayTable, learner::LearnerTable, log::LogRecordRaw,
    logger::RecordTable, setup::SetupTable, state::StateTable, tensor::TensorTable, text::Text,
    version::Version,
};

/// The host's functions. One static table per host process, valid until it ends.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct HostTable {
    /// Size of this struct in bytes, as the host was built.
    pub size: u64,
    /// Contract that the host serves.
    pub contract: Version,
    /// Leaves the text of the error whose status the caller is about to return, on this thread. `[any]`
    pub fail: unsafe extern "C" fn(text: Text),
    /// The text of the last error on this thread, valid until the next call of the host. `[any]`
    pub last_error: unsafe extern "C" fn(text: *mut Text),
    /// Records a line of the log. `[any]`
    pub log: unsafe extern "C" fn(record: *const LogRecordRaw),
    /// A table that the host offers beyond 1.0, or null. `[any]`
    pub extension: unsafe extern "C" fn(id: Text) -> *const (),
    /// What an instance declares while it is created.
    pub setup: *const SetupTable,
    /// Tensors.
    pub tensor: *const TensorTable,
    /// The state tree.
    pub state: *const StateTable,
    /// The learner: where the run is, and the step table for phases.
    pub learner: *const LearnerTable,
    /// Metrics and records of the run.
    pub record: *const RecordTable,
    /// Text and progress on the terminal.
    pub display: *const DisplayTable,
    /// Instances that belong to another instance.
    pub child: *const ChildTable,
}

// SAFETY: an immutable table of the host's; each function states its threads.
unsafe impl Send for HostTable {}
// SAFETY: as above.
unsafe impl Sync for HostTable {}
