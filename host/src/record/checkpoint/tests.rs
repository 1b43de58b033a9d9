use std::{fs, path::Path};

use proptest::{prelude::*, test_runner::TestRunner};

use super::*;
use crate::record::Better;

fn data(sequence: u64, loss: f64) -> CheckpointData {
    let about = CheckpointInfo {
        sequence,
        epochs: sequence / 10,
        phase: String::new(),
        step: 0,
        reason: "interval".to_owned(),
        asked_by: vec!["run".to_owned()],
        metrics: BTreeMap::from([("validation/loss".to_owned(), loss)]),
    };
    let files = BTreeMap::from([
        (
            "parameters.safetensors".to_owned(),
            (0..=255).cycle().take(3000).collect::<Vec<u8>>().into(),
        ),
        ("state.json".to_owned(), b"{\"counters\":[1,2,3]}".to_vec().into()),
        ("empty.bin".to_owned(), Vec::new().into()),
    ]);
    CheckpointData { about, files }
}

fn keep(last: usize, best: Option<KeepBest>) -> Retentions {
    Retentions::from([("run".to_owned(), Retention { last, best })])
}

fn all() -> Retentions {
    keep(0, None)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn what_was_written_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), &data(135, 0.5), &all()).unwrap();
    assert_eq!(path.file_name().unwrap(), "0000000135-epoch-13");
    assert_eq!(read(&path).unwrap(), data(135, 0.5));
    let again = write(folder.path(), &data(135, 0.25), &all()).unwrap();
    assert_ne!(path, again, "never overwritten");
    assert_eq!(newest(folder.path()).0.unwrap().1, data(135, 0.25));
}

#[test]
fn any_metric_comes_back_to_the_last_bit() {
    let folder = tempfile::tempdir().unwrap();
    let mut number = 0.1_f64;
    for sequence in 0..40 {
        number = (number * 3.7 * (1.0 - number)).abs() / 1.1;
        let path = write(folder.path(), &data(sequence, number), &all()).unwrap();
        assert_eq!(
            read(&path).unwrap().about.metrics["validation/loss"].to_bits(),
            number.to_bits(),
            "{number}"
        );
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), &data(7, 0.5), &all()).unwrap();
    let files: Vec<_> = names(&path)
        .into_iter()
        .map(|name| (path.join(&name), fs::read(path.join(&name)).unwrap()))
        .collect();
    let total: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
    let mut runner = TestRunner::new(ProptestConfig::with_cases(1000));
    let damaged = runner.run(&(0..total, 0_u8..8, any::<bool>()), |(mut at, bit, cut)| {
        let Some((file, whole)) = files.iter().find(|(_, bytes)| {
            let inside = at < bytes.len();
            at -= if inside { 0 } else { bytes.len() };
            inside
        }) else {
            return Err(TestCaseError::fail("beyond the last file"));
        };
        let mut bytes = whole.clone();
        if cut {
            bytes.truncate(at)
        } else {
            bytes[at] ^= 1 << bit
        }
        fs::write(file, bytes).unwrap();
        let seen = read(&path).is_err();
        fs::write(file, whole).unwrap();
        prop_assert!(seen, "{} at {at}", file.display());
        Ok(())
    });
    damaged.unwrap();
    assert_eq!(read(&path).unwrap(), data(7, 0.5));
}

#[test]
fn damage_is_named_and_the_previous_one_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<_> = [10, 20, 30, 40]
        .iter()
        .map(|&sequence| write(folder.path(), &data(sequence, 0.5), &all()).unwrap())
        .collect();
    fs::remove_file(paths[3].join("state.json")).unwrap();
    fs::write(paths[2].join("parameters.safetensors"), b"short").unwrap();
    fs::remove_file(paths[1].join("manifest.json")).unwrap();
    let (found, passed) = newest(folder.path());
    assert_eq!(found.unwrap().0, paths[0]);
    let passed: Vec<_> =
        passed.into_iter().map(|(path, damage)| (path, damage.to_string())).collect();
    assert_eq!(passed[0], (paths[3].clone(), "its file `state.json` is missing".to_owned()));
    assert!(
        passed[1].1.contains(
            "`parameters.safetensors` is cut short or has grown: 5 bytes instead of 3000"
        )
    );
    assert!(passed[2].1.contains("manifest is missing"));
}

