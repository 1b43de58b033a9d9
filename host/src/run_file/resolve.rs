//! Resolves a draft against the catalog: looks up components, checks configurations, fills in
//! defaults.

use serde_json::Value as Json;

use super::description::{
    GroupSpec, InstanceSpec, Named, PhaseData, PhaseSpec, RunDescription, TransformSpec, When,
};
use super::diagnostic::{Diagnostic, Diagnostics};
use super::draft::{Draft, header_of};
use super::groups;
use super::instance::RawInstance;
use super::layout;
use super::nearest;
use super::schema::{Checker, Origin};
use super::selection::Selection;
use super::source::Place;
use crate::library::{Catalog, ComponentManifest, FindError, Kind, escape};

/// Callbacks of every run, unless it lists one of the same component or switches them off.
pub const DEFAULT_CALLBACKS: [&str; 5] =
    ["progress", "metrics-printer", "stop-on-nan", "recorder", "metrics"];

/// Name of the field that transforms change unless they name another.
pub const INPUTS: &str = "xs";

/// Phases of the standard plugins that need a loss.
const PHASES_WITH_LOSS: [&str; 2] = ["training", "validation"];

/// Checks a draft against the catalog.
///
/// The description may be trained only if `diagnostics` has no errors. With errors it is partial,
/// so that the composition can report its problems together with these.
pub fn resolve(
    mut draft: Draft,
    catalog: &Catalog,
    diagnostics: &mut Diagnostics,
) -> RunDescription {
    let raw = std::mem::take(&mut draft.instances);
    let mut run = RunDescription {
        run: draft.run.clone(),
        plugins: draft.plugins.clone(),
        data: None,
        transforms: Vec::new(),
        sampler: None,
        loader: draft.loader.clone(),
        communicator: None,
        checkpoints: draft.checkpoints.clone(),
        fine_tuning: draft.fine_tuning.clone(),
        models: Vec::new(),
        recompute: Default::default(),
        losses: Vec::new(),
        optimizers: Vec::new(),
        decay_exempt: Default::default(),
        groups: Vec::new(),
        phases: Vec::new(),
        callbacks: Vec::new(),
        loggers: Vec::new(),
        origins: std::mem::take(&mut draft.origins),
        sources: draft.sources.clone(),
    };
    if catalog.components().next().is_none() {
        diagnostics.push(no_plugins(catalog));
        return run;
    }
    let mut kinds = Vec::new();
    for instance in &raw {
        place(&mut run, &mut kinds, instance, &draft, catalog, diagnostics);
    }
    if draft.run.default_callbacks {
        default_callbacks(&mut run, &raw, &draft, catalog, diagnostics);
    } else {
        unknown_removals(&run, &draft, &[], diagnostics);
    }
    needs(&run, &raw, &kinds, &draft.misspelt, diagnostics);
    if run.run.validate_every > 0.0 && !kinds.iter().any(|kind| kind == "validation") {
        let text = "this run has no validation phase for `validate-every` of [run]";
        let found = Diagnostic::error("missing-phase", text)
            .help("add `[[phase]]` with `component = \"validation\"`, or remove `validate-every`");
        let place = match run.origins.get("run.validate-every") {
            Some(Origin::Given(place)) => Some(*place),
            _ => None,
        };
        diagnostics.push(at(found, &draft, place));
    }
    optimizers_name_models(&run, &raw, diagnostics);
    run
}

fn no_plugins(catalog: &Catalog) -> Diagnostic {
    let refused: Vec<_> = catalog
        .reports()
        .iter()
        .filter_map(|report| Some((&report.path, report.refusal.as_ref()?)))
        .collect();
    let mut found = if refused.is_empty() {
        Diagnostic::error("no-plugins", "no plugin was found, so there is nothing to train with")
    } else {
        Diagnostic::error("plugin-refused", "all plugins were refused")
    };
    for dir in catalog.dirs() {
        found = found.note(format!("searched {}", dir.path.display()));
    }
    for (path, refusal) in refused.iter().take(3) {
        let path = escape::path(path);
        found = found.note(format!("{path} is refused: {}: {}", refusal.reason, refusal.message));
    }
    if !refused.is_empty() {
        found =
            found.note(format!("{} files were refused; `fluxbay list` says why", refused.len()));
    }
    found.help("name the directory that holds the plugins: `--plugin-dir DIR`, or `[plugins] dirs = [\"DIR\"]` in the run file")
}

