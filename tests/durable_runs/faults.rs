//! Disks, folders, loggers and clocks that fail.

use std::{fs, process::Command};

use fluxbay::record::checkpoint;
use fluxbay_tests::{Finished, build_plugin, run, scratch, succeed, write};

use crate::place::{ADAMW, MLP, Place, digits, long};

#[test]
fn a_full_disk_ends_the_run_loudly_and_it_goes_on_when_there_is_room() {
    let place = Place::new(&long(80));
    succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "straight"]));
    let train = place.fluxbay(&["train", "run.toml", "--run-dir", "out"]);
    // Files may have 120 KiB, less than the metrics will need.
    let mut limited = Command::new("bash");
    limited
        .args(["-c", "ulimit -f 120; exec \"$0\" \"$@\""])
        .arg(train.get_program())
        .args(train.get_args());
    limited.current_dir(place.dir.path());
    for (name, value) in train.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    let finished = run(&mut limited);
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    assert!(
        finished.stderr.contains("cannot write") && finished.stderr.contains("File too large"),
        "{}",
        finished.stderr
    );
    let (found, damaged) = checkpoint::newest(&place.path("out/checkpoints"));
    assert!(found.is_some() && damaged.is_empty());
    succeed(&mut place.fluxbay(&["resume", "out"]));
    place.assert_same("straight", "out");
}

/// `script` in namespaces of its own, in which it may mount.
fn alone(script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]);
    command
}

/// A small file system of its own: what is in it is copied out before it goes.
const ROOM: &str = "mkdir small && mount -t tmpfs -o size=400k none small";

/// Whether file systems may be mounted here.
fn may_mount() -> bool {
    let allowed = scratch();
    let may = alone(ROOM)
        .current_dir(allowed.path())
        .output()
        .is_ok_and(|output| output.status.success());
    if !may {
        eprintln!("skipped: no file system may be mounted here");
    }
    may
}

/// Trains `run.toml` of a place into the folder `into`, by a script of the shell that has the
/// command as its arguments.
fn trained_by(place: &Place, script: &str, into: &str) -> Finished {
    let train = place.fluxbay(&["train", "run.toml", "--run-dir", into]);
    let mut command = alone(script);
    command
        .arg(train.get_program())
        .args(train.get_args())
        .current_dir(place.dir.path())
        .env_clear();
    command.envs(train.get_envs().filter_map(|(name, value)| Some((name, value?))));
    run(&mut command)
}

#[test]
fn a_file_system_without_room_leaves_whole_checkpoints_and_says_what_is_full() {
    if !may_mount() {
        return;
    }
    let place = Place::new(&format!("{}[checkpoints]\nkeep-last = 0\n", long(60)));
    succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "straight"]));
    let finished = trained_by(
        &place,
        &format!("{ROOM} && {{ \"$0\" \"$@\"; code=$?; cp -r small/out out; exit $code; }}"),
        "small/out",
    );
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    assert!(
        finished.stderr.contains("No space left on device")
            && finished.stderr.contains("small/out"),
        "{}",
        finished.stderr
    );
    let found = checkpoint::scan(&place.path("out/checkpoints"));
    assert!(!found.is_empty(), "{}", finished.stderr);
    found.iter().for_each(|found| drop(checkpoint::verify(&found.path).unwrap()));
    assert!(place.state("out")["epoch"].as_u64().unwrap() < 60);
    // Where there is room, it goes on as if nothing had happened.
    succeed(&mut place.fluxbay(&["resume", "out"]));
    place.assert_same("straight", "out");
}

#[test]
fn a_folder_that_becomes_read_only_leaves_whole_checkpoints_and_says_so() {
    if !may_mount() {
        return;
    }
    // Far more epochs than it takes until the folder of the checkpoints is closed, after the first
    // of them.
    let place = Place::new(&long(100_000));
    let script = "\"$0\" \"$@\" & run=$!\n\
        until ls out/checkpoints/*/manifest.json; do sleep 0.01; done > /dev/null 2>&1\n\
        mkdir ro && mount --bind out/checkpoints ro && mount -o remount,bind,ro ro && mount --move ro out/checkpoints || kill $run\n\
        wait $run";
    let finished = trained_by(&place, script, "out");
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    assert!(
        finished.stderr.contains("Read-only file system")
            && finished.stderr.contains("out/checkpoints"),
        "{}",
        finished.stderr
    );
    let found = checkpoint::scan(&place.path("out/checkpoints"));
    assert!(!found.is_empty(), "{}", finished.stderr);
    found.iter().for_each(|found| drop(checkpoint::verify(&found.path).unwrap()));
    assert_eq!(place.state("out")["status"], "failed");
}

