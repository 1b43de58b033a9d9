//! What a record keeps of a run's origin: its files, plugins and environment.

use super::{launch, opening::threads};
use crate::{
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
    begin(&RunInputs {
        run_files: &run_files,
        resolved: &resolved,
        plugins: &plugins,
        environment: &environment,
        directions: &directions,
    })
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