/// Resolves one instance and adds it to the run. Appends the kind of a phase to `kinds`.
fn place(
    run: &mut RunDescription,
    kinds: &mut Vec<String>,
    raw: &RawInstance,
    draft: &Draft,
    catalog: &Catalog,
    diagnostics: &mut Diagnostics,
) {
    let before = diagnostics.iter().count();
    let Some((spec, manifest)) = instance(raw, draft, catalog, diagnostics) else { return };
    if raw.kind == Kind::Optimizer && diagnostics.iter().count() == before {
        groups(run, raw, &spec, manifest, draft, diagnostics);
    }
    let named = |spec| Named { name: raw.name.clone(), spec };
    match raw.kind {
        Kind::Dataset => run.data = Some(spec),
        Kind::Model => {
            if !raw.recompute.is_empty() {
                run.recompute.insert(raw.name.clone(), raw.recompute.clone());
            }
            run.models.push(named(spec));
        }
        Kind::Loss => run.losses.push(named(spec)),
        Kind::Optimizer => run.optimizers.push(named(spec)),
        Kind::Callback => run.callbacks.push(spec),
        Kind::Logger => run.loggers.push(spec),
        Kind::Phase => {
            let by_kind = PhaseData::named(&manifest.phase_kind).unwrap_or(PhaseData::None);
            let (data, data_origin) = match raw.data {
                Some((data, place)) => (data, place.map_or(Origin::Default, Origin::Given)),
                None => (by_kind, Origin::Default),
            };
            run.phases.push(PhaseSpec { spec, data, data_origin });
            kinds.push(manifest.phase_kind.clone());
        }
        Kind::Sampler => run.sampler = Some(spec),
        Kind::Communicator => run.communicator = Some(spec),
        Kind::Transform => {
            let given = |place: Option<Place>| place.map_or(Origin::Default, Origin::Given);
            let by_component = if manifest.augments { When::Training } else { When::Always };
            let (when, when_origin) = match raw.when {
                Some((when, place)) => (when, given(place)),
                None => (by_component, Origin::Default),
            };
            let (field, field_origin) = match &raw.field {
                Some((field, place)) => (field.clone(), given(*place)),
                None => (INPUTS.to_owned(), Origin::Default),
            };
            let transform = TransformSpec { spec, when, when_origin, field, field_origin };
            run.transforms.push(transform);
        }
        // These have no section; callbacks create them.
        Kind::Metric | Kind::Schedule => {}
    }
}

fn instance<'c>(
    raw: &RawInstance,
    draft: &Draft,
    catalog: &'c Catalog,
    diagnostics: &mut Diagnostics,
) -> Option<(InstanceSpec, &'c ComponentManifest)> {
    let mut spec = InstanceSpec {
        id: raw.id.clone(),
        kind: raw.kind,
        plugin: raw.plugin.clone(),
        component: raw.component.clone(),
        config: serde_json::Map::new(),
        on_error: raw.on_error,
        place: raw.place,
        component_place: raw.component_place,
        origins: Default::default(),
        keys: Default::default(),
        id_given: raw.id_given,
    };
    let manifest = match catalog.find(raw.kind, &spec.lookup()) {
        Ok(found) => found.manifest,
        Err(error) => {
            diagnostics.push(not_found(&error, raw, draft, catalog));
            return None;
        }
    };
    let owner = format!("{} `{}`", raw.kind, raw.component);
    let mut checker = Checker {
        sources: &draft.sources,
        owner: &owner,
        place: raw.component_place.or(raw.place),
        also: layout::reserved(raw.kind),
        diagnostics,
    };
    let checked = checker.check(schema_of(manifest), &raw.config);
    spec.config = checked.config;
    spec.origins = checked.origins;
    spec.keys = checked.keys;
    Some((spec, manifest))
}