/// A clock that jumps an hour back or two ahead at every 64th reading; the other clocks are as they
/// are.
const JUMPING: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    static atomic_int readings, hours;
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int answer = real(clock, now);
    if (clock == CLOCK_REALTIME) {
        int reading = atomic_fetch_add(&readings, 1);
        if (reading % 64 == 63) atomic_fetch_add(&hours, reading / 64 % 2 ? 2 : -1);
        now->tv_sec += 3600 * atomic_load(&hours);
    }
    return answer;
}
"#;

#[test]
fn a_clock_that_jumps_changes_nothing_but_the_times_that_are_written_down() {
    let place = Place::new(&format!("{}[checkpoints]\nevery-minutes = 30\n", long(20)));
    let source = write(place.dir.path(), "jumping.c", JUMPING);
    let clock = place.path("jumping.so");
    if !Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&clock)
        .arg(source)
        .status()
        .is_ok_and(|status| status.success())
    {
        eprintln!("skipped: there is no C compiler `cc`");
        return;
    }
    succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "straight"]));
    let jumping = |arguments: &[&str]| run(place.fluxbay(arguments).env("LD_PRELOAD", &clock));
    let stopped = jumping(&["train", "run.toml", "--run-dir", "out", "--interrupt-at", "300"]);
    assert_eq!(stopped.code, Some(130), "{}", stopped.stderr);
    let times: Vec<f64> = fs::read_to_string(place.path("out/metrics.jsonl"))
        .unwrap()
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["time"].as_f64().unwrap()
        })
        .collect();
    let jumps =
        |by: f64| times.windows(2).filter(|pair| (pair[1] - pair[0] - by).abs() < 60.0).count();
    assert!(jumps(-3600.0) > 0 && jumps(7200.0) > 0, "the clock did not jump");
    // Half an hour never went by.
    let reasons = checkpoint::scan(&place.path("out/checkpoints"))
        .into_iter()
        .map(|found| found.about.unwrap().reason);
    assert!(reasons.into_iter().all(|reason| reason != "time"));
    let finished = jumping(&["resume", "out"]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    place.assert_same("straight", "out");
}

#[test]
fn a_folder_that_cannot_be_written_is_told_before_anything_is_trained() {
    let place = Place::new(&digits(&format!("{MLP}{ADAMW}")));
    let refused = run(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "/proc/fluxbay-run"]));
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("cannot create the folder /proc/fluxbay-run"),
        "{}",
        refused.stderr
    );
}

/// A logger that fails after some records.
const FAILING: &str = r#"
use std::path::Path;

use fluxbay_plugin::prelude::*;

struct Failing { left: u32 }

impl Component for Failing {
    type Config = NoConfig;
    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(Failing { left: 3 })
    }
}

impl Logger for Failing {
    fn open(&mut self, _: &Path) -> Result<()> {
        Ok(())
    }
    fn write(&mut self, _: &Record<'_>) -> Result<()> {
        self.left = self.left.checked_sub(1).ok_or_else(|| Error::new("the server does not answer"))?;
        Ok(())
    }
    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

plugin! {
    summary: "Fails.",
    logger "failing" => Failing { summary: "Fails after three records." },
}
"#;

#[test]
fn a_logger_that_fails_is_loud_and_the_run_goes_on_unless_it_is_required() {
    let more = "[[callback]]\ncomponent = \"log-metrics\"\n[[logger]]\ncomponent = \"failing\"\n";
    let place = Place::new(&digits(&format!("{MLP}{ADAMW}{more}")));
    fs::copy(build_plugin("failing", FAILING), place.plugins.path().join("failing.so")).unwrap();
    let finished = succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "out"]));
    assert!(
        finished.stderr.contains("the server does not answer")
            && finished.stderr.contains("without this logger"),
        "{}",
        finished.stderr
    );
    assert!(
        fs::read_to_string(place.path("out/events.jsonl")).unwrap().contains("instance-disabled")
    );
    write(
        place.dir.path(),
        "run.toml",
        &digits(&format!("{MLP}{ADAMW}{more}on-error = \"stop\"\n")),
    );
    let failed = run(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "required"]));
    assert_eq!(failed.code, Some(1), "{}", failed.stderr);
}
