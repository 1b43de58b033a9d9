//! `fluxbay quarantine`: lists plugins that failed the probe, and lifts their quarantine.

use std::fmt::Write as _;
use std::path::Path;

use super::outcome::{Exit, Failure, Outcome};
use super::output::{print, print_json};
use crate::library::quarantine::{Quarantine, Record};
use crate::library::{Sha256, escape};
use crate::record::Timestamp;

/// Arguments of `fluxbay quarantine`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Lift the quarantine of a plugin: the beginning of its sha256, its file, or `all`.
    ///
    /// The next command that uses it probes it again.
    #[arg(long, value_name = "HASH|FILE|all")]
    lift: Option<String>,
    /// Write JSON, as `fluxbay schema quarantine` describes.
    #[arg(long, conflicts_with = "lift")]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let Some(quarantine) = Quarantine::open() else {
        return Err(Failure::new(
            Exit::Configuration,
            "there is no cache directory; set HOME or XDG_CACHE_HOME",
        ));
    };
    let records = quarantine.list();
    match &arguments.lift {
        Some(wanted) => lift(&quarantine, &records, wanted),
        None if arguments.json => {
            print_json(&serde_json::json!({ "schema": 1, "plugins": records }))
        }
        None => print(&text(&records)),
    }
}

fn text(records: &[Record]) -> String {
    if records.is_empty() {
        return "No plugin is in quarantine.\n".to_owned();
    }
    let mut out = String::new();
    for record in records {
        let time = Timestamp::at(record.time as f64).rfc3339();
        let _ = writeln!(out, "{}  {}", record.plugin, record.path);
        let _ = writeln!(out, "    sha256 {}, tried {time}", record.sha256);
        let _ = writeln!(out, "    {}: {}", record.reason, record.message);
        for line in record.output.lines() {
            let _ = writeln!(out, "    | {line}");
        }
    }
    let _ = writeln!(
        out,
        "\nA changed file is probed again by itself; `fluxbay quarantine --lift HASH` has the same file probed again."
    );
    out
}

fn lift(quarantine: &Quarantine, records: &[Record], wanted: &str) -> Outcome {
    let of_file = std::fs::metadata(wanted)
        .is_ok_and(|m| m.is_file())
        .then(|| std::fs::read(Path::new(wanted)).ok())
        .flatten();
    let hash = of_file.map(|bytes| Sha256::of(&bytes).hex());
    let is_wanted = |record: &&Record| match &hash {
        Some(hash) => record.sha256 == *hash,
        None => wanted == "all" || (wanted.len() >= 4 && record.sha256.starts_with(wanted)),
    };
    let chosen: Vec<&Record> = records.iter().filter(is_wanted).collect();
    if chosen.is_empty() && wanted != "all" {
        let text = format!(
            "no plugin in quarantine is {}; `fluxbay quarantine` shows them",
            escape::text(wanted)
        );
        return Err(Failure::new(Exit::Configuration, text));
    }
    for record in &chosen {
        let failed = |error| {
            Failure::new(
                Exit::Failed,
                format!("the record of {} cannot be removed: {error}", record.sha256),
            )
        };
        quarantine.lift(&record.sha256).map_err(failed)?;
    }
    print(&format!("{} lifted\n", chosen.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_records_the_listing_says_so() {
        insta::assert_snapshot!(text(&[]), @"No plugin is in quarantine.");
    }
}
