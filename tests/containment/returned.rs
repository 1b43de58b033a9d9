//! What plugins return and pass to the host is judged there: the error names the component that is
//! wrong, not one that uses its result, and what an instance may not change stays as it is.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use fluxbay_tests::{Finished, build_plugin, fluxbay, plugin_dir, run, scratch, succeed, write};
use tempfile::TempDir;

use super::foreign::train_with_loggers;
use super::{says, state};

fn plugins() -> &'static Path {
    static DIR: OnceLock<TempDir> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = plugin_dir();
        let plugin = build_plugin("wrong", include_str!("returned_plugin.rs"));
        fs::copy(plugin, dir.path().join("wrong.so")).unwrap();
        dir
    })
    .path()
}

/// A run of two epochs of eight training steps. Tables of `parts` replace those of the same name.
fn train(parts: &str) -> (TempDir, Finished) {
    let dir = scratch();
    let mut text =
        "[run]\nepochs = 2\nseed = 1\nthreads = 1\ndefault-callbacks = false\n".to_owned();
    for (name, table) in [
        ("[loader]", "[loader]\nbatch-size = 8\n"),
        ("[data]", "[data]\ncomponent = \"wrong-data\"\n"),
        ("[model]", "[model]\ncomponent = \"mlp\"\nhidden = [4]\n"),
        ("[loss]", "[loss]\ncomponent = \"mse\"\n"),
        ("[optimizer]", "[optimizer]\ncomponent = \"sgd\"\nlearning-rate = 0.01\n"),
        ("[[phase]]", "[[phase]]\ncomponent = \"training\"\n"),
        ("[[callback]]", "[[callback]]\ncomponent = \"recorder\"\n"),
    ] {
        if !parts.contains(name) {
            text += table;
        }
    }
    write(dir.path(), "run.toml", &(text + parts));
    let mut command = fluxbay(dir.path(), plugins());
    let finished = run(command.args(["train", "run.toml", "--run-dir", "out"]));
    (dir, finished)
}

fn component(table: &str, name: &str, what: &str) -> String {
    format!("{table}\ncomponent = \"{name}\"\nwhat = \"{what}\"\n")
}

/// The run failed with an error and not by a crash, because of `by`.
fn fails(what: &str, by: &str, (dir, finished): &(TempDir, Finished), words: &[&str]) {
    assert_eq!(finished.code, Some(1), "{what}: {}\n{}", finished.stdout, finished.stderr);
    says(finished, words);
    assert!(!finished.stderr.contains("ended the process"), "{what}: {}", finished.stderr);
    assert_eq!(state(dir.path())["by"], by, "{what}: {}", finished.stderr);
}

#[test]
fn a_loss_that_returns_no_tensor_of_its_own_or_no_number_is_named_with_the_shapes() {
    let computing = "`loss` (loss/wrong-loss of wrong) failed computing the loss in epoch 1, step";
    for (what, why) in [
        ("invented", "stale"),
        ("empty", "empty"),
        ("borrowed", "it does not own the tensor"),
        ("repeated", "stale"),
        ("shape", "its value is shape [8, 1] of f32"),
        ("integer", "its value is shape [1] of u32"),
    ] {
        let run = train(&component("[loss]", "wrong-loss", what));
        fails(what, "loss", &run, &[computing, "of phase training", why]);
    }
    let (_, finished) = train(&component("[loss]", "wrong-loss", "shape"));
    says(&finished, &["(predictions: shape [8, 1] of f32, targets: shape [8, 1] of f32)"]);
}

#[test]
fn a_model_that_returns_no_tensor_of_its_own_is_named() {
    for (what, why) in [
        ("borrowed", "its output 0 cannot be used: it does not own the tensor"),
        ("invented", "its output 0 cannot be used"),
        ("parameter", "its output 0 cannot be used: it does not own the tensor"),
    ] {
        let run = train(&component("[model]", "wrong-model", what));
        let forward = "`model` (model/wrong-model of wrong) failed in its forward pass in epoch 1";
        fails(what, "model", &run, &[forward, why]);
    }
}

#[test]
fn what_was_lent_cannot_be_released() {
    let model = |parts: &str| {
        let (dir, finished) = train(parts);
        assert_eq!(finished.code, Some(0), "{parts}: {}", finished.stderr);
        fs::read(dir.path().join("out/model.safetensors")).unwrap()
    };
    for (table, name) in [("[loss]", "wrong-loss"), ("[model]", "wrong-model")] {
        let honest = model(&component(table, name, ""));
        assert!(model(&component(table, name, "releases")) == honest, "{name}");
    }
}

