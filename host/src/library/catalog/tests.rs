//! Tests of scanning and of what names mean.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::Instant;

use super::super::elf::tests::library;
use super::super::manifest::{Kind, SECTION, encode};
use super::super::{Lock, RefusalReason, SearchOrigin, SearchPath};
use super::*;

/// The bytes of a plugin that offers `components`, given as `kind/name`.
fn plugin(name: &str, components: &[&str]) -> Vec<u8> {
    let components: Vec<_> = components
        .iter()
        .map(|id| {
            let (kind, name) = id.split_once('/').expect("kind/name");
            serde_json::json!({"kind": kind, "name": name})
        })
        .collect();
    let manifest = serde_json::json!({"schema": 1, "contract": "1.0", "plugin": {"name": name, "version": "0.1.0"}, "components": components});
    library(&[(SECTION, &encode(&manifest.to_string()))])
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("writable");
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("own file");
}

/// A temporary directory with private ones in it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("temporary directory"))
    }

    fn dir(&self, name: &str) -> PathBuf {
        let dir = self.0.path().join(name);
        if !dir.exists() {
            fs::create_dir(&dir).expect("writable");
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("own directory");
        }
        dir
    }

    fn scan(&self, dirs: &[&str]) -> Catalog {
        let mut path = SearchPath::new();
        for dir in dirs {
            path.push(self.dir(dir), SearchOrigin::CommandLine);
        }
        Catalog::scan(&path, &ScanOptions::default())
    }
}

fn only_refusal(catalog: &Catalog, name: &str) -> Refusal {
    let report = catalog.reports().iter().find(|r| r.path.ends_with(name)).expect("a report");
    assert_eq!(report.state, FileState::Refused, "{report:?}");
    report.refusal.clone().expect("a refused file says why")
}

#[test]
fn the_first_directory_wins_and_the_loser_is_reached_by_its_plugins_name() {
    let place = Place::new();
    write(&place.dir("a").join("one.so"), &plugin("one", &["callback/x", "callback/y"]));
    write(&place.dir("b").join("two.so"), &plugin("two", &["callback/x"]));
    write(&place.dir("b").join("three.so"), &plugin("three", &["callback/y", "loss/z"]));
    let catalog = place.scan(&["a", "b"]);
    assert_eq!(catalog.find(Kind::Callback, "x").expect("found").plugin.name(), "one");
    assert_eq!(catalog.find(Kind::Callback, "callback/x").expect("found").plugin.name(), "one");
    assert_eq!(catalog.find(Kind::Callback, "two:callback/x").expect("found").plugin.name(), "two");
    let state = |name: &str| {
        let report = catalog.reports().iter().find(|r| r.path.ends_with(name)).expect("a report");
        (report.state, report.shadowed_by.len())
    };
    assert_eq!(state("one.so"), (FileState::Ok, 0));
    assert_eq!(state("two.so"), (FileState::Shadowed, 1));
    assert_eq!(state("three.so"), (FileState::Ok, 1));
    let ids: Vec<_> = catalog.components().map(|c| c.qualified_id()).collect();
    assert_eq!(ids, ["one:callback/x", "one:callback/y", "three:loss/z"]);
}

#[test]
fn two_in_the_same_directory_are_a_tie_that_must_be_settled_by_the_user() {
    let place = Place::new();
    write(&place.dir("a").join("one.so"), &plugin("one", &["callback/x"]));
    write(&place.dir("a").join("two.so"), &plugin("two", &["callback/x"]));
    write(&place.dir("b").join("three.so"), &plugin("three", &["callback/x"]));
    let catalog = place.scan(&["a", "b"]);
    let error = catalog.find(Kind::Callback, "x").expect_err("a tie");
    assert!(
        matches!(&error, FindError::Ambiguous { choices, .. } if choices == &["one:callback/x", "two:callback/x"]),
        "{error}"
    );
    assert_eq!(catalog.find(Kind::Callback, "two:callback/x").expect("named").plugin.name(), "two");
    assert_eq!(catalog.ties().len(), 1);
    assert_eq!(catalog.components().count(), 0);
    // With the same plugin name there is no way to choose.
    write(&place.dir("a").join("two.so"), &plugin("one", &["callback/x", "loss/l"]));
    let error = place.scan(&["a"]).find(Kind::Callback, "one:callback/x").expect_err("a tie");
    assert!(matches!(error, FindError::Ambiguous { choices, .. } if choices.is_empty()));
}

