//! Using what was trained: predictions, bundles, ONNX files.

mod bundles;
mod comparing;
mod crashing;
mod onnx;
mod predictions;
mod programs;
mod serving;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use fluxbay_tests::{fluxbay, plugin_dir, repository, succeed, write};
use tempfile::TempDir;

/// A folder with a trained run on penguins, and plugins.
struct Trained {
    dir: TempDir,
    plugins: TempDir,
}

impl Trained {
    /// The run, trained once for all tests that do not change it.
    fn shared() -> &'static Trained {
        static RUN: OnceLock<Trained> = OnceLock::new();
        RUN.get_or_init(|| Trained::new(""))
    }

    /// Trains the example of the documentation with further settings of the data.
    fn new(data: &str) -> Trained {
        let (dir, plugins) = (fluxbay_tests::scratch(), plugin_dir());
        let examples = repository().join("docs/examples/runs");
        let run = fs::read_to_string(examples.join("penguins.toml")).unwrap();
        let run = run.replace("[data]\n", &format!("[data]\n{data}\n"));
        write(dir.path(), "penguins.toml", &run.replace("epochs = 30", "epochs = 3"));
        fs::copy(examples.join("penguins.csv"), dir.path().join("penguins.csv")).unwrap();
        let trained = Trained { dir, plugins };
        succeed(trained.fluxbay(&["train", "penguins.toml", "--run-dir", "run", "-q"]));
        trained
    }

    /// A command in the folder.
    fn fluxbay(&self, arguments: &[&str]) -> &'static mut Command {
        let mut command = fluxbay(self.dir.path(), self.plugins.path());
        command.args(arguments);
        Box::leak(Box::new(command))
    }

    /// The path of a file in the folder.
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The text of a file in the folder.
    fn read(&self, name: &str) -> String {
        read(&self.path(name))
    }

    /// The table of penguins, as rows of cells with the header first.
    fn penguins(&self) -> Vec<Vec<String>> {
        rows(&self.read("penguins.csv"))
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The cells of a table without quotes.
fn rows(text: &str) -> Vec<Vec<String>> {
    text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
}
