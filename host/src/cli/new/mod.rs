//! `fluxbay new`: a crate with one component, outside any workspace, that builds, passes its test
//! and trains at once.

mod author;
mod example;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use author::Author;
use clap::builder::TypedValueParser as _;
use fluxbay_plugin::abi::event::EVENTS;

use super::outcome::{Exit, Failure, Outcome};
use super::output::print;
use crate::library::{Kind, escape};

/// Arguments of `fluxbay new`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What the component is.
    #[arg(value_parser = kinds())]
    kind: Kind,
    /// Its name, in kebab-case: also the crate's and its folder's.
    #[arg(value_name = "NAME")]
    name: String,
    /// Make the crate's folder in DIR.
    #[arg(long = "in", value_name = "DIR", default_value = ".")]
    parent: PathBuf,
    /// Depend on the author's crate in PATH (the folder `plugin-api` of a clone) instead of the
    /// published one.
    ///
    /// By default it is the clone that this fluxbay was built from, if it still exists, or what its package
    /// installed, and otherwise the published crate of the same version.
    #[arg(long, value_name = "PATH")]
    plugin_api: Option<PathBuf>,
}

/// A kind by its name, listed with what it is for.
fn kinds() -> impl clap::builder::TypedValueParser<Value = Kind> {
    let values = Kind::ALL.map(|kind| {
        clap::builder::PossibleValue::new(kind.name()).help(kind.summary().trim_end_matches('.'))
    });
    clap::builder::PossibleValuesParser::new(values).try_map(|name| name.parse::<Kind>())
}

/// The source of a new crate with a component of a kind.
fn template(kind: Kind) -> &'static str {
    match kind {
        Kind::Phase => include_str!("templates/phase.rs"),
        Kind::Callback => include_str!("templates/callback.rs"),
        Kind::Model => include_str!("templates/model.rs"),
        Kind::Loss => include_str!("templates/loss.rs"),
        Kind::Dataset => include_str!("templates/dataset.rs"),
        Kind::Metric => include_str!("templates/metric.rs"),
        Kind::Schedule => include_str!("templates/schedule.rs"),
        Kind::Logger => include_str!("templates/logger.rs"),
        Kind::Optimizer => include_str!("templates/optimizer.rs"),
        Kind::Transform => include_str!("templates/transform.rs"),
        Kind::Sampler => include_str!("templates/sampler.rs"),
        Kind::Communicator => include_str!("templates/communicator.rs"),
    }
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let configuration = |text: String| Failure::new(Exit::Configuration, text);
    let name = arguments.name.as_str();
    check_name(name).map_err(configuration)?;
    let author = match &arguments.plugin_api {
        Some(path) => Author::at(path).map_err(configuration)?,
        None => Author::of_this_build(),
    };
    let folder = arguments.parent.join(name);
    if folder.exists() {
        return Err(configuration(format!(
            "{} exists already: choose another name, or another folder with --in",
            escape::path(&folder)
        )));
    }
    let failed = |error: std::io::Error| {
        Failure::new(
            Exit::Failed,
            format!(
                "{} cannot be written: {error}; choose another folder with --in DIR",
                escape::path(&folder)
            ),
        )
    };
    write(&folder, &files(arguments.kind, name, &author)).map_err(failed)?;
    if let Some(lock) = author.lock_file() {
        // The versions that fluxbay itself was built with: known to work, and already downloaded.
        fs::copy(lock, folder.join("Cargo.lock")).map_err(failed)?;
    }
    print(&said(arguments.kind, &folder))
}

/// The files of the crate.
fn files(kind: Kind, name: &str, author: &Author) -> Vec<(&'static str, String)> {
    let fill =
        |text: &str| text.replace("{{name}}", name).replace("{{Type}}", &type_name(name, kind));
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n# Others may use it only under a licence.\n# license = \"MIT OR Apache-2.0\"\n\n[lib]\n# A shared library: what fluxbay loads.\ncrate-type = \
         [\"cdylib\"]\n\n[dependencies]\nfluxbay-plugin = {}\n\n# Its own workspace, also within the folder of another one.\n[workspace]\n",
        author.dependency()
    );
    vec![
        ("Cargo.toml", manifest),
        (".gitignore", "/target\n".to_owned()),
        ("src/lib.rs", fill(template(kind))),
        ("run.toml", example::run_file(kind, name)),
        ("README.md", example::readme(kind, name)),
    ]
}

fn write(folder: &Path, files: &[(&str, String)]) -> std::io::Result<()> {
    fs::create_dir_all(folder.join("src"))?;
    files.iter().try_for_each(|(name, text)| fs::write(folder.join(name), text))
}

/// What was made, and the commands that lead to a run.
fn said(kind: Kind, folder: &Path) -> String {
    let shown = escape::path(folder);
    let shown = shown.strip_prefix("./").unwrap_or(&shown);
    let mut out = format!("{shown}: a crate with a {kind}, its test, and a run that uses it\n\n");
    let rows = [
        (format!("{shown}/src/lib.rs"), format!("the {kind}: change it")),
        (format!("fluxbay dev {shown}"), "builds and checks it, and installs it".to_owned()),
        (format!("fluxbay train {shown}/run.toml"), "trains with it".to_owned()),
    ];
    let width = rows.iter().map(|row| row.0.chars().count()).max().unwrap_or(0);
    for (what, why) in rows {
        let _ = writeln!(out, "  {what:width$}  {why}");
    }
    out
}