#[test]
fn a_value_that_a_hyper_parameter_cannot_have_is_refused_with_the_schedule() {
    let scheduled = |what: &str| {
        train(&format!(
            "[[callback]]\ncomponent = \"scheduler\"\n[callback.schedules]\n\
             \"optimizer.learning-rate\" = {{ component = \"wrong-schedule\", what = \"{what}\" }}\n"
        ))
    };
    let schedule = "`scheduler/wrong-schedule` (schedule/wrong-schedule of wrong)";
    for (what, value) in [("nan", "NaN"), ("infinite", "inf"), ("later-nan", "NaN")] {
        let why = format!("is {value}, not a finite number");
        let words = [schedule, "failed giving a value in epoch 1", &why];
        fails(what, "scheduler/wrong-schedule", &scheduled(what), &words);
    }
    for (what, value) in [("negative", "-1"), ("later", "-0.000000001")] {
        let why = format!("`optimizer.learning-rate` cannot be {value}");
        let words = [schedule, &why, "it is a finite number, at least 0"];
        fails(what, "scheduler", &scheduled(what), &words);
    }
    let (_, finished) = scheduled("");
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
}

#[test]
fn a_data_set_whose_batch_cannot_be_used_is_named_with_samples_and_position() {
    let filling = "`data` (dataset/wrong-data of wrong) failed filling a batch in epoch 1";
    for (what, why, more) in [
        ("error", "the file is torn", ""),
        ("panic", "out of ideas", ""),
        ("unwritten", "did not write field `xs` to its end", ""),
        ("beyond-xs", "wrote beyond the end of the buffer of field `xs`", ""),
        ("beyond-ys", "wrote beyond the end of the buffer of field `ys`", ""),
        ("far-beyond", "wrote beyond the end of the buffer of field `xs`", ""),
        ("label", "label 3 in field `ys` is out of range", "classes = \"3\"\n"),
    ] {
        for prefetch in [0, 2] {
            let loss = if more.is_empty() { "" } else { "[loss]\ncomponent = \"cross-entropy\"\n" };
            let data = component("[data]", "wrong-data", what);
            let loader = format!("[loader]\nbatch-size = 8\nprefetch = {prefetch}\n");
            let run = train(&format!("{data}{more}{loss}{loader}"));
            fails(what, "data", &run, &[filling, "of phase training", "split `training`", why]);
        }
    }
    let (dir, finished) = train(&component("[data]", "wrong-data", "exit"));
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    says(&finished, &["`data` (dataset/wrong-data of wrong), filling a batch", "exit code 0"]);
    assert_eq!(state(dir.path())["by"], "data");
}

#[test]
fn a_data_set_of_impossible_size_is_refused_before_the_run() {
    for (sizes, why) in [
        ("samples = \"18446744073709551615\"\n", "18446744073709551615 samples"),
        ("samples = \"1000000000000\"\n", "1000000000000 samples"),
        ("classes = \"4294967295\"\n", "4294967295 classes"),
    ] {
        let (_, finished) = train(&format!("{}{sizes}", component("[data]", "wrong-data", "")));
        assert_eq!(finished.code, Some(2), "{sizes}: {}", finished.stderr);
        says(&finished, &["`data` (dataset/wrong-data of wrong)", why]);
    }
}

#[test]
fn a_phase_that_misuses_the_loop_is_named() {
    for (what, why) in [
        ("step-in-step", "a step begins while the one before has not ended"),
        ("epoch-in-step", "an epoch begins while the one before has not ended"),
        ("old-batch", "a step begins on a batch that cannot be used"),
    ] {
        let run = train(&component("[[phase]]", "wrong-phase", what));
        fails(what, "wrong-phase", &run, &["`wrong-phase` (phase/wrong-phase of wrong)", why]);
    }
}

