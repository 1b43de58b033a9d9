//! `fluxbay generate`: texts with kept keys are those without, for every causal family; sampling,
//! ends, and what is refused.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use fluxbay::predict::{DataUse, Generator, PredictorOptions, Sampling};
use fluxbay_tests::{Finished, fluxbay, plugin_dir, run, scratch, succeed, write};
use serde_json::Value;
use tempfile::TempDir;

const TEXT: &str = "the sea and the whale, the whale and the sea; the ship on the sea.\n";

const GPT: &str = "component = \"gpt\"\nlayers = 2\nwidth = 32\nheads = 2\n";

/// Plugins, and a folder with a trained run of each model.
struct Runs {
    dir: TempDir,
    plugins: TempDir,
}

impl Runs {
    fn shared() -> &'static Runs {
        static RUNS: OnceLock<Runs> = OnceLock::new();
        RUNS.get_or_init(|| {
            let runs = Runs { dir: scratch(), plugins: plugin_dir() };
            write(runs.path(), "text.txt", &TEXT.repeat(30));
            let characters = "component = \"text\"\npath = \"text.txt\"\ncontext = 16\n";
            let tokens =
                "component = \"tokens\"\npath = \"text.txt\"\ncontext = 16\nvocabulary = 280\n";
            let llama = "component = \"llama\"\nlayers = 2\nwidth = 32\nheads = 4\ngroups = 2\n\
                         feed-forward = 48\n";
            let gpt2 = "component = \"gpt2\"\nlayers = 1\nwidth = 32\nheads = 2\n";
            let bert = "component = \"bert\"\nhead = \"tokens\"\nlayers = 1\nwidth = 16\n";
            runs.train("gpt", characters, GPT);
            runs.train("gpt2", characters, gpt2);
            runs.train("llama", tokens, llama);
            runs.train("bert", characters, bert);
            runs
        })
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn train(&self, name: &str, data: &str, model: &str) {
        let file = format!(
            "[run]\nepochs = 1\ndefault-callbacks = false\n[data]\n{data}[loader]\n\
             batch-size = 16\n[model]\n{model}[loss]\ncomponent = \"cross-entropy\"\n[optimizer]\n\
             component = \"adamw\"\nlearning-rate = 1e-2\n"
        );
        write(self.path(), &format!("{name}.toml"), &file);
        let file = format!("{name}.toml");
        succeed(fluxbay(self.path(), self.plugins.path()).args([
            "train",
            &file,
            "--run-dir",
            name,
        ]));
    }

    fn generate(&self, arguments: &[&str]) -> Finished {
        run(fluxbay(self.path(), self.plugins.path()).arg("generate").args(arguments))
    }

    fn text(&self, arguments: &[&str]) -> String {
        let finished = self.generate(arguments);
        assert_eq!(finished.code, Some(0), "{arguments:?}: {}", finished.stderr);
        finished.stdout
    }
}

#[test]
fn logits_and_texts_with_kept_keys_are_those_of_whole_passes() {
    let runs = Runs::shared();
    let options = PredictorOptions {
        plugin_dirs: vec![runs.plugins.path().to_owned()],
        ..PredictorOptions::default()
    };
    for name in ["gpt", "gpt2", "llama"] {
        let applied = options.open(&runs.path().join(name), DataUse::Texts).unwrap();
        let prompt = applied.encode("the whale").unwrap();
        assert_eq!(applied.decode(&prompt).unwrap(), "the whale");
        // More tokens than the context has, so that the text is read again.
        for context in [None, Some(7)] {
            let mut kept = Generator::new(&applied, &prompt, context).unwrap();
            let mut texts = Vec::new();
            let mut logits = Vec::new();
            for _ in 0..24 {
                let next = kept.logits().unwrap();
                kept.push(Sampling::default().choose(&next, kept.ids(), 0).unwrap());
                logits.push(next);
            }
            assert!(kept.is_cached(), "{name}");
            texts.push(kept.ids().to_vec());
            drop(kept);
            let mut whole = Generator::new(&applied, &prompt, context).unwrap().without_cache();
            for expected in &logits {
                let next = whole.logits().unwrap();
                for (a, b) in expected.iter().zip(&next) {
                    assert!((a - b).abs() < 1e-5 * (1.0 + b.abs()), "{name}: {a} instead of {b}");
                }
                whole.push(Sampling::default().choose(&next, whole.ids(), 0).unwrap());
            }
            assert_eq!(texts[0], whole.ids(), "{name}");
        }
        // A single token is too short to compare; the second pass keeps keys.
        let mut short = Generator::new(&applied, &prompt[..1], None).unwrap();
        let first = short.logits().unwrap();
        assert!(!short.is_cached());
        short.push(Sampling::default().choose(&first, &[], 0).unwrap());
        short.logits().unwrap();
        assert!(short.is_cached(), "{name}");
    }
}

