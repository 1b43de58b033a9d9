//! Which checkpoints are kept.

use std::path::PathBuf;

use super::Found;
use crate::record::Better;

/// What is kept. The newest is always kept.
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

impl Retention {
    /// The folders that need not be kept, of those found, which stand oldest first. Damaged ones are never touched: they
    /// may hold what somebody wants to save.
    pub fn superfluous(&self, found: &[Found]) -> Vec<PathBuf> {
        if self.last == 0 {
            return Vec::new();
        }
        let whole: Vec<_> = found.iter().filter_map(|found| found.about.as_ref().ok().map(|about| (&found.path, about))).collect();
        let older = &whole[..whole.len().saturating_sub(self.last)];
        let mut ranked: Vec<(f64, &PathBuf)> = Vec::new();
        if let Some(best) = &self.best {
            ranked.extend(whole.iter().filter_map(|(path, about)| Some((*about.metrics.get(&best.metric)?, *path))));
            ranked.sort_by(|(a, _), (b, _)| {
                let ascending = a.total_cmp(b);
                if best.better == Better::Lower { ascending } else { ascending.reverse() }
            });
            ranked.truncate(best.count);
        }
        let is_best = |path: &PathBuf| ranked.iter().any(|(_, kept)| *kept == path);
        older.iter().filter(|(path, _)| !is_best(path)).map(|(path, _)| (*path).clone()).collect()
    }
}
