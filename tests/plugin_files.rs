//! Invalid plugin files in a plugin folder: none of their code runs in the host, each is reported
//! with the failed stage and the reason, and valid plugins beside them work.

use std::{
    fs::{self, Permissions},
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _, fs::symlink, net::UnixListener},
    path::{Path, PathBuf},
    process::Command,
};

use fluxbay_tests::{
    Finished, fluxbay, plugin_dir, repository, run, schema, scratch, standard_plugins, succeed,
    write,
};
use serde_json::Value;

/// `fluxbay list --json` of a plugin folder.
fn list(home: &Path, plugins: &Path) -> Value {
    let listed = succeed(fluxbay(home, plugins).args(["list", "--json"]));
    serde_json::from_str(&listed.stdout).unwrap()
}

/// Reason why the file whose listed path ends in `end` is refused, or its state if it is not.
fn verdict(listing: &Value, end: &str) -> String {
    let files = listing["files"].as_array().unwrap();
    let file = files
        .iter()
        .find(|file| file["path"].as_str().unwrap().ends_with(end))
        .unwrap_or_else(|| panic!("{end}: {listing:#}"));
    file.get("reason").unwrap_or(&file["state"]).as_str().unwrap().to_owned()
}

/// Bytes of a standard plugin.
fn good() -> Vec<u8> {
    fs::read(standard_plugins().iter().find(|file| file.ends_with("libfluxbay_losses.so")).unwrap())
        .unwrap()
}

fn has_compiler() -> bool {
    let found =
        Command::new("cc").arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("skipped: there is no C compiler `cc`");
    }
    found
}

/// Compiles C code into a shared library with the manifest of a loss `c-loss`.
fn compile(dir: &Path, name: &str, code: &str) -> PathBuf {
    let json = format!(
        r#"{{"schema":1,"contract":"1.0","plugin":{{"name":"{name}","version":"1.0.0"}},"components":[{{"kind":"loss","name":"c-{name}"}}]}}"#
    );
    let mut section = b"FLUXBAYM\x01\0\0\0".to_vec();
    section.extend(u32::try_from(json.len()).unwrap().to_le_bytes());
    section.extend(json.as_bytes());
    let literal: String = section.iter().map(|byte| format!("\\{byte:03o}")).collect();
    let source = write(
        dir,
        &format!("{name}.c"),
        &format!(
            "#include <signal.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <unistd.h>\n__attribute__((used, \
             section(\".fluxbay.manifest\"))) static const char manifest[{}] = \"{literal}\";\n{code}\n",
            section.len()
        ),
    );
    let library = dir.join(format!("{name}.so"));
    succeed(Command::new("cc").args(["-shared", "-fPIC", "-w", "-o"]).arg(&library).arg(&source));
    fs::remove_file(source).unwrap();
    library
}

/// Fills `dir` with invalid files. The returned socket must stay open while the test lists the
/// folder.
fn corpus(dir: &Path) -> UnixListener {
    let good = good();
    let put = |name: &str, bytes: &[u8]| {
        fs::write(dir.join(name), bytes).unwrap();
        fs::set_permissions(dir.join(name), Permissions::from_mode(0o755)).unwrap();
    };
    let edited = |at: usize, new: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + new.len()].copy_from_slice(new);
        bytes
    };
    put("empty.so", b"");
    put("text.so", b"hello\n");
    put("script.so", b"#!/bin/sh\n");
    put("zip.so", b"PK\x03\x04\x14\0");
    put("mach-o.so", b"\xcf\xfa\xed\xfe\x0c\0\0\x01");
    put("pe.so", b"MZ\x90\0\x03");
    put("header-only.so", &good[..64]);
    put("half.so", &good[..good.len() / 2]);
    put("machine.so", &edited(18, &[0xf3, 0]));
    put("bits.so", &edited(4, &[1]));
    put("endian.so", &edited(5, &[2]));
    put("executable.so", &edited(16, &[2, 0]));
    put("object.so", &edited(16, &[1, 0]));
    fs::create_dir(dir.join("directory.so")).unwrap();
    succeed(Command::new("mkfifo").arg(dir.join("pipe.so")));
    symlink("/dev/zero", dir.join("device.so")).unwrap();
    symlink("loop.so", dir.join("loop.so")).unwrap();
    symlink("gone", dir.join("dangling.so")).unwrap();
    put("open-to-all.so", &good);
    fs::set_permissions(dir.join("open-to-all.so"), Permissions::from_mode(0o777)).unwrap();
    let manifest = good.windows(8).position(|window| window == b"FLUXBAYM").unwrap();
    put("manifest-magic.so", &edited(manifest, b"X"));
    put("manifest-length.so", &edited(manifest + 12, &[0xff; 4]));
    put("manifest-json.so", &edited(manifest + 16, b"["));
    put("manifest-utf8.so", &edited(manifest + 40, &[0xff]));
    put("no-plugin.txt", b"passed over");
    UnixListener::bind(dir.join("socket.so")).unwrap()
}

