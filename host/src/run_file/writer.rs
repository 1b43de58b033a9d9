//! Writes a run description: as a run file of the same run, as JSON, and with the origin of every
//! value. Adds the writing methods to [`RunDescription`].

use std::fmt::Write;

use serde_json::{Map, Value as Json, json};

use super::description::{InstanceSpec, Named, OnError, RunDescription};
use super::groups;
use super::layout::{self, DECAY_EXEMPT};
use super::schema::Origin;
use super::schema::{key_text, toml_text};
use crate::library::Kind;

/// Comments that are written beside the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comments {
    /// None.
    None,
    /// The origin of each value.
    Origins,
}

impl RunDescription {
    /// The run as a run file with every default filled in.
    pub fn to_toml(&self) -> String {
        write(self, Comments::None)
    }

    /// As [`RunDescription::to_toml`], with the origin of each value as a comment.
    pub fn to_toml_with_origins(&self) -> String {
        write(self, Comments::Origins)
    }

    /// The run as JSON, without places: the same tree as the run file's.
    pub fn to_json(&self) -> Json {
        to_json(self)
    }
}

fn write(run: &RunDescription, comments: Comments) -> String {
    let mut writer = Writer { run, comments, out: String::new() };
    writer.settings("run", &to_map(&run.run));
    writer.settings("plugins", &to_map(&run.plugins));
    if let Some(data) = &run.data {
        writer.instance("[data]", "data", data, &[]);
    }
    for transform in &run.transforms {
        let when = ("when", json!(transform.when.name()), transform.when_origin);
        let field = ("field", json!(transform.field), transform.field_origin);
        writer.instance("[[transform]]", "", &transform.spec, &[when, field]);
    }
    if let Some(sampler) = &run.sampler {
        writer.instance("[sampler]", "sampler", sampler, &[]);
    }
    writer.settings("loader", &to_map(&run.loader));
    if let Some(communicator) = &run.communicator {
        writer.instance("[communicator]", "communicator", communicator, &[]);
    }
    writer.settings("checkpoints", &to_map(&run.checkpoints));
    writer.settings("fine-tuning", &to_map(&run.fine_tuning));
    writer.named("model", &run.models);
    writer.named("loss", &run.losses);
    writer.optimizers();
    for phase in &run.phases {
        let data = ("data", json!(phase.data.name()), phase.data_origin);
        writer.instance("[[phase]]", "", &phase.spec, &[data]);
    }
    for callback in &run.callbacks {
        writer.instance("[[callback]]", "", callback, &[]);
    }
    for logger in &run.loggers {
        writer.instance("[[logger]]", "", logger, &[]);
    }
    writer.out
}

fn to_json(run: &RunDescription) -> Json {
    let mut root = Map::new();
    root.insert("run".into(), Json::Object(to_map(&run.run)));
    root.insert("plugins".into(), Json::Object(to_map(&run.plugins)));
    if let Some(data) = &run.data {
        root.insert("data".into(), instance_json(data));
    }
    if !run.transforms.is_empty() {
        let transforms = run.transforms.iter().map(|transform| {
            let mut json = instance_json(&transform.spec);
            json[layout::WHEN] = json!(transform.when.name());
            json[layout::FIELD] = json!(transform.field);
            json
        });
        root.insert("transform".into(), Json::Array(transforms.collect()));
    }
    if let Some(sampler) = &run.sampler {
        root.insert("sampler".into(), instance_json(sampler));
    }
    root.insert("loader".into(), Json::Object(to_map(&run.loader)));
    if let Some(communicator) = &run.communicator {
        root.insert("communicator".into(), instance_json(communicator));
    }
    root.insert("checkpoints".into(), Json::Object(to_map(&run.checkpoints)));
    root.insert("fine-tuning".into(), Json::Object(to_map(&run.fine_tuning)));
    for (section, all) in
        [("model", &run.models), ("loss", &run.losses), ("optimizer", &run.optimizers)]
    {
        match all.as_slice() {
            [] => {}
            [only] if only.name == section => {
                root.insert(section.into(), named_json(run, only));
            }
            several => {
                let table =
                    several.iter().map(|named| (named.name.clone(), named_json(run, named)));
                root.insert(section.into(), Json::Object(table.collect()));
            }
        }
    }
    let phases = run.phases.iter().map(|phase| {
        let mut json = instance_json(&phase.spec);
        json["data"] = json!(phase.data.name());
        json
    });
    root.insert("phase".into(), Json::Array(phases.collect()));
    root.insert("callback".into(), Json::Array(run.callbacks.iter().map(instance_json).collect()));
    root.insert("logger".into(), Json::Array(run.loggers.iter().map(instance_json).collect()));
    Json::Object(root)
}

/// An instance of a section with names; an optimizer with its groups.
fn named_json(run: &RunDescription, named: &Named) -> Json {
    let mut json = instance_json(&named.spec);
    if named.spec.kind == Kind::Model
        && let Some(patterns) = run.recompute.get(&named.name)
    {
        json[layout::RECOMPUTE] = json!(patterns);
    }
    if named.spec.kind == Kind::Optimizer {
        if let Some(selection) = run.decay_exempt.get(&named.name) {
            json[DECAY_EXEMPT] = groups::exempt_json(selection);
        }
        let groups: Vec<Json> = run
            .written_groups(&named.name)
            .map(|group| Json::Object(groups::group_json(group)))
            .collect();
        if !groups.is_empty() {
            json[layout::GROUP] = Json::Array(groups);
        }
    }
    json
}

