//! Prints one line per epoch with the metrics of all phases.

use std::time::Instant;

use fluxbay_plugin::prelude::*;

use crate::table::Table;

/// The callback `metrics-printer`.
pub struct MetricsPrinter {
    metrics: Read<Node>,
    table: Table,
    /// The epoch whose line is not printed yet, and when it began.
    pending: Option<(u64, Instant)>,
}

impl Component for MetricsPrinter {
    type Config = NoConfig;

    fn new(_: NoConfig, setup: &mut Setup) -> Result<Self> {
        Ok(MetricsPrinter {
            metrics: setup.read("cbstate.metrics-epoch")?,
            table: Table::default(),
            pending: None,
        })
    }
}

impl MetricsPrinter {
    /// The values of `epoch`, phase by phase, the loss first.
    fn row(&self, epoch: u64, learner: &Learner) -> Result<Vec<(String, f64)>> {
        let mut row = Vec::new();
        for phase in learner.phase_names()? {
            let node: Read<Node> = self.metrics.child(&phase)?;
            let mut names = node.names()?;
            names.sort_by_key(|name| name != "loss");
            for name in names {
                let last = node.child::<Series>(&name)?.last()?;
                if let Some(point) = last.filter(|point| point.x == epoch as f64) {
                    row.push((format!("{phase} {name}"), point.y));
                }
            }
        }
        Ok(row)
    }

    fn print(&mut self, learner: &Learner) -> Result<()> {
        let Some((epoch, since)) = self.pending.take() else { return Ok(()) };
        let row = self.row(epoch, learner)?;
        if row.is_empty() {
            return Ok(());
        }
        learner.print(&self.table.line(epoch, &row, since.elapsed()))
    }
}

impl Callback for MetricsPrinter {
    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        match event.kind() {
            EpochBegin if self.pending.is_none_or(|(epoch, _)| epoch != event.epoch()) => {
                self.print(learner)?;
                self.pending = Some((event.epoch(), Instant::now()));
                Ok(())
            }
            EpochEnd
                if event.phase().is_some_and(|phase| {
                    learner.position().is_ok_and(|at| phase + 1 == at.phases)
                }) =>
            {
                self.print(learner)
            }
            // A fit that was cancelled within an epoch never reached its last phase.
            FitEnd => self.print(learner),
            _ => Ok(()),
        }
    }
}
