//! `fluxbay serve`: starts the program that serves a model over HTTP. It is a binary of its own beside
//! this one, with these arguments.

use std::{
    ffi::OsString, net::SocketAddr, os::unix::process::CommandExt as _, path::PathBuf,
    process::Command, time::Duration,
};

use clap_complete::engine::ArgValueCompleter;

use super::candidates;
use super::outcome::{Exit, Failure, Outcome};
use super::train::shortcuts::time;
use crate::library::escape;

/// Name of the program.
const PROGRAM: &str = "fluxbay-serve";

/// Arguments of `fluxbay serve`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// A bundle; or a run's folder, its name or a part of it.
    #[arg(value_name = "BUNDLE", add = ArgValueCompleter::new(candidates::runs))]
    pub model: OsString,
    /// Listen on this address; port 0 takes a free one.
    ///
    /// Any address but the loopback needs --token-file.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8088")]
    pub address: SocketAddr,
    /// Answer only requests with the token in this file.
    ///
    /// As `Authorization: Bearer TOKEN`. The file holds at least 16 characters on its first line.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Compute at most N samples at a time.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: u32,
    /// Wait this long for more requests before computing: 2ms.
    ///
    /// Without it, requests that wait are computed together, and none waits for others.
    #[arg(long, value_name = "TIME", default_value = "0ms", hide_default_value = true, value_parser = milliseconds)]
    pub wait: Duration,
    /// Refuse requests with a longer body, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 16 << 20)]
    pub max_body: usize,
    /// Refuse requests with more samples.
    #[arg(long, value_name = "N", default_value_t = 10_000, hide_short_help = true)]
    pub max_samples: usize,
    /// Give up requests that take longer: 10s, 1m.
    ///
    /// A call of a plugin that takes longer is ended, with the process of the model.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    pub timeout: Duration,
    /// End when the model has crashed N times within a minute; before that it is started again.
    #[arg(long, value_name = "N", default_value_t = 5, hide_short_help = true, value_parser = clap::value_parser!(u32).range(1..))]
    pub crashes: u32,
    /// Serve at most N connections at a time; others wait.
    #[arg(long, value_name = "N", default_value_t = 256, hide_short_help = true, value_parser = clap::value_parser!(u32).range(1..))]
    pub connections: u32,
    /// Serve the model with this name, if the run has several.
    #[arg(long = "model", value_name = "NAME", default_value = "", hide_default_value = true)]
    pub name: String,
    /// Compute on N threads; any N, same bits.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub threads: usize,
    /// Look for plugins in DIR first. May be given several times.
    #[arg(long = "plugin-dir", value_name = "DIR")]
    pub plugin_dirs: Vec<PathBuf>,
    /// Use plugins of DIR although others could change them.
    #[arg(long = "allow-untrusted", value_name = "DIR", hide_short_help = true)]
    pub allow_untrusted: Vec<PathBuf>,
}

/// The folder of the bundle or run that an argument names.
///
/// # Errors
/// No run matches, or several do; the text says which.
pub fn folder(model: &std::ffi::OsStr) -> Result<PathBuf, String> {
    super::run_lookup::find_model(model).map_err(|failure| failure.to_string())
}

/// A time such as `2ms` or `1s`.
fn milliseconds(text: &str) -> Result<Duration, String> {
    match text.strip_suffix("ms").map(str::parse::<u32>) {
        Some(Ok(number)) => Ok(Duration::from_millis(u64::from(number))),
        Some(Err(_)) => Err(format!("`{text}` is no number of milliseconds, such as `2ms`")),
        None => time(text),
    }
}

/// Replaces this process by the program, which gets the arguments as they were given.
pub(super) fn run(_: &Arguments) -> Outcome {
    let beside = std::env::current_exe().ok().and_then(|own| {
        let own = std::fs::canonicalize(&own).unwrap_or(own);
        Some(own.parent()?.join(PROGRAM))
    });
    let program = beside.filter(|program| program.is_file());
    let Some(program) = program else {
        return Err(Failure::new(
            Exit::Failed,
            format!(
                "the program `{PROGRAM}` is not beside this one: install it there \
                 (`cargo build --release -p fluxbay-serve` builds it)"
            ),
        ));
    };
    // The name of the command is replaced by that of the program; options before it stay.
    let mut found = false;
    let arguments = std::env::args_os().skip(1).filter(|argument| {
        let is_name = !found && argument == "serve";
        found |= is_name;
        !is_name
    });
    let error = Command::new(&program).args(arguments).exec();
    Err(Failure::new(
        Exit::Failed,
        format!("{} cannot be started: {error}", escape::path(&program)),
    ))
}
