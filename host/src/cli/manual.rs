//! `fluxbay man`: the manual pages, generated from the same definitions as `--help`.

use std::path::PathBuf;

use super::outcome::{Exit, Failure, Outcome};
use super::output::print;
use crate::library::escape;

/// Arguments of `fluxbay man`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Write a page for every command into DIR, such as ~/.local/share/man/man1; without it, the
    /// main page goes to stdout.
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, command: clap::Command) -> Outcome {
    let failed = |place: String, error: std::io::Error| {
        Failure::new(
            Exit::Failed,
            format!("cannot write {place}: {error}; choose a folder that you may write to"),
        )
    };
    let Some(dir) = &arguments.dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command)
            .render(&mut page)
            .map_err(|error| failed("the page".to_owned(), error))?;
        return print(&String::from_utf8_lossy(&page));
    };
    let write = || {
        std::fs::create_dir_all(dir)?;
        clap_mangen::generate_to(command, dir)
    };
    write().map_err(|error| failed(escape::path(dir), error))?;
    print(&format!(
        "wrote the manual pages to {}; `man -l {}/fluxbay.1` shows the first\n",
        escape::path(dir),
        escape::path(dir)
    ))
}
