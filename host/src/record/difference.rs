//! Differences between two resolved runs, key by key.

use std::collections::BTreeSet;

use toml::{Table, Value};

/// One key whose values differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Dotted key, with instances by id (`callback.metrics.every`) or index (`callback[0].every`).
    pub key: String,
    /// The former value; `None` if the key was missing.
    pub before: Option<Value>,
    /// The present value; `None` if the key is missing.
    pub now: Option<Value>,
}

/// How the items of two lists are paired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// Instances by id, in any order; other lists as a whole.
    ById,
    /// Item by item, so that another order is a difference.
    ByIndex,
}

/// All differences, sorted by key.
pub fn differences(before: &Table, now: &Table, pairing: Pairing) -> Vec<Difference> {
    let mut walk = Walk { pairing, found: Vec::new() };
    walk.tables("", before, now);
    walk.found
}

struct Walk {
    pairing: Pairing,
    found: Vec<Difference>,
}

impl Walk {
    fn tables(&mut self, path: &str, before: &Table, now: &Table) {
        let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
        for name in names {
            let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            self.values(key, before.get(name), now.get(name));
        }
    }

    fn values(&mut self, key: String, before: Option<&Value>, now: Option<&Value>) {
        match (before, now) {
            (Some(Value::Table(before)), Some(Value::Table(now))) => self.tables(&key, before, now),
            (Some(Value::Array(before)), Some(Value::Array(now)))
                if self.pairing == Pairing::ByIndex =>
            {
                for place in 0..before.len().max(now.len()) {
                    self.values(format!("{key}[{place}]"), before.get(place), now.get(place));
                }
            }
            (Some(Value::Array(before)), Some(Value::Array(now)))
                if is_instances(before) && is_instances(now) =>
            {
                self.tables(&key, &by_id(before), &by_id(now));
            }
            (before, now) if before == now => {}
            (before, now) => {
                self.found.push(Difference { key, before: before.cloned(), now: now.cloned() })
            }
        }
    }
}

/// Whether all items are instances, that is tables with a `component`.
fn is_instances(list: &[Value]) -> bool {
    list.iter().all(|item| item.get("component").is_some())
}

fn by_id(list: &[Value]) -> Table {
    let id = |item: &Value| {
        item.get("id")
            .or(item.get("component"))
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    list.iter().map(|item| (id(item), item.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_are_compared_by_id_and_values_by_key() {
        let table = |text: &str| text.parse::<Table>().unwrap();
        let before = table(
            "[run]\nseed = 1\n[model]\nhidden = [1, 2]\n[[callback]]\ncomponent = \"a\"\nx = 1\n[[callback]]\ncomponent = \"b\"\n",
        );
        let now = table(
            "[run]\nseed = 2\n[model]\nhidden = [1]\n[[callback]]\ncomponent = \"b\"\n[[callback]]\ncomponent = \"a\"\nx = 2\n[[callback]]\ncomponent = \"a\"\nid = \"c\"\n",
        );
        let found = differences(&before, &now, Pairing::ById);
        assert_eq!(
            found.iter().map(|one| one.key.as_str()).collect::<Vec<_>>(),
            ["callback.a.x", "callback.c", "model.hidden", "run.seed"]
        );
        let by_index = differences(&before, &now, Pairing::ByIndex);
        assert!(
            by_index.iter().any(|one| one.key == "callback[0].component")
                && by_index.iter().any(|one| one.key == "model.hidden[1]")
        );
        assert!(found[1].before.is_none() && found[1].now.is_some());
        assert!(differences(&before, &before, Pairing::ById).is_empty());
    }
}