const VERDICTS: [(&str, &str); 23] = [
    ("empty.so", "not-elf"),
    ("text.so", "not-elf"),
    ("script.so", "not-elf"),
    ("zip.so", "not-elf"),
    ("mach-o.so", "not-elf"),
    ("pe.so", "not-elf"),
    ("header-only.so", "truncated"),
    ("half.so", "truncated"),
    ("machine.so", "wrong-architecture"),
    ("bits.so", "wrong-architecture"),
    ("endian.so", "wrong-architecture"),
    ("executable.so", "not-a-shared-library"),
    ("object.so", "not-a-shared-library"),
    ("directory.so", "not-a-regular-file"),
    ("pipe.so", "not-a-regular-file"),
    ("device.so", "not-a-regular-file"),
    ("socket.so", "not-a-regular-file"),
    ("loop.so", "unreadable"),
    ("dangling.so", "unreadable"),
    ("open-to-all.so", "untrusted"),
    ("manifest-magic.so", "bad-manifest"),
    ("manifest-length.so", "bad-manifest"),
    ("manifest-json.so", "bad-manifest"),
];

#[test]
fn a_folder_full_of_bad_files_is_listed_with_every_reason_and_the_good_plugins_beside_them_stay_usable()
 {
    let (home, plugins) = (scratch(), plugin_dir());
    let before = list(home.path(), plugins.path());
    let _socket = corpus(plugins.path());
    let listing = list(home.path(), plugins.path());
    for (name, reason) in VERDICTS {
        assert_eq!(verdict(&listing, &format!("/{name}")), reason, "{name}");
    }
    assert_eq!(verdict(&listing, "/manifest-utf8.so"), "bad-manifest");
    assert_eq!(listing["totals"]["plugins"], before["totals"]["plugins"]);
    assert_eq!(listing["components"], before["components"]);
    for file in
        listing["files"].as_array().unwrap().iter().filter(|file| file["state"] == "refused")
    {
        for field in ["stage", "reason", "message", "help"] {
            assert!(file[field].as_str().is_some_and(|text| !text.is_empty()), "{file:#}");
        }
    }
    let text = succeed(fluxbay(home.path(), plugins.path()).arg("list")).stdout;
    assert!(text.contains("truncated (static): ") && text.contains("help: "), "{text}");
}

#[test]
fn names_that_are_no_text_are_listed_escaped() {
    let (home, plugins) = (scratch(), scratch());
    let name = std::ffi::OsStr::from_bytes(b"new\nline\x1b[31m\xff.so");
    fs::write(plugins.path().join(name), good()).unwrap();
    let listed = succeed(fluxbay(home.path(), plugins.path()).arg("list"));
    assert!(listed.stdout.contains("new\\nline\\x1b[31m\\xff.so"), "{}", listed.stdout);
    assert!(!listed.stdout.contains('\x1b'));
}

#[test]
fn listing_runs_no_code_of_a_plugin() {
    if !has_compiler() {
        return;
    }
    let (home, plugins) = (scratch(), scratch());
    let trace = home.path().join("ran");
    let code = format!(
        "__attribute__((constructor)) static void ran(void) {{ fclose(fopen(\"{}\", \"w\")); }}",
        trace.display()
    );
    compile(plugins.path(), "tracer", &code);
    let listing = list(home.path(), plugins.path());
    assert_eq!(listing["totals"]["plugins"], 1, "{listing:#}");
    assert!(!trace.exists(), "a constructor ran");
}

