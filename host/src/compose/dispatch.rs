//! Numbers of the events, and the callbacks of each event of each phase.

use fluxbay_plugin::abi::event;

use super::member::Member;
use crate::library::Kind;

/// The events of a run: standard ones have the numbers of the contract, custom ones are numbered
/// from [`event::CUSTOM`] in the order in which the members name them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventTable {
    custom: Vec<String>,
    emitted: Vec<String>,
}

impl EventTable {
    pub(super) fn of(members: &[Member<'_>]) -> Self {
        let mut table = Self::default();
        for member in members {
            for name in member.emits.iter().chain(&member.events) {
                if !event::NAMES.contains(&name.as_str()) && !table.custom.contains(name) {
                    table.custom.push(name.clone());
                }
            }
            for name in member.emits.iter().filter(|_| member.kind == Kind::Phase) {
                if !table.emitted.contains(name) {
                    table.emitted.push(name.clone());
                }
            }
        }
        table
    }

    /// The custom events; the first has the number [`event::CUSTOM`].
    pub fn custom(&self) -> &[String] {
        &self.custom
    }

    /// The number of an event.
    pub fn number(&self, name: &str) -> Option<u32> {
        let standard = event::NAMES.iter().position(|known| *known == name).map(|at| at as u32);
        standard.or_else(|| {
            self.custom.iter().position(|known| known == name).map(|at| event::CUSTOM + at as u32)
        })
    }

    /// The name of an event.
    pub fn name(&self, number: u32) -> Option<&str> {
        match number.checked_sub(event::CUSTOM) {
            Some(at) => self.custom.get(at as usize).map(String::as_str),
            None => event::NAMES.get(number as usize).copied(),
        }
    }

    /// All numbers in ascending order.
    pub fn numbers(&self) -> impl Iterator<Item = u32> {
        (0..event::STANDARD).chain((event::CUSTOM..).take(self.custom.len()))
    }

    /// Whether the host or a phase of the run dispatches it.
    pub fn is_emitted(&self, name: &str) -> bool {
        event::NAMES.contains(&name) || self.emitted.iter().any(|known| known == name)
    }

    /// All events that the host or a phase of the run dispatches.
    pub(super) fn emitted(&self) -> Vec<String> {
        event::NAMES
            .iter()
            .map(|name| (*name).to_owned())
            .chain(self.emitted.iter().cloned())
            .collect()
    }

    fn columns(&self) -> usize {
        event::STANDARD as usize + self.custom.len()
    }

    fn column(&self, number: u32) -> Option<usize> {
        let column = match number.checked_sub(event::CUSTOM) {
            Some(custom) => event::STANDARD as usize + custom as usize,
            None if number < event::STANDARD => number as usize,
            None => return None,
        };
        (column < self.columns()).then_some(column)
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
        for row in 0..rows {
            for number in events.numbers() {
                let Some(name) = events.name(number) else { continue };
                // Only phases that declare a custom event dispatch it.
                let standard = number < event::STANDARD;
                let reachable = standard
                    || phases
                        .get(row)
                        .is_some_and(|phase| phase.emits.iter().any(|emitted| emitted == name));
                if let Some(column) = events.column(number).filter(|_| reachable) {
                    let handles =
                        |at: &usize| members[*at].events.iter().any(|event| event == name);
                    lists[row * columns + column] = order.iter().copied().filter(handles).collect();
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
