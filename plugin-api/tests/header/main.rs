//! `docs/c-plugins/fluxbay.h` is generated from the Rust tables of `plugin-api/src/abi`.
//!
//! After a change there, run `FLUXBAY_BLESS=1 cargo test -p fluxbay-plugin --test header`, read the
//! difference, and commit it. Layouts are compared with the C compiler's by the tests of
//! `host/src/library/load`.

mod comment;
mod render;

use std::path::Path;

use fluxbay_plugin::abi::{
    anomaly::ANOMALY_EXTENSION,
    dataset::{
        DATASET_FILL_EXTENSION, DATASET_INPUTS_EXTENSION, DATASET_RAGGED_EXTENSION,
        DATASET_STATE_EXTENSION, DATASET_TEXT_EXTENSION,
    },
    entry::{CONTRACT, MAGIC, MANIFEST_SECTION},
    event::{self, EVENTS},
    figures::FIGURES_EXTENSION,
    freezing::FREEZING_EXTENSION,
    kind::Kind,
    kinds::KINDS_EXTENSION,
    learner,
    metric::METRIC_EXTENSION,
    model::MODEL_NAMES_EXTENSION,
    operation::OPERATIONS,
    packing::PACKING_EXTENSION,
    position::POSITION_EXTENSION,
    tensor,
};

use render::{Header, Row};

/// The files of `plugin-api/src/abi` in an order in which C can read them.
const FILES: &[&str] = &[
    "text",
    "status",
    "handle",
    "version",
    "kind",
    "event",
    "setup",
    "state",
    "dataset",
    "tensor",
    "operation",
    "learner",
    "display",
    "log",
    "logger",
    "metric",
    "figures",
    "anomaly",
    "position",
    "packing",
    "freezing",
    "model",
    "loss",
    "phase",
    "callback",
    "schedule",
    "optimizer",
    "kinds",
    "transform",
    "steps",
    "sampler",
    "communicator",
    "child",
    "host",
    "entry",
];

/// The rows of the tables that are written as macros: name of the macro, prefix of the constants.
fn macro_tables() -> Vec<(&'static str, Vec<Row>)> {
    let row = |prefix: &str, constant: &str, number: u32, doc: String| Row {
        name: format!("FLUXBAY_{prefix}_{constant}"),
        value: number.to_string(),
        doc,
    };
    let events =
        EVENTS.iter().map(|event| row("EVENT", event.constant, event.number, event.doc.to_owned()));
    let kinds = Kind::ALL
        .into_iter()
        .map(|kind| row("KIND", kind.constant(), kind.number(), kind.summary().to_owned()));
    let operations = OPERATIONS.iter().map(|operation| {
        let note = if operation.differentiable { "" } else { "\n\nNot differentiable." };
        row("OP", operation.constant, operation.code, format!("{}{note}", operation.doc))
    });
    vec![
        ("events", events.collect()),
        ("kinds", kinds.collect()),
        ("operations", operations.collect()),
    ]
}

