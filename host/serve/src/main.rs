//! Serves a trained model over HTTP; started by `fluxbay serve`.
//!
//! | file | content |
//! |---|---|
//! | `model` | starts the process of the model, and starts it anew when a plugin has ended it |
//! | `wire` | messages between the server and that process |
//! | `worker` | that process: gathers requests into batches, computes, answers |
//! | `body` | requests as tensors or as files for the data set |
//! | `routes` | what each path answers, limits, the token |
//! | `connections` | accepts, limits and ends connections |
//! | `metrics` | counters in the text format of Prometheus |
//! | `openapi` | the description of the interface |

#![forbid(unsafe_code)]

mod body;
mod connections;
mod metrics;
mod model;
mod openapi;
mod routes;
mod wire;
mod worker;

use std::{process::ExitCode, sync::Arc};

use clap::Parser;
use fluxbay::cli::serve::{Arguments, folder};
use metrics::Metrics;
use model::Model;
use routes::{Access, Limits, State};
use worker::ModelOptions;

/// Serves a trained model over HTTP.
#[derive(Debug, Parser)]
#[command(name = "fluxbay serve", version, max_term_width = 100)]
struct Program {
    #[command(flatten)]
    arguments: Arguments,
    /// Descriptor of the memory that is shared with the server; set by the server only.
    #[arg(long, hide = true, value_name = "FD")]
    supervised: Option<i32>,
    /// Print more on stderr; twice for everything.
    #[arg(short, long, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,
    /// Print errors only.
    #[arg(short, long)]
    quiet: bool,
}

/// Shortest token.
const SHORTEST_TOKEN: usize = 16;

fn main() -> ExitCode {
    let program = Program::parse();
    let level = match (program.quiet, program.verbose) {
        (true, _) => log::LevelFilter::Error,
        (false, 0) => log::LevelFilter::Warn,
        (false, 1) => log::LevelFilter::Info,
        (false, _) => log::LevelFilter::Debug,
    };
    env_logger::Builder::new().filter_level(level).parse_default_env().init();
    let ended = match program.supervised {
        Some(number) => compute(number, program.arguments),
        None => serve(&program.arguments, program.quiet),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, text)) => {
            eprintln!("error: {text}");
            ExitCode::from(code)
        }
    }
}

/// Exit codes, as those of `fluxbay`.
const FAILED: u8 = 1;
const CONFIGURATION: u8 = 2;

/// Runs the model in this process, for the server that started it.
fn compute(number: i32, arguments: Arguments) -> Result<(), (u8, String)> {
    let wrong = |text: String| (CONFIGURATION, text);
    let folder = folder(&arguments.model).map_err(wrong)?;
    let options = ModelOptions {
        plugin_dirs: arguments.plugin_dirs,
        allow_untrusted: arguments.allow_untrusted,
        model: arguments.name,
        threads: arguments.threads,
        batch: arguments.batch as usize,
        wait: arguments.wait,
        timeout: arguments.timeout,
    };
    worker::run(number, &folder, &options).map_err(wrong)
}

fn serve(arguments: &Arguments, quiet: bool) -> Result<(), (u8, String)> {
    let wrong = |text: String| (CONFIGURATION, text);
    let failed = |text: String| (FAILED, text);
    let token = token(arguments).map_err(wrong)?;
    folder(&arguments.model).map_err(wrong)?;
    let metrics = Arc::new(Metrics::default());
    let (model, failure) =
        Model::open(arguments.crashes as usize, Arc::clone(&metrics)).map_err(wrong)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| failed(format!("the server cannot be started: {error}")))?;
    let state = Arc::new(State {
        access: Access { token, loopback: arguments.address.ip().is_loopback() },
        limits: Limits {
            body: arguments.max_body,
            samples: arguments.max_samples,
            time: arguments.timeout,
        },
        model,
        metrics,
    });
    let served = runtime.block_on(connections::serve(
        arguments.address,
        arguments.connections as usize,
        Arc::clone(&state),
        failure,
        quiet,
    ));
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    state.model.end();
    served.map_err(failed)
}

/// The token in the file; none without a file.
fn token(arguments: &Arguments) -> Result<Option<String>, String> {
    let Some(path) = &arguments.token_file else {
        return if arguments.address.ip().is_loopback() {
            Ok(None)
        } else {
            Err(format!(
                "{} can be reached from other machines: add --token-file FILE, so that only those with the token are answered",
                arguments.address
            ))
        };
    };
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("the token file {} cannot be read: {error}", path.display()))?;
    let token = text.lines().next().unwrap_or_default().trim();
    if token.len() < SHORTEST_TOKEN || !token.is_ascii() {
        return Err(format!(
            "the first line of {} has to be a token of at least {SHORTEST_TOKEN} ASCII characters (`openssl rand -hex 32` makes one)",
            path.display()
        ));
    }
    Ok(Some(token.to_owned()))
}
