//! The version of the contract.

use abi_stable::StableAbi;

/// Version of the contract that this crate describes.
pub const CONTRACT: Version = Version { major: 1, minor: 0 };

/// Version of the contract. Equal major versions understand each other.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Changes when a table changes.
    pub major: u32,
    /// Changes when something is added.
    pub minor: u32,
}
