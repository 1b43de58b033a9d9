//! Which checkpoints are kept.

use std::path::PathBuf;

use super::{About, Found};
use crate::record::Better;

/// What is kept. The newest is always kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Retention {
    /// How many of the newest are kept; 0 keeps all.
    pub last: usize,
    /// The best ones that are kept beyond that: each says which of them.
    pub best: Vec<Best>,
}

/// Keeping the best, of all or of those that an instance asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Best {
    /// The instance; empty where all are ranked.
    pub asked_by: String,
    /// Metric by `PHASE/NAME`, such as `validation/loss`.
    pub metric: String,
    /// Which values are better.
    pub better: Better,
    /// How many are kept; none keeps all.
    pub count: Option<usize>,
}

impl Default for Retention {
    fn default() -> Retention {
        Retention { last: 2, best: Vec::new() }
    }
}

impl Retention {
    /// The folders that need not be kept, of those found, which stand oldest first. Damaged ones are never touched: they
    /// may hold what somebody wants to save.
    pub fn superfluous(&self, found: &[Found]) -> Vec<PathBuf> {
        if self.last == 0 {
            return Vec::new();
        }
        let whole: Vec<_> = found.iter().filter_map(|found| found.about.as_ref().ok().map(|about| (&found.path, about))).collect();
        let older = &whole[..whole.len().saturating_sub(self.last)];
        let best: Vec<&PathBuf> = self.best.iter().flat_map(|best| best.of(&whole)).collect();
        // What an instance asked for is not given up before it says what is to stay.
        let is_unclear = |about: &About| about.asked_by.iter().any(|by| !self.best.iter().any(|best| best.asked_by == *by));
        older.iter().filter(|(path, about)| !best.contains(path) && !is_unclear(about)).map(|(path, _)| (*path).clone()).collect()
    }
}

impl Best {
    /// Those that stay.
    fn of<'a>(&self, whole: &[(&'a PathBuf, &'a About)]) -> Vec<&'a PathBuf> {
        let mine = whole.iter().filter(|(_, about)| self.asked_by.is_empty() || about.asked_by.contains(&self.asked_by));
        let Some(count) = self.count else { return mine.map(|(path, _)| *path).collect() };
        let mut ranked: Vec<(f64, &PathBuf)> = mine.filter_map(|(path, about)| Some((*about.metrics.get(&self.metric)?, *path))).collect();
        ranked.sort_by(|(a, _), (b, _)| {
            let ascending = a.total_cmp(b);
            if self.better == Better::Lower { ascending } else { ascending.reverse() }
        });
        ranked.truncate(count);
        ranked.into_iter().map(|(_, path)| path).collect()
    }
}
