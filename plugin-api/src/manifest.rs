//! What a plugin says of itself without being run: written as JSON into a section of its file, at
//! compile time.

use crate::{
    abi::entry::{CONTRACT, MANIFEST_FORMAT, MANIFEST_HEADER, MANIFEST_MAGIC},
    config::Schema,
    event::EventKind,
    json::Sink,
};

/// A plugin, as its manifest describes it.
#[derive(Clone, Copy, Debug)]
pub struct PluginManifest {
    /// Name of the crate.
    pub name: &'static str,
    /// Version of the crate.
    pub version: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Licence of the crate.
    pub license: &'static str,
    /// Authors of the crate, separated by colons.
    pub authors: &'static str,
    /// Home page of the crate.
    pub homepage: &'static str,
    /// What it offers.
    pub components: &'static [ComponentManifest],
}

/// A component, as the manifest describes it. The export macro calls one method per line that the
/// author writes.
#[derive(Clone, Copy, Debug)]
pub struct ComponentManifest {
    kind: &'static str,
    name: &'static str,
    config: Schema,
    summary: &'static str,
    details: &'static str,
    example: &'static str,
    on: &'static [EventKind],
    on_custom: &'static [&'static str],
    emits: &'static [&'static str],
    reads: &'static [&'static str],
    writes: &'static [&'static str],
    run_after: &'static [&'static str],
    run_before: &'static [&'static str],
    hyper_parameters: &'static [&'static str],
    phase_kind: &'static str,
    targets: &'static [&'static str],
    state_version: u32,
    learns: bool,
    predicts: bool,
    context: bool,
    ragged: bool,
    texts: bool,
    augments: bool,
}

