//! The tree itself: an arena of nodes, and the table of grants. A slot is an index into that table.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use fluxbay_plugin::abi::{handle::Handle, state::Point};

use super::{
    path,
    range::Range,
    value::{StateError, TensorSet, Value},
};
use crate::compose::paths::covers;
use crate::tensor::Engine;

/// Number of a node; nodes live as long as the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

/// What a grant allows, or what an access needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rights {
    /// Reading.
    Read,
    /// Reading and writing.
    Write,
}

/// The access that a slot gives.
#[derive(Clone, Copy, Debug)]
struct Grant {
    /// Number of the instance.
    owner: u32,
    node: NodeId,
    /// They hold for everything below the node too.
    rights: Rights,
}

#[derive(Debug)]
struct Node {
    path: String,
    value: Value,
    children: BTreeMap<String, NodeId>,
    /// The children as a linked list, for fast clearing: the last one, and each one's predecessor.
    last_child: Option<NodeId>,
    sibling: Option<NodeId>,
    /// Set for a hyper-parameter.
    range: Option<Box<Range>>,
}

impl Node {
    fn new(path: String, value: Value) -> Node {
        Node {
            path,
            value,
            children: BTreeMap::new(),
            last_child: None,
            sibling: None,
            range: None,
        }
    }
}

/// Names of an instance for messages.
#[derive(Clone, Debug)]
struct Owner {
    id: String,
    component: String,
}

/// The state of a learner.
#[derive(Debug)]
pub struct State {
    nodes: Vec<Node>,
    grants: Vec<Grant>,
    owners: Vec<Owner>,
    child_slots: HashMap<(u32, NodeId, Rights), u32>,
    dropped: Vec<Handle>,
}

impl Default for State {
    fn default() -> State {
        State::new()
    }
}

impl State {
    /// An empty tree.
    pub fn new() -> State {
        State {
            nodes: vec![Node::new(String::new(), Value::Absent)],
            grants: Vec::new(),
            owners: Vec::new(),
            child_slots: HashMap::new(),
            dropped: Vec::new(),
        }
    }

    /// Sets the names of instance number `owner`, for messages.
    pub fn name_owner(&mut self, owner: u32, id: &str, component: &str) {
        let index = owner as usize;
        if self.owners.len() <= index {
            self.owners.resize(index + 1, Owner { id: String::new(), component: String::new() });
        }
        self.owners[index] = Owner { id: id.to_owned(), component: component.to_owned() };
    }

    /// The node at `path`, created if it is missing.
    pub fn node(&mut self, path: &str) -> Result<NodeId, StateError> {
        path::check(path)?;
        let mut at = NodeId(0);
        for name in path.split('.') {
            at = self.child_node(at, name);
        }
        Ok(at)
    }

    /// The node at `path`, if it exists.
    pub fn find(&self, path: &str) -> Option<NodeId> {
        path.split('.')
            .try_fold(NodeId(0), |at, name| self.nodes[at.0 as usize].children.get(name).copied())
    }

    fn child_node(&mut self, parent: NodeId, name: &str) -> NodeId {
        if let Some(&child) = self.nodes[parent.0 as usize].children.get(name) {
            return child;
        }
        let above = &self.nodes[parent.0 as usize];
        let path =
            if above.path.is_empty() { name.to_owned() } else { format!("{}.{name}", above.path) };
        let value = match &above.value {
            Value::Tensors(set) => Value::Member(*set, name.to_owned()),
            Value::Member(set, outer) => Value::Member(*set, format!("{outer}.{name}")),
            _ => Value::Absent,
        };
        let id = NodeId(self.nodes.len() as u32);
        self.nodes.push(Node::new(path, value));
        self.nodes[parent.0 as usize].children.insert(name.to_owned(), id);
        self.nodes[id.0 as usize].sibling = self.nodes[parent.0 as usize].last_child.replace(id);
        id
    }

    /// Grants `owner` access to `path` and returns the slot. The same request again returns the same slot.
    pub fn grant(&mut self, owner: u32, path: &str, rights: Rights) -> Result<u32, StateError> {
        let node = self.node(path)?;
        Ok(self.slot_for(owner, node, rights))
    }

    fn slot_for(&mut self, owner: u32, node: NodeId, rights: Rights) -> u32 {
        if let Some(&slot) = self.child_slots.get(&(owner, node, rights)) {
            return slot;
        }
        let slot = self.grants.len() as u32;
        self.grants.push(Grant { owner, node, rights });
        self.child_slots.insert((owner, node, rights), slot);
        slot
    }