#[test]
fn the_same_bytes_under_several_names_are_one_plugin() {
    let place = Place::new();
    let bytes = plugin("one", &["callback/x"]);
    write(&place.dir("a").join("one.so"), &bytes);
    fs::hard_link(place.dir("a").join("one.so"), place.dir("a").join("other.so"))
        .expect("same file system");
    symlink(place.dir("a").join("one.so"), place.dir("b").join("link.so")).expect("writable");
    write(&place.dir("b").join("copy.so"), &bytes);
    let catalog = place.scan(&["a", "b"]);
    assert_eq!(catalog.plugins().len(), 1);
    assert_eq!(catalog.reports()[0].also_at.len(), 3);
    assert!(catalog.find(Kind::Callback, "x").is_ok());
}

#[test]
fn a_link_shows_where_it_leads() {
    let place = Place::new();
    write(&place.dir("far").join("real.so"), &plugin("one", &["callback/x"]));
    symlink("../far/real.so", place.dir("a").join("link.so")).expect("writable");
    let catalog = place.scan(&["a"]);
    let report = &catalog.reports()[0];
    assert_eq!(report.state, FileState::Ok);
    assert!(
        report.resolved.as_ref().is_some_and(|path| path.ends_with("far/real.so")),
        "{report:?}"
    );
    let entry = catalog.find(Kind::Callback, "x").expect("found").plugin;
    assert!(entry.path().ends_with("a/link.so"));
}

#[test]
fn unknown_names_are_answered_with_the_nearest_and_with_the_kind_that_has_it() {
    let place = Place::new();
    write(
        &place.dir("a").join("one.so"),
        &plugin("one", &["callback/recorder", "metric/accuracy"]),
    );
    let catalog = place.scan(&["a"]);
    let error = catalog.find(Kind::Callback, "recroder").expect_err("misspelt");
    assert_eq!(error.nearest(), Some("recorder"));
    assert_eq!(
        error.to_string(),
        "no callback `recroder` is in the catalog; did you mean `recorder`?"
    );
    let error = catalog.find(Kind::Callback, "accuracy").expect_err("a metric");
    assert_eq!(
        error.to_string(),
        "no callback `accuracy` is in the catalog; there is a metric of that name"
    );
    let error =
        catalog.find(Kind::Callback, "onne:callback/recorder").expect_err("misspelt plugin");
    assert_eq!(error.nearest(), Some("one"));
    assert!(matches!(
        catalog.find(Kind::Callback, "metric/accuracy"),
        Err(FindError::WrongKind { found: Kind::Metric, .. })
    ));
    for wrong in ["", ":", "a:", ":x", "callback/", "x/y", "a:callback/x/y", "a:b:c"] {
        assert!(
            matches!(catalog.find(Kind::Callback, wrong), Err(FindError::Malformed { .. })),
            "{wrong}"
        );
    }
    assert!(catalog.find(Kind::Callback, &"é".repeat(1 << 20)).is_err());
}

