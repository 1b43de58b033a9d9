//! What a record keeps of a run's origin: its files, plugins and environment.

use super::{launch, opening::threads};
use crate::{
    compose::overview::{Basis, Overview},
    record::{Environment, RunInputs},
    run_file::{RunDescription, SourceKind},
    session::Session,
};

/// Texts of the run's files, in the order of their layers.
pub(super) fn run_files(run: &RunDescription) -> Vec<String> {
    let given = run
        .sources
        .iter()
        .filter(|(_, source)| matches!(source.kind, SourceKind::File | SourceKind::BuiltIn));
    given.map(|(_, source)| source.text.clone()).collect()
}

/// Calls `begin` with everything that is known of a session before its first step.
pub(super) fn with_given<T>(session: &Session, begin: impl FnOnce(&RunInputs<'_>) -> T) -> T {
    let run = session.run();
    let environment =
        Environment::gather(threads(run), &String::from(run.run.device), run.run.seed);
    let (run_files, resolved, plugins) = (run_files(run), run.to_toml(), plugins_lock(session));
    let directions = session.composed().directions();
    let phases = phases(session);
    begin(&RunInputs {
        run_files: &run_files,
        resolved: &resolved,
        plugins: &plugins,
        environment: &environment,
        directions: &directions,
        phases: &phases,
        composition: &composition(session),
    })
}

/// The composition of the run, without its settings, which `resolved.toml` has.
fn composition(session: &Session) -> serde_json::Value {
    let composed = session.composed();
    let (members, composition) = (composed.members(), composed.composition());
    let catalog = composed.plugins().catalog();
    let overview = Overview::new(composed.run(), catalog, &members, &composition, Basis::Instances);
    let mut json = serde_json::to_value(&overview).unwrap_or_default();
    if let Some(fields) = json.as_object_mut() {
        fields.remove("run");
    }
    json
}

/// The steps of an epoch of each phase that reads the data.
fn phases(session: &Session) -> Vec<(String, u64)> {
    let Some(loader) = session.loader() else { return Vec::new() };
    let phases = session.run().phases.iter().filter_map(|phase| {
        let part = loader.part(phase.data.name()).ok()?;
        Some((phase.spec.id.clone(), loader.batches(part) as u64))
    });
    phases.collect()
}

/// The plugins of the run as TOML.
pub(super) fn plugins_lock(session: &Session) -> String {
    let mut text = String::from("# The plugins of this run.\n");
    for plugin in launch::plugins(session) {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let (name, version, sha256) =
            (quoted(&plugin.name), quoted(&plugin.version), quoted(&plugin.sha256));
        text.push_str(&format!(
            "\n[[plugin]]\nname = {name}\nversion = {version}\nsha256 = {sha256}\n"
        ));
        // The folder, so that resuming finds the plugin again.
        text.push_str(&format!("path = {}\n", quoted(&plugin.path)));
    }
    text
}
