//! Metrics of a run as JSON, and the one that lists show.

use crate::cli::output::json_number;
use crate::record::EpochMetric;

/// A metric as `runs list --json` and `runs show --json` write it.
pub(super) fn json_figure(figure: &EpochMetric) -> serde_json::Value {
    serde_json::json!({
        "phase": figure.phase,
        "name": figure.name,
        "last": json_number(figure.last.0),
        "last-epoch": figure.last.1,
        "best": figure.best.map(|best| json_number(best.0)),
        "best-epoch": figure.best.map(|best| best.1),
    })
}

/// The metric that the list shows: of the last phase that measured, the first one that is not a
/// loss.
pub(super) fn headline(figures: &[EpochMetric]) -> Option<&EpochMetric> {
    let phase = figures.iter().rev().map(|figure| figure.phase.as_str()).next()?;
    let of_phase = || figures.iter().filter(|figure| figure.phase == phase);
    of_phase().find(|figure| !figure.name.contains("loss")).or_else(|| of_phase().next())
}