/// Adds the parameter groups of an optimizer whose own settings are right.
fn groups(
    run: &mut RunDescription,
    raw: &RawInstance,
    base: &InstanceSpec,
    manifest: &ComponentManifest,
    draft: &Draft,
    diagnostics: &mut Diagnostics,
) {
    let first = run.groups.len();
    for group in &raw.groups {
        let owner = format!("group `{}` of optimizer `{}`", group.name, raw.component);
        let mut config = raw.config.clone();
        group.config.entries.iter().for_each(|entry| config.set(entry.clone()));
        let mut checker = Checker {
            sources: &draft.sources,
            owner: &owner,
            place: group.place.or(raw.place),
            also: &[groups::MATCH, groups::MAX_DIMENSIONS, groups::SCALE, layout::ID],
            diagnostics,
        };
        let checked = checker.check(schema_of(manifest), &config);
        let own: Vec<String> = group.config.entries.iter().map(|entry| entry.key.clone()).collect();
        for name in group.scale.keys() {
            let (text, help) = if !manifest.hyper_parameters.contains(name) {
                let known = manifest.hyper_parameters.iter().map(String::as_str);
                (
                    format!("{owner} scales `{name}`, which is no hyper-parameter of it"),
                    nearest::suggestion(name, known),
                )
            } else if own.contains(name) {
                (
                    format!("{owner} both sets and scales `{name}`"),
                    Some("remove one of them".to_owned()),
                )
            } else {
                continue;
            };
            let mut found = Diagnostic::error("bad-group", text);
            found.help = help;
            diagnostics.push(at(found, draft, group.place));
        }
        if manifest.hyper_parameters.contains(&group.name) {
            let text =
                format!("a group cannot have the name of a hyper-parameter, `{}`", group.name);
            let found = Diagnostic::error("bad-name", text).help("give it another `id`");
            diagnostics.push(at(found, draft, group.place));
        }
        let spec = InstanceSpec {
            id: format!("{}.{}", base.id, group.name),
            config: checked.config,
            origins: checked.origins,
            keys: checked.keys,
            place: group.place.or(raw.place),
            ..base.clone()
        };
        run.groups.push(GroupSpec {
            optimizer: raw.name.clone(),
            name: group.name.clone(),
            selections: vec![group.selection.clone()],
            own,
            scale: group.scale.clone(),
            parent: None,
            implied: false,
            spec,
        });
    }
    let Some((selection, place)) = &raw.decay_exempt else { return };
    if !base.config.contains_key(groups::WEIGHT_DECAY) {
        let text =
            format!("optimizer `{}` has no weight decay to exempt parameters from", raw.component);
        let found = Diagnostic::error("bad-group", text).help("remove `decay-exempt`");
        return diagnostics.push(at(found, draft, *place));
    }
    run.decay_exempt.insert(raw.name.clone(), selection.clone());
    // A group with a weight decay of its own keeps it.
    let split: Vec<GroupSpec> = run.groups[first..]
        .iter()
        .filter(|group| !group.own.iter().any(|key| key == groups::WEIGHT_DECAY))
        .map(|group| exempt(Some(group), &raw.name, &group.spec, base, selection))
        .chain([exempt(None, &raw.name, base, base, selection)])
        .collect();
    for group in split {
        if run.groups[first..].iter().any(|other| other.name == group.name) {
            let text =
                format!("`decay-exempt` adds a group `{}`, which is there already", group.name);
            let found = Diagnostic::error("duplicate-id", text).help("give the group another `id`");
            diagnostics.push(at(found, draft, *place));
            continue;
        }
        run.groups.push(group);
    }
}

/// What `decay-exempt` splits off a group, or off the optimizer's own parameters.
fn exempt(
    parent: Option<&GroupSpec>,
    optimizer: &str,
    settings: &InstanceSpec,
    base: &InstanceSpec,
    selection: &Selection,
) -> GroupSpec {
    let name = match parent {
        Some(parent) => format!("{}-{}", parent.name, layout::DECAY_EXEMPT),
        None => layout::DECAY_EXEMPT.to_owned(),
    };
    let mut spec = InstanceSpec { id: format!("{}.{name}", base.id), ..settings.clone() };
    spec.config.insert(groups::WEIGHT_DECAY.to_owned(), Json::from(0.0));
    let mut selections = parent.map(|parent| parent.selections.clone()).unwrap_or_default();
    selections.push(selection.clone());
    GroupSpec {
        optimizer: optimizer.to_owned(),
        name,
        selections,
        own: vec![groups::WEIGHT_DECAY.to_owned()],
        scale: Default::default(),
        parent: parent.map(|parent| parent.name.clone()),
        implied: true,
        spec,
    }
}

fn schema_of(manifest: &ComponentManifest) -> &Json {
    &manifest.config
}

