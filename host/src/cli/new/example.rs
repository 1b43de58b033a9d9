//! The run file and the README of a new crate.

use crate::library::Kind;

const DATA: &str = "[data]\ncomponent = \"digits\"\n";
const MODEL: &str = "[model]\ncomponent = \"mlp\"\n";
const LOSS: &str = "[loss]\ncomponent = \"cross-entropy\"\n";
const OPTIMIZER: &str = "[optimizer]\ncomponent = \"adamw\"\nlearning-rate = 3e-3\n";

/// The lines of a run file that use the component.
fn lines(kind: Kind, name: &str) -> String {
    match kind {
        Kind::Metric => format!("[[callback]]\ncomponent = \"metrics\"\nmetrics = [\"{name}\"]\n"),
        Kind::Schedule => format!(
            "[[callback]]\ncomponent = \"scheduler\"\nschedules = {{ \"optimizer.learning-rate\" = \"{name}\" }}\n"
        ),
        kind => {
            let section = crate::run_file::layout::section_of(kind)
                .map(crate::run_file::layout::header)
                .unwrap_or_default();
            format!("{section}\ncomponent = \"{name}\"\n")
        }
    }
}

/// A short run of the embedded digits that uses the component.
pub(super) fn run_file(kind: Kind, name: &str) -> String {
    let own = lines(kind, name);
    let or = |of: Kind, standard: &str| if of == kind { own.clone() } else { standard.to_owned() };
    let mut sections = vec![
        format!("# A short run with the {kind} `{name}`.\n[run]\nname = \"{name}\"\nepochs = 3\n"),
        "[plugins]\ndirs = [\"../plugins\"]  # where `fluxbay dev` installs; relative to this file\n".to_owned(),
        or(Kind::Dataset, DATA),
        or(Kind::Model, MODEL),
        or(Kind::Loss, LOSS),
        or(Kind::Optimizer, OPTIMIZER),
    ];
    match kind {
        Kind::Phase => sections.extend([own, "[[phase]]\ncomponent = \"validation\"\n".to_owned()]),
        Kind::Logger => sections.extend([
            "# Hands the metrics to the loggers.\n[[callback]]\ncomponent = \"log-metrics\"\n"
                .to_owned(),
            own,
        ]),
        Kind::Callback
        | Kind::Metric
        | Kind::Schedule
        | Kind::Transform
        | Kind::Sampler
        | Kind::Communicator => sections.push(own),
        _ => {}
    }
    sections.join("\n")
}

/// How to build, test and use it.
pub(super) fn readme(kind: Kind, name: &str) -> String {
    let (own, file) = (lines(kind, name), format!("lib{}.so", name.replace('-', "_")));
    let count = if own.lines().count() == 2 { "two lines" } else { "lines" };
    format!(
        "# {name}\n\nA {kind} for fluxbay, in `src/lib.rs`.\n\n\
         ```sh\ncargo test                 # its own test\nfluxbay dev .              # builds and checks it, and installs it into ../plugins\nfluxbay train run.toml     # a short run with it\n\
         ```\n\nIn a run file it is these {count}:\n\n```toml\n{own}```\n\nand its settings, which `fluxbay inspect {kind}/{name} --plugin-dir ../plugins` shows.\n\n\
         To share it, copy `{file}` into a folder that another run lists under `[plugins] dirs`; fluxbay itself is not rebuilt.\n\n\
         The first build compiles `fluxbay-plugin`, about a minute. Crates share that work if they share a target folder: set `CARGO_TARGET_DIR`.\n"
    )
}
