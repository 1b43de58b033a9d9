//! The sections of a run file, as one table that merging, reading, writing and the exported schema
//! share.

use crate::library::Kind;

/// Form of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SectionForm {
    /// Settings of the host: `[run]`.
    Settings,
    /// One instance: `[data]`.
    One,
    /// One instance, or several with names: `[model]` or `[model.generator]`.
    OneOrNamed,
    /// A list of instances in order: `[[callback]]`.
    List,
}

/// One section.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// Its name in the run file.
    pub name: &'static str,
    /// Its form.
    pub form: SectionForm,
    /// The kind of its instances; `None` for settings of the host.
    pub kind: Option<Kind>,
    /// Purpose, in one line.
    pub summary: &'static str,
}

/// All sections in the order in which a resolved run lists them.
pub const SECTIONS: [Section; 15] = [
    Section {
        name: "run",
        form: SectionForm::Settings,
        kind: None,
        summary: "the run itself: seed, epochs, threads, device",
    },
    Section {
        name: "plugins",
        form: SectionForm::Settings,
        kind: None,
        summary: "where plugins are searched",
    },
    Section {
        name: "data",
        form: SectionForm::One,
        kind: Some(Kind::Dataset),
        summary: "the samples",
    },
    Section {
        name: "transform",
        form: SectionForm::List,
        kind: Some(Kind::Transform),
        summary: "what changes the samples before they become batches, in order",
    },
    Section {
        name: "sampler",
        form: SectionForm::One,
        kind: Some(Kind::Sampler),
        summary: "which training samples an epoch reads, and in which order",
    },
    Section {
        name: "loader",
        form: SectionForm::Settings,
        kind: None,
        summary: "how samples become batches",
    },
    Section {
        name: "communicator",
        form: SectionForm::One,
        kind: Some(Kind::Communicator),
        summary: "what connects the processes of a run on several",
    },
    Section {
        name: "checkpoints",
        form: SectionForm::Settings,
        kind: None,
        summary: "when checkpoints are written, and which are kept",
    },
    Section {
        name: "fine-tuning",
        form: SectionForm::Settings,
        kind: None,
        summary: "initial parameters from a file, and frozen parameters",
    },
    Section {
        name: "model",
        form: SectionForm::OneOrNamed,
        kind: Some(Kind::Model),
        summary: "the model, or several by name",
    },
    Section {
        name: "loss",
        form: SectionForm::OneOrNamed,
        kind: Some(Kind::Loss),
        summary: "what is minimised, or several by name",
    },
    Section {
        name: "optimizer",
        form: SectionForm::OneOrNamed,
        kind: Some(Kind::Optimizer),
        summary: "how parameters are updated; several models have one each by name",
    },
    Section {
        name: "phase",
        form: SectionForm::List,
        kind: Some(Kind::Phase),
        summary: "the phases of each epoch, in order",
    },
    Section {
        name: "callback",
        form: SectionForm::List,
        kind: Some(Kind::Callback),
        summary: "what happens at events",
    },
    Section {
        name: "logger",
        form: SectionForm::List,
        kind: Some(Kind::Logger),
        summary: "where metrics are sent",
    },
];

/// Key of an instance: its component.
pub const COMPONENT: &str = "component";
/// Key of an instance: its id in the run.
pub const ID: &str = "id";
/// Key of an instance: reaction to its errors.
pub const ON_ERROR: &str = "on-error";
/// Key of a phase: the split that it reads.
pub const DATA: &str = "data";
/// Key of a transform: the samples that it is applied to.
pub const WHEN: &str = "when";
/// Key of a transform: the field that it changes.
pub const FIELD: &str = "field";
/// Key of an optimizer: its parameter groups.
pub const GROUP: &str = "group";
/// Key of an optimizer: the parameters without weight decay.
pub const DECAY_EXEMPT: &str = "decay-exempt";
/// Key of a model: the blocks that backward passes compute again.
pub const RECOMPUTE: &str = "recompute";

/// The keys of an instance table that belong to the host; all others configure the component.
pub fn reserved(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Phase => &[COMPONENT, ID, ON_ERROR, DATA],
        Kind::Model => &[COMPONENT, ID, ON_ERROR, RECOMPUTE],
        Kind::Optimizer => &[COMPONENT, ID, ON_ERROR, GROUP, DECAY_EXEMPT],
        Kind::Transform => &[COMPONENT, ID, ON_ERROR, WHEN, FIELD],
        _ => &[COMPONENT, ID, ON_ERROR],
    }
}

/// The section with this name.
pub fn section(name: &str) -> Option<&'static Section> {
    SECTIONS.iter().find(|section| section.name == name)
}

/// The section for instances of a kind; `None` for metrics and schedules, which callbacks create.
pub fn section_of(kind: Kind) -> Option<&'static Section> {
    SECTIONS.iter().find(|section| section.kind == Some(kind))
}

/// The header of a section for messages: `[run]`, `[[callback]]`.
pub fn header(section: &Section) -> String {
    match section.form {
        SectionForm::List => format!("[[{}]]", section.name),
        _ => format!("[{}]", section.name),
    }
}

/// The names of all sections.
pub(super) fn section_names() -> impl Iterator<Item = &'static str> {
    SECTIONS.iter().map(|section| section.name)
}

/// Whether a text has the form of names and ids: `[a-z][a-z0-9-]*`.
pub(super) fn is_kebab(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}
