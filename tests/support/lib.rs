//! Helpers of the whole-system tests: the built binary, the standard plugins as files, crates built
//! outside the workspace, scratch folders.
//!
//! `cargo test` does not build other packages' cdylibs, so the first test that asks builds the
//! workspace; cargo itself makes sure that this happens once.

pub mod schema;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Mutex, OnceLock, PoisonError},
};

use tempfile::TempDir;

/// The repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests lie in the repository")
        .to_path_buf()
}

/// Where cargo puts this profile's binaries: the folder above the test's own `deps`.
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

/// The built `fluxbay` binary.
pub fn binary() -> PathBuf {
    built_dir().join("fluxbay")
}

/// The standard plugins' files.
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

/// A private folder with copies of the standard plugins, and of nothing else.
pub fn plugin_dir() -> TempDir {
    let dir = scratch();
    for file in standard_plugins() {
        let name = file.file_name().expect("a plugin has a name");
        fs::copy(&file, dir.path().join(name))
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
    dir
}

/// A private folder that goes with the test.
pub fn scratch() -> TempDir {
    tempfile::Builder::new().prefix("fluxbay-test-").tempdir().expect("a scratch folder")
}

/// The binary with nothing of the surroundings: its own home, no search path, no colours, no
/// plugins but those in `plugins`.
///
/// Relative paths start from `dir`.
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

/// A link to the binary in a folder without plugins: the real one has the workspace's beside it.
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

/// What a finished command printed.
#[derive(Debug)]
pub struct Finished {
    /// Exit code; none where a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Finished {
    let Output { status, stdout, stderr } =
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    Finished {
        code: status.code(),
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

/// Runs a command that has to succeed.
pub fn succeed(command: &mut Command) -> Finished {
    let finished = run(command);
    assert_eq!(finished.code, Some(0), "{command:?}\n{}\n{}", finished.stdout, finished.stderr);
    finished
}

/// Writes a file into a folder and gives its path.
pub fn write(dir: &Path, name: &str, content: &str) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path
}

/// Source of the plugin that the behaviours are tested with.
pub const FIXTURE: &str = concat!(
    include_str!("../behaviours/fixture/parts.rs"),
    include_str!("../behaviours/fixture/phases.rs"),
    include_str!("../behaviours/fixture/callbacks.rs"),
    include_str!("../behaviours/fixture/plugin.rs"),
);

/// Builds a plugin crate that lies outside the workspace and depends on `fluxbay-plugin` by path
/// alone: `source` is its `lib.rs`. Gives the shared library.
///
/// All such crates share one target folder, so that the author's crate is compiled for them once.
pub fn build_plugin(name: &str, source: &str) -> PathBuf {
    build_plugin_against(&repository().join("plugin-api"), name, source)
}

/// As [`build_plugin`], with another copy of the author's crate.
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
    // Benchmarks measure plugins as they are used.
    let profile = if built_dir().ends_with("release") {
        build.arg("--release");
        "release"
    } else {
        "debug"
    };
    // Plugins of one name are built to the same place, whatever they are: nobody else builds until
    // this one has been copied.
    static BUILDING: Mutex<()> = Mutex::new(());
    let _alone = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    succeed(&mut build);
    let built = target.join(profile).join(format!("lib{}.so", name.replace('-', "_")));
    let copy = dir.keep().join(format!("{name}.so"));
    fs::copy(&built, &copy).unwrap_or_else(|error| panic!("{}: {error}", built.display()));
    copy
}

/// A copy of the author's crate, in a workspace of its own, with one text of one file replaced.
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

/// The target folder that all crates outside the workspace share.
pub fn outside_target() -> PathBuf {
    built_dir().parent().expect("target/PROFILE has a parent").join("outside")
}

/// The plugin of the training-loop tutorial.
pub fn tutorial_plugin() -> PathBuf {
    built_dir().join("libtraining_loop.so")
}
