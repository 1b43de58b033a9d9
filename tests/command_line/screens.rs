//! Every screen, as it is. Where one changes on purpose:
//! `INSTA_UPDATE=always cargo test -p fluxbay-tests --test command_line`.

use std::path::Path;

use fluxbay_tests::{fluxbay, plugin_dir, run, scratch, succeed};

/// Numbers, hashes and folders of this moment, as `#` and `DIR`.
fn settled(text: &str, dir: &Path, plugins: &Path) -> String {
    let text = text
        .replace(&*plugins.to_string_lossy(), "PLUGINS")
        .replace(&*dir.to_string_lossy(), "DIR");
    let mut out = String::new();
    for line in text.lines() {
        let words: Vec<String> = line.split(' ').map(settled_word).collect();
        out.push_str(words.join(" ").trim_end());
        out.push('\n');
    }
    out
}

fn settled_word(word: &str) -> String {
    let bare = word.trim_end_matches([',', ';', ')', ':']);
    let is_hash = bare.len() >= 8
        && bare.bytes().all(|byte| byte.is_ascii_hexdigit())
        && bare.bytes().any(|byte| byte.is_ascii_digit());
    if is_hash {
        return word.replace(bare, "#");
    }
    let mut out = String::new();
    for ch in word.chars() {
        if ch.is_ascii_digit() {
            if !out.ends_with('#') {
                out.push('#');
            }
        } else {
            out.push(ch);
        }
    }
    // A short time is told in the unit that suits this machine.
    if out == "#ms" {
        "#s".to_owned()
    } else {
        out.replace("#.#", "#").replace("#,#", "#").replace("#e-#", "#")
    }
}

