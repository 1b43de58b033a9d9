//! The run file.

use std::fmt::Write as _;

/// A value of the run file with the reason for it.
pub(super) struct Line {
    key: String,
    value: String,
    comment: String,
}

/// A guess about the data: the sections of a run file.
pub struct Guess {
    /// The data set.
    pub component: &'static str,
    /// The file or folder, as the run file names it.
    pub path: String,
    /// The setting that names it.
    pub path_key: &'static str,
    /// Folders in it for training and validation.
    pub folders: Option<(String, String)>,
    /// What was found, in a line.
    pub summary: String,
    /// Settings of the data set.
    pub(super) data: Vec<Line>,
    /// Number of samples, as far as it is known.
    pub samples: usize,
    /// The model and its settings.
    pub model: Option<Component>,
    /// What is predicted.
    pub task: Task,
    /// Learning rate.
    pub rate: f64,
    /// Whether the data has a split for validation of its own.
    pub validation: bool,
}

impl Default for Guess {
    fn default() -> Guess {
        Guess {
            component: "",
            path: String::new(),
            path_key: "path",
            folders: None,
            summary: String::new(),
            data: Vec::new(),
            samples: 0,
            model: None,
            task: Task::Classes,
            rate: 1e-3,
            validation: false,
        }
    }
}

/// What is predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    Classes,
    Numbers,
    /// The next token of a text.
    Tokens,
}

/// A component with settings.
pub struct Component {
    name: &'static str,
    why: String,
    settings: Vec<Line>,
}

impl Component {
    pub fn new(name: &'static str, why: &str) -> Component {
        Component { name, why: why.into(), settings: Vec::new() }
    }

    pub fn set(mut self, key: &str, value: &str, comment: &str) -> Component {
        self.settings.push(Line { key: key.into(), value: value.into(), comment: comment.into() });
        self
    }
}

/// A text as a value of TOML.
pub fn text(value: &str) -> String {
    toml_edit::Value::from(value).to_string()
}

/// A list of texts as a value of TOML.
pub fn list<'a>(values: impl IntoIterator<Item = &'a str>) -> String {
    let values: Vec<String> = values.into_iter().map(text).collect();
    format!("[{}]", values.join(", "))
}

impl Guess {
    /// A setting of the data set, as TOML.
    pub fn set(&mut self, key: &str, value: &str, comment: &str) {
        self.data.push(Line { key: key.into(), value: value.into(), comment: comment.into() });
    }

    /// The run file.
    pub fn file(&self) -> String {
        let (batch, epochs) = super::schedule(self.samples);
        let mut file = format!("# {}\n", self.summary);
        file.push_str("# Written by `fluxbay init`; every line is a guess that you can change.\n");
        section(&mut file, "[run]");
        line(&mut file, "epochs", &epochs.to_string(), "");

        section(&mut file, "[data]");
        let look = format!("`fluxbay inspect {}` lists all settings", self.component);
        line(&mut file, "component", &text(self.component), &look);
        match &self.folders {
            Some((training, validation)) => {
                let within = |folder: &str| text(&format!("{}/{folder}", self.path));
                line(&mut file, self.path_key, &within(training), "");
                line(&mut file, &format!("validation-{}", self.path_key), &within(validation), "");
            }
            None => line(&mut file, self.path_key, &text(&self.path), ""),
        }
        for Line { key, value, comment } in &self.data {
            line(&mut file, key, value, comment);
        }

        section(&mut file, "[loader]");
        line(&mut file, "batch-size", &batch.to_string(), "");
        if !self.validation {
            line(&mut file, "validation", "0.2", "share that is held out to measure");
        }

        if let Some(model) = &self.model {
            section(&mut file, "[model]");
            line(&mut file, "component", &text(model.name), &model.why);
            for Line { key, value, comment } in &model.settings {
                line(&mut file, key, value, comment);
            }
        }

        let (loss, other, metrics) = match self.task {
            Task::Classes => ("cross-entropy", "or: focal", &["accuracy", "f1"][..]),
            Task::Numbers => {
                ("mse", "or: huber, mae, which large errors dominate less", &["mae", "r2"][..])
            }
            Task::Tokens => ("cross-entropy", "", &["perplexity"][..]),
        };
        section(&mut file, "[loss]");
        line(&mut file, "component", &text(loss), other);
        section(&mut file, "[optimizer]");
        line(
            &mut file,
            "component",
            &text("adamw"),
            "or: sgd, adam, lion, ...: `fluxbay list --kind optimizer`",
        );
        line(
            &mut file,
            "learning-rate",
            &format!("{:e}", self.rate),
            "the `lr-finder` phase looks for one",
        );
        section(&mut file, "[[callback]]");
        line(&mut file, "component", &text("metrics"), "");
        line(&mut file, "metrics", &list(metrics.iter().copied()), "`fluxbay list --kind metric`");
        file
    }
}

fn section(file: &mut String, name: &str) {
    let _ = write!(file, "\n{name}\n");
}

fn line(file: &mut String, key: &str, value: &str, comment: &str) {
    let pair = format!("{key} = {value}");
    let _ = match comment {
        "" => writeln!(file, "{pair}"),
        // A long list has its comment above.
        _ if pair.len() > 60 => writeln!(file, "# {comment}\n{pair}"),
        _ => writeln!(file, "{pair:<30} # {comment}"),
    };
}