fn not_found(error: &FindError, raw: &RawInstance, draft: &Draft, catalog: &Catalog) -> Diagnostic {
    let found = match error {
        FindError::Unknown { kind, name, nearest, elsewhere } => {
            let mut found = Diagnostic::error(
                "unknown-component",
                format!("there is no {kind} `{}`", raw.component),
            );
            let names = catalog.of_kind(*kind).map(|component| component.manifest.name.as_str());
            let near = nearest.as_deref().map(|near| format!("did you mean `{near}`?"));
            let help = match (elsewhere.and_then(layout::section_of), near) {
                (Some(section), None) => Some(format!(
                    "`{name}` is {}; it belongs to `{}`",
                    with_article(elsewhere.unwrap_or(*kind)),
                    layout::header(section)
                )),
                (_, Some(near)) => Some(near),
                (None, None) => nearest::suggestion(&raw.component, names),
            };
            // What a damaged file offers is unknown: it may be this component.
            let damaged = catalog.reports().iter().filter(|file| file.plugin.is_none());
            for (file, refusal) in
                damaged.filter_map(|file| Some((file, file.refusal.as_ref()?))).take(3)
            {
                found = found.note(format!(
                    "{} may offer it, but is refused: {}: {}",
                    escape::path(&file.path),
                    refusal.reason,
                    refusal.message
                ));
            }
            found.help(help.unwrap_or_else(|| {
                format!(
                    "no plugin that was found offers any {kind}; `fluxbay list` shows what there is"
                )
            }))
        }
        FindError::UnknownPlugin { plugin, nearest } => {
            let found =
                Diagnostic::error("unknown-plugin", format!("there is no plugin `{plugin}`"));
            let plugins = catalog.plugins().iter().map(|plugin| plugin.name());
            match nearest
                .as_deref()
                .map(|near| format!("did you mean `{near}`?"))
                .or(nearest::suggestion(plugin, plugins))
            {
                Some(help) => found.help(help),
                None => found,
            }
        }
        FindError::Ambiguous { choices, .. } => {
            let found = Diagnostic::error("ambiguous-component", error.to_string());
            match choices.first() {
                Some(choice) => found.help(format!("name the plugin: `component = \"{choice}\"`")),
                None => found.help("keep one of the files"),
            }
        }
        FindError::Refused { kind, name, plugin, path, sha256, refusal } => {
            let text = format!(
                "{kind} `{name}` is offered by the plugin {plugin}, which is refused: {}: {}",
                refusal.reason, refusal.message
            );
            let hash = sha256.as_deref().map(|hash| format!(", sha256 {hash}")).unwrap_or_default();
            Diagnostic::error("refused-component", text)
                .note(format!("the file is {path}{hash}"))
                .help(refusal.help.clone())
        }
        FindError::WrongKind { .. } | FindError::Malformed { .. } => {
            Diagnostic::error("bad-name", error.to_string())
        }
    };
    match raw.component_place {
        Some(place) => found.at(&draft.sources, place, ""),
        None => found.note(format!(
            "it is a default; add `{}` to the run file to replace it",
            header_of(raw.kind)
        )),
    }
}

/// Behaviour 34: adds the default callbacks, except those of a listed component, unless they are
/// switched off.
fn default_callbacks(
    run: &mut RunDescription,
    raw: &[RawInstance],
    draft: &Draft,
    catalog: &Catalog,
    diagnostics: &mut Diagnostics,
) {
    let mut offered = Vec::new();
    for name in DEFAULT_CALLBACKS {
        if raw.iter().any(|instance| instance.kind == Kind::Callback && instance.component == name)
        {
            continue;
        }
        offered.push(name);
        if draft.removed.iter().any(|(id, _)| id == name) {
            continue;
        }
        if let Some(other) = raw.iter().find(|instance| instance.id == name) {
            let text =
                format!("the id `{name}` is taken, so the default callback `{name}` is not added");
            let found = Diagnostic::warning("default-callback", text)
                .help("give the instance another `id`");
            diagnostics.push(at(found, draft, other.place));
            continue;
        }
        if matches!(catalog.find(Kind::Callback, name), Err(FindError::Unknown { .. })) {
            diagnostics.push(
                Diagnostic::warning(
                    "default-callback",
                    format!(
                        "no plugin offers the default callback `{name}`; the run does not have it"
                    ),
                )
                .help(
                    "install the standard callbacks, or set `default-callbacks = false` in `[run]`",
                ),
            );
            continue;
        }
        if let Some((spec, _)) =
            instance(&RawInstance::default_of(Kind::Callback, name), draft, catalog, diagnostics)
        {
            run.callbacks.push(spec);
        }
    }
    unknown_removals(run, draft, &offered, diagnostics);
}

