//! Folds, groups and samplers through the binary: what a run reads, and that it resumes.

use std::fs;

use fluxbay_tests::{run, succeed, write};
use serde_json::Value;

use crate::components::assert_resumes;
use crate::place::{ADAMW, MLP, Place, digits};

/// 60 rows of three classes in shares of 3 : 2 : 1, and 12 subjects of 5 rows each.
fn table(place: &Place) -> String {
    let rows = (0..60).map(|row| {
        let class = ["a", "b", "c"][[0, 0, 0, 1, 1, 2][row % 6]];
        format!("{},{},{class}\n", row as f64 / 10.0, (row * 7 % 13) as f64)
    });
    write(place.dir.path(), "table.csv", &format!("x,y,class\n{}", rows.collect::<String>()));
    let subjects = (0..60).map(|row| format!("subject {}\n", row % 12)).collect::<String>();
    write(place.dir.path(), "subjects.txt", &subjects);
    "[run]\nepochs = 2\nseed = 5\nthreads = 1\n[data]\ncomponent = \"csv\"\npath = \"table.csv\"\ntarget = \"class\"\n[loader]\nbatch-size = 8\n\
     [model]\ncomponent = \"mlp\"\nhidden = [4]\n[loss]\ncomponent = \"cross-entropy\"\n[optimizer]\ncomponent = \"adamw\"\n"
        .to_owned()
}

fn with_table() -> Place {
    let place = Place::new("");
    let text = table(&place);
    write(place.dir.path(), "run.toml", &text);
    place
}

/// Samples of the splits that the record of a run states.
fn splits(place: &Place, run: &str) -> Vec<(String, u64, String)> {
    let text = fs::read_to_string(place.path(run).join("data.json")).unwrap();
    let data: Value = serde_json::from_str(&text).unwrap();
    let splits = data["splits"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    splits
        .map(|one| (text(&one["name"]), one["samples"].as_u64().unwrap(), text(&one["indices"])))
        .collect()
}

#[test]
fn a_cross_validation_is_trained_fold_by_fold_and_summed_up() {
    let place = with_table();
    for fold in 1..=3 {
        succeed(&mut place.fluxbay(&["train", "run.toml", "--fold", &format!("{fold}/3")]));
    }
    let said = succeed(&mut place.fluxbay(&["runs", "folds"])).stdout;
    assert!(said.starts_with("3 of 3 folds") && said.contains("+-"), "{said}");
    let json = succeed(&mut place.fluxbay(&["runs", "folds", "--json"])).stdout;
    let json: Value = serde_json::from_str(&json).unwrap();
    let figure =
        json["figures"].as_array().unwrap().iter().find(|one| one["phase"] == "validation");
    let last = &figure.unwrap()["last"];
    let values: Vec<f64> =
        last["values"].as_array().unwrap().iter().map(|one| one.as_f64().unwrap()).collect();
    assert_eq!(values.len(), 3);
    let mean = values.iter().sum::<f64>() / 3.0;
    assert!((last["mean"].as_f64().unwrap() - mean).abs() < 1e-12);
    let folders: Vec<String> = json["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| format!("runs/{}", one["id"].as_str().unwrap()))
        .collect();
    assert!(folders[1].ends_with("-run-fold-2-of-3"), "{folders:?}");
    let validation: Vec<String> = folders
        .iter()
        .map(|run| {
            let splits = splits(&place, run);
            assert_eq!((splits[0].1, splits[1].1), (40, 20));
            splits[1].2.clone()
        })
        .collect();
    assert!(validation[0] != validation[1] && validation[1] != validation[2]);

    let wrong = run(&mut place.fluxbay(&["train", "run.toml", "--fold", "4/3"]));
    assert!(wrong.stderr.contains("from 1 to N"), "{}", wrong.stderr);
    let wrong = run(&mut place.fluxbay(&["compose", "run.toml", "--set", "loader.folds=3"]));
    assert!(wrong.stderr.contains("there is no fold 0 of 3"), "{}", wrong.stderr);
    let one = run(&mut place.fluxbay(&["runs", "folds", &folders[0], &folders[0]]));
    assert!(one.stderr.contains("are both fold 1"), "{}", one.stderr);
}

#[test]
fn groups_are_not_divided_and_files_that_do_not_fit_are_named() {
    let place = with_table();
    let groups = ["--set", "loader.groups=\"subjects.txt\"", "--set", "loader.validation=0.25"];
    let mut train = place.fluxbay(&["train", "run.toml", "--run-dir", "out"]);
    succeed(train.args(groups));
    let found = splits(&place, "out");
    // 12 subjects of 5 rows: three of them.
    assert_eq!((found[0].1, found[1].1), (45, 15));
    let mut train = place.fluxbay(&["train", "run.toml", "--run-dir", "fold", "--fold", "2/4"]);
    succeed(train.args(groups));
    assert_eq!(splits(&place, "fold")[1].1, 15);
    write(place.dir.path(), "subjects.txt", "a\nb\n");
    let wrong = run(place.fluxbay(&["compose", "run.toml"]).args(groups));
    assert!(
        wrong.stderr.contains("has 2 lines, but split `all` has 60 samples"),
        "{}",
        wrong.stderr
    );
}

#[test]
fn weighted_runs_resume_and_wrong_weights_are_reported() {
    for sampling in [
        "sampling = \"balanced\"\n",
        "sampling = \"weighted\"\nclass-weights = [0, 1, 1, 1, 1, 1, 1, 1, 1, 9]\n",
    ] {
        let text = digits(&format!("{MLP}{ADAMW}"));
        let text = text.replace("validation = 0.2\n", &format!("validation = 0.2\n{sampling}"));
        assert_resumes(&text, 3);
    }
    let place = with_table();
    let refused = |settings: &[&str]| {
        let mut command = place.fluxbay(&["compose", "run.toml"]);
        command.args(settings.iter().flat_map(|one| ["--set", *one]));
        run(&mut command).stderr
    };
    let weighted = "loader.sampling=\"weighted\"";
    assert!(refused(&[weighted]).contains("needs `class-weights` or `sample-weights`"));
    assert!(refused(&[weighted, "loader.class-weights=[1.0]"]).contains("none for class 1"));
    assert!(refused(&[weighted, "loader.class-weights=[0, 0, 0]"]).contains("above 0"));
    assert!(
        refused(&[weighted, "loader.sample-weights=\"subjects.txt\""]).contains("is no weight")
    );
}
