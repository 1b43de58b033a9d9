//! `fluxbay evaluate`: evaluates the model of a run with the run's validation phases and metrics,
//! on its data or other data.
//!
//! Only validation phases take part, and callbacks that write nothing but their own state. Nothing
//! is written to the run folder.

use std::{cell::RefCell, ffi::OsString, path::PathBuf, rc::Rc, time::Duration};

use clap_complete::engine::ArgValueCompleter;
use serde_json::json;

use super::{
    deadline::Deadline,
    opening::{self, read_saved, scratch},
    provenance::plugins_lock,
    shortcuts::{batches, threads, time},
};
use crate::{
    bundle::Source,
    cli::{
        candidates,
        outcome::{Exit, Failure, Outcome},
        output::{json_number, print, print_json},
        plugin_path::PluginPath,
        run_lookup,
    },
    display::{Bars, Look, Screen, columns, number},
    durable::changes,
    learner::{
        TIME_IS_UP,
        ports::{At, NoDisplay, Scope, Sink, SinkError},
    },
    library::{Catalog, Kind, escape},
    record::file,
    run_file::{InstanceSpec, PhaseData, PhaseSpec, RunDescription},
    session::{DataState, SavedData, Session, Surroundings, sizes_from},
};

/// Arguments of `fluxbay evaluate`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A run's folder, its name or a part of it; or a bundle.
    ///
    /// The beginning or the end of a name below `runs` is enough if only one run matches; `last` is
    /// the run that was started last.
    #[arg(value_name = "RUN", default_value = "last", add = ArgValueCompleter::new(candidates::runs))]
    run: OsString,
    /// Evaluate this checkpoint, not the final model.
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
    /// Evaluate on the training or the validation data.
    ///
    /// Without it, on the split that each phase reads.
    #[arg(long, value_enum, value_name = "PART", hide_possible_values = true)]
    data: Option<Part>,
    /// Set a value: data.images=other.gz.
    ///
    /// May be given several times. Environment variables set nothing here, so that the run is the
    /// one that was trained.
    #[arg(long, value_name = "KEY.PATH=VALUE")]
    set: Vec<String>,
    /// Add a phase or callback: 'phase/validation'.
    #[arg(long, value_name = "KIND/NAME{...}", add = ArgValueCompleter::new(candidates::addable))]
    add: Vec<String>,
    /// Let the data set learn again, from this data.
    ///
    /// Without it, means, classes and the like are those that training learnt.
    #[arg(long)]
    refit: bool,
    /// Write JSON, as `fluxbay schema evaluate` describes.
    #[arg(long)]
    json: bool,
    /// Compute on N threads; any N, same bits.
    #[arg(long, value_name = "N", value_parser = threads)]
    threads: Option<usize>,
    /// Show what would be evaluated, and stop.
    #[arg(long, help_heading = "Trying it", conflicts_with_all = ["fast_dev_run", "json"])]
    dry_run: bool,
    /// Evaluate on N batches, to see whether it works.
    ///
    /// N is 1 unless given.
    #[arg(long, help_heading = "Trying it", value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "1", value_parser = batches, conflicts_with = "limit_batches")]
    fast_dev_run: Option<u64>,
    /// Read at most N batches.
    #[arg(long, help_heading = "Trying it", value_name = "N", value_parser = batches)]
    limit_batches: Option<u64>,
    /// Give up after a time: 90s, 10m, 1h30m, 2d.
    ///
    /// Then no metrics are printed, because they would cover an arbitrary part of the data.
    #[arg(long, help_heading = "Trying it", value_name = "TIME", value_parser = time)]
    max_time: Option<Duration>,
    /// Rejected with an explanation: nothing is trained here.
    #[arg(long, value_name = "N", value_parser = batches, hide = true)]
    overfit_batches: Option<u64>,
    #[command(flatten)]
    path: PluginPath,
}

impl Arguments {
    fn settings(&self) -> Vec<String> {
        let limit = self
            .limit_batches
            .or(self.fast_dev_run)
            .map(|batches| format!("loader.limit-batches={batches}"));
        let threads = self.threads.map(|threads| format!("run.threads={threads}"));
        limit.into_iter().chain(threads).chain(self.set.iter().cloned()).collect()
    }
}

/// Splits of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// The data that the run trained on.
    Training,
    /// The data that it was validated on.
    Validation,
}

/// Collects epoch metrics as (phase, name, value).
#[derive(Debug, Default)]
struct Figures(RefCell<Vec<(String, String, f64)>>);

