//! The banner before a run: models, data, components and plugins.

use super::{
    Colors,
    screen::Paint,
    table::{columns, shape, thousands},
};
use crate::library::escape;

/// Number of parameters that are listed for each model.
const MOST_LISTED: usize = 12;
/// Digits of a hash that are shown.
const HASH: usize = 8;
/// First word of the label of a model.
const MODEL: &str = "model";

/// What the banner shows.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    /// Name of the run.
    pub name: String,
    /// Version of the host.
    pub host: String,
    /// Seed.
    pub seed: u64,
    /// Device of the tensors.
    pub device: String,
    /// What operands of products are rounded to; empty if they are not.
    pub precision: String,
    /// Threads for tensor work.
    pub threads: usize,
    /// Epochs of the run.
    pub epochs: u64,
    /// Epochs that are done already, if the run is resumed.
    pub epochs_done: u64,
    /// The data; none if the phases make their own.
    pub data: Option<LaunchData>,
    /// The models.
    pub models: Vec<LaunchModel>,
    /// The other components, as (label, components): losses, optimizers, phases, callbacks, loggers.
    pub parts: Vec<(String, Vec<String>)>,
    /// The plugins of the run.
    pub plugins: Vec<LaunchPlugin>,
    /// Folder of the run.
    pub directory: String,
}

/// The data of a run.
#[derive(Clone, Debug, Default)]
pub struct LaunchData {
    /// Component.
    pub component: String,
    /// (name, samples, batches per epoch) of each split.
    pub splits: Vec<(String, u64, u64)>,
    /// (name, element type, shape per sample, classes or 0) of each field.
    pub fields: Vec<(String, String, Vec<usize>, u64)>,
    /// How it is read, such as `batches of 32, shuffled`.
    pub loader: String,
}

/// A model of a run.
#[derive(Clone, Debug, Default)]
pub struct LaunchModel {
    /// Its name in the run file.
    pub name: String,
    /// Component.
    pub component: String,
    /// (path, shape, whether it is trained) of each parameter.
    pub parameters: Vec<(String, Vec<usize>, bool)>,
}

/// A plugin of a run.
#[derive(Clone, Debug, Default)]
pub struct LaunchPlugin {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// sha256 in hexadecimal.
    pub sha256: String,
    /// Its file.
    pub path: String,
}

impl Launch {
    /// The banner. Lines are wrapped at `columns` characters, between items.
    pub fn text(&self, colors: Colors, columns: usize) -> String {
        let name = colors.paint(Paint::Bold, &escape::text(&self.name));
        let host = colors.paint(Paint::Dim, &format!("fluxbay {}", self.host));
        let threads = plural(self.threads as u64, "thread");
        let precision = match self.precision.as_str() {
            "" => String::new(),
            name => format!("{name} products, "),
        };
        let mut text = format!("{name}  {host}\n");
        let mut rows = vec![row(
            "run",
            format!("{}, seed {}, {precision}{} on {threads}", self.fit(), self.seed, self.device),
        )];
        if let Some(data) = &self.data {
            data.rows(&mut rows);
        }
        for model in &self.models {
            rows.push(row(&self.label(model), model.line()));
        }
        for (what, components) in &self.parts {
            if !components.is_empty() {
                rows.push(row(what, list(components)));
            }
        }
        rows.push(row(
            "plugins",
            list(&self.plugins.iter().map(LaunchPlugin::line).collect::<Vec<_>>()),
        ));
        if !self.directory.is_empty() {
            rows.push(row("record", escape::text(&self.directory)));
        }
        let width = rows.iter().map(|row| row[0].len()).max().unwrap_or(0);
        let mut models = self.models.iter();
        for row in &rows {
            let label = colors.paint(Paint::Cyan, &format!("{:width$}", row[0]));
            text.push_str(&format!("  {label}  {}\n", wrapped(&row[1], width + 4, columns)));
            if row[0].starts_with(MODEL) {
                let table = models.next().map(|model| model.table(width + 4));
                text.push_str(&table.unwrap_or_default());
            }
        }
        text
    }

    fn fit(&self) -> String {
        match self.epochs_done {
            0 => plural(self.epochs, "epoch"),
            done => format!("epochs {} to {}", done + 1, self.epochs),
        }
    }

    fn label(&self, model: &LaunchModel) -> String {
        if self.models.len() == 1 {
            MODEL.to_owned()
        } else {
            format!("{MODEL} {}", escape::text(&model.name))
        }
    }
}

impl LaunchData {
    fn rows(&self, rows: &mut Vec<Vec<String>>) {
        let splits: Vec<_> = self
            .splits
            .iter()
            .map(|(name, samples, _)| format!("{} {name}", thousands(*samples)))
            .collect();
        rows.push(row("data", format!("{}: {}", escape::text(&self.component), list(&splits))));
        let fields = self.fields.iter().map(|(name, dtype, dims, classes)| {
            let classes = if *classes > 0 { format!(", {classes} classes") } else { String::new() };
            format!("{name} {dtype} {}{classes}", shape(dims))
        });
        rows.push(row("sample", escape::text(&fields.collect::<Vec<_>>().join("; "))));
        let steps: Vec<_> = self
            .splits
            .iter()
            .map(|(name, _, steps)| format!("{} {name} steps", thousands(*steps)))
            .collect();
        rows.push(row("loader", format!("{}; {} per epoch", self.loader, list(&steps))));
    }
}

