//! The export macro.

/// Exports a crate's components as a plugin: manifest, entry, and the one symbol that the host
/// looks for.
///
/// Write it once in a `cdylib` crate. Name, version, licence and authors come from the crate's
/// `Cargo.toml`. Each component is a line `KIND "NAME" => TYPE { ... }`: one of the kinds `phase`,
/// `callback`, `model`, `loss`, `dataset`, `metric`, `schedule`, `logger`, `optimizer`, `transform`,
/// `sampler`, `communicator`, a name in kebab-case, the Rust type, and what the host reads from the file before it
/// runs any code:
///
/// | key | value |
/// |---|---|
/// | `summary` | what the component is for, in one line |
/// | `details` | a longer text |
/// | `example` | lines for a run file |
/// | `on` | standard events that a callback handles: a list, or [`EVERY`](crate::event::EVERY) |
/// | `on_custom` | custom events that a callback handles, by name |
/// | `emits` | custom events that a phase dispatches, by name |
/// | `reads`, `writes` | state paths that an instance may ask for in `new`; others are refused |
/// | `run_after`, `run_before` | order in addition to what state access requires |
/// | `hyper_parameters` | numbers that schedules may change |
/// | `phase_kind` | of a phase: `"training"`, `"validation"` or `"other"` |
/// | `targets` | of a loss: the targets that it takes, of `"classes"` (whole numbers), `"binary"` (two classes), `"probabilities"` (a row per sample) and `"numbers"`; the host compares them with the data before training |
/// | `learns` | of a data set: `true` if it keeps what it learns, see [`learns!`](crate::learns!) |
/// | `predicts` | of a data set: `true` if it reads files without targets, see [`Dataset::open_inputs`](crate::Dataset::open_inputs) |
/// | `context` | of a data set: `true` if it has [`fill_with`](crate::Dataset::fill_with) or [`key`](crate::Dataset::key) |
/// | `texts` | of a data set: `true` if it turns texts into token ids and back, see [`Dataset::encode`](crate::Dataset::encode) |
/// | `augments` | of a transform: `true` if it is applied to training samples only, unless the run file sets `when` |
/// | `state_version` | version of the saved state, 1 by default; raise it when the format changes |
///
/// ```
/// # use fluxbay_plugin::prelude::*;
/// # struct LossPrinter { loss: Read<f64> }
/// # impl Component for LossPrinter {
/// #     type Config = NoConfig;
/// #     fn new(_: NoConfig, setup: &mut Setup) -> Result<Self> { Ok(LossPrinter { loss: setup.read("step.loss")? }) }
/// # }
/// # impl Callback for LossPrinter {
/// #     fn on(&mut self, _: &Event, learner: &Learner) -> Result<()> { learner.print(&learner.get(&self.loss)?.to_string()) }
/// # }
/// plugin! {
///     summary: "Prints the loss.",
///     callback "loss-printer" => LossPrinter {
///         summary: "Prints the loss of every step.",
///         on: [StepEnd],
///         reads: ["step.loss"],
///     },
/// }
/// # fn main() {}
/// ```
///
/// A kind that does not exist and a name that is not kebab-case are compile errors:
///
/// ```compile_fail
/// # use fluxbay_plugin::prelude::*;
/// # struct Any;
/// # impl Component for Any {
/// #     type Config = NoConfig;
/// #     fn new(_: NoConfig, _: &mut Setup) -> Result<Self> { Ok(Any) }
/// # }
/// # impl Schedule for Any { fn value(&self, _: f64) -> Result<f64> { Ok(1.0) } }
/// plugin! {
///     summary: "A plugin.",
///     schedule "Not_Kebab" => Any { summary: "A schedule." },
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! plugin {
    (
        summary: $summary:literal,
        $( $kind:ident $name:literal => $type:ty { $( $key:ident : $value:expr ),* $(,)? } ),+ $(,)?
    ) => {
        const _: () = {
            #[allow(unused_imports)]
            use $crate::event::{EVERY, EventKind::*};
            use $crate::{__private as private, abi::entry, manifest::{ComponentManifest, PluginManifest}};

            const COMPONENTS: &[ComponentManifest] = &[ $(
                ComponentManifest::new(
                    ::core::stringify!($kind),
                    $name,
                    <<$type as $crate::Component>::Config as $crate::config::Described>::SCHEMA,
                ) $( .$key(&$value) )* .checked()
            ),+ ];

            $( $crate::manifest::check_name($name, ::core::concat!(
                "`", $name, "` is no name of a component: ",
                "use small letters, digits and hyphens, beginning with a letter",
            )); )+

            const MANIFEST: PluginManifest = PluginManifest {
                name: ::core::env!("CARGO_PKG_NAME"),
                version: ::core::env!("CARGO_PKG_VERSION"),
                summary: $summary,
                license: ::core::env!("CARGO_PKG_LICENSE"),
                authors: ::core::env!("CARGO_PKG_AUTHORS"),
                homepage: ::core::env!("CARGO_PKG_HOMEPAGE"),
                components: COMPONENTS,
            };

            #[used]
            #[unsafe(link_section = ".fluxbay.manifest")]
            static SECTION: [u8; MANIFEST.section_len()] = MANIFEST.section();

            static TABLES: &[entry::Component] = $crate::__rows!(
                entry::Component, component, COMPONENTS, $( $kind: $type, $name );+
            );

            static EXTENSIONS: &[private::Extension] = &[
                private::Extension::new($crate::abi::metric::METRIC_EXTENSION, $crate::__rows!(
                    $crate::abi::metric::MetricRow,
                    metric, COMPONENTS, $( $kind: $type, $name );+
                )),
                private::Extension::new($crate::abi::model::MODEL_NAMES_EXTENSION, $crate::__rows!(
                    $crate::abi::model::ModelNamesRow,
                    model_names, COMPONENTS, $( $kind: $type, $name );+
                )),
                private::Extension::new($crate::abi::dataset::DATASET_STATE_EXTENSION, $crate::__rows!(
                    $crate::abi::dataset::DatasetStateRow,
                    dataset_state, COMPONENTS, $( $kind: $type, $name );+
                )),
                private::Extension::new($crate::abi::dataset::DATASET_INPUTS_EXTENSION, $crate::__rows!(
                    $crate::abi::dataset::DatasetInputsRow,
                    dataset_inputs, COMPONENTS, $( $kind: $type, $name );+
                )),
                private::Extension::new($crate::abi::dataset::DATASET_FILL_EXTENSION, $crate::__rows!(
                    $crate::abi::dataset::DatasetFillRow,
                    dataset_fill, COMPONENTS, $( $kind: $type, $name );+
                )),
                private::Extension::new($crate::abi::dataset::DATASET_TEXT_EXTENSION, $crate::__rows!(
                    $crate::abi::dataset::DatasetTextRow,
                    dataset_text, COMPONENTS, $( $kind: $type, $name );+
                )),
                private::Extension::new($crate::abi::dataset::DATASET_RAGGED_EXTENSION, $crate::__rows!(
                    $crate::abi::dataset::DatasetRaggedRow,
                    dataset_ragged, COMPONENTS, $( $kind: $type, $name );+
                )),
                private::Extension::new($crate::abi::steps::DATASET_STEPS_EXTENSION, $crate::__rows!(
                    $crate::abi::steps::DatasetStepsRow,
                    dataset_steps, COMPONENTS, $( $kind: $type, $name );+
                )),
                private::Extension::new($crate::abi::steps::TRANSFORM_STEPS_EXTENSION, $crate::__rows!(
                    $crate::abi::steps::TransformStepsRow,
                    transform_steps, COMPONENTS, $( $kind: $type, $name );+
                )),
                private::Extension::new($crate::abi::kinds::KINDS_EXTENSION, $crate::__rows!(
                    $crate::abi::kinds::KindRow,
                    kinds, COMPONENTS, $( $kind: $type, $name );+
                )),
            ];

            unsafe extern "C" fn extension(id: $crate::abi::text::Text) -> *const () {
                private::extension(EXTENSIONS, id)
            }

            unsafe extern "C" fn init(host: *const $crate::abi::host::HostTable) -> i32 {
                private::init(::core::env!("CARGO_PKG_NAME"), host)
            }

            static ENTRY: entry::Entry = private::entry(
                $crate::manifest::json_of(&SECTION),
                TABLES,
                init,
                extension,
            );

            extern "C" fn root() -> private::ConstructorResult {
                private::root(&ENTRY)
            }

            #[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
            pub static HEADER: private::LibHeader = private::header(root);
        };
    };
}