/// Names that cargo or the compiler reserves.
const TAKEN: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "build",
    "const",
    "continue",
    "core",
    "crate",
    "deps",
    "do",
    "dyn",
    "else",
    "enum",
    "examples",
    "extern",
    "false",
    "final",
    "fluxbay-plugin",
    "fn",
    "for",
    "if",
    "impl",
    "in",
    "incremental",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc-macro",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "type",
    "use",
];

fn check_name(name: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let kebab = name.starts_with(|ch: char| ch.is_ascii_lowercase())
        && name.split('-').all(|part| !part.is_empty() && part.bytes().all(plain));
    if !kebab || name.len() > 60 {
        let near = kebab_of(name);
        let help = if near.is_empty() || near.len() > 60 {
            "a name such as `my-callback`".to_owned()
        } else {
            format!("`{near}`")
        };
        return Err(format!(
            "`{}` is no name for a component: use small letters, digits and hyphens, beginning with a letter; try {help}",
            escape::text(name)
        ));
    }
    if TAKEN.contains(&name) {
        return Err(format!("`{name}` is reserved by cargo or the compiler: try `my-{name}`"));
    }
    Ok(())
}

/// The nearest name in kebab-case; empty if there is none.
fn kebab_of(name: &str) -> String {
    let mut out = String::new();
    let mut before = None;
    for ch in name.chars().filter(char::is_ascii) {
        if ch.is_ascii_uppercase() && before.is_some_and(|before: char| before.is_ascii_lowercase())
        {
            out.push('-');
        }
        out.push(if ch.is_ascii_alphanumeric() { ch.to_ascii_lowercase() } else { '-' });
        before = Some(ch);
    }
    let parts: Vec<&str> = out.split('-').filter(|part| !part.is_empty()).collect();
    parts.join("-").trim_start_matches(|ch: char| !ch.is_ascii_lowercase()).to_owned()
}

/// Types of the prelude and of the templates, besides the events.
const TYPES: &[&str] = &[
    "Activation",
    "Batch",
    "Box",
    "Buffers",
    "Callback",
    "Clone",
    "Communicator",
    "Component",
    "Config",
    "Context",
    "Copy",
    "Custom",
    "DType",
    "DataSpec",
    "Dataset",
    "Debug",
    "Default",
    "Draws",
    "Err",
    "Error",
    "Event",
    "EventKind",
    "Field",
    "File",
    "FillContext",
    "From",
    "Init",
    "Into",
    "Joined",
    "Json",
    "Learner",
    "Linear",
    "Logger",
    "Loss",
    "Lowest",
    "Metric",
    "Model",
    "Module",
    "Network",
    "Node",
    "Ok",
    "Option",
    "Optimizer",
    "Params",
    "Parts",
    "Path",
    "Phase",
    "Read",
    "Record",
    "Result",
    "Sample",
    "SampleMut",
    "Sampler",
    "Schedule",
    "Series",
    "Setup",
    "Some",
    "Split",
    "Step",
    "String",
    "Tensor",
    "TrainingSamples",
    "Transform",
    "Vec",
    "Weights",
    "Write",
];

/// `lowest-loss` becomes `LowestLoss`.
fn type_name(name: &str, kind: Kind) -> String {
    let pascal = |text: &str| -> String {
        let capital = |part: &str| {
            part.chars()
                .take(1)
                .map(|ch| ch.to_ascii_uppercase())
                .chain(part.chars().skip(1))
                .collect::<String>()
        };
        text.split('-').map(capital).collect()
    };
    let own = pascal(name);
    let taken = TYPES.contains(&own.as_str()) || EVENTS.iter().any(|event| event.variant == own);
    if taken {
        format!("My{own}{}", if own == pascal(kind.name()) { "" } else { "Component" })
    } else {
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kebab_case_and_others_get_one_that_is() {
        for good in ["a", "lowest-loss", "top-5"] {
            assert_eq!(check_name(good), Ok(()));
        }
        for (bad, near) in [
            ("LowLoss", "`low-loss`"),
            ("my_cb", "`my-cb`"),
            ("5x", "`x`"),
            ("a--b", "`a-b`"),
            ("../x", "`x`"),
            ("日", "my-callback"),
        ] {
            let error = check_name(bad).unwrap_err();
            assert!(error.contains(near), "{bad}: {error}");
        }
        assert!(check_name("fn").unwrap_err().contains("`my-fn`"));
    }

    #[test]
    fn types_never_hide_those_of_the_prelude() {
        assert_eq!(type_name("lowest-loss", Kind::Callback), "LowestLoss");
        assert_eq!(type_name("callback", Kind::Callback), "MyCallback");
        assert_eq!(type_name("step-end", Kind::Callback), "MyStepEndComponent");
    }

    #[test]
    fn every_kind_has_a_whole_crate() {
        for kind in Kind::ALL {
            let files = files(kind, "lowest-loss", &Author::Published);
            assert_eq!(
                files.iter().map(|file| file.0).collect::<Vec<_>>(),
                ["Cargo.toml", ".gitignore", "src/lib.rs", "run.toml", "README.md"]
            );
            for (name, text) in &files {
                assert!(!text.contains("{{"), "{kind:?} {name}:\n{text}");
            }
            let (manifest, run, readme) = (&files[0].1, &files[3].1, &files[4].1);
            assert!(
                toml::from_str::<toml::Table>(manifest).is_ok()
                    && toml::from_str::<toml::Table>(run).is_ok(),
                "{kind}\n{manifest}\n{run}"
            );
            assert!(
                run.contains("\"lowest-loss\"") && readme.contains("fluxbay dev"),
                "{kind}\n{run}\n{readme}"
            );
        }
    }
}