#[test]
fn a_component_of_an_untrusted_file_is_named_with_the_reason_until_its_directory_is_allowed() {
    let place = Place::new();
    let file = place.dir("a").join("one.so");
    write(&file, &plugin("one", &["callback/x"]));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).expect("own file");
    let catalog = place.scan(&["a"]);
    assert_eq!(only_refusal(&catalog, "one.so").reason, RefusalReason::Untrusted);
    let error = catalog.find(Kind::Callback, "x").expect_err("refused");
    assert!(
        matches!(error, FindError::Refused { .. }) && error.to_string().contains("untrusted"),
        "{error}"
    );
    let mut path = SearchPath::new();
    path.push(place.dir("a"), SearchOrigin::CommandLine);
    let options = ScanOptions { allow_untrusted: vec![place.dir("a")], ..ScanOptions::default() };
    assert!(Catalog::scan(&path, &options).find(Kind::Callback, "x").is_ok());
    // The allowance does not follow links out of the directory.
    symlink(&file, place.dir("b").join("link.so")).expect("writable");
    let mut path = SearchPath::new();
    path.push(place.dir("b"), SearchOrigin::CommandLine);
    let options = ScanOptions { allow_untrusted: vec![place.dir("b")], ..ScanOptions::default() };
    assert_eq!(
        only_refusal(&Catalog::scan(&path, &options), "link.so").reason,
        RefusalReason::Untrusted
    );
}

#[test]
fn a_component_of_a_refused_file_is_named_with_plugin_version_and_reason() {
    let place = Place::new();
    let dir = place.dir("a");
    let with = |name: &str, contract: &str, panic: &str, requires: &str| {
        let manifest = format!(
            r#"{{"schema":1,"contract":"{contract}","plugin":{{"name":"{name}","version":"2.1.0","panic":"{panic}"}},
            "components":[{{"kind":"loss","name":"{name}","requires":[{requires}]}}]}}"#
        );
        library(&[(SECTION, &encode(&manifest))])
    };
    write(&dir.join("old.so"), &with("old", "0.3", "unwind", ""));
    write(&dir.join("new.so"), &with("new", "9.0", "unwind", ""));
    write(&dir.join("abort.so"), &with("abort", "1.0", "abort", ""));
    write(&dir.join("needs.so"), &with("needs", "1.0", "unwind", "\"fluxbay.none/1\""));
    let mut cut = with("cut", "1.0", "unwind", "");
    cut.truncate(cut.len() - 1);
    write(&dir.join("cut.so"), &cut);
    let mut hollow = with("hollow", "1.0", "unwind", "");
    hollow[..4].copy_from_slice(b"junk");
    write(&dir.join("hollow.so"), &hollow);
    let catalog = place.scan(&["a"]);
    for (name, reason) in [
        ("old", "contract-too-old"),
        ("new", "contract-too-new"),
        ("abort", "panic-aborts"),
        ("needs", "missing-extension"),
        ("cut", "truncated"),
        ("hollow", "not-elf"),
    ] {
        let error = catalog.find(Kind::Loss, name).expect_err("refused").to_string();
        for part in [&format!("{name} 2.1.0"), reason, &format!("{name}.so")] {
            assert!(error.contains(part), "{name}: {part} is missing in {error}");
        }
    }
    assert!(matches!(catalog.find(Kind::Loss, "other"), Err(FindError::Unknown { .. })));
}

#[test]
fn what_is_no_plugin_is_refused_at_once_and_hurts_nobody_beside_it() {
    let place = Place::new();
    let dir = place.dir("a");
    write(&dir.join("good.so"), &plugin("one", &["callback/x"]));
    write(&dir.join("ordinary.so"), &library(&[(".text", b"code")]));
    write(&dir.join("empty.so"), b"");
    fs::create_dir(dir.join("directory.so")).expect("writable");
    symlink("loop.so", dir.join("loop.so")).expect("writable");
    symlink("nowhere.so", dir.join("dangling.so")).expect("writable");
    symlink("/dev/zero", dir.join("device.so")).expect("writable");
    let _socket = std::os::unix::net::UnixListener::bind(dir.join("socket.so")).expect("writable");
    rustix::fs::mkfifoat(
        rustix::fs::CWD,
        dir.join("pipe.so"),
        rustix::fs::Mode::from_raw_mode(0o644),
    )
    .expect("writable");
    let catalog = place.scan(&["a"]);
    for (name, reason) in [
        ("empty.so", RefusalReason::NotElf),
        ("directory.so", RefusalReason::NotARegularFile),
        ("loop.so", RefusalReason::Unreadable),
        ("dangling.so", RefusalReason::Unreadable),
        ("device.so", RefusalReason::NotARegularFile),
        ("socket.so", RefusalReason::NotARegularFile),
        ("pipe.so", RefusalReason::NotARegularFile),
    ] {
        assert_eq!(only_refusal(&catalog, name).reason, reason, "{name}");
    }
    assert_eq!(catalog.reports().iter().filter(|r| r.state == FileState::Ignored).count(), 1);
    assert!(catalog.find(Kind::Callback, "x").is_ok());
}