#[test]
fn a_text_is_written_as_it_comes_and_ends_where_it_is_told_to() {
    let runs = Runs::shared();
    let whole = runs.text(&["gpt", "--prompt", "the sea", "-n", "30"]);
    assert_eq!(whole.chars().count(), 31, "{whole:?}");
    assert_eq!(runs.text(&["gpt", "-p", "the sea", "-n", "30", "--no-cache"]), whole);
    // The bundle writes the same.
    assert_eq!(runs.text(&["gpt/bundle", "-p", "the sea", "-n", "30"]), whole);
    let stop = &whole[4..7];
    let ended = runs.text(&["gpt", "-p", "the sea", "-n", "30", "--stop", "Q", "--stop", stop]);
    let at = whole.find(stop).unwrap();
    assert_eq!(ended.trim_end_matches('\n'), whole[..at].trim_end_matches('\n'));

    let sampled = |seed: &str| runs.text(&["gpt", "-p", "the sea", "-n", "30", "--seed", seed]);
    assert_eq!(sampled("1"), sampled("1"));
    assert_ne!(sampled("1"), sampled("2"));
    let narrow = runs.text(&["gpt", "-p", "the sea", "-n", "30", "--top-k", "1"]);
    assert_eq!(narrow, whole);

    let json = runs.text(&["llama", "-p", "the sea", "-n", "12", "--json"]);
    let schema = succeed(fluxbay(runs.path(), runs.plugins.path()).args(["schema", "generate"]));
    let (json, schema): (Value, Value) =
        (serde_json::from_str(&json).unwrap(), serde_json::from_str(&schema.stdout).unwrap());
    fluxbay_tests::schema::check(&schema, &json, "").unwrap();
    assert_eq!(json["cached"], true, "{json}");
    assert_eq!(json["tokens"].as_array().unwrap().len(), 12);
    assert_eq!(json["ending"], "max-tokens");
    assert_eq!(
        json["text"],
        runs.text(&["llama", "-p", "the sea", "-n", "12"]).trim_end_matches('\n')
    );
    // Without a prompt the text begins with the token that ends texts.
    let json = runs.text(&["llama", "-n", "3", "--json", "--ignore-end"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["prompt-tokens"], &json["prompt"]), (&1.into(), &"".into()));
}

#[test]
fn what_cannot_continue_a_text_is_refused_by_name() {
    let runs = Runs::shared();
    let refused = |arguments: &[&str], words: &str| {
        let finished = runs.generate(arguments);
        assert_ne!(finished.code, Some(0), "{arguments:?}: {}", finished.stdout);
        assert!(finished.stderr.contains(words), "{arguments:?}: {}", finished.stderr);
    };
    refused(&["bert", "-p", "the sea"], "depends on later tokens");
    refused(&["gpt", "-p", "the QUEEN"], "the character 'Q' is not in the vocabulary");
    refused(&["gpt"], "the prompt is empty");
    fs::create_dir_all(runs.path().join("digits")).unwrap();
    let digits = ["train", "--set", "run.epochs=1", "--set", "loader.limit-batches=1"];
    succeed(fluxbay(runs.path(), runs.plugins.path()).args(digits).args(["--run-dir", "digits"]));
    refused(&["digits", "-p", "the sea"], "does not turn texts into token ids");
}
