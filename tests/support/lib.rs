//! Helpers for the whole-system tests: the built binary, the standard plugins as files, plugin
//! crates built outside the workspace, temporary folders.
//!
//! `cargo test` does not build the cdylibs of other packages, so the first test that needs them
//! runs `cargo build --workspace`. Cargo's own lock serialises concurrent builds.

pub mod schema;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Mutex, OnceLock, PoisonError},
};

use tempfile::TempDir;

/// Root folder of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests lie in the repository")
        .to_path_buf()
}

/// Output folder of the current profile, `target/PROFILE`. Builds the workspace on the first call.
fn built_dir() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let test = std::env::current_exe().expect("a test knows its own path");
        let dir = test.ancestors().nth(2).expect("tests lie in target/PROFILE/deps").to_path_buf();
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--workspace"]).current_dir(repository());
        if dir.ends_with("release") {
            build.arg("--release");
        }
        build.env("CARGO_TARGET_DIR", dir.parent().expect("target/PROFILE has a parent"));
        succeed(&mut build);
        dir
    })
}

/// Path of the built `fluxbay` binary.
pub fn binary() -> PathBuf {
    built_dir().join("fluxbay")
}

/// Shared libraries of the standard plugins, sorted by path.
pub fn standard_plugins() -> Vec<PathBuf> {
    let themes = fs::read_dir(repository().join("plugins")).expect("plugins/ is readable");
    let mut files: Vec<PathBuf> = themes
        .map(|theme| theme.expect("plugins/ is readable").path())
        .filter(|theme| theme.join("Cargo.toml").is_file())
        .map(|theme| {
            built_dir().join(format!(
                "libfluxbay_{}.so",
                theme.file_name().unwrap_or_default().to_string_lossy().replace('-', "_")
            ))
        })
        .collect();
    files.sort();
    files
}

/// A temporary folder with copies of the standard plugins only.
pub fn plugin_dir() -> TempDir {
    let dir = scratch();
    for file in standard_plugins() {
        let name = file.file_name().expect("a plugin has a name");
        fs::copy(&file, dir.path().join(name))
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
    dir
}

/// A temporary folder, removed when the returned value is dropped.
pub fn scratch() -> TempDir {
    tempfile::Builder::new().prefix("fluxbay-test-").tempdir().expect("a scratch folder")
}

/// A command that runs the binary isolated from the environment: home and caches inside `dir`, no
/// colours, only the plugins in `plugins`.
///
/// The working directory is `dir`.
pub fn fluxbay(dir: &Path, plugins: &Path) -> Command {
    let mut command = Command::new(isolated_binary());
    command.current_dir(dir).env_clear();
    command
        .env("HOME", dir)
        .env("XDG_CACHE_HOME", dir.join(".cache"))
        .env("XDG_DATA_HOME", dir.join(".data"));
    command
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("NO_COLOR", "1")
        .env("FLUXBAY_PLUGIN_PATH", plugins);
    command
}

/// A link to the binary in a folder of its own. The original is next to the workspace's plugins,
/// which it would find.
fn isolated_binary() -> &'static Path {
    static COPY: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    &COPY
        .get_or_init(|| {
            let dir = scratch();
            let copy = dir.path().join("fluxbay");
            fs::hard_link(binary(), &copy)
                .or_else(|_| fs::copy(binary(), &copy).map(drop))
                .expect("a copy of the binary");
            (dir, copy)
        })
        .1
}

