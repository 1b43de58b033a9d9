//! Records of loggers: behaviour 26.

use std::collections::BTreeSet;
use std::path::Path;

use fluxbay::session::Surroundings;

use crate::run::*;

/// Records of a JSONL logger.
fn records(folder: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(folder.join("records.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn tags(records: &[serde_json::Value]) -> BTreeSet<String> {
    records.iter().map(|record| record["tag"].as_str().unwrap().to_owned()).collect()
}

const CALLBACKS: &str = "[[callback]]\ncomponent = \"metrics\"\n[[callback]]\ncomponent = \"log-metrics\"\n[[callback]]\ncomponent = \"scheduler\"\n\
    [[callback]]\ncomponent = \"log-hyperparameters\"\n[[callback]]\ncomponent = \"log-histograms\"\nevery = 4\n[[callback]]\ncomponent = \
    \"log-images\"\nevery = 8\nshape = [1, 1]\ncount = 1\nphase = \"training\"\n[[callback]]\ncomponent = \"traces\"\nvalues = { loss = \
    \"step.loss\" }\n[[callback]]\ncomponent = \"log-traces\"\n";
const LOGGERS: &str = "[[logger]]\ncomponent = \"jsonl\"\nid = \"one\"\n[[logger]]\ncomponent = \"jsonl\"\nid = \"two\"\n[[logger]]\ncomponent = \
    \"tensorboard\"\n[[logger]]\ncomponent = \"csv\"\n";

#[test]
fn behaviour_26_everything_is_logged_under_its_tag_to_every_logger() {
    let dir = fluxbay_tests::scratch();
    let phases = "[[phase]]\ncomponent = \"training\"\n[[phase]]\ncomponent = \"validation\"\n";
    let surroundings = Surroundings {
        run_dir: dir.path().to_string_lossy().into_owned(),
        ..Surroundings::default()
    };
    let session =
        whole_session(&fixture(&format!("{SCALAR}{phases}{CALLBACKS}{LOGGERS}")), surroundings);
    session.fit_epochs(2);
    session.finish().unwrap();
    let one = records(&dir.path().join("one"));
    let expected = [
        "epoch/training/metrics/loss",
        "epoch/validation/metrics/loss",
        "hparams",
        "step/histograms/gradients/c",
        "step/histograms/weights/c",
        "step/hparams/learning-rate",
        "step/hparams/momentum",
        "step/hparams/weight-decay",
        "step/training/images/0",
        "step/training/metrics/loss",
        "step/training/traces/loss",
        "step/validation/metrics/loss",
    ];
    assert_eq!(tags(&one).iter().map(String::as_str).collect::<Vec<_>>(), expected);
    let steps = |tag: &str| {
        one.iter()
            .filter(|record| record["tag"] == tag)
            .map(|record| record["step"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(steps("step/histograms/weights/c"), [1, 5, 9, 13, 17, 21, 25, 29]);
    assert_eq!(steps("step/training/images/0"), [1, 9, 17, 25]);
    assert_eq!(steps("epoch/validation/metrics/loss"), [1, 2]);
    assert_eq!(steps("step/training/metrics/loss"), (1..=32).collect::<Vec<_>>());
    let logged: Vec<f64> = one
        .iter()
        .filter(|record| record["tag"] == "step/training/traces/loss")
        .map(|record| record["value"].as_f64().unwrap())
        .collect();
    let traced = values(&session, "cbstate.traces.training.loss");
    // Numbers lose their last bit through JSON.
    assert!(
        logged.len() == 32 && logged.iter().zip(&traced).all(|(a, b)| (a / b - 1.0).abs() < 1e-12),
        "{logged:?} {traced:?}"
    );
    let stripped = |mut records: Vec<serde_json::Value>| {
        for record in &mut records {
            record.as_object_mut().unwrap().remove("time");
            record.as_object_mut().unwrap().remove("file");
        }
        records
    };
    assert_eq!(
        stripped(one),
        stripped(records(&dir.path().join("two"))),
        "both loggers got the same"
    );
    // The table has the same values, and the event file a record of each tag (read back completely
    // by `tests/reference/tensorboard_events.py`).
    let table = std::fs::read_to_string(dir.path().join("csv/records.csv")).unwrap();
    let of_table = table
        .lines()
        .skip(1)
        .map(|line| line.splitn(5, ',').collect::<Vec<_>>())
        .filter(|cells| cells[1] == "scalar");
    let of_table: Vec<(String, u64, f64)> = of_table
        .map(|cells| (cells[2].to_owned(), cells[3].parse().unwrap(), cells[4].parse().unwrap()))
        .collect();
    let two = records(&dir.path().join("two"));
    let scalars = two.iter().filter(|record| record["kind"] == "scalar");
    let scalars: Vec<(String, u64, f64)> = scalars
        .map(|record| {
            (
                record["tag"].as_str().unwrap().to_owned(),
                record["step"].as_u64().unwrap(),
                record["value"].as_f64().unwrap(),
            )
        })
        .collect();
    assert_eq!(of_table.len(), scalars.len());
    for (a, b) in of_table.iter().zip(&scalars) {
        assert!(
            (&a.0, a.1) == (&b.0, b.1) && (a.2 - b.2).abs() <= 1e-12 * b.2.abs(),
            "{a:?} {b:?}"
        );
    }
    let mut events = std::fs::read_dir(dir.path().join("tensorboard")).unwrap();
    let events = std::fs::read(events.next().unwrap().unwrap().path()).unwrap();
    for tag in expected.iter().filter(|tag| **tag != "hparams") {
        assert!(events.windows(tag.len()).any(|bytes| bytes == tag.as_bytes()), "{tag}");
    }
}