impl LaunchModel {
    fn line(&self) -> String {
        let count = |trained: bool| -> u64 {
            let of = self.parameters.iter().filter(|(_, _, is_trained)| *is_trained == trained);
            of.map(|(_, shape, _)| shape.iter().product::<usize>() as u64).sum()
        };
        let kept = match count(false) {
            0 => String::new(),
            kept => format!(", {} values that are not trained", thousands(kept)),
        };
        format!("{}: {} parameters{kept}", escape::text(&self.component), thousands(count(true)))
    }

    fn table(&self, indent: usize) -> String {
        let indent = " ".repeat(indent);
        let rows: Vec<Vec<String>> = self
            .parameters
            .iter()
            .take(MOST_LISTED)
            .map(|(path, dims, trained)| {
                let elements = thousands(dims.iter().product::<usize>() as u64);
                let note = if *trained { "" } else { "not trained" };
                vec![escape::text(path), shape(dims), elements, note.to_owned()]
            })
            .collect();
        let mut text = columns(&rows, &indent, &[2]);
        if self.parameters.len() > MOST_LISTED {
            text.push_str(&format!("{indent}and {} more\n", self.parameters.len() - MOST_LISTED));
        }
        text
    }
}

impl LaunchPlugin {
    fn line(&self) -> String {
        let hash: String = self.sha256.chars().take(HASH).collect();
        format!("{} {} {hash}", escape::text(&self.name), escape::text(&self.version))
    }
}

/// Wraps a list between items, indented below the first one.
fn wrapped(items: &str, indent: usize, columns: usize) -> String {
    let mut text = String::new();
    let mut used = indent;
    for item in items.split_inclusive(", ") {
        let size = item.trim_end().chars().count();
        if used > indent && used + size > columns {
            text.truncate(text.trim_end().len());
            text.push('\n');
            text.push_str(&" ".repeat(indent));
            used = indent;
        }
        text.push_str(item);
        used += item.chars().count();
    }
    text
}

fn row(label: &str, content: String) -> Vec<String> {
    vec![label.to_owned(), content]
}

fn list(items: &[String]) -> String {
    items.join(", ")
}

fn plural(count: u64, what: &str) -> String {
    format!("{} {what}{}", thousands(count), if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digits() -> Launch {
        Launch {
            name: "digits".to_owned(),
            host: "0.1.0".to_owned(),
            seed: 42,
            device: "cpu".to_owned(),
            precision: String::new(),
            threads: 2,
            epochs: 10,
            epochs_done: 0,
            data: Some(LaunchData {
                component: "digits".to_owned(),
                splits: vec![("training".to_owned(), 1438, 45), ("validation".to_owned(), 359, 12)],
                fields: vec![
                    ("xs".to_owned(), "f32".to_owned(), vec![64], 0),
                    ("ys".to_owned(), "u32".to_owned(), vec![], 10),
                ],
                loader: "batches of 32, shuffled".to_owned(),
            }),
            models: vec![LaunchModel {
                name: "model".to_owned(),
                component: "mlp".to_owned(),
                parameters: vec![
                    ("layers.0.bias".to_owned(), vec![64], true),
                    ("layers.0.weight".to_owned(), vec![64, 64], true),
                    ("norm.running-mean".to_owned(), vec![64], false),
                ],
            }],
            parts: vec![
                ("phases".to_owned(), vec!["training".to_owned(), "validation".to_owned()]),
                ("loggers".to_owned(), vec![]),
            ],
            plugins: vec![LaunchPlugin {
                name: "evil\x1b[2J".to_owned(),
                version: "1.0.0".to_owned(),
                sha256: "0123456789abcdef".to_owned(),
                path: String::new(),
            }],
            directory: "runs/20260301-120000-digits".to_owned(),
        }
    }

    #[test]
    fn the_banner_names_a_precision_other_than_f32() {
        let text = Launch { precision: "bf16".to_owned(), ..digits() }.text(Colors::Off, 80);
        assert!(text.contains("seed 42, bf16 products, cpu on 2 threads"), "{text}");
    }

    #[test]
    fn the_banner_of_a_run() {
        insta::assert_snapshot!(digits().text(Colors::Off, 80), @r"
        digits  fluxbay 0.1.0
          run      10 epochs, seed 42, cpu on 2 threads
          data     digits: 1,438 training, 359 validation
          sample   xs f32 [64]; ys u32 scalar, 10 classes
          loader   batches of 32, shuffled; 45 training steps,
                   12 validation steps per epoch
          model    mlp: 4,160 parameters, 64 values that are not trained
                   layers.0.bias      [64]         64
                   layers.0.weight    [64, 64]  4,096
                   norm.running-mean  [64]         64  not trained
          phases   training, validation
          plugins  evil\x1b[2J 1.0.0 01234567
          record   runs/20260301-120000-digits
        ");
    }

    #[test]
    fn long_lists_are_wrapped_below_the_first_item() {
        let names = (0..9).map(|number| format!("callback-{number}")).collect();
        let launch = Launch { parts: vec![("callbacks".to_owned(), names)], ..Launch::default() };
        let text = launch.text(Colors::Off, 60);
        assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
        assert!(text.contains("callback-2, callback-3,\n             callback-4"), "{text}");
    }

    #[test]
    fn long_models_are_cut_and_resumed_runs_show_their_epochs() {
        let mut launch = digits();
        launch.epochs_done = 4;
        launch.models[0].parameters =
            (0..40).map(|index| (format!("layers.{index:02}"), vec![3], true)).collect();
        let text = launch.text(Colors::Off, 80);
        assert!(
            text.contains("epochs 5 to 10")
                && text.contains("and 28 more")
                && text.contains("120 parameters"),
            "{text}"
        );
    }
}