/// Constants whose name or form in C is another one than in Rust.
fn special() -> Vec<(&'static str, &'static str, String)> {
    vec![
        ("STANDARD", "FLUXBAY_EVENT_STANDARD", event::STANDARD.to_string()),
        ("CUSTOM", "FLUXBAY_EVENT_CUSTOM", event::CUSTOM.to_string()),
        ("MAX_RANK", "FLUXBAY_MAX_RANK", tensor::MAX_RANK.to_string()),
        ("ALL", "FLUXBAY_ALL_MODELS", "UINT32_MAX".to_owned()),
        ("FIELDS", "FLUXBAY_BATCH_FIELDS", learner::FIELDS.to_string()),
        ("MAGIC", "FLUXBAY_MAGIC", format!("UINT64_C({MAGIC:#x})")),
        ("MANIFEST_SECTION", "FLUXBAY_MANIFEST_SECTION", format!("{MANIFEST_SECTION:?}")),
        ("METRIC_EXTENSION", "FLUXBAY_METRIC_EXTENSION", format!("{METRIC_EXTENSION:?}")),
        (
            "DATASET_STATE_EXTENSION",
            "FLUXBAY_DATASET_STATE_EXTENSION",
            format!("{DATASET_STATE_EXTENSION:?}"),
        ),
        (
            "DATASET_INPUTS_EXTENSION",
            "FLUXBAY_DATASET_INPUTS_EXTENSION",
            format!("{DATASET_INPUTS_EXTENSION:?}"),
        ),
        (
            "MODEL_NAMES_EXTENSION",
            "FLUXBAY_MODEL_NAMES_EXTENSION",
            format!("{MODEL_NAMES_EXTENSION:?}"),
        ),
        (
            "DATASET_FILL_EXTENSION",
            "FLUXBAY_DATASET_FILL_EXTENSION",
            format!("{DATASET_FILL_EXTENSION:?}"),
        ),
        (
            "DATASET_RAGGED_EXTENSION",
            "FLUXBAY_DATASET_RAGGED_EXTENSION",
            format!("{DATASET_RAGGED_EXTENSION:?}"),
        ),
        ("KINDS_EXTENSION", "FLUXBAY_KINDS_EXTENSION", format!("{KINDS_EXTENSION:?}")),
        ("FIGURES_EXTENSION", "FLUXBAY_FIGURES_EXTENSION", format!("{FIGURES_EXTENSION:?}")),
        (
            "DATASET_TEXT_EXTENSION",
            "FLUXBAY_DATASET_TEXT_EXTENSION",
            format!("{DATASET_TEXT_EXTENSION:?}"),
        ),
        ("NO_TOKEN", "FLUXBAY_NO_TOKEN", "UINT64_MAX".to_owned()),
        ("FREEZING_EXTENSION", "FLUXBAY_FREEZING_EXTENSION", format!("{FREEZING_EXTENSION:?}")),
        ("PACKING_EXTENSION", "FLUXBAY_PACKING_EXTENSION", format!("{PACKING_EXTENSION:?}")),
        ("POSITION_EXTENSION", "FLUXBAY_POSITION_EXTENSION", format!("{POSITION_EXTENSION:?}")),
        ("ANOMALY_EXTENSION", "FLUXBAY_ANOMALY_EXTENSION", format!("{ANOMALY_EXTENSION:?}")),
    ]
}

fn generated() -> String {
    let abi = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/abi");
    let mut header = Header::new(macro_tables(), special());
    let files: Vec<(&str, syn::File)> = FILES
        .iter()
        .map(|name| {
            let text = std::fs::read_to_string(abi.join(name).with_extension("rs")).unwrap();
            (*name, syn::parse_file(&text).unwrap())
        })
        .collect();
    for (_, file) in &files {
        header.learn(file);
    }
    for (name, file) in &files {
        header.section(name, file);
    }
    include_str!("template.h")
        .replace("@MAJOR@", &CONTRACT.major.to_string())
        .replace("@MINOR@", &CONTRACT.minor.to_string())
        .replace("@CONTRACT@", &format!("{}.{}", CONTRACT.major, CONTRACT.minor))
        .replace("@TABLES@", &header.finish())
}

#[test]
fn the_c_header_is_the_one_that_the_tables_give() {
    let generated = generated();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/c-plugins/fluxbay.h");
    if std::env::var_os("FLUXBAY_BLESS").is_some() {
        std::fs::write(&path, &generated).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    let differs = generated.lines().zip(written.lines()).position(|(new, old)| new != old);
    assert!(
        generated == written,
        "fluxbay.h differs from the tables (line {}): see the top of this test",
        differs.map_or(generated.lines().count().min(written.lines().count()), |line| line + 1)
    );
}

#[test]
fn every_table_of_the_contract_has_a_place_in_the_header() {
    let abi = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/abi");
    for entry in std::fs::read_dir(abi).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(name == "mod" || FILES.contains(&name), "{name}.rs is not listed in FILES");
    }
}