#[test]
fn an_interrupted_write_is_ignored_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &data(10, 0.5), &all()).unwrap();
    fs::create_dir(folder.path().join(".0000000020-epoch-2.new")).unwrap();
    fs::write(folder.path().join(".0000000020-epoch-2.new/state.json"), b"half").unwrap();
    assert_eq!(scan(folder.path()).len(), 1);
    assert_eq!(newest(folder.path()).0.unwrap().1.about.sequence, 10);
    assert_eq!(names(folder.path()).len(), 1);
}

#[test]
fn a_failed_write_leaves_the_older_ones() {
    let folder = tempfile::tempdir().unwrap();
    let keep = keep(1, None);
    write(folder.path(), &data(10, 0.5), &keep).unwrap();
    let mut bad = data(20, 0.5);
    bad.files.insert("../escape".to_owned(), Vec::new().into());
    assert!(write(folder.path(), &bad, &keep).is_err());
    assert_eq!(names(folder.path()), ["0000000010-epoch-1"]);
}

#[test]
fn the_newest_and_the_best_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let best = KeepBest { metric: "validation/loss".to_owned(), better: Better::Lower, count: 2 };
    let keep = keep(1, Some(best.clone()));
    for (sequence, loss) in [(1, 0.9), (2, 0.3), (3, 0.5), (4, 0.2), (5, 0.8)] {
        write(folder.path(), &data(sequence, loss), &keep).unwrap();
    }
    let kept: Vec<u64> =
        scan(folder.path()).iter().map(|found| found.about.as_ref().unwrap().sequence).collect();
    assert_eq!(kept, [2, 4, 5]);
    assert_eq!(names(folder.path()).len(), 3, "no temporary folder is left");
    let found = scan(folder.path());
    let best_of = |requester: &str, better| {
        let ranking = KeepBest { better, ..best.clone() };
        super::best(&found, requester, &ranking).map(|(_, value)| value)
    };
    assert_eq!(best_of("run", Better::Lower), Some(0.2));
    assert_eq!(best_of("run", Better::Higher), Some(0.8));
    assert_eq!(best_of("another", Better::Lower), None);
}

#[test]
fn checkpoints_are_written_in_the_background_one_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoints");
    let mut writer = WriterThread::new(path.clone()).unwrap();
    writer.submit(Box::new(|| Ok(data(10, 0.5))), Vec::new(), all()).unwrap();
    writer.wait().unwrap();
    assert_eq!(writer.newest(), Some(&path.join("0000000010-epoch-1")));
    writer.submit(Box::new(|| Ok(data(20, 0.5))), Vec::new(), all()).unwrap();
    drop(writer);
    assert_eq!(newest(&path).0.unwrap().1.about.sequence, 20, "dropping waits");
}

#[test]
fn a_checkpoint_that_cannot_be_written_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoints");
    fs::write(&path, "in the way").unwrap();
    let mut writer = WriterThread::new(path).unwrap();
    writer.submit(Box::new(|| Ok(data(10, 0.5))), Vec::new(), all()).unwrap();
    assert!(writer.wait().is_err());
}

#[test]
fn each_requester_has_its_own_retention() {
    let folder = tempfile::tempdir().unwrap();
    let better =
        |metric: &str| KeepBest { metric: metric.to_owned(), better: Better::Lower, count: 1 };
    let keep = Retentions::from([
        ("run".to_owned(), Retention { last: 1, best: None }),
        ("best".to_owned(), Retention { last: 1, best: Some(better("validation/loss")) }),
    ]);
    let asked = |sequence: u64, loss: f64, by: &[&str]| {
        let mut data = data(sequence, loss);
        data.about.asked_by = by.iter().map(|&requester| requester.to_owned()).collect();
        write(folder.path(), &data, &keep).unwrap();
        let kept: Vec<u64> = scan(folder.path())
            .iter()
            .map(|found| found.about.as_ref().unwrap().sequence)
            .collect();
        kept
    };
    assert_eq!(asked(1, 0.1, &["run", "best"]), [1]);
    assert_eq!(asked(2, 0.2, &["run"]), [1, 2]);
    assert_eq!(asked(3, 0.3, &["best"]), [1, 2, 3], "1 is its best, 2 the run's newest");
    assert_eq!(asked(4, 0.4, &["gone"]), [1, 2, 3, 4]);
    assert_eq!(asked(5, 0.05, &["run", "best"]), [4, 5], "the retention of `gone` is unknown");
}