    /// A slot for the child `name` of what `slot` reaches, with the same rights.
    pub fn child_slot(&mut self, owner: u32, slot: u32, name: &str) -> Result<u32, StateError> {
        let grant = self.grant_of(owner, slot)?;
        path::check(name)?;
        let mut node = grant.node;
        for part in name.split('.') {
            node = self.child_node(node, part);
        }
        Ok(self.slot_for(owner, node, grant.rights))
    }

    fn grant_of(&self, owner: u32, slot: u32) -> Result<Grant, StateError> {
        match self.grants.get(slot as usize) {
            Some(grant) if grant.owner == owner => Ok(*grant),
            _ => Err(StateError::ForeignSlot { instance: self.owner_id(owner), slot }),
        }
    }

    /// The node behind a slot, if `owner` owns the slot and it has the rights.
    #[inline]
    pub fn reach(&self, owner: u32, slot: u32, access: Rights) -> Result<NodeId, StateError> {
        match self.grants.get(slot as usize) {
            Some(grant) if grant.owner == owner && grant.rights >= access => Ok(grant.node),
            Some(grant) if grant.owner == owner => Err(self.read_only(owner, grant.node)),
            _ => Err(StateError::ForeignSlot { instance: self.owner_id(owner), slot }),
        }
    }

    #[cold]
    #[inline(never)]
    fn read_only(&self, owner: u32, node: NodeId) -> StateError {
        StateError::ReadOnly {
            instance: self.owner_id(owner),
            component: self.owner_component(owner),
            path: self.path(node).to_owned(),
        }
    }

    /// Whether `owner` holds a grant with `rights` that covers `path`.
    pub fn may(&self, owner: u32, path: &str, rights: Rights) -> bool {
        self.grants.iter().any(|grant| {
            grant.owner == owner
                && grant.rights >= rights
                && covers(&self.nodes[grant.node.0 as usize].path, path)
        })
    }

    /// The refusal of a change at `path`.
    pub fn refuse_write(&self, owner: u32, path: &str) -> StateError {
        StateError::ReadOnly {
            instance: self.owner_id(owner),
            component: self.owner_component(owner),
            path: path.to_owned(),
        }
    }

    /// Instance id of an owner, for messages.
    #[cold]
    #[inline(never)]
    pub fn owner_id(&self, owner: u32) -> String {
        self.owners.get(owner as usize).map(|owner| owner.id.clone()).unwrap_or_default()
    }

    fn owner_component(&self, owner: u32) -> String {
        self.owners.get(owner as usize).map(|owner| owner.component.clone()).unwrap_or_default()
    }

    /// The path of a node.
    pub fn path(&self, node: NodeId) -> &str {
        &self.nodes[node.0 as usize].path
    }

    /// The value of a node.
    #[inline]
    pub fn value(&self, node: NodeId) -> &Value {
        &self.nodes[node.0 as usize].value
    }

    /// The value at a path, without a grant: for the host itself.
    pub fn value_at(&self, path: &str) -> Option<&Value> {
        self.find(path).map(|node| self.value(node))
    }

    /// Whether a node or anything below it has a value.
    pub fn has_value(&self, node: NodeId) -> bool {
        let node = &self.nodes[node.0 as usize];
        node.value != Value::Absent || node.children.values().any(|&child| self.has_value(child))
    }

    /// Replaces the value of a node. A previous tensor is dropped.
    #[inline]
    pub fn set(&mut self, node: NodeId, value: Value) {
        let old = std::mem::replace(&mut self.nodes[node.0 as usize].value, value);
        if let Value::Tensor(handle) = old {
            self.dropped.push(handle);
        }
    }

    /// Replaces a number by another one; false if the value is no number or is a hyper-parameter.
    #[inline]
    pub fn renumber(&mut self, node: NodeId, number: f64) -> bool {
        let Node { value: Value::Number(old), range: None, .. } = &mut self.nodes[node.0 as usize]
        else {
            return false;
        };
        *old = number;
        true
    }

    /// Makes a node a hyper-parameter with these values.
    pub fn set_range(&mut self, node: NodeId, range: Range) {
        self.nodes[node.0 as usize].range = Some(Box::new(range));
    }