#[test]
fn a_plugin_that_crashes_when_tried_is_quarantined_until_that_is_lifted_and_the_host_lives() {
    if !has_compiler() {
        return;
    }
    let (home, plugins) = (scratch(), plugin_dir());
    let crash = "__attribute__((constructor)) static void crash(void) { fputs(\"so long\\n\", stderr); *(volatile int *)0 = 1; }";
    compile(plugins.path(), "crasher", crash);
    let command = || {
        let mut command = fluxbay(home.path(), plugins.path());
        command.args(["train", "--set", "loss.component=c-crasher", "--run-dir", "run"]);
        command
    };
    let first = run(&mut command());
    assert_eq!(first.code, Some(3), "{}\n{}", first.stdout, first.stderr);
    for word in ["crasher.so", "SIGSEGV", "so long"] {
        assert!(first.stderr.contains(word), "{word}: {}", first.stderr);
    }
    assert_eq!(verdict(&list(home.path(), plugins.path()), "/crasher.so"), "quarantined");
    let file = plugins.path().join("crasher.so").to_string_lossy().into_owned();
    for (name, words) in [
        ("c-crasher", "not used: quarantined"),
        (&file, "quarantined, described by its bytes alone"),
    ] {
        let sheet = succeed(fluxbay(home.path(), plugins.path()).args(["inspect", name])).stdout;
        let sheet = sheet.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            sheet.contains(words) && sheet.contains("SIGSEGV") && sheet.contains("contract 1.0"),
            "{sheet}"
        );
        assert_eq!(sheet.contains("component = \"c-crasher\""), name == "c-crasher", "{sheet}");
    }
    let records =
        succeed(fluxbay(home.path(), plugins.path()).args(["quarantine", "--json"])).stdout;
    let schema =
        succeed(fluxbay(home.path(), plugins.path()).args(["schema", "quarantine"])).stdout;
    let records: Value = serde_json::from_str(&records).unwrap();
    schema::check(&serde_json::from_str(&schema).unwrap(), &records, "quarantine").unwrap();
    assert_eq!(records["plugins"].as_array().unwrap().len(), 1);
    let shown = succeed(fluxbay(home.path(), plugins.path()).arg("quarantine"));
    assert!(
        shown.stdout.contains("| so long") && shown.stdout.contains("crashed: "),
        "{}",
        shown.stdout
    );
    succeed(fluxbay(home.path(), plugins.path()).args(["quarantine", "--lift", "all"]));
    assert_eq!(verdict(&list(home.path(), plugins.path()), "/crasher.so"), "ok");
}

/// Compiles the tracer; `None` without a C compiler or the permission to trace.
fn tracer(dir: &Path) -> Option<PathBuf> {
    if !has_compiler() {
        return None;
    }
    let tracer = dir.join("tracer");
    succeed(
        Command::new("cc")
            .args(["-O1", "-o"])
            .arg(&tracer)
            .arg(fluxbay_tests::repository().join("tests/tracer.c")),
    );
    let allowed = run(Command::new(&tracer).arg(dir.join("trace")).arg("true")).code == Some(0);
    if !allowed {
        eprintln!("skipped: processes may not be traced here");
    }
    allowed.then_some(tracer)
}

/// Runs a command under the tracer and returns the trace lines.
fn trace(tracer: &Path, command: &Command) -> Vec<String> {
    let log = tracer.with_file_name("trace");
    let mut traced = Command::new(tracer);
    traced.arg(&log).arg(command.get_program()).args(command.get_args()).env_clear();
    traced.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    traced.current_dir(command.get_current_dir().unwrap());
    succeed(&mut traced);
    String::from_utf8_lossy(&fs::read(log).unwrap()).lines().map(str::to_owned).collect()
}

#[test]
fn listing_and_inspecting_never_map_a_candidate_as_the_system_calls_show() {
    let (home, plugins) = (scratch(), plugin_dir());
    let Some(tracer) = tracer(home.path()) else { return };
    let _socket = corpus(plugins.path());
    compile(
        plugins.path(),
        "tracer",
        "__attribute__((constructor)) static void ran(void) { abort(); }",
    );
    let folder = plugins.path().canonicalize().unwrap().to_string_lossy().into_owned();
    let store = home
        .path()
        .canonicalize()
        .unwrap()
        .join(".cache/fluxbay/plugins")
        .to_string_lossy()
        .into_owned();
    let of_plugin = |line: &&String| line.contains(&folder) || line.contains(&store);
    let commands: [&[&str]; 6] = [
        &["list"],
        &["list", "--json"],
        &["inspect", "callback/recorder"],
        &["inspect", "loss/cross-entropy", "--json"],
        &["schema"],
        &["quarantine"],
    ];
    for (number, arguments) in commands.into_iter().enumerate() {
        let lines = trace(&tracer, fluxbay(home.path(), plugins.path()).args(arguments));
        let touched: Vec<&String> =
            lines.iter().filter(of_plugin).filter(|line| !line.starts_with("open ")).collect();
        assert!(touched.is_empty(), "{arguments:?} maps candidates: {touched:?}");
        // Control: the first command reads the candidates, and the trace contains the libraries of
        // the program itself.
        let reads = lines.iter().filter(of_plugin).any(|line| line.ends_with(".so"));
        assert!(number > 0 || reads, "{lines:?}");
        assert!(
            lines.iter().any(|line| line.starts_with("execute ") && line.contains("libc.so")),
            "{lines:?}"
        );
    }
    // Control: training maps plugins, and only from the private store.
    let mut compose = fluxbay(home.path(), plugins.path());
    let lines = trace(&tracer, compose.arg("compose").env("FLUXBAY_SUPERVISOR", "off"));
    assert!(
        lines.iter().any(|line| line.starts_with("execute ") && line.contains(&store)),
        "{lines:?}"
    );
    assert!(
        !lines.iter().any(|line| !line.starts_with("open ") && line.contains(&folder)),
        "{lines:?}"
    );
}