fn unknown_removals(
    run: &RunDescription,
    draft: &Draft,
    offered: &[&str],
    diagnostics: &mut Diagnostics,
) {
    let unknown = draft.removed.iter().filter(|(id, _)| !offered.contains(&id.as_str()));
    for (id, place) in unknown {
        let listed =
            run.phases.iter().map(|phase| &phase.spec).chain(&run.callbacks).chain(&run.loggers);
        let ids: Vec<&str> = listed.map(|spec| spec.id.as_str()).collect();
        let text = format!("`--remove {id}`: no phase, callback or logger of this run has that id");
        let mut found = Diagnostic::error("unknown-instance", text).at(&draft.sources, *place, "");
        found.help = nearest::suggestion(id, ids);
        diagnostics.push(found);
    }
}

/// Reports missing sections that the phases need.
fn needs(
    run: &RunDescription,
    raw: &[RawInstance],
    kinds: &[String],
    misspelt: &[&str],
    diagnostics: &mut Diagnostics,
) {
    let meant = |kind: Kind| {
        layout::section_of(kind).is_some_and(|section| misspelt.contains(&section.name))
    };
    let has = |kind: Kind| meant(kind) || raw.iter().any(|instance| instance.kind == kind);
    let mut missing = |kind: Kind, phase: &PhaseSpec, why: &str, help: &str| {
        let section = layout::section_of(kind).map_or("", |section| section.name);
        let text =
            format!("this run has no `[{section}]`, but the phase `{}` {why}", phase.spec.id);
        let found = Diagnostic::error("missing-section", text).help(help);
        let phase = phase.spec.component_place.or(phase.spec.place).map(|place| (place, ""));
        diagnostics.push(
            match phase
                .or(run.sources.end_of_files().map(|place| (place, "it could be added below")))
            {
                Some((place, label)) => found.at(&run.sources, place, label),
                None => found,
            },
        );
    };
    if let Some(phase) = run.phases.iter().find(|phase| phase.data != PhaseData::None)
        && !has(Kind::Dataset)
    {
        let why = format!("reads its {} data", phase.data.name());
        missing(
            Kind::Dataset,
            phase,
            &why,
            "add a section `[data]` with `component = \"NAME\"`, or `data = \"none\"` to the phase",
        );
    }
    if let Some((phase, _)) = run.phases.iter().zip(kinds).find(|(_, kind)| *kind == "training")
        && !has(Kind::Optimizer)
    {
        missing(
            Kind::Optimizer,
            phase,
            "updates parameters",
            "add a section `[optimizer]` with `component = \"adamw\"`",
        );
    }
    if let Some(phase) =
        run.phases.iter().find(|phase| PHASES_WITH_LOSS.contains(&phase.spec.component.as_str()))
        && !has(Kind::Loss)
    {
        missing(
            Kind::Loss,
            phase,
            "computes one",
            "add a section `[loss]` with `component = \"cross-entropy\"` or another",
        );
    }
}

/// `[optimizer.generator]` updates `[model.generator]`.
fn optimizers_name_models(
    run: &RunDescription,
    raw: &[RawInstance],
    diagnostics: &mut Diagnostics,
) {
    let models: Vec<&str> =
        raw.iter().filter(|one| one.kind == Kind::Model).map(|one| one.name.as_str()).collect();
    let named = raw.iter().filter(|one| one.kind == Kind::Optimizer && one.name != "optimizer");
    for optimizer in named.filter(|optimizer| !models.contains(&optimizer.name.as_str())) {
        let text = format!("the optimizer `{0}` has no model `{0}` to update", optimizer.name);
        let mut found = Diagnostic::error("unknown-model", text);
        found.help = nearest::suggestion(&optimizer.name, models.iter().copied());
        if let Some(place) = optimizer.place {
            found = found.at(&run.sources, place, "");
        }
        diagnostics.push(found);
    }
}

fn at(found: Diagnostic, draft: &Draft, place: Option<Place>) -> Diagnostic {
    match place {
        Some(place) => found.at(&draft.sources, place, ""),
        None => found,
    }
}

fn with_article(kind: Kind) -> String {
    let vowel = kind.name().starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {kind}", if vowel { "an" } else { "a" })
}
