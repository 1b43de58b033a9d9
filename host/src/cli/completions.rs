//! `fluxbay completions`: the script that completes commands and names in a shell.
//!
//! The script calls this program for the candidates of each word; see [`super::candidates`].

use std::io::Write as _;

use clap_complete::env::Shells;

use super::outcome::{Exit, Failure, Outcome};
use super::output::print;

/// Environment variable that the script sets to ask for candidates.
pub const VARIABLE: &str = "FLUXBAY_COMPLETE";

/// Arguments of `fluxbay completions`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The shell to write the script for.
    #[arg(value_enum)]
    shell: Shell,
}

/// Supported shells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Shell {
    /// In ~/.bashrc: source <(fluxbay completions bash)
    Bash,
    /// In ~/.zshrc: source <(fluxbay completions zsh)
    Zsh,
    /// In ~/.config/fish/config.fish: fluxbay completions fish | source
    Fish,
    /// In ~/.config/elvish/rc.elv: eval (fluxbay completions elvish | slurp)
    Elvish,
    /// In the profile: fluxbay completions powershell | Out-String | Invoke-Expression
    Powershell,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let name = match arguments.shell {
        Shell::Bash => "bash",
        Shell::Zsh => "zsh",
        Shell::Fish => "fish",
        Shell::Elvish => "elvish",
        Shell::Powershell => "powershell",
    };
    let failed = |text: String| {
        Failure::new(
            Exit::Failed,
            format!(
                "the completion script for {name} cannot be written: {text}; please report this"
            ),
        )
    };
    let shells = Shells::builtins();
    let shell = shells.completer(name).ok_or_else(|| failed("unknown shell".to_owned()))?;
    let mut script = Vec::new();
    shell
        .write_registration(VARIABLE, "fluxbay", "fluxbay", "fluxbay", &mut script)
        .map_err(|error| failed(error.to_string()))?;
    script.flush().map_err(|error| failed(error.to_string()))?;
    print(&String::from_utf8_lossy(&script))
}
