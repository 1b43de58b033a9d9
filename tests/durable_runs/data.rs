//! What a data set learnt belongs to the run, and other data is noticed when a run is resumed.

use std::fs;

use fluxbay_tests::{build_plugin, run, succeed, write};
use serde_json::Value;

use crate::place::Place;

/// Lines `x class`: learns the classes and the mean of `x`.
const LINES: &str = r#"
use fluxbay_plugin::{prelude::*, serde};

config! {
    /// Where the lines are.
    pub struct Config {
        /// The file, with lines `x class`.
        path: String,
    }
}

#[derive(Clone, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
struct Learnt {
    classes: Vec<String>,
    mean: Option<f32>,
}

struct Lines {
    path: String,
    rows: Vec<(Vec<f32>, u32)>,
    learnt: Option<Learnt>,
}

impl Component for Lines {
    type Config = Config;
    fn new(config: Config, _: &mut Setup) -> Result<Self> {
        Ok(Lines { path: config.path, rows: Vec::new(), learnt: None })
    }
}

impl Dataset for Lines {
    learns!(learnt);

    fn open(&mut self) -> Result<()> {
        let text = std::fs::read_to_string(&self.path)?;
        let split = |line: &str| -> (Vec<f32>, String) {
            let mut words: Vec<&str> = line.split(' ').collect();
            let class = words.pop().unwrap_or_default().to_owned();
            (words.iter().map(|word| word.parse().unwrap_or(f32::NAN)).collect(), class)
        };
        let lines: Vec<(Vec<f32>, String)> = text.lines().map(split).collect();
        let learnt = self.learnt.get_or_insert_with(|| {
            let mut classes: Vec<String> = lines.iter().map(|(_, class)| class.clone()).collect();
            classes.sort();
            classes.dedup();
            Learnt { classes, mean: None }
        });
        for (x, class) in lines {
            let Some(label) = learnt.classes.iter().position(|known| *known == class) else {
                bail!("class `{class}` of {} is unknown", self.path);
            };
            self.rows.push((x, label as u32));
        }
        Ok(())
    }

    fn fields(&self) -> Vec<Field> {
        let classes = self.learnt.as_ref().map_or(0, |learnt| learnt.classes.len());
        let width = self.rows.first().map_or(0, |(x, _)| x.len());
        vec![Field::new("xs", DType::F32, &[width]), Field::labels("ys", classes)]
    }

    fn splits(&self) -> Vec<Split> {
        vec![Split::new("all", self.rows.len())]
    }

    fn prepare(&mut self, _: usize, indices: &[u64]) -> Result<()> {
        if let Some(learnt) = self.learnt.as_mut().filter(|learnt| learnt.mean.is_none()) {
            let sum: f32 = indices.iter().map(|index| self.rows[*index as usize].0[0]).sum();
            learnt.mean = Some(sum / indices.len() as f32);
        }
        Ok(())
    }

    fn fill(&self, _: usize, indices: &[u64], buffers: &mut Buffers<'_>) -> Result<()> {
        let mean = self.learnt.as_ref().and_then(|learnt| learnt.mean).unwrap_or_default();
        let rows = || indices.iter().map(|index| &self.rows[*index as usize]);
        let values = rows().flat_map(|(x, _)| x.iter().map(|x| x - mean));
        buffers.f32(0)?.iter_mut().zip(values).for_each(|(to, value)| *to = value);
        buffers.u32(1)?.iter_mut().zip(rows()).for_each(|(to, (_, label))| *to = *label);
        Ok(())
    }
}

plugin! {
    summary: "Lines.",
    dataset "lines" => Lines { summary: "Lines of a file.", learns: true },
    dataset "forgetful" => Lines { summary: "Lines of a file, learnt again each time." },
}
"#;

/// Two classes that a mean separates.
const ROWS: [&str; 8] = ["1 a", "2 a", "3 a", "4 a", "5 b", "6 b", "7 b", "8 b"];

fn place(component: &str, more: &str) -> Place {
    let text = format!(
        "[run]\nepochs = 2\nseed = 5\nthreads = 1\n[data]\ncomponent = \"{component}\"\npath = \"all.txt\"\n\
         [loader]\nbatch-size = 8\nvalidation = 0\n[model]\ncomponent = \"mlp\"\nhidden = [4]\n\
         [loss]\ncomponent = \"cross-entropy\"\n[optimizer]\ncomponent = \"adamw\"\nlearning-rate = 0.1\n\
         [[phase]]\ncomponent = \"training\"\n[[phase]]\ncomponent = \"validation\"\ndata = \"training\"\n{more}"
    );
    let place = Place::new(&text);
    fs::copy(build_plugin("lines", LINES), place.plugins.path().join("lines.so")).unwrap();
    write(place.dir.path(), "all.txt", &ROWS.join("\n"));
    write(place.dir.path(), "low.txt", &ROWS[..4].join("\n"));
    write(place.dir.path(), "high.txt", &ROWS[4..].join("\n"));
    write(place.dir.path(), "mixed.txt", "5 a\n6 b\n7 a\n8 b\n");
    write(place.dir.path(), "unknown.txt", "1 a\n2 c\n");
    succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "out"]));
    place
}

fn loss(place: &Place, arguments: &[&str]) -> f64 {
    let finished = succeed(place.fluxbay(&["evaluate", "out", "--json"]).args(arguments));
    let answer: Value = serde_json::from_str(&finished.stdout).unwrap();
    answer["figures"][0]["value"].as_f64().unwrap()
}

