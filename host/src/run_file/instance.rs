//! An instance as the run file has it, before its component is looked up.

use super::description::{OnError, PhaseData, When};
use super::groups::RawGroup;
use super::selection::Selection;
use super::source::Place;
use super::tree::Table;
use crate::library::Kind;

/// An instance as it was written: the keys of the host taken out, the rest unchecked.
#[derive(Clone, Debug)]
pub(super) struct RawInstance {
    pub kind: Kind,
    /// `generator` of `[model.generator]`, or the section's name.
    pub name: String,
    pub id: String,
    pub id_given: bool,
    pub plugin: Option<String>,
    pub component: String,
    pub config: Table,
    pub on_error: OnError,
    pub data: Option<(PhaseData, Option<Place>)>,
    /// Parameter groups of an optimizer.
    pub groups: Vec<RawGroup>,
    /// Parameters of an optimizer without weight decay.
    pub decay_exempt: Option<(Selection, Option<Place>)>,
    /// Blocks of a model that backward passes compute again: patterns.
    pub recompute: Vec<String>,
    pub when: Option<(When, Option<Place>)>,
    pub field: Option<(String, Option<Place>)>,
    pub place: Option<Place>,
    pub component_place: Option<Place>,
}

impl RawInstance {
    /// An instance that is added by default, without settings.
    pub fn default_of(kind: Kind, component: &str) -> RawInstance {
        RawInstance {
            kind,
            name: component.to_owned(),
            id: component.to_owned(),
            id_given: false,
            plugin: None,
            component: component.to_owned(),
            config: Table::default(),
            on_error: OnError::default_of(kind),
            data: None,
            groups: Vec::new(),
            decay_exempt: None,
            recompute: Vec::new(),
            when: None,
            field: None,
            place: None,
            component_place: None,
        }
    }
}
