//! Plugins not written in Rust: the C header, a valid plugin in C, and faulty plugins in C and C++.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use fluxbay_tests::{fluxbay, plugin_dir, repository, run, scratch, succeed, write};

use super::{run_file, says, state};

fn has(compiler: &str) -> bool {
    let found = Command::new(compiler)
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("skipped: there is no compiler `{compiler}`");
    }
    found
}

fn docs() -> PathBuf {
    repository().join("docs/c-plugins")
}

fn compile(compiler: &str, source: &Path, target: &Path, options: &[&str]) {
    let mut command = Command::new(compiler);
    command
        .args([
            "-shared",
            "-fPIC",
            "-O1",
            "-fvisibility=hidden",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-I",
        ])
        .arg(docs());
    succeed(command.args(options).arg("-o").arg(target).arg(source));
}

/// Name in the C header of a Rust type: `x_table` for `XTable`; a trailing `Raw` is dropped.
fn c_name(rust: &str) -> String {
    let rust = rust.strip_suffix("Raw").unwrap_or(rust);
    let mut name = String::from("fluxbay");
    for letter in rust.chars() {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

#[test]
fn the_header_has_the_sizes_offsets_and_numbers_of_the_contract() {
    if !has("cc") {
        return;
    }
    let contract = fs::read_to_string(repository().join("plugin-api/tests/contract.txt")).unwrap();
    let header = fs::read_to_string(docs().join("fluxbay.h")).unwrap();
    let mut asserts = String::from("#include \"fluxbay.h\"\n");
    let (mut structs, mut fields, mut current) = (0, 0, None);
    for line in contract.lines() {
        if !line.starts_with(' ') {
            current = None;
        }
        if let Some((name, rest)) = line
            .split_once(": ")
            .filter(|(name, _)| name.chars().all(|c| c.is_ascii_alphanumeric()))
        {
            let name = c_name(name);
            current = header.contains(&format!("struct {name} {{")).then(|| name.clone());
            if let (Some(name), Some(size)) = (&current, rest.split(' ').next()) {
                structs += 1;
                asserts.push_str(&format!(
                    "_Static_assert(sizeof(struct {name}) == {size}, \"{name}\");\n"
                ));
            }
        } else if let (Some(name), Some((offset, field))) =
            (&current, line.trim().strip_prefix('+').and_then(|l| l.split_once(' ')))
        {
            let field = field.split(':').next().unwrap();
            fields += 1;
            asserts.push_str(&format!("_Static_assert(offsetof(struct {name}, {field}) == {offset}, \"{name}.{field}\");\n"));
        }
    }
    assert!(structs >= 30 && fields >= 190, "{structs} structs, {fields} fields");
    // Operation codes, the list that changes most often.
    for info in fluxbay_plugin_operations() {
        let (name, code) = info;
        asserts.push_str(&format!("_Static_assert(FLUXBAY_OP_{name} == {code}, \"{name}\");\n"));
    }
    let dir = scratch();
    let source = write(dir.path(), "asserts.c", &asserts);
    succeed(
        Command::new("cc")
            .args(["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", "-I"])
            .arg(docs())
            .arg(source),
    );
}

/// Names, in the form of constants, and codes of the operations.
fn fluxbay_plugin_operations() -> Vec<(String, u32)> {
    let source = fs::read_to_string(repository().join("plugin-api/src/abi/operation.rs")).unwrap();
    let lines = source.lines().filter_map(|line| {
        let (name, rest) = line.trim().split_once(" = ")?;
        let code = rest.split_once(", \"")?.0.parse().ok()?;
        name.chars()
            .all(|c| c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit())
            .then(|| (name.to_owned(), code))
    });
    let operations: Vec<_> = lines.collect();
    assert!(operations.len() > 60, "{}", operations.len());
    operations
}

#[test]
fn the_plugin_in_c_of_the_documentation_trains() {
    if !has("cc") {
        return;
    }
    let (dir, plugins) = (scratch(), plugin_dir());
    compile(
        "cc",
        &docs().join("low_loss.c"),
        &plugins.path().join("low_loss.so"),
        &["-std=c11", "-Wpedantic"],
    );
    fs::copy(super::plugins().join("faulty.so"), plugins.path().join("faulty.so")).unwrap();
    run_file(dir.path(), "", "", "[[callback]]\ncomponent = \"low-loss-c\"\nbelow = 1000\n");
    let finished = succeed(fluxbay(dir.path(), plugins.path()).args([
        "train",
        "run.toml",
        "--run-dir",
        "out",
    ]));
    let state = state(dir.path());
    assert_eq!(
        (&state["status"], &state["by"]),
        (&"stopped".into(), &"low-loss-c".into()),
        "{}",
        finished.stderr
    );
    assert_eq!(state["reason"], "the loss is low enough");
    let wrong = run(fluxbay(dir.path(), plugins.path()).args([
        "train",
        "run.toml",
        "--set",
        "callback.low-loss-c.below=-1",
    ]));
    assert_eq!(wrong.code, Some(2), "{}", wrong.stderr);
}

#[test]
fn the_metric_in_c_of_the_documentation_measures_and_says_its_direction() {
    if !has("cc") {
        return;
    }
    let (dir, plugins) = (scratch(), plugin_dir());
    let file = plugins.path().join("highest_loss.so");
    compile("cc", &docs().join("highest_loss.c"), &file, &["-std=c11", "-Wpedantic"]);
    let run_toml = "[run]\nepochs = 2\n[checkpoints]\nevery-epochs = 1\nkeep-best = 1\n\
                    metric = \"validation/highest-loss-c\"\n\
                    [data]\ncomponent = \"digits\"\n[model]\ncomponent = \"mlp\"\n\
                    [loss]\ncomponent = \"cross-entropy\"\n[optimizer]\ncomponent = \"adamw\"\n\
                    [[callback]]\ncomponent = \"metrics\"\nmetrics = [\"highest-loss-c\"]\n";
    write(dir.path(), "run.toml", run_toml);
    succeed(fluxbay(dir.path(), plugins.path()).args(["train", "run.toml", "--run-dir", "out"]));
    let metrics = fs::read_to_string(dir.path().join("out/metrics.jsonl")).unwrap();
    assert!(metrics.contains("\"name\":\"highest-loss-c\""), "{metrics}");
    succeed(fluxbay(dir.path(), plugins.path()).arg("check").arg(&file));
}

#[test]
fn the_data_set_and_the_transform_in_c_of_the_documentation_train() {
    if !has("cc") {
        return;
    }
    let (dir, plugins) = (scratch(), plugin_dir());
    let file = plugins.path().join("points.so");
    compile("cc", &docs().join("points.c"), &file, &["-std=c11", "-Wpedantic"]);
    let run_toml = "[run]\nepochs = 2\n[data]\ncomponent = \"points-c\"\n[[transform]]\ncomponent = \"noise-c\"\n\
                    [model]\ncomponent = \"mlp\"\nhidden = [4]\n[loss]\ncomponent = \"mse\"\n\
                    [optimizer]\ncomponent = \"adamw\"\n";
    write(dir.path(), "run.toml", run_toml);
    succeed(fluxbay(dir.path(), plugins.path()).args(["train", "run.toml", "--run-dir", "out"]));
    let hash = |threads: &str| {
        let mut command = fluxbay(dir.path(), plugins.path());
        succeed(command.args(["data", "hash", "run.toml", "--epochs", "2", "--set", threads]))
            .stdout
    };
    assert_eq!(hash("loader.threads=1"), hash("loader.threads=4"));
    succeed(fluxbay(dir.path(), plugins.path()).arg("check").arg(&file));
}

/// Compiles a variant of the valid plugin, called `name`, whose `on` function runs `body`.
fn variant(dir: &Path, name: &str, compiler: &str, body: &str) -> PathBuf {
    let source = fs::read_to_string(docs().join("low_loss.c")).unwrap();
    let source = source.replace("low-loss-c", name);
    let length = format!("\"{name}\", {}}}", name.len());
    let source = source.replace(&format!("\"{name}\", 10}}"), &length);
    let marked = "    const struct low_loss *self = instance;\n";
    assert!(source.contains(marked) && source.contains(&length));
    let source = source.replace(marked, &format!("{marked}{body}\n"));
    let file = write(
        dir,
        &format!("{name}.c"),
        &format!(
            "#include <setjmp.h>\n#include <stdio.h>\nextern void throw_it(void);\njmp_buf place;\n{source}"
        ),
    );
    let target = dir.join(format!("{name}.so"));
    let mut options = vec!["-std=gnu11", "-Wno-unused-variable", "-fexceptions"];
    let helper = dir.join("throw.o");
    if compiler == "c++" {
        let code = write(
            dir,
            "throw.cc",
            "#include <stdexcept>\nextern \"C\" void throw_it() { throw std::runtime_error(\"thrown\"); }\n",
        );
        succeed(Command::new("c++").args(["-fPIC", "-c", "-o"]).arg(&helper).arg(&code));
        fs::remove_file(code).unwrap();
        let object = helper.to_str().unwrap().to_owned();
        compile("cc", &file, &target, &[&options[..], &[object.as_str(), "-lstdc++"]].concat());
        fs::remove_file(helper).unwrap();
    } else {
        options.push("-Wno-unused");
        compile("cc", &file, &target, &options);
    }
    fs::remove_file(file).unwrap();
    target
}

fn train_with(
    name: &str,
    compiler: &str,
    body: &str,
) -> (tempfile::TempDir, fluxbay_tests::Finished) {
    let (dir, plugins) = (scratch(), plugin_dir());
    fs::copy(super::plugins().join("faulty.so"), plugins.path().join("faulty.so")).unwrap();
    variant(plugins.path(), name, compiler, body);
    run_file(dir.path(), "", "", &format!("[[callback]]\ncomponent = \"{name}\"\nbelow = 0\n"));
    let finished =
        run(fluxbay(dir.path(), plugins.path()).args(["train", "run.toml", "--run-dir", "out"]));
    (dir, finished)
}

/// As [`train_with`] in C, with two loggers; `None` without a compiler.
pub(super) fn train_with_loggers(
    name: &str,
    body: &str,
) -> Option<(tempfile::TempDir, fluxbay_tests::Finished)> {
    let (dir, plugins) = (scratch(), variants(&[name], body)?);
    let loggers = "[[logger]]\ncomponent = \"csv\"\n[[logger]]\ncomponent = \"jsonl\"\n";
    let callback = format!("[[callback]]\ncomponent = \"{name}\"\nbelow = 0\n{loggers}");
    run_file(dir.path(), "", "", &callback);
    let mut command = fluxbay(dir.path(), plugins.path());
    Some((dir, run(command.args(["train", "run.toml", "--run-dir", "out"]))))
}

/// A folder with the standard plugins, the faulty one, and variants of the plugin in C; `None`
/// without a compiler.
pub(super) fn variants(names: &[&str], body: &str) -> Option<tempfile::TempDir> {
    if !has("cc") {
        return None;
    }
    let plugins = plugin_dir();
    fs::copy(super::plugins().join("faulty.so"), plugins.path().join("faulty.so")).unwrap();
    for name in names {
        variant(plugins.path(), name, "cc", body);
    }
    Some(plugins)
}

#[test]
fn an_exception_that_leaves_a_plugin_ends_the_run_with_its_name() {
    if !has("c++") || !has("cc") {
        return;
    }
    let (dir, finished) = train_with("thrower", "c++", "    if (event->epoch == 2) throw_it();");
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    says(
        &finished,
        &[
            "`thrower` (callback/thrower of thrower), handling step-end in epoch 2, step 1 of phase training,",
            "SIGABRT",
        ],
    );
    assert_eq!(state(dir.path())["by"], "thrower");
}

#[test]
fn a_jump_into_a_frame_that_has_gone_ends_the_run_with_a_report() {
    if !has("cc") {
        return;
    }
    let body = "    if (event->epoch == 1 && event->step == 1) setjmp(place);\n    if (event->epoch == 2) { memset(place, 0x11, sizeof(void *) * 8); longjmp(place, 1); }";
    let (dir, finished) = train_with("jumper", "cc", body);
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    says(
        &finished,
        &[
            "`jumper` (callback/jumper of jumper), handling step-end in epoch 2",
            "ended the process by",
        ],
    );
    assert_eq!(state(dir.path())["status"], "failed");
}

#[test]
fn handles_that_are_stale_foreign_or_invented_are_errors() {
    if !has("cc") {
        return;
    }
    let twice = "    fluxbay_handle t; uint64_t n = 1; float x = 1;\n    if (host->tensor->create(FLUXBAY_DTYPE_F32, &n, 1, (struct \
                 fluxbay_text){(const uint8_t *)&x, 4}, &t)) return FLUXBAY_ERROR;\n    host->tensor->release(t);\n    return host->tensor->release(t);";
    for (name, body) in [
        ("double-release", twice),
        ("invented", "    return host->tensor->retain(UINT64_C(0x1234567800000003));"),
        ("no-tensor", "    return host->tensor->release(FLUXBAY_NO_TENSOR);"),
        ("wild-slot", "    double x; return host->state->get_number(4711, &x);"),
    ] {
        let (_dir, finished) = train_with(name, "cc", body);
        assert_eq!(finished.code, Some(1), "{name}: {}", finished.stderr);
        says(
            &finished,
            &[&format!("`{name}` (callback/{name} of {name})"), "step 1 of phase training"],
        );
        assert!(!finished.stderr.contains("ended the process"), "{name}: {}", finished.stderr);
    }
    // Slots of another instance and null pointers are refused, too.
    let (_dir, finished) =
        train_with("null-place", "cc", "    return host->state->get_number(self->loss, NULL);");
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    says(&finished, &["null"]);
}

#[test]
fn two_plugins_with_the_same_symbols_work_side_by_side() {
    if !has("cc") {
        return;
    }
    let (dir, plugins) = (scratch(), plugin_dir());
    fs::copy(super::plugins().join("faulty.so"), plugins.path().join("faulty.so")).unwrap();
    for name in ["twin-a", "twin-b"] {
        // Both plugins export this symbol, with different contents.
        let body = format!(
            "    static int seen; extern const char *whose; (void)whose; if (!seen++) host->display->print(text(\"I am {name}\"));"
        );
        let body = body.replace("extern const char *whose; (void)whose; ", "");
        variant(plugins.path(), name, "cc", &body);
    }
    run_file(
        dir.path(),
        "",
        "",
        "[[callback]]\ncomponent = \"twin-a\"\nbelow = 0\n[[callback]]\ncomponent = \"twin-b\"\nbelow = 0\n",
    );
    let finished =
        run(fluxbay(dir.path(), plugins.path()).args(["train", "run.toml", "--run-dir", "out"]));
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    says(&finished, &["I am twin-a", "I am twin-b"]);
}
