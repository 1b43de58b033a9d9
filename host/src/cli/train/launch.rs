//! Gathers the banner that is shown before a run trains.

use super::opening::threads;
use crate::{
    display::{Launch, LaunchData, LaunchModel, LaunchPlugin, Screen},
    loader::Loader,
    run_file::{InstanceSpec, LoaderSettings, Named, Precision},
    session::Session,
};

/// The banner of a session, for a screen. `directory` is the run folder, empty if none is kept.
pub(super) fn text(session: &Session, directory: &str, screen: &Screen) -> String {
    launch(session, directory).text(screen.colors(), screen.columns())
}

fn launch(session: &Session, directory: &str) -> Launch {
    let run = session.run();
    let ids = |specs: &mut dyn Iterator<Item = &InstanceSpec>| {
        specs.map(|spec| named(&spec.id, &spec.component)).collect()
    };
    let by_name =
        |specs: &[Named]| specs.iter().map(|one| named(&one.spec.component, &one.name)).collect();
    let loss = if run.losses.len() == 1 {
        ids(&mut run.losses.iter().map(|loss| &loss.spec))
    } else {
        by_name(&run.losses)
    };
    let mut optimizers = match &run.optimizers[..] {
        [only] => vec![only.spec.component.clone()],
        several => by_name(several),
    };
    if !run.groups.is_empty() {
        optimizers.extend(
            session
                .parameter_groups()
                .iter()
                .map(|group| format!("{}: {} parameters", group.id, group.parameters)),
        );
    }
    Launch {
        name: run.run.name.clone(),
        host: env!("CARGO_PKG_VERSION").to_owned(),
        seed: run.run.seed,
        device: String::from(run.run.device),
        precision: match run.run.precision {
            Precision::F32 => String::new(),
            rounded => String::from(rounded),
        },
        threads: threads(run),
        epochs: run.run.epochs,
        epochs_done: session.runtime().epochs_done(),
        data: session
            .loader()
            .zip(run.data.as_ref())
            .map(|(loader, spec)| data(loader, spec, &run.loader)),
        models: models(session),
        parts: vec![
            (
                "transforms".to_owned(),
                ids(&mut run.transforms.iter().map(|transform| &transform.spec)),
            ),
            ("sampler".to_owned(), ids(&mut run.sampler.iter())),
            ("loss".to_owned(), loss),
            ("optimizer".to_owned(), optimizers),
            ("phases".to_owned(), ids(&mut run.phases.iter().map(|phase| &phase.spec))),
            (
                "callbacks".to_owned(),
                session.callbacks().iter().map(|callback| callback.id.clone()).collect(),
            ),
            ("loggers".to_owned(), ids(&mut run.loggers.iter())),
            ("processes".to_owned(), processes(session)),
        ],
        plugins: plugins(session),
        directory: directory.to_owned(),
    }
}

/// The processes of the run, if there are several.
fn processes(session: &Session) -> Vec<String> {
    let several = session.runtime().ranks().filter(|ranks| ranks.are_several());
    let text = several.map(|ranks| {
        let spec = session.run().communicator.as_ref();
        let over = spec.map(|spec| spec.component.as_str()).unwrap_or_default();
        format!("{} over {over}", ranks.ranks())
    });
    text.into_iter().collect()
}

fn absolute(path: &std::path::Path) -> String {
    std::path::absolute(path).as_deref().unwrap_or(path).to_string_lossy().into_owned()
}

/// The loaded plugins, sorted by name.
pub(super) fn plugins(session: &Session) -> Vec<LaunchPlugin> {
    let loaded = session.composed().plugins().loaded();
    let mut plugins: Vec<LaunchPlugin> = loaded
        .iter()
        .map(|loaded| {
            let plugin = &loaded.manifest().plugin;
            LaunchPlugin {
                name: plugin.name.clone(),
                version: plugin.version.to_string(),
                sha256: loaded.sha256().to_string(),
                path: absolute(loaded.path()),
            }
        })
        .collect();
    plugins.sort_by(|a, b| (&a.name, &a.sha256).cmp(&(&b.name, &b.sha256)));
    plugins
}

/// An id with its component, unless they are equal.
fn named(id: &str, component: &str) -> String {
    if id == component { id.to_owned() } else { format!("{id} ({component})") }
}

fn data(loader: &Loader, spec: &InstanceSpec, settings: &LoaderSettings) -> LaunchData {
    let fields = loader.fields().iter().map(|field| {
        let classes = field.classes.map_or(0, u64::from);
        (field.name.clone(), field.dtype.as_str().to_owned(), field.shape.clone(), classes)
    });
    let splits = loader
        .parts()
        .iter()
        .map(|part| (part.name.clone(), part.samples() as u64, loader.batches(part) as u64));
    let order = if settings.shuffle { "shuffled" } else { "in order" };
    LaunchData {
        component: spec.component.clone(),
        splits: splits.collect(),
        fields: fields.collect(),
        loader: format!("batches of {}, {order}", settings.batch_size),
    }
}

fn models(session: &Session) -> Vec<LaunchModel> {
    let parameters = session.parameters();
    let of = |name: &str| {
        let of = parameters.iter().filter(|parameter| parameter.model == name);
        of.map(|parameter| (parameter.path.clone(), parameter.shape.clone(), parameter.trainable))
            .collect()
    };
    let models = session.run().models.iter();
    models
        .map(|model| LaunchModel {
            name: model.name.clone(),
            component: model.spec.component.clone(),
            parameters: of(&model.name),
        })
        .collect()
}
