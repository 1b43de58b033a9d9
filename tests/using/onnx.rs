//! `fluxbay export --onnx`: models of every kind, of plugins in Rust and C. `tests/reference/onnx_models.py` runs the files.

use std::{fs, process::Command};

use fluxbay_tests::{fluxbay, plugin_dir, repository, run, scratch, succeed, write};

const DIGITS: &str =
    "[run]\nepochs = 1\n[data]\ncomponent = \"digits\"\n[loader]\nvalidation = 0.2\n";
const REST: &str = "[loss]\ncomponent = \"cross-entropy\"\n[optimizer]\ncomponent = \"adamw\"\n";

/// Whether a file holds a text.
fn holds(file: &[u8], text: &str) -> bool {
    file.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn models_of_every_kind_are_exported_with_the_paths_of_their_parameters() {
    let (dir, plugins) = (scratch(), plugin_dir());
    write(dir.path(), "text.txt", &"the quick brown fox jumps over the lazy dog. ".repeat(40));
    let text =
        "[run]\nepochs = 1\n[data]\ncomponent = \"text\"\npath = \"text.txt\"\ncontext = 12\n";
    let cases = [
        (
            "mlp",
            DIGITS,
            "component = \"mlp\"\nhidden = [8]\n",
            &["hidden.0.weight", "Gemm", "batch"][..],
        ),
        (
            "cnn",
            DIGITS,
            "component = \"cnn\"\nchannels = [4]\n",
            &["conv.0.weight", "MaxPool", "batch"],
        ),
        (
            "gpt",
            text,
            "component = \"gpt\"\nlayers = 1\nwidth = 8\nheads = 2\n",
            &["block.0.attention.qkv.weight", "LayerNormalization", "Softmax", "length"],
        ),
        // Its table of rotary positions is computed in the first run of a length and kept.
        (
            "llama",
            text,
            "component = \"llama\"\nlayers = 1\nwidth = 8\nheads = 2\nfeed-forward = 16\n",
            &["model.layers.0.self_attn.q_proj.weight", "Softmax", "length"],
        ),
    ];
    for (name, data, model, parts) in cases {
        write(dir.path(), &format!("{name}.toml"), &format!("{data}[model]\n{model}{REST}"));
        let command = |arguments: &[&str]| {
            let mut command = fluxbay(dir.path(), plugins.path());
            command.args(arguments);
            command
        };
        let file = format!("{name}.toml");
        succeed(&mut command(&["train", &file, "--run-dir", name, "-q", "--limit-batches", "2"]));
        let onnx = format!("{name}.onnx");
        let said = succeed(&mut command(&["export", name, "--onnx", &onnx])).stderr;
        assert!(said.contains("ONNX opset 18"), "{said}");
        let first = fs::read(dir.path().join(&onnx)).unwrap();
        for part in parts.iter().chain(&["yhats", "fluxbay"]) {
            assert!(holds(&first, part), "{name}: {part}");
        }
        succeed(&mut command(&["export", &format!("{name}/bundle"), "--onnx", &onnx]));
        assert!(first == fs::read(dir.path().join(&onnx)).unwrap(), "{name}: another file");
    }
    let neither = run(fluxbay(dir.path(), plugins.path()).args(["export", "mlp"]));
    assert_eq!(neither.code, Some(2), "{}", neither.stderr);
}

#[test]
fn the_names_of_the_classes_are_in_the_metadata() {
    let trained = crate::Trained::shared();
    succeed(trained.fluxbay(&["export", "run", "--onnx", "penguins.onnx", "--batch", "7"]));
    let model = fs::read(trained.path("penguins.onnx")).unwrap();
    assert!(holds(&model, "[\"Adelie\",\"Chinstrap\",\"Gentoo\"]"));
    assert!(!holds(&model, "batch"), "a fixed number of samples");
}

#[test]
fn preprocessing_is_part_of_the_graph_or_refused_by_name() {
    let trained = crate::Trained::shared();
    let export = |name: &str, more: &[&str]| {
        let all = [&["export", name, "--onnx", "raw.onnx", "--preprocessing"], more].concat();
        run(trained.fluxbay(&all))
    };
    let done = export("run", &[]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let model = fs::read(trained.path("raw.onnx")).unwrap();
    for part in ["bill_length_mm", "IsNaN", "{\"island\":[\"Biscoe\",\"Dream\",\"Torgersen\"]"] {
        assert!(holds(&model, part), "{part}");
    }
    write(
        trained.dir.path(),
        "raw.toml",
        &format!("{DIGITS}[model]\ncomponent = \"mlp\"\nhidden = [4]\n{REST}"),
    );
    let train = ["train", "raw.toml", "--run-dir", "raw", "-q", "--limit-batches", "2"];
    succeed(trained.fluxbay(&train));
    let refused = export("raw", &[]);
    assert!(
        refused.code != Some(0) && refused.stderr.contains("dataset/digits"),
        "{}",
        refused.stderr
    );
    let size = export("run", &["--raw-size", "3"]);
    assert!(size.code == Some(2) && size.stderr.contains("480x640"), "{}", size.stderr);
}

#[test]
fn a_model_of_a_plugin_in_c_is_exported() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let compiled = Command::new("cc")
        .args(["-std=c11", "-shared", "-fPIC", "-fvisibility=hidden", "-I"])
        .arg(repository().join("docs/c-plugins"))
        .arg("-o")
        .arg(plugins.path().join("linear_c.so"))
        .arg(repository().join("tests/using/linear.c"))
        .status();
    if compiled.is_err() {
        eprintln!("skipped: there is no C compiler `cc`");
        return;
    }
    write(dir.path(), "c.toml", &format!("{DIGITS}[model]\ncomponent = \"linear-c\"\n{REST}"));
    let command = |arguments: &[&str]| {
        let mut command = fluxbay(dir.path(), plugins.path());
        command.args(arguments);
        command
    };
    succeed(&mut command(&["train", "c.toml", "--run-dir", "c", "-q", "--limit-batches", "2"]));
    succeed(&mut command(&["export", "c", "--onnx", "c.onnx"]));
    let model = fs::read(dir.path().join("c.onnx")).unwrap();
    for part in ["map.weight", "map.bias", "Flatten", "Gemm", "Tanh"] {
        assert!(holds(&model, part), "{part}");
    }
}
