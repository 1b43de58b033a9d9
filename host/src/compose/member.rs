//! What composition needs to know of an instance, and of components that are not in the run.

use std::fmt;

use crate::library::Kind;
use crate::run_file::Place;

/// How two callbacks that touch one state path live together, as one of them sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// It has no opinion.
    NotDefined,
    /// The two cannot work in one run.
    Unresolvable,
    /// This one runs first.
    RunFirst,
    /// They do not disturb each other.
    NoConflict,
}

/// State paths that are read and written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Paths that are read.
    pub reads: Vec<String>,
    /// Paths that are written, and so may be read.
    pub writes: Vec<String>,
}

/// Asks an instance how it lives with another: the other's component, such as `callback/scheduler`,
/// and the path.
pub type Resolve<'a> = Box<dyn Fn(&str, &str) -> Resolution + 'a>;

/// One instance of the run.
pub struct Member<'a> {
    /// Its id.
    pub id: String,
    /// Its component, such as `callback/recorder`.
    pub component: String,
    /// Its kind. Callbacks are ordered; all others only provide.
    pub kind: Kind,
    /// Components of instances that it wraps, such as `callback/recorder` in a throttle; who names
    /// them means it, too.
    pub stands_for: Vec<String>,
    /// Events that it handles.
    pub events: Vec<String>,
    /// What it was granted.
    pub access: Access,
    /// What its manifest allows at most; none where that was checked before.
    pub bound: Option<Access>,
    /// Components or instances that it runs after.
    pub run_after: Vec<String>,
    /// Components or instances that it runs before.
    pub run_before: Vec<String>,
    /// Custom events that it dispatches; only phases do.
    pub emits: Vec<String>,
    /// `training`, `validation` or `other` for a phase, else empty.
    pub phase_kind: String,
    /// Its opinion on conflicts.
    pub resolve: Resolve<'a>,
    /// Where the run file lists it.
    pub place: Option<Place>,
}

impl<'a> Member<'a> {
    /// An instance without events, access, order or opinion.
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
            resolve: Box::new(|_, _| Resolution::NotDefined),
            place: None,
        }
    }

    /// Whether a name of an order hint means it: its id, its component with or without the kind, or
    /// one that it wraps.
    pub(super) fn is_called(&self, name: &str) -> bool {
        let component =
            |component: &str| component == name || component.rsplit('/').next() == Some(name);
        self.id == name
            || component(&self.component)
            || self.stands_for.iter().any(|one| component(one))
    }

    /// Its opinion on sharing `path` with a member.
    pub(super) fn opinion(&self, other: &Member<'_>, path: &str) -> Resolution {
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