macro_rules! lists {
    ($($(#[$doc:meta])* $name:ident: $type:ty),+ $(,)?) => { $(
        $(#[$doc])*
        pub const fn $name(mut self, values: &'static [$type]) -> Self {
            self.$name = values;
            self
        }
    )+ };
}

impl ComponentManifest {
    /// A component of a kind, with its configuration.
    pub const fn new(kind: &'static str, name: &'static str, config: Schema) -> Self {
        ComponentManifest {
            kind,
            name,
            config,
            summary: "",
            details: "",
            example: "",
            on: &[],
            on_custom: &[],
            emits: &[],
            reads: &[],
            writes: &[],
            run_after: &[],
            run_before: &[],
            hyper_parameters: &[],
            phase_kind: "",
            targets: &[],
            state_version: 1,
            learns: false,
            predicts: false,
            context: false,
            ragged: false,
            texts: false,
            augments: false,
        }
    }

    lists! {
        /// Standard events that it handles.
        on: EventKind,
        /// Custom events that it handles, by name.
        on_custom: &'static str,
        /// Custom events that it dispatches, by name.
        emits: &'static str,
        /// State paths that its instances may read.
        reads: &'static str,
        /// State paths that its instances may write, and so read.
        writes: &'static str,
        /// Components or instances that run before it.
        run_after: &'static str,
        /// Components or instances that run after it.
        run_before: &'static str,
        /// Numbers of its configuration that schedules may change.
        hyper_parameters: &'static str,
        /// Kinds of targets that a loss takes: `classes`, `binary`, `probabilities`, `numbers`.
        targets: &'static str,
    }

    /// One line that says what it is for.
    pub const fn summary(mut self, text: &&'static str) -> Self {
        self.summary = text;
        self
    }

    /// A longer description.
    pub const fn details(mut self, text: &&'static str) -> Self {
        self.details = text;
        self
    }

    /// Lines for a run file that show its use.
    pub const fn example(mut self, text: &&'static str) -> Self {
        self.example = text;
        self
    }

    /// What a phase is for: `training`, `validation` or `other`.
    pub const fn phase_kind(mut self, text: &&'static str) -> Self {
        self.phase_kind = text;
        self
    }

    /// Version of the state that it saves, 1 by default. Raise it when the saved form changes.
    pub const fn state_version(mut self, version: &u32) -> Self {
        self.state_version = *version;
        self
    }

    /// Whether a data set learns from its samples, see [`learns!`](crate::learns!). Not written into
    /// the manifest: the host finds it in the extension `fluxbay.dataset-state/1`.
    pub const fn learns(mut self, learns: &bool) -> Self {
        self.learns = *learns;
        self
    }

    /// That flag.
    pub const fn get_learns(&self) -> bool {
        self.learns
    }

    /// Whether a data set reads files without targets, see
    /// [`Dataset::open_inputs`](crate::Dataset::open_inputs). Not written into the manifest: the host
    /// finds it in the extension `fluxbay.dataset-inputs/1`.
    pub const fn predicts(mut self, predicts: &bool) -> Self {
        self.predicts = *predicts;
        self
    }

    /// Whether it reads files without targets.
    pub const fn get_predicts(&self) -> bool {
        self.predicts
    }

    /// Whether a data set is asked for samples with their context, see
    /// [`Dataset::fill_with`](crate::Dataset::fill_with). Not written into the manifest: the host finds
    /// it in the extension `fluxbay.dataset-fill/1`.
    pub const fn context(mut self, context: &bool) -> Self {
        self.context = *context;
        self
    }

    /// That flag.
    pub const fn get_context(&self) -> bool {
        self.context
    }

    /// Whether a data set turns texts into token ids and back, see
    /// [`Dataset::encode`](crate::Dataset::encode). Not written into the manifest: the host finds it in
    /// the extension `fluxbay.dataset-text/1`.
    pub const fn texts(mut self, texts: &bool) -> Self {
        self.texts = *texts;
        self
    }

    /// That flag.
    pub const fn get_texts(&self) -> bool {
        self.texts
    }

    /// Whether the samples of a data set differ in size, see
    /// [`Dataset::ragged`](crate::Dataset::ragged). Not written into the manifest: the host finds it in
    /// the extension `fluxbay.dataset-ragged/1`.
    pub const fn ragged(mut self, ragged: &bool) -> Self {
        self.ragged = *ragged;
        self
    }

    /// That flag.
    pub const fn get_ragged(&self) -> bool {
        self.ragged
    }

    /// Whether a transform is applied to training samples only, unless the run file says otherwise.
    pub const fn augments(mut self, augments: &bool) -> Self {
        self.augments = *augments;
        self
    }

    /// Panics, at compile time, where a line is missing that the host requires.
    #[doc(hidden)]
    pub const fn checked(self) -> Self {
        let phase_kind = equal(self.phase_kind, "training")
            || equal(self.phase_kind, "validation")
            || equal(self.phase_kind, "other");
        if self.learns && !equal(self.kind, "dataset") {
            panic!(
                "only data sets have a line `learns`; other components save state with `state!`"
            );
        }
        if self.predicts && !equal(self.kind, "dataset") {
            panic!("only data sets have a line `predicts`");
        }
        if self.context && !equal(self.kind, "dataset") {
            panic!("only data sets have a line `context`");
        }
        if self.texts && !equal(self.kind, "dataset") {
            panic!("only data sets have a line `texts`");
        }
        if self.ragged && !self.context {
            panic!(
                "`ragged: true` belongs to a data set with `context: true`: `fill_with` states the lengths"
            );
        }
        if self.augments && !equal(self.kind, "transform") {
            panic!("only transforms have a line `augments`");
        }
        let mut index = 0;
        while index < self.targets.len() {
            let target = self.targets[index];
            let known = equal(target, "classes")
                || equal(target, "binary")
                || equal(target, "probabilities")
                || equal(target, "numbers");
            if !known || !equal(self.kind, "loss") {
                panic!(
                    "`targets` of a loss are `\"classes\"`, `\"binary\"`, `\"probabilities\"` and `\"numbers\"`"
                );
            }
            index += 1;
        }
        if equal(self.kind, "phase") && !phase_kind {
            panic!(
                "a phase needs a line `phase_kind: \"training\"`, `\"validation\"` or `\"other\"`"
            );
        }
        self
    }

    /// That version.
    pub const fn get_state_version(&self) -> u32 {
        self.state_version
    }

    const fn write(&self, sink: &mut Sink<'_>) {
        sink.raw("{\"kind\":");
        sink.text(self.kind);
        sink.raw(",\"name\":");
        sink.text(self.name);
        sink.raw(",\"summary\":");
        sink.text(self.summary);
        sink.raw(",\"details\":");
        sink.text(self.details);
        sink.raw(",\"config\":");
        self.config.write(sink);
        sink.raw(",\"events\":[");
        let mut index = 0;
        while index < self.on.len() {
            sink.comma(index);
            sink.text(self.on[index].name());
            index += 1;
        }
        let mut custom = 0;
        while custom < self.on_custom.len() {
            sink.comma(index + custom);
            sink.text(self.on_custom[custom]);
            custom += 1;
        }
        sink.raw("],\"emits\":");
        sink.texts(self.emits);
        sink.raw(",\"reads\":");
        sink.texts(self.reads);
        sink.raw(",\"writes\":[");
        // Every phase owns the step state.
        let implied: &[&str] = if equal(self.kind, "phase") { &["step"] } else { &[] };
        sink.members(implied);
        if !implied.is_empty() && !self.writes.is_empty() {
            sink.raw(",");
        }
        sink.members(self.writes);
        sink.raw("]");
        sink.raw(",\"run-after\":");
        sink.texts(self.run_after);
        sink.raw(",\"run-before\":");
        sink.texts(self.run_before);
        sink.raw(",\"hyper-parameters\":");
        sink.texts(self.hyper_parameters);
        sink.raw(",\"phase-kind\":");
        sink.text(self.phase_kind);
        if !self.targets.is_empty() {
            sink.raw(",\"targets\":");
            sink.texts(self.targets);
        }
        if self.augments {
            sink.raw(",\"augments\":true");
        }
        sink.raw(",\"requires\":[],\"state-version\":");
        sink.integer(self.state_version);
        sink.raw(",\"example\":");
        sink.text(self.example);
        sink.raw("}");
    }
}

impl PluginManifest {
    /// Bytes of the section: header and JSON.
    pub const fn section_len(&self) -> usize {
        let mut sink = Sink::counting();
        self.write(&mut sink);
        MANIFEST_HEADER + sink.len()
    }

    /// The section. `N` is [`PluginManifest::section_len`].
    pub const fn section<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        let (header, json) = bytes.split_at_mut(MANIFEST_HEADER);
        let (magic, numbers) = header.split_at_mut(MANIFEST_MAGIC.len());
        magic.copy_from_slice(&MANIFEST_MAGIC);
        let (format, len) = numbers.split_at_mut(4);
        format.copy_from_slice(&MANIFEST_FORMAT.to_le_bytes());
        len.copy_from_slice(&(json.len() as u32).to_le_bytes());
        let mut sink = Sink::writing(json);
        self.write(&mut sink);
        bytes
    }

    const fn write(&self, sink: &mut Sink<'_>) {
        sink.raw("{\"schema\":1,\"contract\":\"");
        sink.integer(CONTRACT.major);
        sink.raw(".");
        sink.integer(CONTRACT.minor);
        sink.raw("\",\"plugin\":{\"name\":");
        sink.text(self.name);
        sink.raw(",\"version\":");
        sink.text(self.version);
        sink.raw(",\"summary\":");
        sink.text(self.summary);
        sink.raw(",\"license\":");
        sink.text(self.license);
        sink.raw(",\"authors\":");
        sink.text(self.authors);
        sink.raw(",\"homepage\":");
        sink.text(self.homepage);
        // All crates of a shared library are compiled with the same strategy, so this one's is the
        // plugin's.
        sink.raw(",\"panic\":");
        sink.text(if cfg!(panic = "abort") { "abort" } else { "unwind" });
        sink.raw("},\"components\":[");
        let mut index = 0;
        while index < self.components.len() {
            sink.comma(index);
            self.components[index].write(sink);
            index += 1;
        }
        sink.raw("]}");
    }
}

const fn equal(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut index = 0;
    while index < a.len() && index < b.len() && a[index] == b[index] {
        index += 1;
    }
    index == a.len() && index == b.len()
}

/// Panics with `message`, at compile time, unless `name` can be the name of a component.
#[doc(hidden)]
pub const fn check_name(name: &str, message: &'static str) {
    if !is_name(name) {
        panic!("{}", message);
    }
}

/// Whether the host accepts `text` as a name: small letters, digits and hyphens, a letter first, at
/// most 64 bytes.
const fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    if bytes.is_empty() || bytes.len() > 64 || !bytes[0].is_ascii_lowercase() {
        return false;
    }
    let mut index = 0;
    while index < bytes.len() {
        if !matches!(bytes[index], b'a'..=b'z' | b'0'..=b'9' | b'-') {
            return false;
        }
        index += 1;
    }
    true
}

