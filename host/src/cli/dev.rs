//! `fluxbay dev`: builds a plugin's crate, checks the file as `fluxbay check` does, and installs it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value as Json;

use super::check_progress::{self as progress, CheckProgress};
use super::outcome::{Exit, Failure, Outcome};
use super::output::print;
use super::train::shortcuts::time;
use crate::bridge::HOST;
use crate::check::{self, CheckReport, Options, Verdict};
use crate::display::Screen;
use crate::library::{Catalog, PluginEntry, ScanOptions, SearchOrigin, SearchPath, escape, load};

/// Arguments of `fluxbay dev`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Folder of the crate.
    #[arg(value_name = "CRATE", default_value = ".")]
    folder: PathBuf,
    /// Install into DIR, not into `plugins` beside the crate.
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    /// Build without optimisations: faster to build, slower in a run.
    #[arg(long)]
    debug: bool,
    /// Time for all checks: 30s, 5m.
    ///
    /// Trainings are made so small that all checks fit; what does not fit is skipped.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
    budget: Duration,
    /// Install it without the checks of `fluxbay check`.
    ///
    /// A file that every run would refuse, such as one without a manifest, is refused nevertheless.
    #[arg(long)]
    no_check: bool,
}

pub(super) fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let configuration = |text: String| Failure::new(Exit::Configuration, text);
    let manifest = arguments.folder.join("Cargo.toml");
    if !manifest.is_file() {
        let folder = escape::path(&arguments.folder);
        return Err(configuration(format!(
            "{folder} is no crate, it has no Cargo.toml: `fluxbay new callback NAME` makes one"
        )));
    }
    let built = build(&manifest, arguments.debug)?;
    let into = match &arguments.into {
        Some(dir) => dir.clone(),
        None => beside(&arguments.folder).map_err(configuration)?,
    };
    let installed = install(&built, &into, arguments, screen)?;
    let run_file = arguments.folder.join("run.toml");
    let next = if run_file.is_file() {
        format!("fluxbay train {}", plain(&run_file))
    } else {
        format!("fluxbay list --plugin-dir {}", plain(&into))
    };
    print(&format!("installed {}\n{}next: {next}\n", plain(&installed.path), installed.offers))
}

/// A path as the user would type it.
fn plain(path: &Path) -> String {
    let shown = escape::path(path);
    shown.strip_prefix("./").map_or(shown.clone(), str::to_owned)
}

/// The folder `plugins` beside the crate, as a relative path if the crate's is one.
fn beside(folder: &Path) -> Result<PathBuf, String> {
    if let Some(parent) = folder.parent().filter(|_| folder.file_name().is_some()) {
        return Ok(parent.join("plugins"));
    }
    let whole =
        fs::canonicalize(folder).map_err(|error| format!("{}: {error}", escape::path(folder)))?;
    Ok(whole.parent().unwrap_or(&whole).join("plugins"))
}

/// Builds the crate with cargo; returns the shared library.
fn build(manifest: &Path, debug: bool) -> Result<PathBuf, Failure> {
    let failed = |text: String| Failure::new(Exit::Failed, text);
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--lib", "--message-format=json-render-diagnostics", "--manifest-path"])
        .arg(manifest);
    if !debug {
        cargo.arg("--release");
    }
    let output =
        cargo.stdin(Stdio::null()).stderr(Stdio::inherit()).output().map_err(|error| {
            failed(format!("cargo cannot be started: {error}; it comes with the Rust toolchain, see https://rustup.rs"))
        })?;
    if !output.status.success() {
        return Err(failed(format!(
            "{} does not build; see the errors of cargo above",
            escape::path(manifest)
        )));
    }
    let manifest = fs::canonicalize(manifest)
        .map_err(|error| failed(format!("{}: {error}", escape::path(manifest))))?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    let built = stdout
        .lines()
        .filter_map(|line| serde_json::from_str::<Json>(line).ok())
        .find_map(|message| library(&message, &manifest));
    built.ok_or_else(|| {
        let text =
            "does not build a shared library: add `[lib]` with `crate-type = [\"cdylib\"]` to it";
        Failure::new(Exit::Configuration, format!("{} {text}", escape::path(&manifest)))
    })
}

/// The shared library in a message of cargo, if it is of this crate.
fn library(message: &Json, manifest: &Path) -> Option<PathBuf> {
    let is_ours = message["reason"] == "compiler-artifact"
        && message["manifest_path"].as_str().map(Path::new) == Some(manifest);
    let types = message["target"]["crate_types"].as_array()?;
    let files = message["filenames"]
        .as_array()
        .filter(|_| is_ours && types.iter().any(|kind| kind == "cdylib"))?;
    files.iter().filter_map(Json::as_str).find(|file| file.ends_with(".so")).map(PathBuf::from)
}