/// Exit code and output of a finished command.
#[derive(Debug)]
pub struct Finished {
    /// Exit code; `None` if a signal ended the process.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs a command and waits for it.
pub fn run(command: &mut Command) -> Finished {
    let Output { status, stdout, stderr } =
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    Finished {
        code: status.code(),
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

/// Runs a command and panics unless it exits with 0.
pub fn succeed(command: &mut Command) -> Finished {
    let finished = run(command);
    assert_eq!(finished.code, Some(0), "{command:?}\n{}\n{}", finished.stdout, finished.stderr);
    finished
}

/// Writes a file into a folder and returns its path.
pub fn write(dir: &Path, name: &str, content: &str) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path
}

/// Source of the plugin that the tests of the behaviours use.
pub const FIXTURE: &str = concat!(
    include_str!("../behaviours/fixture/parts.rs"),
    include_str!("../behaviours/fixture/phases.rs"),
    include_str!("../behaviours/fixture/callbacks.rs"),
    include_str!("../behaviours/fixture/plugin.rs"),
);

/// Builds a plugin crate outside the workspace that depends only on `fluxbay-plugin`, by path.
/// `source` is its `lib.rs`. Returns the path of the shared library.
///
/// All such crates share one target folder, so that `fluxbay-plugin` is compiled once.
pub fn build_plugin(name: &str, source: &str) -> PathBuf {
    build_plugin_against(&repository().join("plugin-api"), name, source)
}

/// Like [`build_plugin`], with another copy of `fluxbay-plugin`.
pub fn build_plugin_against(author_crate: &Path, name: &str, source: &str) -> PathBuf {
    let dir = scratch();
    write(
        dir.path(),
        "Cargo.toml",
        &format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\nlicense = \"MIT\"\n\n[lib]\ncrate-type = [\"cdylib\"]\npath = \
             \"lib.rs\"\n\n[dependencies]\nfluxbay-plugin = {{ path = {:?} }}\n\n[workspace]\n",
            author_crate
        ),
    );
    fs::copy(repository().join("Cargo.lock"), dir.path().join("Cargo.lock"))
        .expect("the workspace has a lock file");
    write(dir.path(), "lib.rs", source);
    let target = outside_target();
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet"]).current_dir(dir.path()).env("CARGO_TARGET_DIR", &target);
    // Benchmarks run in release mode and need release plugins.
    let profile = if built_dir().ends_with("release") {
        build.arg("--release");
        "release"
    } else {
        "debug"
    };
    // Plugins with equal names share an output file: hold the lock until the file has been copied.
    static BUILDING: Mutex<()> = Mutex::new(());
    let _alone = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    succeed(&mut build);
    let built = target.join(profile).join(format!("lib{}.so", name.replace('-', "_")));
    let copy = dir.keep().join(format!("{name}.so"));
    fs::copy(&built, &copy).unwrap_or_else(|error| panic!("{}: {error}", built.display()));
    copy
}

/// Copies `fluxbay-plugin` into a workspace of its own and replaces `from` by `to` in one file.
/// Returns the folder of the copy.
pub fn altered_author_crate(file: &str, from: &str, to: &str) -> PathBuf {
    let dir = scratch().keep();
    let manifest =
        fs::read_to_string(repository().join("Cargo.toml")).expect("the workspace has a manifest");
    let alone = |line: &&str| !line.starts_with("members") && !line.starts_with("default-members");
    write(
        &dir,
        "Cargo.toml",
        &manifest
            .lines()
            .filter(alone)
            .collect::<Vec<_>>()
            .join("\n")
            .replace("[workspace]\n", "[workspace]\nmembers = [\"plugin-api\"]\n"),
    );
    let copied =
        Command::new("cp").arg("-r").arg(repository().join("plugin-api")).arg(&dir).status();
    assert!(copied.is_ok_and(|status| status.success()), "the author's crate cannot be copied");
    let altered = dir.join("plugin-api").join(file);
    let text = fs::read_to_string(&altered)
        .unwrap_or_else(|error| panic!("{}: {error}", altered.display()));
    assert!(text.contains(from), "{file} does not say {from:?}");
    write(&dir.join("plugin-api"), file, &text.replacen(from, to, 1));
    dir.join("plugin-api")
}

/// Target folder shared by all crates outside the workspace.
pub fn outside_target() -> PathBuf {
    built_dir().parent().expect("target/PROFILE has a parent").join("outside")
}

/// Shared library of the training-loop tutorial.
pub fn tutorial_plugin() -> PathBuf {
    built_dir().join("libtraining_loop.so")
}
