//! `fluxbay compose`: shows a run without training it: instances, callback order with its reasons,
//! events, and the loop.

use std::rc::Rc;

use clap_complete::engine::ArgValueCompleter;

use super::candidates;
use super::outcome::{Failure, Outcome, report};
use super::output::{print, print_json};
use super::run_arguments::{ReadRun, RunArguments};
use crate::compose::draw::{Format, draw};
use crate::compose::overview::{Basis, BlockRow, GroupRow, Overview};
use crate::compose::{self, Composition, Member, from_manifests, listing};
use crate::library::{Catalog, Kind};
use crate::run_file::{Diagnostic, Diagnostics, RunDescription, nearest};
use crate::session::{BlockSummary, Composed, GroupSummary, Surroundings};

/// Arguments of `fluxbay compose`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    run: RunArguments,
    /// Write the run with all defaults, and their origin.
    ///
    /// With --json, the run without origins, as `fluxbay schema run` describes it.
    #[arg(long, conflicts_with_all = ["why", "graph"])]
    print_config: bool,
    /// Explain why one callback runs before another.
    #[arg(long, num_args = 2, value_names = ["ID", "ID"], conflicts_with = "graph", add = ArgValueCompleter::new(candidates::callbacks))]
    why: Option<Vec<String>>,
    /// Draw the order: text, dot, mermaid or svg.
    #[arg(long, value_name = "FORMAT", value_enum, hide_possible_values = true)]
    graph: Option<GraphFormat>,
    /// Use the manifests only; load no plugin.
    #[arg(long)]
    no_load: bool,
    /// Do not open the data to look for problems.
    #[arg(long)]
    no_data: bool,
    /// Write JSON, as `fluxbay schema compose` describes.
    #[arg(long, conflicts_with_all = ["why", "graph"])]
    json: bool,
}

/// Formats of `--graph`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum GraphFormat {
    /// Lines of text.
    Text,
    /// Graphviz.
    Dot,
    /// For Markdown pages.
    Mermaid,
    /// A picture.
    Svg,
}

impl GraphFormat {
    fn format(self) -> Format {
        match self {
            GraphFormat::Text => Format::Text,
            GraphFormat::Dot => Format::Dot,
            GraphFormat::Mermaid => Format::Mermaid,
            GraphFormat::Svg => Format::Svg,
        }
    }
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let ReadRun { run, catalog, mut diagnostics } = arguments.run.read();
    // Instances can be created only for a run without errors; manifests suffice to look for more.
    if arguments.no_load || diagnostics.has_errors() {
        let input = from_manifests::input(&run, &catalog);
        let composition = match compose::compose(&input) {
            Ok(composition) => composition,
            Err(problems) => {
                diagnostics.append(compose::diagnostics(&problems, &input.members, &run.sources));
                return Err(Failure::problems(diagnostics));
            }
        };
        let view = View {
            run: &run,
            catalog: &catalog,
            members: &input.members,
            composition: &composition,
            basis: Basis::Manifests,
            groups: Vec::new(),
            blocks: Vec::new(),
        };
        return view.show(arguments, diagnostics);
    }
    let catalog = Rc::new(catalog);
    match Composed::new(Rc::clone(&catalog), run, Surroundings::default()) {
        Ok(composed) => {
            let built = match arguments.no_data {
                true => Ok((Vec::new(), Vec::new())),
                false => composed.parameter_groups(),
            };
            let (groups, blocks) = built.map_err(|problems| {
                diagnostics.append(problems);
                Failure::problems(std::mem::take(&mut diagnostics))
            })?;
            let (members, composition) = (composed.members(), composed.composition());
            let view = View {
                run: composed.run(),
                catalog: &catalog,
                members: &members,
                composition: &composition,
                basis: Basis::Instances,
                groups,
                blocks,
            };
            view.show(arguments, diagnostics)
        }
        Err(problems) => {
            diagnostics.append(problems);
            Err(Failure::problems(diagnostics))
        }
    }
}

/// A composed run, ready to be shown.
struct View<'a> {
    run: &'a RunDescription,
    catalog: &'a Catalog,
    members: &'a [Member<'a>],
    composition: &'a Composition,
    basis: Basis,
    /// The parameters of each optimizer and parameter group; empty for a run without groups.
    groups: Vec<GroupSummary>,
    /// The blocks that backward passes compute again.
    blocks: Vec<BlockSummary>,
}

impl View<'_> {
    fn show(&self, arguments: &Arguments, mut diagnostics: Diagnostics) -> Outcome {
        let asked = arguments.why.as_ref().map(|ids| pair(self.members, ids, &mut diagnostics));
        if diagnostics.has_errors() {
            return Err(Failure::problems(diagnostics));
        }
        report(&diagnostics);
        if let Some(Some((one, other))) = asked {
            return print(&listing::why(self.members, self.composition, one, other));
        }
        if arguments.print_config {
            return if arguments.json {
                print_json(&self.run.to_json())
            } else {
                print(&self.run.to_toml_with_origins())
            };
        }
        let mut overview =
            Overview::new(self.run, self.catalog, self.members, self.composition, self.basis);
        overview.groups = self.groups.iter().map(group_row).collect();
        overview.recomputed = self.blocks.iter().map(block_row).collect();
        match arguments.graph {
            Some(format) => print(&draw(&overview, format.format())),
            None if arguments.json => print_json(&overview),
            None => print(&listing::text(&overview)),
        }
    }
}

/// A parameter group as the listing and the JSON show it.
fn group_row(group: &GroupSummary) -> GroupRow {
    GroupRow {
        id: group.id.clone(),
        tensors: group.tensors,
        parameters: group.parameters,
        settings: group.settings.clone(),
        scale: group.scale.clone(),
    }
}

/// A block that is computed again as the listing and the JSON show it.
fn block_row(block: &BlockSummary) -> BlockRow {
    BlockRow {
        model: block.model.clone(),
        path: block.path.clone(),
        tensors: block.tensors,
        when: if block.always { "always" } else { "memory-short" },
    }
}

/// The two callbacks of `--why`.
fn pair(
    members: &[Member<'_>],
    ids: &[String],
    diagnostics: &mut Diagnostics,
) -> Option<(usize, usize)> {
    let is_callback = |at: &usize| members[*at].kind == Kind::Callback;
    let callbacks: Vec<usize> = (0..members.len()).filter(is_callback).collect();
    let mut find = |id: &String| {
        let found = callbacks.iter().copied().find(|at| members[*at].id == *id);
        if found.is_none() {
            let mut problem = Diagnostic::error(
                "unknown-instance",
                format!("this run has no callback with the id `{id}`"),
            );
            problem.help =
                nearest::suggestion(id, callbacks.iter().map(|at| members[*at].id.as_str()));
            diagnostics.push(problem);
        }
        found
    };
    let (one, other) = (find(&ids[0]), find(&ids[1]));
    one.zip(other)
}