/// An installed plugin.
struct Installed {
    path: PathBuf,
    /// Its components, one per line.
    offers: String,
}

/// Checks a copy in a temporary folder beside the target, then renames it.
fn install(
    built: &Path,
    into: &Path,
    arguments: &Arguments,
    screen: &Screen,
) -> Result<Installed, Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(
            Exit::Failed,
            format!(
                "nothing can be installed into {}: {error}; name another folder with --into",
                escape::path(into)
            ),
        )
    };
    fs::create_dir_all(into).map_err(failed)?;
    let aside =
        tempfile::Builder::new().prefix(".fluxbay-dev-").tempdir_in(into).map_err(failed)?;
    let name = built.file_name().unwrap_or_default();
    let copy = aside.path().join(name);
    fs::copy(built, &copy).map_err(failed)?;
    let catalog = scan(aside.path());
    let plugin = found(&catalog)?;
    if arguments.no_check {
        load(plugin, &HOST).map_err(|error| refused(&error.refusal.to_string()))?;
    } else {
        screen.print(&check_copy(copy.clone(), built, &into.join(name), arguments.budget, screen)?);
    }
    let offers = offers(plugin);
    let path = into.join(name);
    fs::rename(&copy, &path).map_err(failed)?;
    Ok(Installed { path, offers })
}

fn refused(text: &str) -> Failure {
    Failure::new(
        Exit::PluginRefused,
        format!("the plugin is refused, nothing was installed: {text}"),
    )
}

/// Scans the folder as a run does before it loads a file.
fn scan(folder: &Path) -> Catalog {
    let mut path = SearchPath::new();
    path.push(folder, SearchOrigin::CommandLine);
    Catalog::scan(&path, &ScanOptions::default())
}

/// The plugin in a catalog of one file, or why it is refused.
fn found(catalog: &Catalog) -> Result<&PluginEntry, Failure> {
    catalog.plugins().first().ok_or_else(|| {
        let why = catalog
            .reports()
            .iter()
            .find_map(|report| report.refusal.as_ref().map(ToString::to_string));
        let of_dir =
            || catalog.dirs().iter().find_map(|dir| dir.refusal.as_ref().map(ToString::to_string));
        let none = || {
            "the shared library has no manifest: describe its components with the macro `plugin!`"
                .to_owned()
        };
        refused(&why.or_else(of_dir).unwrap_or_else(none))
    })
}

/// Runs every check of `fluxbay check`; trainings can use the plugins that are already installed.
/// Returns a line that counts the results.
fn check_copy(
    copy: PathBuf,
    built: &Path,
    target: &Path,
    budget: Duration,
    screen: &Screen,
) -> Result<String, Failure> {
    let options = Options {
        file: copy,
        dirs: target.parent().map(Path::to_owned).into_iter().collect(),
        runs: Vec::new(),
        seed: 1,
        only: Vec::new(),
        budget,
    };
    let mut progress = CheckProgress::new(screen);
    let report = check::check(&options, &mut |event| progress.show(event)).map_err(|error| {
        let text = "the plugin cannot be checked (`fluxbay dev --no-check` installs it without)";
        progress::failure(&error, text)
    })?;
    summary(&report, built, target).map_err(|text| Failure::new(Exit::Failed, text))
}

/// Number of failed checks that are shown with their messages, which are often the same.
const SHOWN: usize = 3;

