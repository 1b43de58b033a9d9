//! Problems of opened data that are known before the first step: splits without batches, and targets
//! that the loss does not take.

use candle_core::DType;

use super::places::placed;
use crate::library::{Catalog, ComponentManifest};
use crate::loader::{Field, Loader};
use crate::run_file::{Diagnostic, Diagnostics, InstanceSpec, PhaseData, RunDescription};

/// All problems of the data of a run.
pub(super) fn find(run: &RunDescription, catalog: &Catalog, loader: &Loader) -> Diagnostics {
    let mut problems = Diagnostics::new();
    empty_splits(run, loader, &mut problems);
    targets(run, catalog, loader, &mut problems);
    problems
}

/// Reports the phases whose split has no batches.
fn empty_splits(run: &RunDescription, loader: &Loader, problems: &mut Diagnostics) {
    for phase in run.phases.iter().filter(|phase| phase.data != PhaseData::None) {
        let (id, split) = (&phase.spec.id, phase.data.name());
        let part = loader.parts().iter().find(|part| part.name == split);
        if part.is_some_and(|part| loader.batches(part) > 0) {
            continue;
        }
        let text = format!("phase `{id}` reads the {split} data, but there is none");
        let help = match phase.data {
            PhaseData::Validation => format!(
                "hold out a part of the training data with `loader.validation = 0.2`, give the data \
                 set a validation split, or remove the phase (`--remove {id}`)"
            ),
            _ => format!(
                "give the data set a {split} split, or set `data = \"none\"` for a phase that reads \
                 no batches"
            ),
        };
        let problem = Diagnostic::error("empty-split", text).help(help);
        problems.push(placed(problem, run, Some(&phase.spec)));
    }
}

/// Phases that pass the targets of the data to the loss. Others may use the loss differently.
const STANDARD_PHASES: [&str; 3] = ["training", "validation", "sam"];
/// Name of the field with the targets, by convention.
const TARGETS: &str = "ys";

/// Reports losses that do not take the targets of the data.
fn targets(run: &RunDescription, catalog: &Catalog, loader: &Loader, problems: &mut Diagnostics) {
    let Some(data) = &run.data else { return };
    let Some(field) = loader.fields().iter().find(|field| field.name == TARGETS) else { return };
    let standard = |component: &str| STANDARD_PHASES.contains(&component);
    let replaces = |spec: &InstanceSpec| {
        manifest(catalog, spec).is_none_or(|manifest| {
            manifest.writes.iter().any(|path| path == "step" || path.starts_with("step.ys"))
        })
    };
    if !run.phases.iter().all(|phase| standard(&phase.spec.component))
        || run.callbacks.iter().any(replaces)
    {
        return;
    }
    for loss in &run.losses {
        let Some(manifest) = manifest(catalog, &loss.spec) else { continue };
        let taken: Vec<&str> = manifest.targets.iter().map(String::as_str).collect();
        if taken.is_empty() || kinds(field).iter().any(|kind| taken.contains(kind)) {
            continue;
        }
        let problem = mismatch(&loss.spec.component, &taken, data, field);
        let problem = problem.help(help(catalog, data, &taken));
        problems.push(placed(problem, run, Some(&loss.spec)));
    }
}

fn mismatch(loss: &str, taken: &[&str], data: &InstanceSpec, field: &Field) -> Diagnostic {
    let target = match data.config.get("target").and_then(|target| target.as_str()) {
        Some(name) => format!("target `{name}`"),
        None => format!("field `{TARGETS}`"),
    };
    let taken: Vec<&str> = taken.iter().map(|kind| described(kind)).collect();
    let text = format!(
        "the loss `{loss}` takes {}, but the {target} of the data set `{}` {}",
        taken.join(" or "),
        data.component,
        found(field),
    );
    Diagnostic::error("target-mismatch", text)
}

/// What to do about a loss that takes other targets than those of the data.
fn help(catalog: &Catalog, data: &InstanceSpec, taken: &[&str]) -> String {
    let task = if taken.contains(&"classes") { "classification" } else { "regression" };
    let other = "choose a loss for such targets (`fluxbay list --kind loss`)";
    let has_task = manifest(catalog, data).is_some_and(|manifest| {
        let setting = manifest.config["properties"]["task"].to_string();
        setting.contains(&format!("\"{task}\""))
    });
    if has_task {
        format!("set `task = \"{task}\"` in [data], or {other}")
    } else {
        other.to_owned()
    }
}

fn manifest<'a>(catalog: &'a Catalog, spec: &InstanceSpec) -> Option<&'a ComponentManifest> {
    catalog.find(spec.kind, &spec.lookup()).ok().map(|found| found.manifest)
}

/// The kinds of targets that a field can hold.
fn kinds(field: &Field) -> &'static [&'static str] {
    let integer = matches!(field.dtype, DType::U8 | DType::U32 | DType::I64);
    let values: usize = field.shape.iter().product();
    match (integer, field.classes) {
        (true, Some(2)) => &["classes", "binary"],
        (true, Some(_)) => &["classes"],
        (true, None) => &["classes", "binary", "numbers"],
        (false, _) if values > 1 => &["probabilities", "numbers"],
        (false, _) => &["numbers"],
    }
}

fn described(kind: &str) -> &str {
    match kind {
        "classes" => "class labels",
        "binary" => "labels of two classes",
        "probabilities" => "rows of class probabilities",
        "numbers" => "numbers",
        other => other,
    }
}

/// What a field holds, as the end of a sentence.
fn found(field: &Field) -> String {
    let dtype = field.dtype.as_str();
    match (field.classes, field.shape.iter().product::<usize>()) {
        (Some(classes), _) => format!("has labels of {classes} classes ({dtype})"),
        (None, 1) => format!("is one number per sample ({dtype})"),
        (None, _) => format!("has {:?} numbers per sample ({dtype})", field.shape),
    }
}