    /// Checks that a node can have a value: a hyper-parameter only one in its range.
    pub fn check_range(&self, owner: u32, node: NodeId, value: &Value) -> Result<(), StateError> {
        let Some(range) = &self.nodes[node.0 as usize].range else { return Ok(()) };
        let found = match value {
            Value::Number(number) if range.contains(*number) => return Ok(()),
            Value::Number(number) => number.to_string(),
            other => other.kind_name().to_owned(),
        };
        Err(StateError::Range {
            instance: self.owner_id(owner),
            path: self.path(node).to_owned(),
            found,
            allowed: range.describe(),
        })
    }

    /// Appends a point to a series; an absent value becomes an empty series first.
    pub fn push(&mut self, owner: u32, node: NodeId, point: Point) -> Result<(), StateError> {
        let value = &mut self.nodes[node.0 as usize].value;
        if *value == Value::Absent {
            *value = Value::Series(Vec::new());
        }
        if let Value::Series(points) = value {
            points.push(point);
            return Ok(());
        }
        Err(self.wrong_type(owner, node, "a series"))
    }

    /// Clears the value of a node and of all below it, except hyper-parameters and what the engine
    /// holds.
    pub fn clear(&mut self, node: NodeId) {
        if !self.value(node).is_hosted() && self.nodes[node.0 as usize].range.is_none() {
            self.set(node, Value::Absent);
        }
        let mut next = self.nodes[node.0 as usize].last_child;
        while let Some(child) = next {
            self.clear(child);
            next = self.nodes[child.0 as usize].sibling;
        }
    }

    /// Makes the nodes below one whose tensors the engine holds lead to single tensors of that set.
    pub fn host_below(&mut self, node: NodeId, set: TensorSet) {
        self.host_members(node, set, "");
    }

    fn host_members(&mut self, node: NodeId, set: TensorSet, prefix: &str) {
        let below: Vec<(String, NodeId)> =
            self.children(node).map(|(name, child)| (format!("{prefix}{name}"), child)).collect();
        for (name, child) in below {
            self.host_members(child, set, &format!("{name}."));
            self.set(child, Value::Member(set, name));
        }
    }

    /// Number of children that have a value.
    pub fn count(&self, node: NodeId) -> usize {
        self.nodes[node.0 as usize]
            .children
            .values()
            .filter(|&&child| self.has_value(child))
            .count()
    }

    /// Name of child `index` among those that have a value, sorted by name.
    pub fn child_name(&self, node: NodeId, index: usize) -> Option<&str> {
        let children = &self.nodes[node.0 as usize].children;
        children
            .iter()
            .filter(|(_, child)| self.has_value(**child))
            .nth(index)
            .map(|(name, _)| name.as_str())
    }

    /// Children of a node, with or without value.
    pub fn children(&self, node: NodeId) -> impl Iterator<Item = (&str, NodeId)> {
        self.nodes[node.0 as usize].children.iter().map(|(name, &child)| (name.as_str(), child))
    }

    /// The paths whose value is this tensor.
    pub fn holders(&self, tensor: Handle) -> impl Iterator<Item = &str> {
        self.nodes
            .iter()
            .filter(move |node| node.value == Value::Tensor(tensor))
            .map(|node| node.path.as_str())
    }

    /// Every path with a value, in the order in which paths were first named.
    pub fn values(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.nodes
            .iter()
            .filter(|node| node.value != Value::Absent)
            .map(|node| (node.path.as_str(), &node.value))
    }

    /// A reference that the tree dropped and the engine has to release.
    pub fn take_dropped(&mut self) -> Option<Handle> {
        self.dropped.pop()
    }

    /// The error for a value of another type than asked for, or for none.
    #[cold]
    #[inline(never)]
    pub fn wrong_type(&self, owner: u32, node: NodeId, wanted: &'static str) -> StateError {
        let (instance, path) = (self.owner_id(owner), self.path(node).to_owned());
        match self.value(node) {
            Value::Absent => StateError::Absent { instance, path },
            value => StateError::Type { instance, path, found: value.kind_name(), wanted },
        }
    }

    /// The error for replacing what the engine holds.
    #[cold]
    #[inline(never)]
    pub fn hosted(&self, owner: u32, node: NodeId) -> StateError {
        StateError::Hosted { instance: self.owner_id(owner), path: self.path(node).to_owned() }
    }

    /// The error for an index past the end.
    #[cold]
    #[inline(never)]
    pub fn past_the_end(&self, owner: u32, node: NodeId, count: usize, index: usize) -> StateError {
        StateError::Index {
            instance: self.owner_id(owner),
            path: self.path(node).to_owned(),
            count,
            index,
        }
    }

