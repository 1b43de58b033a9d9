//! The blocks of a run's models that backward passes compute again: those that `recompute` of a model
//! names, and with `[run] memory` all others where memory is short.

use serde::Serialize;

use super::Composed;
use super::places::placed;
use crate::learner::Stop;
use crate::library::escape;
use crate::run_file::{Diagnostic, Diagnostics, nearest, selection};
use crate::tensor::Recomputed;

/// A block that backward passes compute again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct BlockSummary {
    /// Name of its model.
    pub model: String,
    /// Beginning of the paths of its parameters.
    pub path: String,
    /// Its parameters and buffers, counted as tensors.
    pub tensors: usize,
    /// Whether that happens in every step; otherwise only while memory is short.
    pub always: bool,
}

/// A block with the numbers of its parameters.
struct Found {
    summary: BlockSummary,
    parameters: Vec<usize>,
}

impl Composed {
    /// Sets the blocks that backward passes compute again, and returns them; empty for a run without.
    /// The models must be built.
    ///
    /// # Errors
    /// A pattern that names no block.
    pub(super) fn recompute(&self) -> Result<Vec<BlockSummary>, Diagnostics> {
        let budget = self.run.run.memory.0;
        if self.run.recompute.is_empty() && budget.is_none() {
            return Ok(Vec::new());
        }
        let found = self.blocks(budget.is_some())?;
        let blocks: Vec<Recomputed> = found
            .iter()
            .map(|one| Recomputed {
                parameters: one.parameters.clone(),
                always: one.summary.always,
            })
            .collect();
        let mut engine = self.runtime.engine.borrow_mut();
        let set = engine.recompute(&blocks, budget);
        drop(engine);
        set.map_err(|error| self.refused(Stop::engine(error)))?;
        Ok(found.into_iter().map(|one| one.summary).collect())
    }

    fn blocks(&self, others: bool) -> Result<Vec<Found>, Diagnostics> {
        let mut diagnostics = Diagnostics::new();
        let mut found: Vec<Found> = Vec::new();
        let engine = self.runtime.engine.borrow();
        for (index, model) in self.run.models.iter().enumerate() {
            let none = Vec::new();
            let patterns = self.run.recompute.get(&model.name).unwrap_or(&none);
            let of_model = || engine.parameters().filter(|p| p.model == index);
            for pattern in patterns {
                let names = |path| selection::block(pattern, &model.name, path).is_some();
                if !of_model().any(|p| names(p.path)) {
                    let paths: Vec<&str> = of_model().map(|p| p.path).collect();
                    let text = format!(
                        "`{}` in `recompute` of model `{}` names no block of it",
                        escape::text(pattern),
                        model.name
                    );
                    let problem = Diagnostic::error("bad-block", text).help(near(pattern, &paths));
                    diagnostics.push(placed(problem, &self.run, Some(&model.spec)));
                }
            }
            for p in of_model() {
                let named =
                    patterns.iter().find_map(|one| selection::block(one, &model.name, p.path));
                let Some(path) = named.or_else(|| part_of(p.path).filter(|_| others)) else {
                    continue;
                };
                let is_it =
                    |one: &&mut Found| one.summary.model == model.name && one.summary.path == path;
                match found.iter_mut().find(is_it) {
                    Some(block) => {
                        block.parameters.push(p.index);
                        block.summary.tensors += 1;
                    }
                    None => found.push(Found {
                        summary: BlockSummary {
                            model: model.name.clone(),
                            path: path.to_owned(),
                            tensors: 1,
                            always: named.is_some(),
                        },
                        parameters: vec![p.index],
                    }),
                }
            }
        }
        // In the order in which the models created them, which is mostly that of their use.
        found.sort_by_key(|block| block.parameters.iter().copied().min());
        if diagnostics.is_empty() { Ok(found) } else { Err(diagnostics) }
    }
}

/// The block of a parameter that no pattern names: its path up to the first number, or else its first
/// component. `None` for a path of one component.
fn part_of(path: &str) -> Option<&str> {
    let dots: Vec<usize> = path.match_indices('.').map(|(at, _)| at).collect();
    let is_number = |from: usize, to: usize| {
        to > from && path[from..to].bytes().all(|byte| byte.is_ascii_digit())
    };
    let begins = std::iter::once(0).chain(dots.iter().map(|dot| dot + 1));
    let numbered = begins.zip(&dots).find(|(from, to)| is_number(*from, **to));
    let end = numbered.map(|(_, to)| *to).or(dots.first().copied())?;
    Some(&path[..end])
}

/// Help for a pattern that names nothing: the patterns that would.
fn near(pattern: &str, paths: &[&str]) -> String {
    let mut known: Vec<String> = Vec::new();
    for path in paths {
        let Some(part) = part_of(path) else { continue };
        let numbered = part.rsplit_once('.').filter(|(_, last)| last.parse::<u64>().is_ok());
        let name = numbered.map_or(part.to_owned(), |(above, _)| format!("{above}.*"));
        if !known.contains(&name) {
            known.push(name);
        }
    }
    let alike = nearest::nearest(pattern, known.iter().map(String::as_str));
    let alike = alike.map(|name| format!("did you mean `{}`? ", escape::text(name)));
    let some: Vec<String> =
        known.iter().take(6).map(|name| format!("`{}`", escape::text(name))).collect();
    let others = if known.len() > 6 { " and others" } else { "" };
    match some.is_empty() {
        true => "the model has no blocks: remove `recompute`".to_owned(),
        false => format!(
            "{}a pattern is the beginning of parameter paths, and this model has {}{others}",
            alike.unwrap_or_default(),
            some.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_of_a_parameter_ends_at_the_first_number() {
        assert_eq!(part_of("block.11.expand.weight"), Some("block.11"));
        assert_eq!(part_of("layer1.0.conv1.weight"), Some("layer1.0"));
        assert_eq!(part_of("0.weight"), Some("0"));
        assert_eq!(part_of("conv1.weight"), Some("conv1"));
        assert_eq!(part_of("positions"), None);
    }

    #[test]
    fn help_names_the_patterns_of_the_model() {
        let paths = ["tokens.weight", "positions", "block.0.norm.weight", "block.1.norm.weight"];
        let help = near("blocks.*", &paths);
        assert_eq!(
            help,
            "did you mean `block.*`? a pattern is the beginning of parameter paths, and this model \
             has `tokens`, `block.*`"
        );
        assert!(near("x", &["weight"]).contains("no blocks"));
    }
}