/// The JSON text within a manifest section, without the header. Used by [`plugin!`](crate::plugin!).
pub const fn json_of(section: &'static [u8]) -> &'static [u8] {
    section.split_at(MANIFEST_HEADER).1
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPONENTS: &[ComponentManifest] = &[
        ComponentManifest::new("phase", "own", Schema::Object(&[]))
            .writes(&["cbstate.x"])
            .phase_kind(&"training"),
        ComponentManifest::new("callback", "printer", Schema::Object(&[]))
            .on(&[EventKind::StepEnd, EventKind::EpochEnd])
            .on_custom(&["round-end"])
            .summary(&"Says \"hello\"\tand goes."),
    ];
    const MANIFEST: PluginManifest = PluginManifest {
        name: "p",
        version: "1.2.3",
        summary: "",
        license: "MIT",
        authors: "a:b",
        homepage: "",
        components: COMPONENTS,
    };
    static SECTION: [u8; MANIFEST.section_len()] = MANIFEST.section();

    #[test]
    fn names_are_kebab_case() {
        for good in ["a", "low-loss", "top-5"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "LowLoss", "low_loss", "5-top", "-a", "größe", &"a".repeat(65)] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    #[should_panic(expected = "phase_kind")]
    fn a_phase_has_a_phase_kind() {
        ComponentManifest::new("phase", "own", Schema::Object(&[])).checked();
    }

    #[test]
    fn the_section_holds_a_header_and_the_manifest_as_json() {
        assert_eq!(SECTION[..8], MANIFEST_MAGIC);
        let len = u32::from_le_bytes(SECTION[12..16].try_into().unwrap()) as usize;
        assert_eq!(len, SECTION.len() - MANIFEST_HEADER);
        let json: serde_json::Value = serde_json::from_slice(json_of(&SECTION)).unwrap();
        assert_eq!(json["contract"], "1.0");
        assert_eq!(json["plugin"]["version"], "1.2.3");
        assert_eq!(json["plugin"]["panic"], "unwind");
        let [phase, callback] = [&json["components"][0], &json["components"][1]];
        assert_eq!(phase["writes"], serde_json::json!(["step", "cbstate.x"]));
        assert_eq!(callback["events"], serde_json::json!(["step-end", "epoch-end", "round-end"]));
        assert_eq!(callback["summary"], "Says \"hello\"\tand goes.");
        assert_eq!(callback["state-version"], 1);
    }
}