#[test]
fn evaluating_on_other_data_uses_what_training_learnt() {
    let place = place("lines", "");
    let other = |path: &str| format!("data.path={path}");
    let [all, low, high] = ["all.txt", "low.txt", "high.txt"].map(other);
    for from in [None, Some("checkpoint")] {
        let checkpoint = place.path("out/checkpoints/0000000004-epoch-2");
        let chosen: Vec<&str> = match from {
            Some(_) => vec!["--checkpoint", checkpoint.to_str().unwrap()],
            None => Vec::new(),
        };
        let measured = |set: &str| loss(&place, &[&["--set", set], &chosen[..]].concat());
        // The mean loss of all rows is that of its halves.
        let halves = (measured(&low) + measured(&high)) / 2.0;
        assert!((measured(&all) - halves).abs() < 1e-6, "{halves}");
    }
    let refused = run(&mut place.fluxbay(&["evaluate", "out", "--set", "data.path=unknown.txt"]));
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("class `c` of unknown.txt is unknown"), "{}", refused.stderr);
    // Learning again is asked for: another mean.
    let mixed = other("mixed.txt");
    let refitted = loss(&place, &["--set", &mixed, "--refit"]);
    assert_ne!(refitted, loss(&place, &["--set", &mixed]));
}

#[test]
fn fine_tuning_uses_what_the_first_run_learnt_unless_it_refits() {
    let place = place("lines", "");
    let tune = |name: &str, more: &[&str]| {
        let arguments = [
            "train",
            "run.toml",
            "--run-dir",
            name,
            "--set",
            "fine-tuning.from=out/model.safetensors",
            "--set",
            "data.path=mixed.txt",
        ];
        succeed(place.fluxbay(&arguments).args(more));
        fs::read(place.path(name).join("data-state.bin")).unwrap()
    };
    let first = fs::read(place.path("out/data-state.bin")).unwrap();
    assert_eq!(tune("tuned", &[]), first);
    // Of this run, too, what it was tuned with is kept and used.
    assert_eq!(
        fs::read(place.path("tuned/checkpoints/0000000004-epoch-2/data-state.bin")).unwrap(),
        first
    );
    assert_ne!(tune("refitted", &["--set", "fine-tuning.refit=true"]), first);
}

#[test]
fn a_data_set_that_does_not_keep_what_it_learns_is_reported() {
    let place = place("forgetful", "");
    let finished =
        run(&mut place.fluxbay(&["evaluate", "out", "--set", "data.path=all.txt", "--json"]));
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    write(place.dir.path(), "fewer.txt", "1 a\n9 b\n9 b\n");
    let other =
        run(&mut place.fluxbay(&["evaluate", "out", "--set", "data.path=fewer.txt", "--json"]));
    assert_eq!(other.code, Some(0), "{}", other.stderr);
    assert!(
        other.stderr.contains("data set `forgetful` does not keep what it learns"),
        "{}",
        other.stderr
    );
}

#[test]
fn resuming_uses_what_training_learnt_and_refuses_other_data() {
    let place = place("lines", "");
    let resume =
        |more: &[&str]| run(place.fluxbay(&["resume", "out", "--set", "run.epochs=4"]).args(more));
    let refused = |rows: &[&str], expected: &str| {
        write(place.dir.path(), "all.txt", &rows.join("\n"));
        let finished = resume(&[]);
        assert_eq!(finished.code, Some(2), "{}", finished.stderr);
        assert!(finished.stderr.contains(expected), "{}", finished.stderr);
    };
    let more = [&ROWS[..], &["9 b"]].concat();
    refused(&more, "split `training`: 8 samples then, 9 now");
    refused(&ROWS[1..], "split `training`: 8 samples then, 7 now");
    refused(&[&ROWS[1..], &["9 c"]].concat(), "class `c` of all.txt is unknown");
    let wide: Vec<String> = ROWS.iter().map(|row| format!("0 {row}")).collect();
    refused(
        &wide.iter().map(String::as_str).collect::<Vec<_>>(),
        "shape of field `xs`: [1] then, [2] now",
    );
    // Other numbers, which would have another mean.
    let other: Vec<String> = ROWS.iter().map(|row| format!("1{row}")).collect();
    write(place.dir.path(), "all.txt", &other.join("\n"));
    let first = fs::read(place.path("out/data-state.bin")).unwrap();
    assert_eq!(resume(&[]).code, Some(0));
    assert_eq!(fs::read(place.path("out/data-state.bin")).unwrap(), first);
    // More rows, allowed by name.
    write(place.dir.path(), "all.txt", &more.join("\n"));
    let allowed =
        run(&mut place.fluxbay(&["resume", "out", "--set", "run.epochs=6", "--allow-other-data"]));
    assert_eq!(allowed.code, Some(0), "{}", allowed.stderr);
}

#[test]
fn another_number_of_classes_is_refused_on_resume() {
    let place = place("forgetful", "");
    write(place.dir.path(), "all.txt", &[&ROWS[..7], &["8 c"]].concat().join("\n"));
    let refused = run(&mut place.fluxbay(&["resume", "out", "--set", "run.epochs=4"]));
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("classes of field `ys`: 2 then, 3 now"), "{}", refused.stderr);
}
