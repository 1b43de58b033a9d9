//! Figures of a run: the numbers that instances report at the end of an epoch, and those that
//! callbacks watch.

use crate::{
    Better, ChildMetric, Direction, Error, Result, Setup, abi::metric::direction, trampoline::calls,
};

/// A figure that this instance watches, from [`Setup::watch_figure`].
#[derive(Debug)]
pub struct WatchedFigure {
    name: String,
    number: u32,
}

/// What a watched figure was resolved to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// Its name, such as `loss` or `accuracy`.
    pub name: String,
    /// Instance id of the phase that reports it.
    pub phase: String,
    /// Which values are better.
    pub better: Better,
}

impl WatchedFigure {
    /// The phase and direction that the host found. Call it once, from `init` on.
    ///
    /// # Errors
    /// Within `new`, when the composition is not complete yet.
    pub fn resolve(&self) -> Result<Figure> {
        let (phase, direction) = calls::figure_watched(self.number)?;
        let better = match Direction::from_number(direction) {
            Direction::Lower => Better::Lower,
            Direction::Higher => Better::Higher,
            Direction::Unknown => {
                return Err(Error::new(format!(
                    "it is not known whether lower or higher values of `{}` are better",
                    self.name
                )));
            }
        };
        Ok(Figure { name: self.name.clone(), phase, better })
    }
}

/// Figures.
impl Setup {
    /// Declares that this instance reports figure `name` at the end of every epoch of `phase` (an
    /// instance id), or of every phase that it handles. Declared figures are known before the first
    /// step to everything that watches or ranks by them.
    ///
    /// # Errors
    /// Outside [`Component::new`](crate::Component::new).
    pub fn declare_figure(
        &mut self,
        phase: Option<&str>,
        name: &str,
        direction: Direction,
    ) -> Result<()> {
        calls::figure_declare(phase.unwrap_or(""), name, direction.number())
    }

    /// As [`Setup::declare_figure`], with the direction of a metric that belongs to this instance.
    ///
    /// # Errors
    /// Outside [`Component::new`](crate::Component::new).
    pub fn declare_metric(
        &mut self,
        phase: Option<&str>,
        name: &str,
        metric: &ChildMetric,
    ) -> Result<()> {
        calls::figure_declare_child(phase.unwrap_or(""), name, metric.index())
    }

    /// Requests a figure of the run. Without `phase` it is that of the phase that reports it,
    /// validation before training; without `better` its direction is the declared one. The host
    /// reports before the run if there is no such figure, or if its direction is unknown.
    ///
    /// # Errors
    /// Outside [`Component::new`](crate::Component::new), and in a host that does not know figures.
    pub fn watch_figure(
        &mut self,
        name: &str,
        phase: Option<&str>,
        better: Option<Better>,
    ) -> Result<WatchedFigure> {
        let better = match better {
            None => direction::UNKNOWN,
            Some(Better::Lower) => direction::LOWER,
            Some(Better::Higher) => direction::HIGHER,
        };
        let number = calls::figure_watch(name, phase.unwrap_or(""), better)?;
        Ok(WatchedFigure { name: name.to_owned(), number })
    }
}