/// Ok with a line that counts the results, or an error text with the failed checks.
fn summary(report: &CheckReport, built: &Path, target: &Path) -> Result<String, String> {
    let failed: Vec<_> =
        report.outcomes.iter().filter(|outcome| outcome.verdict == Verdict::Failed).collect();
    if failed.is_empty() {
        let mut line = format!("     Checked {} passed", report.count(Verdict::Passed));
        for (verdict, one, several) in [
            (Verdict::Warning, "warning", "warnings"),
            (Verdict::Skipped, "not tried", "not tried"),
        ] {
            let names: BTreeSet<&str> = report
                .outcomes
                .iter()
                .filter(|outcome| outcome.verdict == verdict)
                .map(|outcome| outcome.check.as_str())
                .collect();
            let word = if names.len() == 1 { one } else { several };
            if !names.is_empty() {
                line.push_str(&format!(
                    ", {} {word} ({})",
                    names.len(),
                    names.into_iter().collect::<Vec<_>>().join(", ")
                ));
            }
        }
        if report.count(Verdict::Passed) < report.outcomes.len() {
            line.push_str(&format!("; see `fluxbay check {}`", plain(target)));
        }
        return Ok(line);
    }
    let count =
        if failed.len() == 1 { "1 check".to_owned() } else { format!("{} checks", failed.len()) };
    let mut text = format!("the plugin fails {count}, nothing was installed:\n");
    for outcome in failed.iter().take(SHOWN) {
        let component = outcome.component.as_deref().unwrap_or("the plugin");
        text.push_str(&format!(
            "\n  {component}: {}\n    expected: {}\n",
            outcome.check, outcome.about
        ));
        for (number, line) in outcome.message.lines().enumerate() {
            text.push_str(if number == 0 { "    found:    " } else { "              " });
            text.push_str(line);
            text.push('\n');
        }
    }
    if let Some(more) = failed.get(SHOWN..).filter(|more| !more.is_empty()) {
        let names: BTreeSet<&str> = more.iter().map(|outcome| outcome.check.as_str()).collect();
        text.push_str(&format!("\n  and {}\n", names.into_iter().collect::<Vec<_>>().join(", ")));
    }
    let file = plain(built);
    text.push_str(&format!(
        "\nFix the crate and run `fluxbay dev` again. `fluxbay check {file}` shows all checks, `fluxbay dev --no-check` installs it without them."
    ));
    Err(text)
}

fn offers(plugin: &PluginEntry) -> String {
    let components = plugin.manifest().components.iter();
    components.map(|one| format!("  {}  {}\n", one.id(), escape::text(&one.summary))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_shared_library_of_this_crate_is_found_among_cargos_messages() {
        let message = |manifest: &str, kind: &str| json!({"reason": "compiler-artifact", "manifest_path": manifest, "target": {"crate_types": [kind]}, "filenames": ["/t/liba.rmeta", "/t/liba.so"]});
        let ours = Path::new("/a/Cargo.toml");
        assert_eq!(
            library(&message("/a/Cargo.toml", "cdylib"), ours),
            Some(PathBuf::from("/t/liba.so"))
        );
        assert_eq!(library(&message("/b/Cargo.toml", "cdylib"), ours), None);
        assert_eq!(library(&message("/a/Cargo.toml", "lib"), ours), None);
        assert_eq!(library(&json!({"reason": "build-finished"}), ours), None);
    }

    #[test]
    fn what_came_of_the_checks_is_a_line_or_all_that_failed() {
        let outcome = |check: &str, verdict: &str| json!({ "check": check, "about": "it holds", "component": "loss/x", "verdict": verdict, "message": "bad\nluck", "milliseconds": 1 });
        let report = |verdicts: &[(&str, &str)]| CheckReport {
            file: "aside/libx.so".into(),
            plugin: None,
            sha256: None,
            seed: 1,
            outcomes: verdicts
                .iter()
                .map(|(check, verdict)| serde_json::from_value(outcome(check, verdict)).unwrap())
                .collect(),
        };
        let good = report(&[
            ("loads", "passed"),
            ("licence-given", "warning"),
            ("trains", "skipped"),
            ("resumes", "skipped"),
        ]);
        assert_eq!(
            summary(&good, Path::new("t/libx.so"), Path::new("plugins/libx.so")).unwrap(),
            "     Checked 1 passed, 1 warning (licence-given), 2 not tried (resumes, trains); see `fluxbay check plugins/libx.so`"
        );
        let bad = summary(
            &report(&[("loads", "passed"), ("trains", "failed")]),
            Path::new("t/libx.so"),
            Path::new("plugins/libx.so"),
        )
        .unwrap_err();
        insta::assert_snapshot!(bad, @r"
        the plugin fails 1 check, nothing was installed:

          loss/x: trains
            expected: it holds
            found:    bad
                      luck

        Fix the crate and run `fluxbay dev` again. `fluxbay check t/libx.so` shows all checks, `fluxbay dev --no-check` installs it without them.
        ");
    }

    #[test]
    fn plugins_go_beside_the_crate() {
        assert_eq!(beside(Path::new("mine")), Ok(PathBuf::from("plugins")));
        assert_eq!(beside(Path::new("deep/mine")), Ok(PathBuf::from("deep/plugins")));
        assert!(
            beside(Path::new("."))
                .is_ok_and(|path| path.is_absolute() && path.ends_with("plugins"))
        );
    }
}