/// Columns whose width follows from numbers: their spaces say nothing.
fn squeezed(text: &str) -> String {
    let line = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// A sheet without what the plugin was built with: target, size, compiler, linker, debug
/// information. They differ by machine and by profile.
fn without_build(sheet: &str) -> String {
    let mut within = false;
    let mut out = String::new();
    for line in sheet.lines() {
        within = line.starts_with("built ") || within && line.starts_with("            ");
        if !within {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

fn snapshot(name: &str, text: String) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("screens");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

#[test]
fn help_is_short_enough_for_a_screen_and_long_where_asked() {
    let (dir, plugins) = (scratch(), scratch());
    // A unit test of the host checks that each screen fits a terminal.
    let mut screens = String::new();
    let mut add = |words: &[String]| {
        let mut command = fluxbay(dir.path(), plugins.path());
        let screen = succeed(command.args(words).env("COLUMNS", "80")).stdout;
        screens.push_str(&format!("$ fluxbay {}\n{}\n\n", words.join(" "), screen.trim_end()));
    };
    add(&["-h".to_owned()]);
    add(&["--help".to_owned()]);
    for mut command in fluxbay::cli::help::commands() {
        command.push("-h".to_owned());
        add(&command);
    }
    snapshot("help", screens);
}

#[test]
fn listings_and_sheets() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let screen = |arguments: &[&str]| {
        settled(
            &succeed(fluxbay(dir.path(), plugins.path()).args(arguments)).stdout,
            dir.path(),
            plugins.path(),
        )
    };
    // The whole listing changes with every component that is added; its form is tested where it is
    // made.
    snapshot("list-of-a-plugin", screen(&["list", "--plugin", "fluxbay-losses"]));
    let changers = screen(&["list", "--writes", "optimizer.learning-rate"]);
    assert!(changers.contains("scheduler") && !changers.contains("early-stopping"), "{changers}");
    let first = screen(&["list", "--kind", "callback", "--event", "fit-begin"]);
    assert!(first.contains("recorder") && !first.contains("stop-on-nan"), "{first}");
    snapshot("inspect-callback", screen(&["inspect", "early-stopping"]));
    snapshot("inspect-model", screen(&["inspect", "model/mlp"]));
    snapshot("inspect-schedule", screen(&["inspect", "onecycle"]));
    let sheet = screen(&["inspect", "fluxbay-losses"]);
    assert!(sheet.contains("\nbuilt       for "), "{sheet}");
    snapshot("inspect-plugin", without_build(&sheet));
    let nothing = succeed(fluxbay(dir.path(), &dir.path().join("none")).args(["list"])).stdout;
    // The executable lies elsewhere each time.
    let lines: Vec<&str> =
        nothing.lines().filter(|line| !line.contains("(beside the executable)")).collect();
    snapshot("list-of-nothing", settled(&lines.join("\n"), dir.path(), plugins.path()));
}

#[test]
fn compositions() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let screen =
        |arguments: &[&str]| succeed(fluxbay(dir.path(), plugins.path()).args(arguments)).stdout;
    snapshot("compose", screen(&["compose"]));
    snapshot("compose-why", screen(&["compose", "--why", "metrics-printer", "metrics"]));
    snapshot("compose-why-unordered", screen(&["compose", "--why", "recorder", "stop-on-nan"]));
    for format in ["text", "dot", "mermaid", "svg"] {
        snapshot(&format!("compose-graph-{format}"), screen(&["compose", "--graph", format]));
    }
    let config = screen(&["compose", "--print-config", "--set", "optimizer.learning-rate=0.01"]);
    snapshot("compose-print-config", config.replace(&*dir.path().to_string_lossy(), "DIR"));
}

#[test]
fn training_from_the_banner_to_the_summary() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let arguments =
        ["train", "--set", "run.epochs=2", "--set", "run.threads=1", "--run-dir", "out"];
    let finished = succeed(fluxbay(dir.path(), plugins.path()).args(arguments));
    let screen = squeezed(&settled(&finished.stderr, dir.path(), plugins.path()));
    // What depends on how fast the machine is: that it is there has to do.
    let lines = screen.lines().filter(|line| !line.starts_with("epoch #/#")).map(|line| match line
        .split_once(' ')
    {
        Some((label @ ("time" | "within" | "finished"), _)) => format!("{label} ..."),
        _ => line.to_owned(),
    });
    snapshot("train", lines.collect::<Vec<_>>().join("\n"));
    assert!(
        finished.stderr.contains("callbacks: ")
            && finished.stderr.contains("training ")
            && finished.stderr.contains(" %)")
    );
    let evaluated = succeed(fluxbay(dir.path(), plugins.path()).args(["evaluate", "out"]));
    snapshot("evaluate", squeezed(&settled(&evaluated.stdout, dir.path(), plugins.path())));
}

#[test]
fn errors_of_commands() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let cases: [(&str, &[&str]); 14] = [
        ("unknown-command", &["trian"]),
        ("unknown-option", &["train", "--epochs", "3"]),
        ("missing-run-file", &["train", "nowhere.toml"]),
        ("unknown-component-to-inspect", &["inspect", "erly-stopping"]),
        ("unknown-kind-to-inspect", &["inspect", "calback/metrics"]),
        ("add-without-kind", &["train", "--add", "early-stopping"]),
        ("add-with-a-wrong-setting", &["train", "--add", "callback/early-stopping{patiance = 3}"]),
        ("set-of-an-unknown-key", &["train", "--set", "optimizer.learnin-rate=0.1"]),
        ("set-without-a-value", &["train", "--set", "run.epochs"]),
        ("remove-of-an-unknown-id", &["train", "--remove", "progres"]),
        ("why-of-an-unknown-callback", &["compose", "--why", "metrics", "recordr"]),
        ("resume-of-no-run", &["resume", "nowhere"]),
        ("evaluate-of-no-run", &["evaluate"]),
        ("new-of-an-unknown-kind", &["new", "calback", "mine"]),
    ];
    for (name, arguments) in cases {
        let finished = run(fluxbay(dir.path(), plugins.path()).args(arguments));
        assert_eq!(
            (finished.code, finished.stdout.as_str()),
            (Some(2), ""),
            "{name}: {}",
            finished.stderr
        );
        snapshot(
            &format!("error-{name}"),
            finished.stderr.replace(&*dir.path().to_string_lossy(), "DIR"),
        );
    }
}

#[test]
fn completion_offers_commands_and_names_of_components() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let script = succeed(fluxbay(dir.path(), plugins.path()).args(["completions", "bash"])).stdout;
    assert!(script.contains("complete ") && script.contains("FLUXBAY_COMPLETE"), "{script}");
    // As the script of fish asks, which takes one candidate a line.
    let ask = |words: &[&str]| {
        let mut command = fluxbay(dir.path(), plugins.path());
        command.env("FLUXBAY_COMPLETE", "fish").args(["--", "fluxbay"]).args(words);
        succeed(&mut command).stdout
    };
    assert!(ask(&["in"]).contains("inspect"));
    assert!(
        ask(&["inspect", "early"]).contains("early-stopping"),
        "{}",
        ask(&["inspect", "early"])
    );
    assert!(ask(&["train", "--add", "callback/ear"]).contains("callback/early-stopping"));
    assert!(ask(&["list", "--event", "step-e"]).contains("step-end"));
    let pages = succeed(fluxbay(dir.path(), plugins.path()).args(["man", "pages"])).stdout;
    assert!(pages.contains("pages"));
    let page = std::fs::read_to_string(dir.path().join("pages/fluxbay-train.1")).unwrap();
    assert!(page.contains("overfit") && page.contains(".SH OPTIONS"), "{page}");
}