impl Sink for Figures {
    fn metric(&self, at: &At<'_>, scope: Scope, name: &str, value: f64) -> Result<(), SinkError> {
        if scope == Scope::Epoch {
            self.0.borrow_mut().push((at.phase.to_owned(), name.to_owned(), value));
        }
        Ok(())
    }
    fn event(&self, _: &At<'_>, _: &str, _: &str, _: &str) -> Result<(), SinkError> {
        Ok(())
    }
    fn flush(&self) -> Result<(), SinkError> {
        Ok(())
    }
}

pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let configuration = |text: String| Failure::new(Exit::Configuration, text);
    let folder = run_lookup::find_model(&arguments.run)?;
    if let Some(batches) = arguments.overfit_batches {
        let resolved = escape::path(&folder.join(file::RESOLVED));
        return Err(configuration(format!(
            "`evaluate` trains nothing, so it cannot overfit. To evaluate on {batches} batches, use `--limit-batches {batches}`; to see \
             whether the model can overfit them, `fluxbay train {resolved} --overfit-batches {batches}`"
        )));
    }
    let weights = Source::open(&folder, arguments.checkpoint.as_deref()).map_err(configuration)?;
    let read = read_saved(
        &folder,
        &weights.plugins,
        arguments.settings(),
        arguments.add.clone(),
        &arguments.path,
        |draft, catalog| {
            for (id, error) in draft.remove_unavailable(catalog) {
                log::warn!("`{}` is left out of the evaluation: {error}", escape::text(&id));
            }
        },
    );
    let (mut run, catalog) = read.accept()?;
    // One process measures what several have trained.
    run.communicator = None;
    keep_what_measures(&mut run, &catalog);
    if run.phases.is_empty() {
        return Err(configuration(
            "the run has no validation phase: add one with --add phase/validation".to_owned(),
        ));
    }
    if let Some(part) = arguments.data {
        let part = if part == Part::Training { PhaseData::Training } else { PhaseData::Validation };
        run.phases.iter_mut().for_each(|phase| phase.data = part);
    }
    let (path, from) = (escape::path(&folder), escape::path(&weights.model));
    sizes_from(&mut run, &folder);
    let session = open(run, catalog, &weights, arguments.refit, screen)?;
    if arguments.dry_run {
        screen.print(&format!("{from}\n{}\ndry run: nothing was evaluated", plan(&session)));
        return Ok(Exit::Done);
    }
    let figures = session.measure(arguments.max_time)?;
    if arguments.json {
        let figures: Vec<_> =
            figures.iter().map(|(phase, name, value)| json!({ "phase": phase, "name": name, "value": json_number(*value) })).collect();
        return print_json(&json!({ "schema": 1, "run": path, "model": from, "figures": figures }));
    }
    let rows: Vec<Vec<String>> = figures
        .iter()
        .map(|(phase, name, value)| vec![escape::text(phase), escape::text(name), number(*value)])
        .collect();
    print(&format!("{from}\n{}", columns(&rows, "  ", &[2])))
}

/// A session that is ready to evaluate.
struct Evaluation {
    session: Session,
    figures: Rc<Figures>,
    /// Folder for instances that write files; removed at the end.
    _scratch: tempfile::TempDir,
}

/// Opens the session and loads the parameters into its models.
fn open(
    run: RunDescription,
    catalog: Catalog,
    weights: &Source,
    refit: bool,
    screen: &Screen,
) -> Result<Evaluation, Failure> {
    let scratch = scratch()?;
    let figures = Rc::new(Figures::default());
    let surroundings = Surroundings {
        sink: Rc::clone(&figures) as Rc<_>,
        // The metrics are the result; what callbacks print is left out.
        display: if screen.look() == Look::Bars {
            Rc::new(Bars::new(screen.clone()))
        } else {
            Rc::new(NoDisplay)
        },
        run_dir: scratch.path().to_string_lossy().into_owned(),
    };
    let data = match &weights.data {
        Some(saved) if !refit => DataState::Saved(saved.clone()),
        _ => DataState::Refit,
    };
    let session = opening::open(run, catalog, surroundings, &data)?;
    if let DataState::Saved(saved) = &data {
        warn_of_learning(saved, &session);
    }
    for other in changes::of_plugins(&weights.plugins, &plugins_lock(&session)) {
        log::warn!("{}: the metrics may differ from those of the run", escape::text(&other));
    }
    session.set_model_tensors(&weights.tensors).map_err(|error| {
        Failure::new(
            Exit::Configuration,
            format!("{} does not fit the model of the run: {error}", escape::path(&weights.model)),
        )
    })?;
    Ok(Evaluation { session, figures, _scratch: scratch })
}