#[test]
fn long_texts_are_cut_off_with_a_note() {
    for (what, code) in [("long-error", 1), ("long-panic", 1), ("long-log", 0)] {
        let (dir, finished) = train(&component("[[callback]]", "wrong", what));
        assert_eq!(finished.code, Some(code), "{what}");
        let lines = 20 * (70 << 10);
        assert!(finished.stderr.len() < lines, "{what}: {} bytes", finished.stderr.len());
        if code == 1 {
            assert!(finished.stderr.contains("cut off: the text has 31457"), "{what}");
            for file in ["state.json", "events.jsonl"] {
                let size = fs::metadata(dir.path().join("out").join(file)).unwrap().len();
                assert!(size < 300 << 10, "{what}: {file} has {size} bytes");
            }
        }
    }
}

#[test]
fn the_state_of_an_instance_has_a_limit_that_can_be_set() {
    let saving = |bytes: u64, limit: &str| {
        train(&format!("[[callback]]\ncomponent = \"wrong\"\nbytes = {bytes}\n{limit}"))
    };
    let limit = "[checkpoints]\ninstance-state = 1\n";
    fails("2 MiB", "wrong", &saving(2 << 20, limit), &["while its state was saved", "2097152"]);
    for (bytes, limit) in
        [(1 << 20, limit), (2 << 20, ""), (2 << 20, "[checkpoints]\ninstance-state = 0\n")]
    {
        let (_, finished) = saving(bytes, limit);
        assert_eq!(finished.code, Some(0), "{bytes} {limit}: {}", finished.stderr);
    }
}

/// A callback in C that logs a record once and returns `status` of it.
fn record(fields: &str, more: &str) -> String {
    format!(
        "    {more}\n    struct fluxbay_record r; memset(&r, 0, sizeof r); r.tag = text(\"a\"); {fields}\n    \
         if (event->epoch != 1 || event->step != 2) return FLUXBAY_OK;\n    return host->record->log(&r);"
    )
}

#[test]
fn a_record_that_loggers_cannot_use_is_an_error_of_the_callback_and_not_of_the_loggers() {
    let stale = "fluxbay_handle t = UINT64_C(0x1234567800000003);";
    let vector = "fluxbay_handle t = FLUXBAY_NO_TENSOR; uint64_t n = 1; float x = 1; \
                  host->tensor->create(FLUXBAY_DTYPE_F32, &n, 1, (struct fluxbay_text){(const uint8_t *)&x, 4}, &t);";
    for (name, body, why) in [
        ("bad-kind", record("r.kind = 77;", ""), "77 is no kind of record"),
        ("bad-tensor", record("r.kind = 2; r.tensor = t;", stale), "stale"),
        ("bad-image", record("r.kind = 3; r.tensor = t;", vector), "an image is"),
        ("bad-json", record("r.kind = 4; r.text = text(\"[1]\");", ""), "JSON object"),
    ] {
        let Some((dir, finished)) = train_with_loggers(name, &body) else { return };
        assert_eq!(finished.code, Some(1), "{name}: {}", finished.stderr);
        says(&finished, &[&format!("`{name}` (callback/{name} of {name})"), why]);
        let events = fs::read_to_string(dir.path().join("out/events.jsonl")).unwrap();
        assert!(!events.contains("instance-disabled"), "{events}");
        // Ignored by the callback, the others' records are complete.
        let ignored = body.replace(
            "return host->record->log(&r);",
            "(void)host->record->log(&r); return FLUXBAY_OK;",
        );
        let Some((dir, finished)) = train_with_loggers(name, &ignored) else { return };
        assert_eq!(finished.code, Some(0), "{name}: {}", finished.stderr);
        let events = fs::read_to_string(dir.path().join("out/events.jsonl")).unwrap();
        assert!(!events.contains("instance-disabled"), "{events}");
    }
}

#[test]
fn a_callback_that_writes_into_its_event_does_not_change_those_of_others() {
    let body = "    static int seen;\n    if (event->epoch > 50 || event->step > 50) { host->fail(text(\"a changed event\")); return FLUXBAY_ERROR; }\n    \
                ((struct fluxbay_event *)event)->epoch = 99; ((struct fluxbay_event *)event)->step = 99; (void)seen;";
    let dir = scratch();
    let Some(plugins) = super::foreign::variants(&["writer-a", "writer-b"], body) else { return };
    super::run_file(
        dir.path(),
        "",
        "",
        "[[callback]]\ncomponent = \"writer-a\"\nbelow = 0\n[[callback]]\ncomponent = \"writer-b\"\nbelow = 0\n",
    );
    succeed(fluxbay(dir.path(), plugins.path()).args(["train", "run.toml", "--run-dir", "out"]));
}
