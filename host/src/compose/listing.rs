//! A composition as text, as `fluxbay compose` prints it: instances, callbacks with their access,
//! events, the loop, and the reasons of the order.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use super::overview::{Basis, Overview, PhaseRow, Row};
use super::paths::PROVIDED;
use super::{Composition, Member};

/// The whole listing.
pub fn text(overview: &Overview) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "run `{}`: {} epochs, {} callbacks",
        overview.name,
        overview.epochs,
        overview.order.len()
    );
    if overview.basis == Basis::Manifests {
        out.push_str("from the manifests alone: no plugin was loaded, and an instance may need less than its manifest declares\n");
    }
    instances(&mut out, overview);
    groups(&mut out, overview);
    recomputed(&mut out, overview);
    chains(&mut out, overview);
    callbacks(&mut out, overview);
    events(&mut out, overview);
    the_loop(&mut out, overview);
    edges(&mut out, overview);
    out
}

fn instances(out: &mut String, overview: &Overview) {
    let _ = writeln!(out, "\ninstances");
    let rows: Vec<[String; 4]> = overview
        .instances
        .iter()
        .map(|row| [row.id.clone(), row.component.clone(), row.plugin.clone(), row.origin.clone()])
        .collect();
    table(out, &rows);
}

fn groups(out: &mut String, overview: &Overview) {
    if overview.groups.is_empty() {
        return;
    }
    let _ = writeln!(out, "\nparameter groups; a parameter belongs to the first that selects it");
    let rows: Vec<[String; 4]> = overview
        .groups
        .iter()
        .map(|row| {
            let own = row.settings.iter().map(|(key, value)| format!("{key} = {value}"));
            let scaled = row.scale.iter().map(|(key, factor)| format!("{key} x {factor}"));
            let settings: Vec<String> = own.chain(scaled).collect();
            [
                row.id.clone(),
                format!("{} {}", row.tensors, if row.tensors == 1 { "tensor" } else { "tensors" }),
                format!("{} parameters", row.parameters),
                settings.join(", "),
            ]
        })
        .collect();
    table(out, &rows);
}

/// The blocks that backward passes compute again.
fn recomputed(out: &mut String, overview: &Overview) {
    if overview.recomputed.is_empty() {
        return;
    }
    let _ = writeln!(out, "\ncomputed again in backward passes, to save memory");
    let rows: Vec<[String; 4]> = overview
        .recomputed
        .iter()
        .map(|row| {
            [
                row.path.clone(),
                format!("of {}", row.model),
                format!("{} {}", row.tensors, if row.tensors == 1 { "tensor" } else { "tensors" }),
                if row.when == "always" { "always" } else { "if memory is short" }.to_owned(),
            ]
        })
        .collect();
    table(out, &rows);
}

/// What samples pass through before they become batches.
fn chains(out: &mut String, overview: &Overview) {
    if overview.transforms.is_empty() {
        return;
    }
    let _ = writeln!(out, "\ntransforms of the samples, in order");
    let rows: Vec<[String; 2]> = overview
        .transforms
        .iter()
        .map(|chain| {
            let ids =
                if chain.transforms.is_empty() { "-".into() } else { chain.transforms.join(", ") };
            [format!("for {}", chain.samples), ids]
        })
        .collect();
    table(out, &rows);
}

fn callbacks(out: &mut String, overview: &Overview) {
    let _ = writeln!(out, "\ncallbacks, in execution order");
    let rows: HashMap<&String, &Row> =
        overview.instances.iter().map(|row| (&row.id, row)).collect();
    let rows: Vec<[String; 4]> = overview
        .order
        .iter()
        .enumerate()
        .filter_map(|(at, id)| {
            let row = rows.get(id)?;
            Some([
                format!("{:>2}", at + 1),
                id.clone(),
                access("reads", &row.reads),
                access("writes", &row.writes),
            ])
        })
        .collect();
    table(out, &rows);
}

fn access(verb: &str, paths: &[String]) -> String {
    if paths.is_empty() { String::new() } else { format!("{verb} {}", paths.join(", ")) }
}

/// A matrix: a row for each event, a column for each callback.
fn events(out: &mut String, overview: &Overview) {
    let _ = writeln!(out, "\nevents, with the numbers of the callbacks that handle them");
    let width = overview.events.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let _ = write!(out, "  {:width$}", "");
    for number in 1..=overview.order.len() {
        let _ = write!(out, " {number:>2}");
    }
    out.push('\n');
    for row in &overview.events {
        let _ = write!(out, "  {:width$}", row.name);
        let callbacks: HashSet<&String> = row.callbacks.iter().collect();
        for id in &overview.order {
            out.push_str(if callbacks.contains(id) { "  x" } else { "  ." });
        }
        out.push('\n');
    }
}