    /// The grants of an instance, as (path, rights).
    pub fn grants_of(&self, owner: u32) -> impl Iterator<Item = (&str, Rights)> {
        self.grants
            .iter()
            .filter(move |grant| grant.owner == owner)
            .map(|grant| (self.path(grant.node), grant.rights))
    }
}

/// Releases the tensors that the tree dropped.
pub fn release_dropped(
    state: &RefCell<State>,
    engine: &RefCell<Engine>,
) -> crate::tensor::Result<()> {
    let (mut state, mut engine) = (state.borrow_mut(), engine.borrow_mut());
    while let Some(handle) = state.take_dropped() {
        engine.release(handle)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> State {
        let mut state = State::new();
        state.name_owner(0, "zero", "callback/zero");
        state.name_owner(1, "one", "callback/one");
        state
    }

    #[test]
    fn a_slot_serves_its_owner_only() {
        let mut state = tree();
        let slot = state.grant(0, "a.b", Rights::Write).unwrap();
        assert!(state.reach(0, slot, Rights::Write).is_ok());
        assert!(matches!(state.reach(1, slot, Rights::Read), Err(StateError::ForeignSlot { .. })));
        assert!(matches!(
            state.reach(0, slot + 1, Rights::Read),
            Err(StateError::ForeignSlot { .. })
        ));
    }

    #[test]
    fn a_read_grant_does_not_allow_writing_and_says_what_would() {
        let mut state = tree();
        let slot = state.grant(1, "model", Rights::Read).unwrap();
        assert!(state.reach(1, slot, Rights::Read).is_ok());
        let refusal = state.reach(1, slot, Rights::Write).unwrap_err().to_string();
        assert!(
            refusal.contains("`one`")
                && refusal.contains("`model`")
                && refusal.contains("setup.write(\"model\")"),
            "{refusal}"
        );
        let below = state.child_slot(1, slot, "0.weight").unwrap();
        assert!(state.reach(1, below, Rights::Write).is_err());
    }

    #[test]
    fn nested_grants_reach_down_and_not_sideways() {
        let mut state = tree();
        state.grant(0, "a.b.x", Rights::Write).unwrap();
        assert!(state.may(0, "a.b.x", Rights::Read));
        assert!(state.may(0, "a.b.x.deeper", Rights::Write));
        assert!(!state.may(0, "a.b.y", Rights::Read));
        assert!(!state.may(0, "a.b", Rights::Read));
    }

    #[test]
    fn asking_twice_gives_the_same_slot() {
        let mut state = tree();
        let slot = state.grant(0, "cbstate.x", Rights::Write).unwrap();
        assert_eq!(slot, state.grant(0, "cbstate.x", Rights::Write).unwrap());
        let child = state.child_slot(0, slot, "y").unwrap();
        assert_eq!(child, state.child_slot(0, slot, "y").unwrap());
        assert_ne!(child, state.grant(1, "cbstate.x.y", Rights::Write).unwrap());
    }

    #[test]
    fn clearing_drops_every_tensor_below() {
        let mut state = tree();
        let xs = state.node("step.xs").unwrap();
        let deep = state.node("step.a.b").unwrap();
        state.set(xs, Value::Tensor(Handle(1)));
        state.set(deep, Value::Tensor(Handle(2)));
        let step = state.find("step").unwrap();
        assert_eq!(state.count(step), 2);
        assert_eq!(state.child_name(step, 0), Some("a"));
        state.clear(step);
        assert_eq!(state.count(step), 0);
        let mut dropped: Vec<u64> =
            std::iter::from_fn(|| state.take_dropped()).map(|handle| handle.0).collect();
        dropped.sort_unstable();
        assert_eq!(dropped, [1, 2]);
    }

    #[test]
    fn a_series_grows_and_keeps_its_type() {
        let mut state = tree();
        let node = state.node("cbstate.history").unwrap();
        state.push(0, node, Point { x: 1.0, y: 2.0 }).unwrap();
        state.push(0, node, Point { x: 2.0, y: 3.0 }).unwrap();
        assert!(matches!(state.value(node), Value::Series(points) if points.len() == 2));
        state.set(node, Value::Number(1.0));
        assert!(matches!(
            state.push(0, node, Point { x: 0.0, y: 0.0 }),
            Err(StateError::Type { .. })
        ));
    }
}