/// Warns of other data if the data set learns from it what the model does not know.
fn warn_of_learning(trained_on: &SavedData, session: &Session) {
    let (Some(now), Some(spec)) = (session.saved_data(), &session.run().data) else { return };
    if now.learnt.is_none() && now.summary != trained_on.summary {
        log::warn!(
            "the data set `{}` does not keep what it learns: means, classes and the like come from \
             this data, and the metrics may be wrong",
            escape::text(&spec.component)
        );
    }
}

/// What would be evaluated: phases with their data, and callbacks.
fn plan(evaluation: &Evaluation) -> String {
    let session = &evaluation.session;
    let run = session.run();
    let batches = |phase: &PhaseSpec| {
        let part = session.loader().and_then(|loader| {
            Some((loader, loader.parts().iter().find(|part| part.name == phase.data.name())?))
        });
        part.map_or("no data of the run".to_owned(), |(loader, part)| {
            format!(
                "{} batches of {}, {} data",
                loader.batches(part),
                run.loader.batch_size,
                part.name
            )
        })
    };
    let mut rows: Vec<Vec<String>> =
        run.phases.iter().map(|phase| vec![escape::text(&phase.spec.id), batches(phase)]).collect();
    let callbacks: Vec<String> =
        session.callbacks().iter().map(|callback| callback.id.clone()).collect();
    if !callbacks.is_empty() {
        rows.push(vec!["callbacks".to_owned(), escape::text(&callbacks.join(", "))]);
    }
    columns(&rows, "  ", &[])
}

impl Evaluation {
    /// Runs one epoch of each phase and returns the metrics as (phase, name, value).
    fn measure(&self, limit: Option<Duration>) -> Result<Vec<(String, String, f64)>, Failure> {
        let failed = |text: String| Failure::new(Exit::Failed, text);
        let session = &self.session;
        let interrupt = session.interrupt();
        let seconds = limit.map_or(0.0, |limit| limit.as_secs_f64());
        let _deadline = Deadline::begin(interrupt.clone(), seconds)
            .map_err(|error| failed(format!("cannot start the timer of --max-time: {error}")))?;
        for (phase, name) in session.phases().iter().enumerate() {
            session.run_epoch(phase).map_err(|stop| match interrupt.signal() {
                TIME_IS_UP => failed(format!(
                    "the time limit was reached before `{}` had read all of its data, so there are no metrics: allow more with --max-time, or \
                     limit the data with --limit-batches",
                    escape::text(name)
                )),
                _ => failed(escape::paragraph(&stop.to_string())),
            })?;
        }
        session.finish().map_err(|stop| failed(escape::paragraph(&stop.to_string())))?;
        Ok(self.figures.0.borrow().clone())
    }
}

/// Standard callbacks that write no state but have no use here: they print what is the result, or
/// decide about training.
const LEFT_OUT: [&str; 3] = ["metrics-printer", "early-stopping", "checkpointer"];

/// Keeps the validation phases, and the callbacks that write nothing but their own state and read
/// only what the remaining callbacks write.
fn keep_what_measures(run: &mut RunDescription, catalog: &Catalog) {
    let manifest = |spec: &InstanceSpec| {
        catalog.find(spec.kind, &spec.lookup()).ok().map(|found| found.manifest)
    };
    run.phases.retain(|phase| {
        manifest(&phase.spec).is_some_and(|manifest| manifest.phase_kind == "validation")
    });
    run.loggers.clear();
    run.callbacks.retain(|spec| {
        // Of the default callbacks only those that measure and show progress.
        let wanted =
            spec.place.is_some() || matches!(spec.component.as_str(), "metrics" | "progress");
        let harmless = manifest(spec).is_some_and(|manifest| {
            manifest.writes.iter().all(|path| path.starts_with("cbstate."))
        });
        wanted && harmless && !LEFT_OUT.contains(&spec.component.as_str())
    });
    loop {
        let written: Vec<String> = run
            .callbacks
            .iter()
            .filter_map(manifest)
            .flat_map(|manifest| manifest.writes.clone())
            .collect();
        let before = run.callbacks.len();
        run.callbacks.retain(|spec| {
            let reads = manifest(spec).map(|manifest| manifest.reads.clone()).unwrap_or_default();
            let mut of_others = reads.iter().filter(|path| path.starts_with("cbstate."));
            of_others.all(|path| {
                written.iter().any(|other| crate::compose::paths::overlap(path, other).is_some())
            })
        });
        if run.callbacks.len() == before {
            break;
        }
    }
    debug_assert!(run.callbacks.iter().all(|spec| spec.kind == Kind::Callback));
}
