//! What is said of a session before it trains.

use crate::{
    display::{Launch, LaunchData, LaunchModel, LaunchPlugin},
    loader::Loader,
    run_file::{InstanceSpec, LoaderSettings, Named},
    session::Session,
};

/// Gathers it.
pub(super) fn launch(session: &Session, threads: usize, directory: &str) -> Launch {
    let run = session.run();
    let ids = |specs: &mut dyn Iterator<Item = &InstanceSpec>| {
        specs.map(|spec| said(&spec.id, &spec.component)).collect()
    };
    let named = |specs: &[Named]| {
        specs.iter().map(|named| said(&named.spec.component, &named.name)).collect()
    };
    let loss = if run.losses.len() == 1 {
        ids(&mut run.losses.iter().map(|loss| &loss.spec))
    } else {
        named(&run.losses)
    };
    let optimizers = match &run.optimizers[..] {
        [only] => vec![only.spec.component.clone()],
        several => named(several),
    };
    Launch {
        name: run.run.name.clone(),
        host: env!("CARGO_PKG_VERSION").to_owned(),
        seed: run.run.seed,
        device: String::from(run.run.device),
        threads,
        epochs: run.run.epochs,
        epochs_done: session.runtime().epochs_done.get(),
        data: session
            .loader()
            .zip(run.data.as_ref())
            .map(|(loader, spec)| data(loader, spec, &run.loader)),
        models: models(session),
        parts: vec![
            ("loss".to_owned(), loss),
            ("optimizer".to_owned(), optimizers),
            ("phases".to_owned(), ids(&mut run.phases.iter().map(|phase| &phase.spec))),
            (
                "callbacks".to_owned(),
                session.callbacks().iter().map(|callback| callback.id.clone()).collect(),
            ),
            ("loggers".to_owned(), ids(&mut run.loggers.iter())),
        ],
        plugins: plugins(session),
        directory: directory.to_owned(),
    }
}

fn absolute(path: &std::path::Path) -> String {
    std::path::absolute(path).as_deref().unwrap_or(path).to_string_lossy().into_owned()
}

/// The plugins that were loaded, by name.
pub(super) fn plugins(session: &Session) -> Vec<LaunchPlugin> {
    let loaded = session.composed().shelf().loaded();
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

fn said(id: &str, component: &str) -> String {
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
    let order = if settings.shuffle { "shuffled" } else { "in the data's own order" };
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