fn instance_json(spec: &InstanceSpec) -> Json {
    let mut table = Map::new();
    table.insert(layout::COMPONENT.into(), json!(spec.component_text()));
    table.insert(layout::ID.into(), json!(spec.id));
    table.insert(layout::ON_ERROR.into(), json!(spec.on_error.name()));
    table.extend(spec.config.clone());
    Json::Object(table)
}

fn to_map(settings: &impl serde::Serialize) -> Map<String, Json> {
    match serde_json::to_value(settings) {
        Ok(Json::Object(map)) => map,
        _ => Map::new(),
    }
}

struct Writer<'a> {
    run: &'a RunDescription,
    comments: Comments,
    out: String,
}

impl Writer<'_> {
    fn header(&mut self, header: &str) {
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        let _ = writeln!(self.out, "{header}");
    }

    fn line(&mut self, key: &str, value: &Json, origin: Option<String>) {
        if value.is_null() {
            return;
        }
        let text = format!("{} = {}", key_text(key), toml_text(value));
        match origin.filter(|_| self.comments == Comments::Origins) {
            Some(origin) => {
                let _ = writeln!(self.out, "{text:<40} # {origin}");
            }
            None => {
                let _ = writeln!(self.out, "{text}");
            }
        }
    }

    fn settings(&mut self, section: &str, map: &Map<String, Json>) {
        self.header(&format!("[{section}]"));
        for (key, value) in map {
            let origin = self
                .run
                .origins
                .get(&format!("{section}.{key}"))
                .copied()
                .unwrap_or(Origin::Default);
            let origin = self.origin(origin, &format!("default of [{section}]"));
            self.line(key, value, Some(origin));
        }
    }

    fn named(&mut self, section: &str, all: &[Named]) {
        match all {
            [only] if only.name == section => {
                self.instance(&format!("[{section}]"), section, &only.spec, &[]);
                self.recompute(only);
            }
            several => {
                for named in several {
                    let path = format!("{section}.{}", named.name);
                    self.instance(&format!("[{path}]"), &path, &named.spec, &[]);
                    self.recompute(named);
                }
            }
        }
    }

    fn recompute(&mut self, named: &Named) {
        let patterns = self.run.recompute.get(&named.name);
        if let Some(patterns) = patterns.filter(|_| named.spec.kind == Kind::Model) {
            self.line(layout::RECOMPUTE, &json!(patterns), None);
        }
    }

    fn optimizers(&mut self) {
        let run = self.run;
        for optimizer in &run.optimizers {
            let path = match optimizer.name.as_str() {
                "optimizer" => "optimizer".to_owned(),
                name => format!("optimizer.{name}"),
            };
            self.instance(&format!("[{path}]"), &path, &optimizer.spec, &[]);
            if let Some(selection) = run.decay_exempt.get(&optimizer.name) {
                self.line(DECAY_EXEMPT, &groups::exempt_json(selection), None);
            }
            for group in run.written_groups(&optimizer.name) {
                self.header(&format!("[[{path}.{}]]", layout::GROUP));
                for (key, value) in groups::group_json(group) {
                    let origin = match group.spec.origins.get(&key) {
                        Some(Origin::Given(place)) if group.own.contains(&key) => {
                            Some(self.origin(Origin::Given(*place), ""))
                        }
                        _ => None,
                    };
                    self.line(&key, &value, origin);
                }
            }
        }
    }

    /// `implied` is the id that the section gives; empty if the id is the component's name.
    fn instance(
        &mut self,
        header: &str,
        implied: &str,
        spec: &InstanceSpec,
        host: &[(&str, Json, Origin)],
    ) {
        self.header(header);
        let whose = match spec.kind {
            Kind::Callback if spec.place.is_none() => "default callback".to_owned(),
            Kind::Phase if spec.place.is_none() => "default phase".to_owned(),
            _ => {
                spec.component_place.map_or(String::new(), |place| self.run.sources.describe(place))
            }
        };
        self.line(layout::COMPONENT, &json!(spec.component_text()), Some(whose));
        let implied = if implied.is_empty() { spec.component.as_str() } else { implied };
        if spec.id_given && spec.id != implied {
            self.line(layout::ID, &json!(spec.id), None);
        }
        if spec.on_error != OnError::default_of(spec.kind) {
            self.line(layout::ON_ERROR, &json!(spec.on_error.name()), None);
        }
        for (key, value, origin) in host {
            let origin = self.origin(
                *origin,
                match spec.kind {
                    Kind::Phase => "by the phase's kind",
                    _ => "default",
                },
            );
            self.line(key, value, Some(origin));
        }
        for (key, value) in &spec.config {
            let origin = spec.origins.get(key).copied().unwrap_or(Origin::Default);
            let origin = self.origin(origin, &format!("default of {}", spec.component_id()));
            self.line(key, value, Some(origin));
        }
    }

    fn origin(&self, origin: Origin, default: &str) -> String {
        match origin {
            Origin::Given(place) => self.run.sources.describe(place).replace(char::is_control, " "),
            Origin::Default => default.to_owned(),
        }
    }
}
