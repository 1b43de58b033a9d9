//! `fluxbay profile`: what training steps need. Memory by what it is for, and by layer.

use std::rc::Rc;

use serde_json::{Value as Json, json};

use super::outcome::{Exit, Failure, Outcome};
use super::output::{print, print_json};
use super::run_arguments::RunArguments;
use crate::display::{bytes, columns, memory_lines};
use crate::learner::ports::{MemoryUse, PhaseKind};
use crate::library::escape;
use crate::session::{Composed, Session, Surroundings};

/// Arguments of `fluxbay profile`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    run: RunArguments,
    /// Show the memory of tensors: parameters, optimizer, gradients, activations, and by layer.
    #[arg(long, required = true)]
    memory: bool,
    /// Write JSON, as `fluxbay schema profile` describes.
    #[arg(long)]
    json: bool,
}

/// Steps that are trained. The state of some optimizers is complete only after the first.
const STEPS: usize = 3;

/// A layer and the bytes that it keeps for the backward pass.
struct Layer {
    model: String,
    path: String,
    bytes: u64,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let (run, catalog) = arguments.run.read().accept()?;
    let session = Composed::new(Rc::new(catalog), run, Surroundings::default())
        .and_then(Composed::open)
        .map_err(Failure::problems)?;
    let (most, layers) = measured(&session)?;
    if arguments.json { print_json(&as_json(&most, &layers)) } else { print(&text(&most, &layers)) }
}

/// Trains some steps of the first training phase.
fn measured(session: &Session) -> Result<(MemoryUse, Vec<Layer>), Failure> {
    let failed = |text: String| Failure::new(Exit::Failed, escape::paragraph(&text));
    let runtime = session.runtime();
    let roles = runtime.roles().map_err(|stop| failed(stop.to_string()))?;
    let phase = roles.phases.iter().position(|phase| phase.kind == PhaseKind::Training);
    let phase = phase.ok_or_else(|| {
        let text = "the run has no training phase, so there are no training steps to look at";
        Failure::new(Exit::Configuration, text)
    })?;
    runtime.engine.borrow_mut().count_layers(true);
    session.run_first_steps(phase, STEPS).map_err(|stop| failed(stop.to_string()))?;
    let most = runtime.memory_use().ok_or_else(|| {
        let text = "no backward pass ran in the steps of the training phase";
        Failure::new(Exit::Failed, text)
    })?;
    let engine = runtime.engine.borrow();
    let layers = engine.layer_memory().into_iter().map(|layer| Layer {
        model: engine.model_name(layer.model).unwrap_or_default().to_owned(),
        path: layer.path,
        bytes: layer.bytes,
    });
    Ok((most, layers.collect()))
}

fn text(most: &MemoryUse, layers: &[Layer]) -> String {
    let mut text = memory_lines(most).join("\n");
    text.push_str("\n\nkept for the backward pass, by layer\n");
    let several = layers.iter().any(|layer| layer.model != layers[0].model);
    let all: u64 = layers.iter().map(|layer| layer.bytes).sum();
    let rows = layers.iter().filter(|layer| layer.bytes > 0).map(|layer| {
        let path = match layer.path.as_str() {
            "" => "(before the first layer)".to_owned(),
            path if several => format!("{}.{path}", layer.model),
            path => path.to_owned(),
        };
        let share = 100.0 * layer.bytes as f64 / all.max(1) as f64;
        vec![escape::text(&path), bytes(layer.bytes), format!("{share:.1} %")]
    });
    let rows: Vec<Vec<String>> =
        rows.chain([vec!["all".to_owned(), bytes(all), String::new()]]).collect();
    text.push_str(&columns(&rows, "  ", &[1, 2]));
    text
}

fn as_json(most: &MemoryUse, layers: &[Layer]) -> Json {
    let layers = layers
        .iter()
        .map(|layer| json!({ "model": layer.model, "path": layer.path, "bytes": layer.bytes }));
    json!({
        "schema": 1,
        "memory": {
            "peak": most.peak,
            "parameters": most.parameters,
            "optimizer": most.optimizer,
            "gradients": most.gradients,
            "activations": most.activations,
            "batch": most.batch,
            "recomputed-blocks": most.recomputed,
        },
        "layers": layers.collect::<Vec<_>>(),
    })
}
