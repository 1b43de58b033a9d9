//! The sections of a run file: which exist, which hold instances, and in which form.
//!
//! One table that layering, reading, writing and the exported schema share.

use crate::library::Kind;

/// How a section holds its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
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
    /// How it holds its content.
    pub form: Form,
    /// The kind of its instances; none for settings of the host.
    pub kind: Option<Kind>,
    /// What it is for, in one line.
    pub summary: &'static str,
}

/// All sections in the order in which a resolved run lists them.
pub const SECTIONS: [Section; 12] = [
    Section {
        name: "run",
        form: Form::Settings,
        kind: None,
        summary: "the run itself: seed, epochs, threads, device",
    },
    Section {
        name: "plugins",
        form: Form::Settings,
        kind: None,
        summary: "where plugins are looked for",
    },
    Section { name: "data", form: Form::One, kind: Some(Kind::Dataset), summary: "the samples" },
    Section {
        name: "loader",
        form: Form::Settings,
        kind: None,
        summary: "how samples become batches",
    },
    Section {
        name: "checkpoints",
        form: Form::Settings,
        kind: None,
        summary: "when the run is saved, and what is kept",
    },
    Section {
        name: "fine-tuning",
        form: Form::Settings,
        kind: None,
        summary: "parameters from a file, and those that stay as they are",
    },
    Section {
        name: "model",
        form: Form::OneOrNamed,
        kind: Some(Kind::Model),
        summary: "the model, or several by name",
    },
    Section {
        name: "loss",
        form: Form::OneOrNamed,
        kind: Some(Kind::Loss),
        summary: "what is minimised, or several by name",
    },
    Section {
        name: "optimizer",
        form: Form::OneOrNamed,
        kind: Some(Kind::Optimizer),
        summary: "how parameters are updated; with several models one for each by its name",
    },
    Section {
        name: "phase",
        form: Form::List,
        kind: Some(Kind::Phase),
        summary: "what each epoch does, in order",
    },
    Section {
        name: "callback",
        form: Form::List,
        kind: Some(Kind::Callback),
        summary: "what happens at events",
    },
    Section {
        name: "logger",
        form: Form::List,
        kind: Some(Kind::Logger),
        summary: "where figures are sent",
    },
];

/// Key of an instance: which component it is.
pub const COMPONENT: &str = "component";
/// Key of an instance: its id in the run.
pub const ID: &str = "id";
/// Key of an instance: what happens when it fails.
pub const ON_ERROR: &str = "on-error";
/// Key of a phase: which split of the data it reads.
pub const DATA: &str = "data";

/// The keys of an instance table that belong to the host; all others configure the component.
pub fn reserved(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Phase => &[COMPONENT, ID, ON_ERROR, DATA],
        _ => &[COMPONENT, ID, ON_ERROR],
    }
}

/// The section of that name.
pub fn section(name: &str) -> Option<&'static Section> {
    SECTIONS.iter().find(|section| section.name == name)
}

/// The section that holds instances of that kind; metrics and schedules belong to the callbacks
/// that use them.
pub fn section_of(kind: Kind) -> Option<&'static Section> {
    SECTIONS.iter().find(|section| section.kind == Some(kind))
}

/// How a section is written in a message: `[run]`, `[[callback]]`.
pub fn header(section: &Section) -> String {
    match section.form {
        Form::List => format!("[[{}]]", section.name),
        _ => format!("[{}]", section.name),
    }
}