#[test]
fn a_file_that_cannot_be_read_is_said_to_be_so() {
    // Root reads everything; the test says something only for other users.
    if rustix::process::geteuid().is_root() {
        return;
    }
    let place = Place::new();
    let file = place.dir("a").join("one.so");
    write(&file, &plugin("one", &[]));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).expect("own file");
    assert_eq!(only_refusal(&place.scan(&["a"]), "one.so").reason, RefusalReason::Unreadable);
}

#[test]
fn a_huge_file_is_not_read() {
    let place = Place::new();
    let dir = place.dir("a");
    write(&dir.join("zeros.so"), b"");
    write(&dir.join("plugin.so"), &plugin("one", &["callback/x"]));
    for name in ["zeros.so", "plugin.so"] {
        let file = fs::OpenOptions::new().write(true).open(dir.join(name)).expect("writable");
        file.set_len(1 << 40).expect("sparse");
    }
    let started = Instant::now();
    let catalog = place.scan(&["a"]);
    assert_eq!(only_refusal(&catalog, "zeros.so").reason, RefusalReason::TooLarge);
    assert_eq!(only_refusal(&catalog, "plugin.so").reason, RefusalReason::TooLarge);
    assert!(started.elapsed().as_secs() < 60, "a terabyte was read");
}

#[test]
fn names_that_are_no_text_work_and_are_shown_escaped() {
    use std::os::unix::ffi::OsStrExt as _;
    let place = Place::new();
    let name = std::ffi::OsStr::from_bytes(b"new\nline\x1b[31m\xff.so");
    write(&place.dir("a").join(name), &plugin("one", &["callback/x"]));
    let catalog = place.scan(&["a"]);
    assert!(catalog.find(Kind::Callback, "x").is_ok());
    let json = serde_json::to_string(catalog.reports()).expect("plain data");
    assert!(json.contains(r"new\\nline\\x1b[31m\\xff.so"), "{json}");
}

