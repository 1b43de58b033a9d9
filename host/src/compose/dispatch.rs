//! The events of a run, and the callbacks of each event of each phase.

use std::collections::HashSet;

use fluxbay_plugin::abi::event;

use super::event_names::{EventNames, column};
use super::member::Member;
use crate::library::Kind;

/// The events of a run: their names and numbers, and which of them are dispatched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventTable {
    names: EventNames,
    /// Custom events that a phase of the run dispatches.
    emitted: HashSet<String>,
}

impl EventTable {
    pub(super) fn of(members: &[Member<'_>]) -> Self {
        let mut table = Self::default();
        for member in members {
            for name in member.emits.iter().chain(&member.events) {
                table.names.add(name);
            }
            if member.kind == Kind::Phase {
                table.emitted.extend(member.emits.iter().cloned());
            }
        }
        table
    }

    /// The number of an event.
    pub fn number(&self, name: &str) -> Option<u32> {
        self.names.number(name)
    }

    /// The name of an event.
    pub fn name(&self, number: u32) -> Option<&str> {
        self.names.name(number)
    }

    /// All numbers in ascending order.
    pub fn numbers(&self) -> impl Iterator<Item = u32> {
        self.names.numbers()
    }

    /// Whether the host or a phase of the run dispatches it.
    pub fn is_emitted(&self, name: &str) -> bool {
        event::NAMES.contains(&name) || self.emitted.contains(name)
    }

    fn columns(&self) -> usize {
        self.names.columns()
    }

    fn column(&self, number: u32) -> Option<usize> {
        column(number, self.columns())
    }
}

/// For each phase, and outside phases, the callbacks to call at each event, in execution order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dispatch {
    rows: usize,
    columns: usize,
    lists: Vec<Vec<usize>>,
}

impl Dispatch {
    pub(super) fn build(members: &[Member<'_>], order: &[usize], events: &EventTable) -> Self {
        let phases: Vec<&Member<'_>> =
            members.iter().filter(|member| member.kind == Kind::Phase).collect();
        let (rows, columns) = (phases.len() + 1, events.columns());
        let mut lists = vec![Vec::new(); rows * columns];
        // Only phases that declare a custom event dispatch it.
        let emits: Vec<HashSet<&str>> =
            phases.iter().map(|phase| phase.emits.iter().map(String::as_str).collect()).collect();
        for &at in order {
            for name in &members[at].events {
                let Some(number) = events.number(name) else { continue };
                let Some(column) = events.column(number) else { continue };
                for row in 0..rows {
                    let reachable = number < event::STANDARD
                        || emits.get(row).is_some_and(|emits| emits.contains(name.as_str()));
                    let list = &mut lists[row * columns + column];
                    if reachable && list.last() != Some(&at) {
                        list.push(at);
                    }
                }
            }
        }
        Self { rows, columns, lists }
    }

    /// The callbacks of an event, as indices of the members. `phase` is the index among the phases;
    /// none outside phases.
    pub fn of(&self, phase: Option<usize>, number: u32, events: &EventTable) -> &[usize] {
        let row = phase.unwrap_or(self.rows.saturating_sub(1));
        match events.column(number) {
            Some(column) if row < self.rows => &self.lists[row * self.columns + column],
            _ => &[],
        }
    }
}
