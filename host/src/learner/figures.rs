//! Figures that instances report and watch: requested while they are created, resolved by the
//! composition before they are initialised.

use fluxbay_plugin::abi::metric::direction;

use super::instance::{Instance, ReportedFigure, ResolvedFigure, WatchedFigure};
use super::refusal::{Answer, Refusal};
use super::runtime::Runtime;

/// Checks a direction that a plugin passes.
fn known(number: u32) -> Answer<u32> {
    match number {
        direction::UNKNOWN | direction::LOWER | direction::HIGHER => Ok(number),
        other => Err(Refusal::Text(format!("there is no direction with number {other}"))),
    }
}

/// Checks the name of a figure.
fn named(name: &str) -> Answer<String> {
    if name.is_empty() || name.contains('/') {
        return Err(Refusal::Text(format!(
            "`{name}` cannot be the name of a figure: it must not be empty or contain a slash"
        )));
    }
    Ok(name.to_owned())
}

impl Runtime {
    /// Declares that the instance being created reports a figure at the end of every epoch.
    pub(crate) fn setup_report_figure(
        &self,
        caller: u32,
        phase: &str,
        name: &str,
        direction: u32,
    ) -> Answer {
        let figure = ReportedFigure {
            phase: phase.to_owned(),
            name: named(name)?,
            direction: known(direction)?,
        };
        self.setup.with(caller, |frame| {
            frame.requested.reports.push(figure);
            Ok(())
        })
    }

    /// As [`Runtime::setup_report_figure`], with the direction of a metric that belongs to the
    /// instance.
    pub(crate) fn setup_report_child_figure(
        &self,
        caller: u32,
        phase: &str,
        name: &str,
        child: u32,
    ) -> Answer {
        let direction = self.setup.with(caller, |frame| {
            let child = frame.children.iter().find(|one| one.number == child);
            child.map(|child| child.direction).ok_or_else(|| {
                Refusal::Text("only a metric of this instance has the direction of a figure".into())
            })
        })?;
        self.setup_report_figure(caller, phase, name, direction)
    }

    /// Requests a figure; returns the number of the request.
    pub(crate) fn setup_watch_figure(
        &self,
        caller: u32,
        metric: &str,
        phase: &str,
        better: u32,
    ) -> Answer<u32> {
        let figure = WatchedFigure {
            metric: named(metric)?,
            phase: phase.to_owned(),
            better: known(better)?,
        };
        self.setup.with(caller, |frame| {
            frame.requested.watches.push(figure);
            Ok(frame.requested.watches.len() as u32 - 1)
        })
    }

    /// What a request of [`Runtime::setup_watch_figure`] was resolved to.
    pub(crate) fn watched_figure(&self, caller: u32, number: u32) -> Answer<ResolvedFigure> {
        let instance = self.members.get(caller);
        let resolved = instance.and_then(|one| one.watched.borrow().get(number as usize).cloned());
        resolved.ok_or_else(|| {
            Refusal::Text(
                "a watched figure is resolved from `init` on, for the instance that requested it"
                    .into(),
            )
        })
    }
}

impl Instance {
    /// Sets what its requests were resolved to, in their order.
    pub fn set_watched(&self, resolved: Vec<ResolvedFigure>) {
        *self.watched.borrow_mut() = resolved;
    }
}
