//! What composition needs to know of an instance, and of components outside the run.

use std::fmt;

pub use fluxbay_plugin::Resolution;

use super::watched::{Reported, Watched};
use crate::library::Kind;
use crate::run_file::Place;

/// State paths that are read and written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Access {
    /// Paths that are read.
    pub reads: Vec<String>,
    /// Paths that are written, and so may be read.
    pub writes: Vec<String>,
}

/// Returns the resolution of an instance for another component, such as `callback/scheduler`, and
/// a path.
pub type Resolve<'a> = Box<dyn Fn(&str, &str) -> Resolution + 'a>;

/// One instance of the run.
pub struct Member<'a> {
    /// Its id.
    pub id: String,
    /// Its component, such as `callback/recorder`.
    pub component: String,
    /// Its kind. Only callbacks are ordered.
    pub kind: Kind,
    /// Components of instances that it wraps, such as `callback/recorder` in a throttle. An order
    /// hint with one of these names also refers to this instance.
    pub stands_for: Vec<String>,
    /// Events that it handles.
    pub events: Vec<String>,
    /// The access that it asks for.
    pub access: Access,
    /// The most that its manifest allows; none if that was checked before.
    pub bound: Option<Access>,
    /// Names of components or instances that it runs after.
    pub run_after: Vec<String>,
    /// Names of components or instances that it runs before.
    pub run_before: Vec<String>,
    /// Custom events that it dispatches; only phases do.
    pub emits: Vec<String>,
    /// `training`, `validation` or `other` for a phase, else empty.
    pub phase_kind: String,
    /// Figures that it reports at the end of an epoch.
    pub reports: Vec<Reported>,
    /// Figures that it ranks by.
    pub watches: Vec<Watched>,
    /// Its conflict resolutions.
    pub resolve: Resolve<'a>,
    /// Where the run file lists it.
    pub place: Option<Place>,
}

impl<'a> Member<'a> {
    /// An instance without events, access, order hints or resolutions.
    pub fn new(kind: Kind, id: &str, component: &str) -> Self {
        Self {
            id: id.to_owned(),
            component: component.to_owned(),
            kind,
            stands_for: Vec::new(),
            events: Vec::new(),
            access: Access::default(),
            bound: None,
            run_after: Vec::new(),
            run_before: Vec::new(),
            emits: Vec::new(),
            phase_kind: String::new(),
            reports: Vec::new(),
            watches: Vec::new(),
            resolve: Box::new(|_, _| Resolution::NotDefined),
            place: None,
        }
    }

    /// The names by which an order hint can refer to it: its id, its component with and without
    /// the kind, and the components that it wraps.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let components = std::iter::once(&self.component).chain(&self.stands_for);
        std::iter::once(self.id.as_str()).chain(components.flat_map(|component| {
            [component.as_str(), component.rsplit('/').next().unwrap_or(component)]
        }))
    }

    /// Its resolution for sharing `path` with a member or what that member wraps.
    pub(super) fn resolution(&self, other: &Member<'_>, path: &str) -> Resolution {
        let direct = (self.resolve)(&other.component, path);
        let wrapped = || other.stands_for.iter().map(|component| (self.resolve)(component, path));
        if direct != Resolution::NotDefined {
            return direct;
        }
        wrapped().find(|answer| *answer != Resolution::NotDefined).unwrap_or(Resolution::NotDefined)
    }
}

impl fmt::Debug for Member<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("id", &self.id)
            .field("component", &self.component)
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}

/// A component that could be added to the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Such as `callback/recorder`.
    pub component: String,
    /// Paths that it may write.
    pub writes: Vec<String>,
    /// Custom events that it dispatches.
    pub emits: Vec<String>,
}
