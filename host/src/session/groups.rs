//! The parameter groups of a run: which parameters each has, and patterns that match none.

use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::Composed;
use super::places::placed;
use super::recompute::BlockSummary;
use crate::learner::{ModelSlot, Roles};
use crate::library::escape;
use crate::run_file::{Diagnostic, Diagnostics, GroupSpec, nearest, selection};

/// The parameters of one instance of an optimizer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct GroupSummary {
    /// Id of the instance.
    pub id: String,
    /// Its parameters, counted as tensors.
    pub tensors: usize,
    /// Its parameters, counted as numbers.
    pub parameters: u64,
    /// The settings that differ from the optimizer's.
    pub settings: Map<String, Json>,
    /// Hyper-parameters as multiples of the optimizer's.
    pub scale: Map<String, Json>,
}

/// A parameter of a model, for the patterns of groups.
struct Candidate<'a> {
    model: &'a str,
    path: String,
    dimensions: usize,
}

impl Composed {
    /// Opens the data and builds the models, and returns the parameters of each optimizer and group,
    /// groups first, and the blocks that backward passes compute again; each is empty for a run
    /// without such. The run cannot be opened afterwards.
    ///
    /// # Errors
    /// As [`Composed::open`].
    pub fn parameter_groups(&self) -> Result<(Vec<GroupSummary>, Vec<BlockSummary>), Diagnostics> {
        let run = &self.run;
        if run.groups.is_empty() && run.recompute.is_empty() && run.run.memory.0.is_none() {
            return self.check_data().map(|()| (Vec::new(), Vec::new()));
        }
        let data = self.open_new_data()?;
        let roles = self.roles().map_err(|stop| self.refused(stop))?;
        self.runtime.build(&roles, data).map_err(|stop| self.refused(stop))?;
        self.check_groups(&roles)?;
        let blocks = self.recompute()?;
        let groups = if run.groups.is_empty() { Vec::new() } else { self.summaries(&roles) };
        Ok((groups, blocks))
    }

    /// The parameters of each optimizer and group of a run whose models are built.
    pub(super) fn summaries(&self, roles: &Roles) -> Vec<GroupSummary> {
        let engine = self.runtime.engine.borrow();
        let mut all: Vec<GroupSummary> = Vec::new();
        for model in &roles.models {
            for (slot, part) in model.optimizers.iter().zip(model.divided(&engine)) {
                let size = |handle| engine.shape(handle).map_or(0, |dims| dims.iter().product());
                let parameters =
                    part.iter().map(|(_, _, handle)| size(*handle) as u64).sum::<u64>();
                let id = &slot.instance.id;
                let at = all.iter().position(|one| one.id == *id).unwrap_or_else(|| {
                    all.push(self.summary(id));
                    all.len() - 1
                });
                all[at].tensors += part.len();
                all[at].parameters += parameters;
            }
        }
        all
    }

    fn summary(&self, id: &str) -> GroupSummary {
        let group = self.run.groups.iter().find(|group| group.spec.id == id);
        let parent = group.and_then(|group| {
            let parent = group.parent.as_deref()?;
            self.run
                .groups
                .iter()
                .find(|one| one.optimizer == group.optimizer && one.name == parent)
        });
        let (mut settings, mut scale) = (Map::new(), Map::new());
        for group in parent.into_iter().chain(group) {
            let own = group
                .own
                .iter()
                .filter_map(|key| Some((key.clone(), group.spec.config.get(key)?.clone())));
            settings.extend(own);
            scale.extend(group.scale.iter().map(|(key, value)| (key.clone(), Json::from(*value))));
        }
        GroupSummary { id: id.to_owned(), tensors: 0, parameters: 0, settings, scale }
    }

