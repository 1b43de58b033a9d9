//! Which checkpoints are kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use super::{About, Found};
use crate::record::Better;

/// What one of those who ask for checkpoints wants kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Retention {
    /// How many of the newest are kept; 0 keeps all.
    pub last: usize,
    /// The best ones that are kept beyond that.
    pub best: Option<Best>,
}

/// Keeping the best.
#[derive(Clone, Debug, PartialEq)]
pub struct Best {
    /// Metric by `PHASE/NAME`, such as `validation/loss`.
    pub metric: String,
    /// Which values are better.
    pub better: Better,
    /// How many are kept.
    pub count: usize,
}

impl Default for Retention {
    fn default() -> Retention {
        Retention { last: 2, best: None }
    }
}

/// What each of those who ask for checkpoints wants kept.
pub type Keep = BTreeMap<String, Retention>;

impl Retention {
    /// Which of `mine`, oldest first, are kept.
    fn kept<'a>(&self, mine: &[(&'a PathBuf, &'a About)]) -> Vec<&'a PathBuf> {
        if self.last == 0 {
            return mine.iter().map(|(path, _)| *path).collect();
        }
        let newest = &mine[mine.len().saturating_sub(self.last)..];
        let mut kept: Vec<&PathBuf> = newest.iter().map(|(path, _)| *path).collect();
        if let Some(best) = &self.best {
            let mut ranked: Vec<(f64, &PathBuf)> = mine
                .iter()
                .filter_map(|(path, about)| Some((*about.metrics.get(&best.metric)?, *path)))
                .collect();
            ranked.sort_by(|(a, _), (b, _)| {
                let ascending = a.total_cmp(b);
                if best.better == Better::Lower { ascending } else { ascending.reverse() }
            });
            kept.extend(ranked.into_iter().take(best.count).map(|(_, path)| path));
        }
        kept
    }
}

/// The folders that need not be kept, of those found, which stand oldest first. The newest is
/// always kept, and so is what somebody asked for whose wishes are not known any more. Damaged ones
/// are never touched: they may hold what somebody wants to save.
pub fn superfluous(keep: &Keep, found: &[Found]) -> Vec<PathBuf> {
    let whole: Vec<_> = found
        .iter()
        .filter_map(|found| found.about.as_ref().ok().map(|about| (&found.path, about)))
        .collect();
    let mut kept: BTreeSet<&PathBuf> = whole.last().map(|(path, _)| *path).into_iter().collect();
    for (who, retention) in keep {
        let mine: Vec<_> =
            whole.iter().filter(|(_, about)| about.asked_by.contains(who)).copied().collect();
        kept.extend(retention.kept(&mine));
    }
    let is_known = |about: &About| about.asked_by.iter().all(|who| keep.contains_key(who));
    whole
        .iter()
        .filter(|(path, about)| is_known(about) && !kept.contains(path))
        .map(|(path, _)| (*path).clone())
        .collect()
}
