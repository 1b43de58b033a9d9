//! Which components a listing shows.

use clap_complete::engine::ArgValueCompleter;

use crate::cli::candidates;
use crate::compose::paths::overlap;
use crate::library::{Catalog, ComponentRef, Kind, escape};
use crate::run_file::nearest;

/// The options that narrow a listing; a component has to satisfy all of them.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Filter {
    /// Components of this kind; may be given several times.
    #[arg(long, help_heading = "Show only", value_name = "KIND", value_parser = kind)]
    kind: Vec<Kind>,
    /// What this plugin offers.
    #[arg(long, help_heading = "Show only", value_name = "NAME", add = ArgValueCompleter::new(candidates::plugins))]
    plugin: Option<String>,
    /// What handles or dispatches this event, such as step-end.
    #[arg(long, help_heading = "Show only", value_name = "EVENT", add = ArgValueCompleter::new(candidates::events))]
    event: Option<String>,
    /// What reads this state path, or a part of it.
    #[arg(long, help_heading = "Show only", value_name = "PATH", add = ArgValueCompleter::new(candidates::paths))]
    reads: Option<String>,
    /// What writes this state path, or a part of it.
    #[arg(long, help_heading = "Show only", value_name = "PATH", add = ArgValueCompleter::new(candidates::paths))]
    writes: Option<String>,
}

/// A kind by its name or its plural.
fn kind(text: &str) -> Result<Kind, String> {
    let plain = |text: &str| text.replace([' ', '-', '_'], "").to_lowercase();
    let found = Kind::ALL
        .into_iter()
        .find(|kind| plain(kind.name()) == plain(text) || plain(kind.plural()) == plain(text));
    found.ok_or_else(|| {
        let names = Kind::ALL.map(Kind::name);
        let near = nearest::nearest(text, names)
            .map(|near| format!("did you mean `{near}`? "))
            .unwrap_or_default();
        format!("{near}kinds are {}", names.join(", "))
    })
}

impl Filter {
    /// Whether the filter admits everything.
    pub fn is_open(&self) -> bool {
        self.kind.is_empty()
            && self.plugin.is_none()
            && self.event.is_none()
            && self.reads.is_none()
            && self.writes.is_none()
    }

    /// Whether the filter admits a component.
    pub fn admits(&self, one: &ComponentRef<'_>) -> bool {
        let manifest = one.manifest;
        let touches = |path: &str, declared: &[String]| {
            declared.iter().any(|other| overlap(path, other).is_some())
        };
        (self.kind.is_empty() || self.kind.contains(&manifest.kind))
            && self.plugin.as_ref().is_none_or(|name| name == one.plugin.name())
            && self.event.as_ref().is_none_or(|event| {
                manifest.events.contains(event) || manifest.emits.contains(event)
            })
            && self.reads.as_ref().is_none_or(|path| touches(path, &manifest.reads))
            && self.writes.as_ref().is_none_or(|path| touches(path, &manifest.writes))
    }

    /// Checks that every name in the filter exists.
    ///
    /// # Errors
    /// The unknown name, and the most similar known one.
    pub fn check(&self, catalog: &Catalog) -> Result<(), String> {
        let unknown = |what: &str, text: &str, mut known: Vec<&str>| {
            known.sort_unstable();
            known.dedup();
            let help = nearest::suggestion(text, known.iter().copied())
                .unwrap_or_else(|| "`fluxbay list` shows what there is".to_owned());
            Err(format!("{what} `{}`; {help}", escape::text(text)))
        };
        if let Some(name) = &self.plugin {
            let known: Vec<&str> = catalog.plugins().iter().map(|plugin| plugin.name()).collect();
            if !known.contains(&name.as_str()) {
                return unknown("there is no plugin", name, known);
            }
        }
        if let Some(event) = &self.event {
            let mut known = fluxbay_plugin::abi::event::NAMES.to_vec();
            known.extend(
                catalog
                    .all_components()
                    .flat_map(|one| one.manifest.emits.iter().chain(&one.manifest.events))
                    .map(String::as_str),
            );
            if !known.contains(&event.as_str()) {
                return unknown("there is no event", event, known);
            }
        }
        for (path, verb, is_read) in [(&self.reads, "reads", true), (&self.writes, "writes", false)]
        {
            let Some(path) = path else { continue };
            let declared = |one: ComponentRef<'_>| {
                if is_read { one.manifest.reads.clone() } else { one.manifest.writes.clone() }
            };
            let known: Vec<String> = catalog.all_components().flat_map(declared).collect();
            if !known.iter().any(|other| overlap(path, other).is_some()) {
                return unknown(
                    &format!("no component {verb}"),
                    path,
                    known.iter().map(String::as_str).collect(),
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_taken_in_the_singular_and_the_plural() {
        assert_eq!(
            ["callback", "callbacks", "losses", "dataset", "data sets", "Data-Sets"]
                .map(|text| kind(text).ok())
                .map(Option::unwrap),
            [
                Kind::Callback,
                Kind::Callback,
                Kind::Loss,
                Kind::Dataset,
                Kind::Dataset,
                Kind::Dataset
            ]
        );
        assert!(kind("calback").unwrap_err().contains("did you mean `callback`?"));
    }
}