    /// Reports patterns that match no parameter, and groups without parameters.
    pub(super) fn check_groups(&self, roles: &Roles) -> Result<(), Diagnostics> {
        let mut diagnostics = Diagnostics::new();
        for optimizer in &self.run.optimizers {
            let of = |model: &&ModelSlot| {
                model.optimizers.iter().any(|slot| slot.instance.id == optimizer.spec.id)
            };
            let models: Vec<&ModelSlot> = roles.models.iter().filter(of).collect();
            let candidates = self.candidates(&models);
            let mut report = |text: String, help: String, group: Option<&GroupSpec>| {
                let found = Diagnostic::error("bad-group", text).help(help);
                let spec = group.map_or(&optimizer.spec, |group| &group.spec);
                diagnostics.push(placed(found, &self.run, Some(spec)));
            };
            let written = self.run.groups.iter();
            let written = written.filter(|one| one.optimizer == optimizer.name && !one.implied);
            for group in written {
                let before = group.selections.iter().flat_map(|one| &one.patterns);
                let unmatched: Vec<&String> = before
                    .filter(|pattern| !candidates.iter().any(|one| one.has(pattern)))
                    .collect();
                for pattern in &unmatched {
                    let text = format!(
                        "`{}` of parameter group `{}` matches no parameter",
                        escape::text(pattern),
                        group.name
                    );
                    report(text, near(pattern, &candidates), Some(group));
                }
                if unmatched.is_empty() && self.is_empty(group, &models) {
                    let text = format!("parameter group `{}` has no parameters", group.name);
                    let help = "an earlier group has all that it selects, or they have more \
                                dimensions: change the order, or its `match` and `max-dimensions`";
                    report(text, help.to_owned(), Some(group));
                }
            }
            let exempt = self.run.decay_exempt.get(&optimizer.name);
            for pattern in exempt.into_iter().flat_map(|selection| &selection.patterns) {
                if !candidates.iter().any(|one| one.has(pattern)) {
                    let text = format!(
                        "`{}` in `decay-exempt` matches no parameter",
                        escape::text(pattern)
                    );
                    report(text, near(pattern, &candidates), None);
                }
            }
        }
        if diagnostics.is_empty() { Ok(()) } else { Err(diagnostics) }
    }

    fn candidates<'a>(&self, models: &[&'a ModelSlot]) -> Vec<Candidate<'a>> {
        let engine = self.runtime.engine.borrow();
        let mut candidates = Vec::new();
        for model in models {
            for (_, path, handle) in model.divided(&engine).into_iter().flatten() {
                let dimensions = engine.shape(handle).map_or(0, <[usize]>::len);
                candidates.push(Candidate { model: &model.name, path, dimensions });
            }
        }
        candidates.sort_by(|a, b| (a.model, &a.path).cmp(&(b.model, &b.path)));
        candidates
    }

    /// Whether neither the group nor what `decay-exempt` splits off it has a parameter.
    fn is_empty(&self, group: &GroupSpec, models: &[&ModelSlot]) -> bool {
        let engine = self.runtime.engine.borrow();
        let is_of_group = |id: &str| {
            id == group.spec.id
                || self.run.groups.iter().any(|one| {
                    one.spec.id == id
                        && one.optimizer == group.optimizer
                        && one.parent.as_deref() == Some(&group.name)
                })
        };
        models.iter().all(|model| {
            let parts = model.optimizers.iter().zip(model.divided(&engine));
            parts.into_iter().all(|(slot, part)| part.is_empty() || !is_of_group(&slot.instance.id))
        })
    }
}

impl Candidate<'_> {
    fn has(&self, pattern: &str) -> bool {
        selection::names(pattern, self.model, &self.path)
    }
}

/// Help for a pattern that matches nothing: names that are alike, and some parameters.
fn near(pattern: &str, candidates: &[Candidate<'_>]) -> String {
    let wanted = pattern.trim_matches(['*', '.']);
    let mut parts: Vec<&str> = Vec::new();
    for candidate in candidates {
        parts.push(&candidate.path);
        parts.extend(candidate.path.split('.'));
    }
    let alike = nearest::nearest(wanted, parts.iter().copied());
    let alike = alike.map(|name| format!("did you mean `{}`? ", escape::text(name)));
    let some = candidates.iter().take(6).map(|one| {
        let dims = one.dimensions;
        let plural = if dims == 1 { "dimension" } else { "dimensions" };
        format!("{} ({dims} {plural})", escape::text(&one.path))
    });
    let others = if candidates.len() > 6 { " and others" } else { "" };
    format!(
        "{}parameters are {}{others}",
        alike.unwrap_or_default(),
        some.collect::<Vec<_>>().join(", ")
    )
}