#[test]
fn bad_manifests_are_refused_with_their_field() {
    let place = Place::new();
    let dir = place.dir("a");
    let good = encode(
        r#"{"schema":1,"contract":"1.0","plugin":{"name":"a","version":"1.0.0"},"components":[]}"#,
    );
    let mut short = good.clone();
    short.truncate(30);
    write(&dir.join("short.so"), &library(&[(SECTION, &short)]));
    write(&dir.join("empty.so"), &library(&[(SECTION, b"")]));
    write(&dir.join("schema.so"), &library(&[(SECTION, &encode(r#"{"schema":7}"#))]));
    write(&dir.join("large.so"), &library(&[(SECTION, &vec![b' '; 2 << 20])]));
    write(
        &dir.join("old.so"),
        &library(&[(
            SECTION,
            &encode(r#"{"schema":1,"contract":"0.3","plugin":{"name":"a","version":"1.0.0"}}"#),
        )]),
    );
    write(
        &dir.join("new.so"),
        &library(&[(
            SECTION,
            &encode(r#"{"schema":1,"contract":"9.0","plugin":{"name":"a","version":"1.0.0"}}"#),
        )]),
    );
    let catalog = place.scan(&["a"]);
    for name in ["short.so", "empty.so", "schema.so", "large.so"] {
        let refusal = only_refusal(&catalog, name);
        assert_eq!(refusal.reason, RefusalReason::BadManifest, "{name}");
        assert!(refusal.message.contains("byte "), "{}", refusal.message);
    }
    assert!(only_refusal(&catalog, "schema.so").message.contains("`schema`"));
    assert!(only_refusal(&catalog, "old.so").help.contains("build the plugin again"));
    assert!(only_refusal(&catalog, "new.so").help.contains("install a fluxbay"));
}

#[test]
fn a_scan_with_many_files_is_the_same_every_time() {
    let place = Place::new();
    for index in 0..100 {
        write(
            &place.dir("a").join(format!("{index:03}.so")),
            &plugin(&format!("p{index}"), &[&format!("loss/l{index}"), "loss/shared"]),
        );
    }
    let describe =
        |catalog: &Catalog| serde_json::to_string(catalog.reports()).expect("plain data");
    let first = place.scan(&["a"]);
    assert_eq!(first.plugins().len(), 100);
    for _ in 0..3 {
        assert_eq!(describe(&place.scan(&["a"])), describe(&first));
    }
}

#[test]
fn a_cached_scan_says_the_same_as_a_first_one_and_sees_every_change() {
    let place = Place::new();
    let dir = place.dir("a");
    write(&dir.join("good.so"), &plugin("one", &["callback/x"]));
    write(&dir.join("ordinary.so"), &library(&[(".text", b"code")]));
    write(&dir.join("broken.so"), b"#!/bin/sh");
    write(&dir.join("short.so"), &plugin("two", &["loss/y"])[..200]);
    let options = ScanOptions { cache_dir: Some(place.dir("cache")), ..ScanOptions::default() };
    let mut path = SearchPath::new();
    path.push(&dir, SearchOrigin::CommandLine);
    let scan = || Catalog::scan(&path, &options);
    let describe =
        |catalog: &Catalog| serde_json::to_string(catalog.reports()).expect("plain data");
    let first = scan();
    // Files that were touched just now are not kept.
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    let second = scan();
    let cache = fs::read_to_string(place.dir("cache").join("inspected.json")).expect("written");
    assert!(
        cache.contains("callback") && cache.contains("not-elf") && cache.contains("truncated"),
        "{cache}"
    );
    let third = scan();
    assert_eq!(describe(&first), describe(&second));
    assert_eq!(describe(&first), describe(&third));
    assert_eq!(
        third.find(Kind::Callback, "x").expect("found").plugin.sha256(),
        first.plugins()[0].sha256()
    );
    write(&dir.join("good.so"), &plugin("one", &["callback/z"]));
    assert!(scan().find(Kind::Callback, "z").is_ok() && scan().find(Kind::Callback, "x").is_err());
    // The trust stage is never cached.
    fs::set_permissions(dir.join("good.so"), fs::Permissions::from_mode(0o666)).expect("own file");
    assert_eq!(only_refusal(&scan(), "good.so").reason, RefusalReason::Untrusted);
}

#[test]
fn a_locked_scan_refuses_what_is_not_pinned() {
    let place = Place::new();
    write(&place.dir("a").join("one.so"), &plugin("one", &["callback/x"]));
    write(&place.dir("a").join("two.so"), &plugin("two", &["callback/y"]));
    let all = place.scan(&["a"]);
    let lock = Lock::of(all.plugin("one").map(|plugin| plugin.trusted().inspected()));
    let mut path = SearchPath::new();
    path.push(place.dir("a"), SearchOrigin::CommandLine);
    let catalog = Catalog::scan(&path, &ScanOptions { lock: Some(lock), ..ScanOptions::default() });
    assert!(catalog.find(Kind::Callback, "x").is_ok());
    assert_eq!(only_refusal(&catalog, "two.so").reason, RefusalReason::NotLocked);
}
