//! Listing, reasons and drawings of a composition, from manifests.

use serde_json::json;

use super::draw::{Format, draw};
use super::overview::{Basis, Overview};
use super::{compose, from_manifests, listing};
use crate::library::{Catalog, Kind};
use crate::run_file::fixture::{catalog_of, component};
use crate::run_file::{Diagnostics, Draft, Inputs, RunDescription, resolve};

const RUN: &str = "\
[run]
name = \"shown\"
epochs = 3
default-callbacks = false
[data]
component = \"digits\"
[model]
component = \"mlp\"
[loss]
component = \"cross-entropy\"
[optimizer]
component = \"adamw\"
[[phase]]
component = \"training\"
[[phase]]
component = \"low-loss\"
[[callback]]
component = \"printer\"
[[callback]]
component = \"bell\"
[[callback]]
component = \"metrics\"
[[callback]]
component = \"stopper\"
";

fn catalog() -> Catalog {
    let plain = |kind, name: &str| component(kind, name, json!({}), &[], json!({}));
    let callback = |name: &str, more| component(Kind::Callback, name, json!({}), &[], more);
    catalog_of(vec![
        plain(Kind::Dataset, "digits"),
        plain(Kind::Model, "mlp"),
        plain(Kind::Loss, "cross-entropy"),
        plain(Kind::Optimizer, "adamw"),
        component(Kind::Phase, "training", json!({}), &[], json!({ "phase-kind": "training" })),
        component(
            Kind::Phase,
            "low-loss",
            json!({}),
            &[],
            json!({ "phase-kind": "other", "emits": ["loss-is-low"] }),
        ),
        callback(
            "printer",
            json!({ "events": ["epoch-end", "fit-end"], "reads": ["cbstate.metrics.epoch"] }),
        ),
        callback("bell", json!({ "events": ["loss-is-low"], "reads": ["step.loss"] })),
        callback(
            "metrics",
            json!({ "events": ["step-end", "epoch-end"], "reads": ["step.loss"], "writes": ["cbstate.metrics"] }),
        ),
        callback("stopper", json!({ "events": ["epoch-end", "error"], "run-after": ["printer"] })),
    ])
}

fn with_run(check: impl FnOnce(&RunDescription, &Catalog, &super::Input<'_>, &super::Composition)) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shown.toml");
    std::fs::write(&path, RUN).unwrap();
    let mut found = Diagnostics::new();
    let catalog = catalog();
    let run = resolve(
        Draft::read(&Inputs { files: vec![path], ..Inputs::default() }, &mut found),
        &catalog,
        &mut found,
    );
    assert!(found.is_empty(), "{found:?}");
    let input = from_manifests::input(&run, &catalog);
    let composition = compose(&input).unwrap();
    check(&run, &catalog, &input, &composition);
}

fn overview(check: impl FnOnce(Overview)) {
    with_run(|run, catalog, input, composition| {
        let mut overview =
            Overview::new(run, catalog, &input.members, composition, Basis::Manifests);
        for row in &mut overview.instances {
            // The folder of the run file differs from test to test.
            row.origin = row.origin.rsplit('/').next().unwrap_or_default().to_owned();
        }
        check(overview);
    });
}

#[test]
fn the_listing_shows_instances_events_the_loop_and_the_reasons() {
    overview(|overview| insta::assert_snapshot!(listing::text(&overview)));
}

#[test]
fn the_graph_is_drawn_in_every_format() {
    overview(|overview| {
        for (name, format) in [
            ("text", Format::Text),
            ("dot", Format::Dot),
            ("mermaid", Format::Mermaid),
            ("svg", Format::Svg),
        ] {
            insta::assert_snapshot!(format!("graph_{name}"), draw(&overview, format));
        }
    });
}

#[test]
fn why_tells_the_chain_of_reasons_or_that_there_is_none() {
    with_run(|_, _, input, composition| {
        let at = |id: &str| input.members.iter().position(|member| member.id == id).unwrap();
        let why = |one, other| listing::why(&input.members, composition, at(one), at(other));
        assert_eq!(
            why("stopper", "metrics"),
            "`metrics` runs before `stopper`:\n  metrics before printer: `metrics` writes `cbstate.metrics.epoch`, which `printer` reads\n  \
             printer before stopper: `stopper` asks to run after `printer`\n"
        );
        assert_eq!(
            why("metrics", "bell"),
            "`bell` runs before `metrics` only because the run file lists it first;\n  \
             no access or order hint orders them: both only read step.loss\n"
        );
    });
}

#[test]
fn json_holds_order_events_and_the_resolved_run() {
    overview(|overview| {
        let json = serde_json::to_value(&overview).unwrap();
        assert_eq!(json["order"], json!(["bell", "metrics", "printer", "stopper"]));
        assert_eq!(json["run"]["optimizer"]["component"], "adamw");
        let custom = json["events"]
            .as_array()
            .unwrap()
            .iter()
            .find(|event| event["name"] == "loss-is-low")
            .unwrap();
        assert_eq!((custom["number"].as_u64(), &custom["callbacks"]), (Some(64), &json!(["bell"])));
    });
}
