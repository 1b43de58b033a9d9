//! Reads instance tables: takes out the host's keys; the rest is the component's configuration.

use super::description::{OnError, PhaseData, When};
use super::diagnostic::{Diagnostic, Diagnostics};
use super::groups::GroupReader;
use super::instance::RawInstance;
use super::layout::{
    self, COMPONENT, DATA, FIELD, ID, ON_ERROR, RECOMPUTE, Section, WHEN, is_kebab,
};
use super::nearest;
use super::source::{Place, Sources};
use super::tree::{Entry, Node, Table, Value};
use crate::library::Kind;

/// Reads the instances of one section.
pub(super) struct InstanceReader<'a> {
    pub sources: &'a Sources,
    pub section: &'a Section,
    pub kind: Kind,
    pub diagnostics: &'a mut Diagnostics,
}

impl InstanceReader<'_> {
    /// `[[callback]]`: the id is the component's name unless given.
    pub fn listed(&mut self, node: &Node, out: &mut Vec<RawInstance>) {
        let Value::List(items) = &node.value else {
            let name = self.section.name;
            let text = format!("`{name}` is a list of instances, not {}", node.value.noun());
            self.fault(
                "not-a-list",
                text,
                node.place,
                &format!("write a table `[[{name}]]` for each"),
            );
            return;
        };
        for item in items {
            if let Value::Table(table) = &item.value {
                out.extend(self.instance(self.section.name, None, table, item.place));
            } else {
                let text = format!(
                    "each `{}` must be a table, not {}",
                    self.section.name,
                    item.value.noun()
                );
                let help =
                    format!("write `[[{}]]` and below it `component = ...`", self.section.name);
                self.fault("wrong-type", text, item.place, &help);
            }
        }
    }

    /// `[model.generator]`, `[model.critic]`: the ids are `model.generator` and `model.critic`.
    pub fn named(&mut self, node: &Node, out: &mut Vec<RawInstance>) {
        let Some(table) = node.table() else { return };
        for entry in &table.entries {
            let section = format!("{}.{}", self.section.name, entry.key);
            if self.is_name("name", &entry.key, entry.key_place) {
                out.extend(self.single(&entry.key, &section, &entry.node));
            }
        }
    }

    /// `[model]`: the id is the section's name.
    pub fn single(&mut self, name: &str, section: &str, node: &Node) -> Option<RawInstance> {
        let Some(table) = node.table() else {
            self.diagnostics.push(not_a_table(self.sources, section, node));
            return None;
        };
        self.instance(section, Some(name), table, node.place)
    }

    fn instance(
        &mut self,
        section: &str,
        name: Option<&str>,
        table: &Table,
        place: Option<Place>,
    ) -> Option<RawInstance> {
        let mut config = table.clone();
        let component = config.remove(COMPONENT);
        let id = config.remove(ID);
        let on_error = config.remove(ON_ERROR);
        let data = if self.kind == Kind::Phase { config.remove(DATA) } else { None };
        let (groups, decay_exempt) = if self.kind == Kind::Optimizer {
            let mut reader =
                GroupReader { sources: self.sources, diagnostics: &mut *self.diagnostics };
            (reader.groups(&mut config), reader.decay_exempt(&mut config))
        } else {
            (Vec::new(), None)
        };
        let recompute = if self.kind == Kind::Model { config.remove(RECOMPUTE) } else { None };
        let recompute = recompute.and_then(|entry| {
            let mut reader =
                GroupReader { sources: self.sources, diagnostics: &mut *self.diagnostics };
            reader.patterns(RECOMPUTE, &entry)
        });
        let on_error = on_error
            .and_then(|entry| self.on_error(&entry))
            .unwrap_or(OnError::default_of(self.kind));
        let data = data.and_then(|entry| Some((self.data(&entry)?, entry.node.place)));
        let of_transform = |config: &mut Table, key: &str| {
            if self.kind == Kind::Transform { config.remove(key) } else { None }
        };
        let (when, field) = (of_transform(&mut config, WHEN), of_transform(&mut config, FIELD));
        let when = when.and_then(|entry| Some((self.when(&entry)?, entry.node.place)));
        let field = field.and_then(|entry| Some((self.field(&entry)?, entry.node.place)));
        let given = id.and_then(|entry| self.id(&entry));
        let Some(component) = component else {
            self.no_component(section, table, place);
            return None;
        };
        let (plugin, component_name) = self.component(&component)?;
        Some(RawInstance {
            kind: self.kind,
            name: name.unwrap_or(&component_name).to_owned(),
            id_given: given.is_some(),
            id: given
                .unwrap_or_else(|| name.map_or(component_name.as_str(), |_| section).to_owned()),
            plugin,
            component: component_name,
            config,
            on_error,
            data,
            groups,
            decay_exempt,
            recompute: recompute.unwrap_or_default(),
            when,
            field,
            place: place.or(component.key_place),
            component_place: component.node.place,
        })
    }

    /// `NAME`, `PLUGIN:NAME`, `KIND/NAME` or `PLUGIN:KIND/NAME`.
    fn component(&mut self, entry: &Entry) -> Option<(Option<String>, String)> {
        let Some(text) = entry.node.text() else {
            let text = format!(
                "`component` must be the name of a component, not {}",
                entry.node.value.noun()
            );
            self.fault(
                "wrong-type",
                text,
                entry.node.place,
                "write it in double quotes: `component = \"NAME\"`",
            );
            return None;
        };
        let (plugin, rest) = match text.split_once(':') {
            Some((plugin, rest)) => (Some(plugin), rest),
            None => (None, text),
        };
        let (kind, name) = match rest.split_once('/') {
            Some((kind, name)) => (Some(kind), name),
            None => (None, rest),
        };
        if let Some(kind) = kind.filter(|kind| *kind != self.kind.name()) {
            let text = format!(
                "`{}` takes a {}, but `{text}` names a {kind}",
                self.section.name, self.kind
            );
            let help = match kind.parse::<Kind>().ok().and_then(layout::section_of) {
                Some(section) => format!("a {kind} belongs to `{}`", layout::header(section)),
                None => format!("write the name alone: `component = \"{name}\"`"),
            };
            self.fault("wrong-kind", text, entry.node.place, &help);
            return None;
        }
        let fine = is_kebab(name) && plugin.is_none_or(is_kebab);
        if !fine {
            let text = format!("{text:?} is not the name of a component");
            let help = match nearest::nearest(
                name,
                [name.to_lowercase().replace(['_', ' '], "-").as_str()],
            ) {
                Some(near) if is_kebab(near) => format!("names are in kebab-case: `{near}`"),
                _ => "names are in kebab-case, such as `cross-entropy`; `fluxbay list` shows them"
                    .to_owned(),
            };
            self.fault("bad-name", text, entry.node.place, &help);
            return None;
        }
        Some((plugin.map(str::to_owned), name.to_owned()))
    }

    fn no_component(&mut self, section: &str, table: &Table, place: Option<Place>) {
        let text = format!("`{}` does not name its component", self.shown(section));
        let near =
            table.entries.iter().find(|entry| nearest::nearest(&entry.key, [COMPONENT]).is_some());
        match near {
            Some(entry) => {
                self.fault("missing-key", text, entry.key_place, "did you mean `component`?")
            }
            None => {
                let help = format!(
                    "add `component = \"NAME\"`; `fluxbay list --kind {}` shows what there is",
                    self.kind
                );
                self.fault("missing-key", text, place, &help);
            }
        }
    }

    fn shown(&self, section: &str) -> String {
        if self.section.name == section {
            layout::header(self.section)
        } else {
            format!("[{section}]")
        }
    }

    fn id(&mut self, entry: &Entry) -> Option<String> {
        match entry.node.text() {
            Some(text) => self.is_name("id", text, entry.node.place).then(|| text.to_owned()),
            None => {
                let text = format!("`id` must be text, not {}", entry.node.value.noun());
                self.fault("wrong-type", text, entry.node.place, "write it in double quotes");
                None
            }
        }
    }

    fn is_name(&mut self, what: &str, text: &str, place: Option<Place>) -> bool {
        let fine = is_kebab(text);
        if !fine {
            let problem = format!("{text:?} cannot be an instance's {what}");
            self.fault(
                "bad-name",
                problem,
                place,
                "use small letters, digits and hyphens, a letter first: `best-model`",
            );
        }
        fine
    }

    fn on_error(&mut self, entry: &Entry) -> Option<OnError> {
        let found = [OnError::Stop, OnError::Disable]
            .into_iter()
            .find(|way| Some(way.name()) == entry.node.text());
        if found.is_none() {
            let text = format!(
                "`on-error` must be `stop` or `disable`, but is {}",
                entry.node.value.shown()
            );
            let near =
                entry.node.text().and_then(|text| nearest::nearest(text, ["stop", "disable"]));
            let help = near.map_or(
                "`stop` ends the run, `disable` continues without the instance".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            self.fault("unknown-choice", text, entry.node.place, &help);
        }
        found
    }

    fn data(&mut self, entry: &Entry) -> Option<PhaseData> {
        let found = entry.node.text().and_then(PhaseData::named);
        if found.is_none() {
            let names = PhaseData::ALL.map(PhaseData::name);
            let text = format!(
                "`data` of a phase must be `training`, `validation` or `none`, but is {}",
                entry.node.value.shown()
            );
            let near = entry.node.text().and_then(|text| nearest::nearest(text, names));
            let help = near
                .map_or("it names the split of the data that the phase reads".to_owned(), |near| {
                    format!("did you mean `{near}`?")
                });
            self.fault("unknown-choice", text, entry.node.place, &help);
        }
        found
    }

    fn when(&mut self, entry: &Entry) -> Option<When> {
        let found = entry.node.text().and_then(When::named);
        if found.is_none() {
            let names = When::ALL.map(When::name);
            let text = format!(
                "`when` of a transform must be `training`, `evaluation` or `always`, but is {}",
                entry.node.value.shown()
            );
            let near = entry.node.text().and_then(|text| nearest::nearest(text, names));
            let help = near.map_or(
                "it names the samples that the transform is applied to".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            self.fault("unknown-choice", text, entry.node.place, &help);
        }
        found
    }

    fn field(&mut self, entry: &Entry) -> Option<String> {
        if let Some(text) = entry.node.text() {
            return Some(text.to_owned());
        }
        let text = format!("`field` must be the name of a field, not {}", entry.node.value.noun());
        self.fault("wrong-type", text, entry.node.place, "write it in double quotes: `\"xs\"`");
        None
    }

    fn fault(&mut self, code: &'static str, text: String, place: Option<Place>, help: &str) {
        let found = Diagnostic::error(code, text).help(help);
        self.diagnostics.push(match place {
            Some(place) => found.at(self.sources, place, ""),
            None => found,
        });
    }
}

/// The error for a section that is written as a value or as a list.
pub(super) fn not_a_table(sources: &Sources, section: &str, node: &Node) -> Diagnostic {
    let found = Diagnostic::error(
        "wrong-type",
        format!("`{section}` must be a section, not {}", node.value.noun()),
    )
    .help(format!("write `[{section}]` on a line of its own and its keys below"));
    match node.place {
        Some(place) => found.at(sources, place, node.value.noun()),
        None => found,
    }
}