#[test]
fn training_beside_the_whole_corpus_gives_the_same_bits_as_without_it() {
    let (home, alone, among) = (scratch(), plugin_dir(), plugin_dir());
    let _socket = corpus(among.path());
    if has_compiler() {
        for (name, code) in [
            ("crashes", "*(volatile int *)0 = 1"),
            ("exits", "exit(0)"),
            ("hangs", "for (;;) pause()"),
            ("aborts", "abort()"),
            ("prints", "puts(\"forged\")"),
        ] {
            compile(
                among.path(),
                name,
                &format!("__attribute__((constructor)) static void code(void) {{ {code}; }}"),
            );
        }
    }
    let train = |plugins: &Path, out: &str| {
        let arguments =
            ["train", "--run-dir", out, "--set", "run.epochs=2", "--set", "run.threads=1"];
        succeed(fluxbay(home.path(), plugins).args(arguments));
        fs::read(home.path().join(out).join("model.safetensors")).unwrap()
    };
    assert!(
        train(alone.path(), "alone") == train(among.path(), "among"),
        "bad files change what is trained"
    );
    // Unused files were not tried, so none is in quarantine.
    assert_eq!(verdict(&list(home.path(), among.path()), "/text.so"), "not-elf");
    let quarantined = succeed(fluxbay(home.path(), among.path()).args(["quarantine", "--json"]));
    assert_eq!(
        serde_json::from_str::<Value>(&quarantined.stdout).unwrap()["plugins"],
        serde_json::json!([])
    );
}

