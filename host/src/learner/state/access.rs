//! Grants: who may reach what.

use super::tree::NodeId;

/// What a grant allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rights {
    /// Reading.
    Read,
    /// Reading and writing.
    Write,
}

/// What is about to be done.
pub type Access = Rights;

/// One slot: a node, what may be done with it, and the instance that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Number of the instance.
    pub owner: u32,
    /// The node.
    pub node: NodeId,
    /// What is allowed; it holds for everything below the node too.
    pub rights: Rights,
}