/// The loop from the first event to the last.
fn the_loop(out: &mut String, overview: &Overview) {
    let _ = writeln!(out, "\nthe loop");
    event(out, 1, "fit-begin", overview.callbacks_of("fit-begin"));
    let _ = writeln!(out, "  epoch 1 to {}", overview.epochs);
    for phase in &overview.phases {
        one_phase(out, phase);
    }
    event(out, 1, "fit-end", overview.callbacks_of("fit-end"));
    let exceptions = ["step-cancelled", "epoch-cancelled", "fit-cancelled", "error"];
    if exceptions.iter().any(|name| !overview.callbacks_of(name).is_empty()) {
        let _ = writeln!(out, "  on cancellation and errors");
        for name in exceptions {
            if !overview.callbacks_of(name).is_empty() {
                event(out, 2, name, overview.callbacks_of(name));
            }
        }
    }
}

fn one_phase(out: &mut String, phase: &PhaseRow) {
    let data = if phase.data == "none" {
        "without data".to_owned()
    } else {
        format!("on the {} data", phase.data)
    };
    let _ = writeln!(out, "    phase `{}` ({}) {data}", phase.id, phase.kind);
    let of = |name: &str| phase.callbacks.get(name).map_or(&[] as &[String], Vec::as_slice);
    event(out, 3, "epoch-begin", of("epoch-begin"));
    let _ = writeln!(out, "      each batch");
    event(out, 4, "step-begin", of("step-begin"));
    match phase.kind.as_str() {
        "training" => {
            work(out, "forward: step.yhats");
            event(out, 4, "loss-begin", of("loss-begin"));
            work(out, "loss: step.loss");
            event(out, 4, "backward-begin", of("backward-begin"));
            work(out, "backward: step.grads");
            event(out, 4, "backward-end", of("backward-end"));
            work(out, "update the parameters");
        }
        "validation" => {
            work(out, "forward: step.yhats");
            event(out, 4, "loss-begin", of("loss-begin"));
            work(out, "loss: step.loss");
        }
        _ => work(out, "work of the phase"),
    }
    for name in &phase.emits {
        event(out, 4, name, of(name));
    }
    event(out, 4, "step-end", of("step-end"));
    event(out, 3, "epoch-end", of("epoch-end"));
    if !of("checkpoint").is_empty() {
        event(out, 3, "checkpoint", of("checkpoint"));
    }
}

fn event(out: &mut String, depth: usize, name: &str, callbacks: &[String]) {
    let indent = "  ".repeat(depth);
    let called = if callbacks.is_empty() { "-".to_owned() } else { callbacks.join(", ") };
    let width = 34_usize.saturating_sub(indent.len());
    let _ = writeln!(out, "{indent}{name:<width$} {called}");
}

fn work(out: &mut String, what: &str) {
    let _ = writeln!(out, "        ({what})");
}

fn edges(out: &mut String, overview: &Overview) {
    let _ = writeln!(out, "\nreasons of this order");
    for link in &overview.edges {
        let _ =
            writeln!(out, "  {} before {}: {}", link.before, link.after, link.reasons.join("; "));
    }
    out.push_str("  otherwise the order of the run file\n");
}

/// Why a callback runs before another, or that nothing orders them.
pub fn why(members: &[Member<'_>], composition: &Composition, one: usize, other: usize) -> String {
    let place = |at: usize| composition.order.iter().position(|member| *member == at);
    let (first, second) = if place(one) <= place(other) { (one, other) } else { (other, one) };
    let (a, b) = (&members[first], &members[second]);
    let mut out = String::new();
    match composition.graph.chain(first, second) {
        Some(chain) => {
            let _ = writeln!(out, "`{}` runs before `{}`:", a.id, b.id);
            for edge in &chain {
                let link = super::overview::link(members, edge);
                let _ = writeln!(
                    out,
                    "  {} before {}: {}",
                    link.before,
                    link.after,
                    link.reasons.join("; ")
                );
            }
        }
        None => {
            let _ = writeln!(
                out,
                "`{}` runs before `{}` only because the run file lists it first;",
                a.id, b.id
            );
            let _ = writeln!(out, "  no access or order hint orders them: {}", shared(a, b));
        }
    }
    out
}

/// The state that two unordered callbacks share.
fn shared(a: &Member<'_>, b: &Member<'_>) -> String {
    let reads = |member: &Member<'_>| member.access.reads.clone();
    let both: Vec<String> = reads(a).into_iter().filter(|path| reads(b).contains(path)).collect();
    match both.as_slice() {
        [] => "they share no state".to_owned(),
        paths if paths.iter().all(|path| PROVIDED.contains(&super::paths::root(path))) => {
            format!("both only read {}", paths.join(", "))
        }
        paths => format!("both read {}", paths.join(", ")),
    }
}

/// Aligned columns, separated by two spaces.
fn table<const N: usize>(out: &mut String, rows: &[[String; N]]) {
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    for row in rows {
        let mut line = String::from(" ");
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, " {cell:width$} ");
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
}