#[test]
fn two_hosts_that_write_the_cache_at_once_and_a_cache_that_cannot_be_written_do_no_harm() {
    let (home, plugins) = (scratch(), plugin_dir());
    let _socket = corpus(plugins.path());
    let expected = list(home.path(), plugins.path());
    fs::remove_dir_all(home.path().join(".cache")).unwrap();
    let children: Vec<_> = (0..8)
        .map(|_| {
            fluxbay(home.path(), plugins.path())
                .args(["list", "--json"])
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), expected);
    }
    let cache = home.path().join(".cache/fluxbay");
    fs::set_permissions(&cache, Permissions::from_mode(0o500)).unwrap();
    assert_eq!(list(home.path(), plugins.path()), expected);
    fs::set_permissions(&cache, Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn keys_are_kept_and_plugins_without_their_signature_refused_before_they_run() {
    let (home, plugins) = (scratch(), plugin_dir());
    let command = |arguments: &[&str]| run(fluxbay(home.path(), plugins.path()).args(arguments));
    let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    assert_eq!(command(&["trust", "add", "RWnonsense", "--name", "x"]).code, Some(2));
    assert_eq!(command(&["trust", "add", key, "--name", "team"]).code, Some(0));
    assert!(command(&["trust", "list"]).stdout.contains(&format!("team  {key}")));
    let refused = command(&["train", "--set", "run.epochs=1"]);
    assert!(refused.code == Some(3) && refused.stderr.contains("unsigned"), "{}", refused.stderr);
    assert!(command(&["list"]).stdout.contains("unsigned (trust)"));
    let folder = plugins.path().to_string_lossy().into_owned();
    assert_eq!(
        command(&["train", "--set", "run.epochs=1", "--allow-untrusted", &folder]).code,
        Some(0)
    );
    assert_eq!(command(&["trust", "remove", "team"]).code, Some(0));
    assert_eq!(command(&["train", "--set", "run.epochs=1"]).code, Some(0));
}

#[test]
fn a_run_that_needs_a_refused_or_missing_plugin_names_it_and_exits_with_3() {
    let (home, plugins) = (scratch(), plugin_dir());
    let arguments = ["--fast-dev-run"];
    let kept = ["--set", "run.epochs=1", "--limit-batches", "2", "--run-dir", "out"];
    succeed(fluxbay(home.path(), plugins.path()).arg("train").args(kept));
    let models = plugins.path().join("libfluxbay_models.so");
    let whole = fs::read(&models).unwrap();
    let says = |finished: &Finished, parts: &[&str]| {
        assert_eq!(finished.code, Some(3), "{}", finished.stderr);
        for part in parts {
            assert!(finished.stderr.contains(part), "{part} is missing in {}", finished.stderr);
        }
    };
    // Its end is missing, but not its manifest.
    fs::write(&models, &whole[..whole.len() - 64]).unwrap();
    let refused = run(fluxbay(home.path(), plugins.path()).arg("train").args(arguments));
    says(&refused, &["model `mlp`", "fluxbay-models 0.1.0", "truncated", "libfluxbay_models.so"]);
    // Writable by everybody.
    fs::write(&models, &whole).unwrap();
    fs::set_permissions(&models, fs::Permissions::from_mode(0o666)).unwrap();
    let refused = run(fluxbay(home.path(), plugins.path()).arg("train").args(arguments));
    says(&refused, &["fluxbay-models 0.1.0", "untrusted", "sha256", "--allow-untrusted"]);
    // Gone.
    fs::remove_file(&models).unwrap();
    for command in ["resume", "evaluate"] {
        let missing = run(fluxbay(home.path(), plugins.path()).args([command, "out"]));
        says(
            &missing,
            &["plugin fluxbay-models 0.1.0", "sha256", "libfluxbay_models.so", "--plugin-dir"],
        );
    }
    // What only observes is not needed to measure a model.
    fs::write(&models, &whole).unwrap();
    fs::remove_file(plugins.path().join("libfluxbay_loggers.so")).unwrap();
    succeed(fluxbay(home.path(), plugins.path()).args(["evaluate", "out"]));
}

#[test]
fn every_promise_of_the_documentation_names_a_test_that_exists() {
    let page = fs::read_to_string(repository().join("docs/safety.md")).unwrap();
    let promises = page.split("## The promises").nth(1).unwrap();
    let promises = promises.split("## What is not protected").next().unwrap();
    let mut number = 0;
    for promise in
        promises.split('\n').filter(|line| line.starts_with(|ch: char| ch.is_ascii_digit()))
    {
        number += 1;
        assert!(promise.starts_with(&format!("{number}. ")), "{promise}");
    }
    let cited: Vec<(&str, &str)> =
        promises.split('`').filter_map(|word| word.split_once("::")).collect();
    assert!(number >= 15 && cited.len() >= number, "{number} promises, {} tests", cited.len());
    for (file, test) in cited {
        let source = fs::read_to_string(repository().join(file)).unwrap_or_default();
        assert!(source.contains(&format!("fn {test}(")), "{file} has no test {test}");
    }
}

#[test]
fn a_file_instead_of_a_folder_of_plugins_and_a_missing_file_are_named_as_such() {
    let (home, plugins) = (scratch(), plugin_dir());
    let file = plugins.path().join("libfluxbay_models.so");
    let train = run(fluxbay(home.path(), plugins.path())
        .args(["train", "--fast-dev-run", "--plugin-dir"])
        .arg(&file));
    assert!(train.stderr.contains("it is a file, but a directory is expected"), "{}", train.stderr);
    let listed =
        run(fluxbay(home.path(), plugins.path()).args(["list", "--plugin-dir"]).arg(&file));
    assert!(listed.stdout.contains("a directory is expected"), "{}", listed.stdout);
    for command in ["check", "inspect"] {
        let missing = run(fluxbay(home.path(), plugins.path()).args([command, "nowhere.so"]));
        let text = missing.stdout + &missing.stderr;
        assert!(
            text.contains("there is no such file") && !text.contains("symbolic link"),
            "{text}"
        );
    }
}

#[test]
fn a_damaged_lock_file_is_one_error_without_line_breaks() {
    let (home, plugins) = (scratch(), plugin_dir());
    fs::write(home.path().join("plugins.lock"), "version = 1\nplugin = [\n{ name = }\n").unwrap();
    let locked =
        run(fluxbay(home.path(), plugins.path()).args(["train", "--fast-dev-run", "--locked"]));
    assert_eq!(locked.code, Some(2));
    assert!(
        locked.stderr.contains("plugins.lock: line ") && !locked.stderr.contains("\\n"),
        "{}",
        locked.stderr
    );
    assert!(!locked.stderr.contains("no plugin was found"), "{}", locked.stderr);
}
