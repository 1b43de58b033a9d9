//! Decides which checkpoints are kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use super::{CheckpointInfo, FoundCheckpoint};
use crate::record::Better;

/// The checkpoints that one requester keeps.
#[derive(Clone, Debug, PartialEq)]
pub struct Retention {
    /// Number of newest ones; 0 keeps all.
    pub last: usize,
    /// Best ones that are kept in addition.
    pub best: Option<KeepBest>,
}

/// Keeps the best by a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct KeepBest {
    /// Metric by `PHASE/NAME`, such as `validation/loss`.
    pub metric: String,
    /// Which values are better.
    pub better: Better,
    /// Number of checkpoints.
    pub count: usize,
}

impl Default for Retention {
    fn default() -> Retention {
        Retention { last: 2, best: None }
    }
}

/// The retention of each requester.
pub type Retentions = BTreeMap<String, Retention>;

impl Retention {
    /// The kept ones of `mine`, which is sorted oldest first.
    fn kept<'a>(&self, mine: &[(&'a PathBuf, &'a CheckpointInfo)]) -> Vec<&'a PathBuf> {
        if self.last == 0 {
            return mine.iter().map(|(path, _)| *path).collect();
        }
        let newest = &mine[mine.len().saturating_sub(self.last)..];
        let mut kept: Vec<&PathBuf> = newest.iter().map(|(path, _)| *path).collect();
        if let Some(best) = &self.best {
            let mut ranked: Vec<(f64, &PathBuf)> = mine
                .iter()
                .filter_map(|(path, about)| Some((*about.metrics.get(&best.metric)?, *path)))
                .filter(|(value, _)| !value.is_nan())
                .collect();
            ranked.sort_by(|(a, _), (b, _)| {
                let ascending = a.total_cmp(b);
                let better = match best.better {
                    Better::Lower => ascending,
                    Better::Higher => ascending.reverse(),
                };
                // NaN of either sign is worse than every number.
                a.is_nan().cmp(&b.is_nan()).then(better)
            });
            kept.extend(ranked.into_iter().take(best.count).map(|(_, path)| path));
        }
        kept
    }
}

/// The best checkpoint of a requester by a metric; of equal ones, the oldest.
pub fn best<'a>(
    found: &'a [FoundCheckpoint],
    requester: &str,
    best: &KeepBest,
) -> Option<(&'a PathBuf, f64)> {
    let values = found.iter().filter_map(|found| {
        let about = found.about.as_ref().ok()?;
        let is_mine = about.asked_by.iter().any(|by| by == requester);
        is_mine.then_some((&found.path, *about.metrics.get(&best.metric)?))
    });
    values.reduce(
        |best_so_far, next| {
            if best.better.beats(next.1, best_so_far.1) { next } else { best_so_far }
        },
    )
}

/// The checkpoints to remove, of those found, sorted oldest first. The newest is always kept, and so
/// are those of requesters that are not in `keep`. Damaged ones are never removed: the user may want
/// to recover them.
pub fn superfluous(keep: &Retentions, found: &[FoundCheckpoint]) -> Vec<PathBuf> {
    let whole: Vec<_> = found
        .iter()
        .filter_map(|found| found.about.as_ref().ok().map(|about| (&found.path, about)))
        .collect();
    let mut kept: BTreeSet<&PathBuf> = whole.last().map(|(path, _)| *path).into_iter().collect();
    for (requester, retention) in keep {
        let mine: Vec<_> =
            whole.iter().filter(|(_, about)| about.asked_by.contains(requester)).copied().collect();
        kept.extend(retention.kept(&mine));
    }
    let is_known = |about: &CheckpointInfo| {
        about.asked_by.iter().all(|requester| keep.contains_key(requester))
    };
    whole
        .iter()
        .filter(|(path, about)| is_known(about) && !kept.contains(path))
        .map(|(path, _)| (*path).clone())
        .collect()
}
