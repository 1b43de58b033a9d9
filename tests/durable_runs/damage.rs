//! Checkpoints and records that were cut short or changed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use fluxbay::record::checkpoint;
use fluxbay_tests::{run, succeed};
use serde_json::Value;

use crate::place::{ADAMW, MLP, Place, Random, digits, long};

#[test]
fn every_flipped_byte_of_a_checkpoint_is_found_before_training_goes_on() {
    const SEED: u64 = 7;
    let place = Place::new(&digits(&format!("{MLP}{ADAMW}[checkpoints]\nkeep-last = 0\n")));
    succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "out"]));
    let found = checkpoint::scan(&place.path("out/checkpoints"));
    let last = &found.last().unwrap().path;
    let files: Vec<(PathBuf, Vec<u8>)> = fs::read_dir(last)
        .unwrap()
        .flatten()
        .map(|entry| (entry.path(), fs::read(entry.path()).unwrap()))
        .collect();
    let total: u64 = files.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    let mut random = Random(SEED);
    for flip in 0..1000 {
        let mut at = random.below(total) as usize;
        // The small files get their share as well: every second flip falls into any file with the
        // same chance.
        let file =
            if flip % 2 == 0 { random.below(files.len() as u64) as usize } else { usize::MAX };
        let (path, whole) = match files.get(file).filter(|(_, bytes)| !bytes.is_empty()) {
            Some(file) => {
                at %= file.1.len();
                file
            }
            None => files
                .iter()
                .find(|(_, bytes)| {
                    let inside = at < bytes.len();
                    at -= if inside { 0 } else { bytes.len() };
                    inside
                })
                .unwrap(),
        };
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << random.below(8);
        fs::write(path, &bytes).unwrap();
        // What `resume` does before it uses anything.
        assert!(
            checkpoint::read(last).is_err(),
            "flip {flip} in {} at {at} went unseen",
            path.display()
        );
        if flip % 250 == 0 {
            let refused = run(&mut place.fluxbay(&["resume", "--from", last.to_str().unwrap()]));
            assert_eq!(refused.code, Some(2), "{}", refused.stderr);
            let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
            assert!(
                refused.stderr.contains(&name(last)) && refused.stderr.contains("is intact"),
                "{}",
                refused.stderr
            );
            assert!(
                refused.stderr.contains(&name(&found[found.len() - 2].path)),
                "the one before is offered: {}",
                refused.stderr
            );
        }
        fs::write(path, whole).unwrap();
    }
    println!("1000 flipped bits in {total} bytes of {} files, seed {SEED}: all found", files.len());
}

#[test]
fn a_damaged_checkpoint_is_named_and_the_one_before_is_taken() {
    let place = Place::new(&digits(&format!("{MLP}{ADAMW}[checkpoints]\nkeep-last = 0\n")));
    succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "straight"]));
    succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "out"]));
    let found = checkpoint::scan(&place.path("out/checkpoints"));
    let last = found.last().unwrap().path.join("model.safetensors");
    let whole = fs::read(&last).unwrap();
    fs::write(&last, &whole[..whole.len() / 2]).unwrap();
    let resumed = succeed(&mut place.fluxbay(&["resume", "out"]));
    let before = found[found.len() - 2].path.file_name().unwrap().to_string_lossy().into_owned();
    assert!(
        resumed.stderr.contains("`model.safetensors` is cut short")
            && resumed.stderr.contains(&before),
        "{}",
        resumed.stderr
    );
    place.assert_same("straight", "out");
}

#[test]
fn a_run_that_stopped_before_its_first_checkpoint_begins_anew_where_it_is() {
    let place = Place::new(&long(3));
    succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "straight"]));
    let mut command =
        place.fluxbay(&["train", "run.toml", "--run-dir", "out", "--interrupt-at", "5"]);
    command.args(["--set", "checkpoints.on-signal=false", "--set", "checkpoints.every-epochs=0"]);
    assert_eq!(run(&mut command).code, Some(130));
    assert!(checkpoint::scan(&place.path("out/checkpoints")).is_empty());
    // A torn last line, as a power cut may leave it.
    let metrics = place.path("out/metrics.jsonl");
    fs::write(&metrics, fs::read_to_string(&metrics).unwrap() + "{\"time\":17").unwrap();
    let resumed = succeed(&mut place.fluxbay(&["resume", "out"]));
    assert!(resumed.stderr.contains("before its first checkpoint"), "{}", resumed.stderr);
    place.assert_same("straight", "out");
}

#[test]
fn torn_lines_are_repaired_and_the_record_is_whole() {
    let place = Place::new(&long(3));
    succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "straight"]));
    assert_eq!(
        run(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "out", "--interrupt-at", "30"]))
            .code,
        Some(130)
    );
    for name in ["metrics.jsonl", "metrics.csv", "events.jsonl", "log.txt"] {
        let path = place.path("out").join(name);
        fs::write(&path, fs::read_to_string(&path).unwrap_or_default() + "{\"torn\":tru").unwrap();
    }
    succeed(&mut place.fluxbay(&["resume", "out"]));
    place.assert_same("straight", "out");
    let log = fs::read_to_string(place.path("out/log.txt")).unwrap();
    assert!(!log.contains("tru") && log.ends_with('\n'), "{log}");
    for name in ["environment.json", "profile.json", "state.json"] {
        serde_json::from_str::<Value>(&fs::read_to_string(place.path("out").join(name)).unwrap())
            .unwrap();
    }
    let profile: Value =
        serde_json::from_str(&fs::read_to_string(place.path("straight/profile.json")).unwrap())
            .unwrap();
    assert_eq!(
        (&profile["phases"][0]["phase"], &profile["phases"][0]["steps"]),
        (&"training".into(), &72.into())
    );
    let of = |list: &str, key: &str| -> Vec<String> {
        profile[list]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row[key].as_str().unwrap().to_owned())
            .collect()
    };
    assert!(
        of("callbacks", "callback").contains(&"metrics".to_owned())
            && of("events", "event").contains(&"epoch-end".to_owned()),
        "{profile:#}"
    );
    assert!(profile["own-cost"]["share"].as_f64().unwrap() < 0.05, "{profile:#}");
}
