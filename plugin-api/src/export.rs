//! The export macro.

/// Makes a plugin of a crate: its manifest, its entry, the one symbol that it exports.
///
/// Write it once in a `cdylib` crate. Name, version, licence and authors come from the crate's
/// `Cargo.toml`. For each component stand its kind, its name, its Rust type, and what the host may
/// know before it runs any code:
///
/// | line | what it says |
/// |---|---|
/// | `summary` | one line: what it is for |
/// | `details` | a longer text |
/// | `example` | lines for a run file |
/// | `on` | standard events that a callback handles |
/// | `on_custom`, `emits` | events of a phase's own, by name |
/// | `reads`, `writes` | state paths: the most that an instance may ask for |
/// | `run_after`, `run_before` | order beside what access demands |
/// | `hyper_parameters` | numbers that schedules may change |
/// | `phase_kind` | `training`, `validation` or `other` |
/// | `state_version` | raise it when the saved form changes |
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
#[macro_export]
macro_rules! plugin {
    (
        summary: $summary:literal,
        $( $kind:ident $name:literal => $type:ty { $( $key:ident : $value:expr ),* $(,)? } ),+ $(,)?
    ) => {
        const _: () = {
            #[allow(unused_imports)]
            use $crate::event::EventKind::*;
            use $crate::{__private as private, abi::entry, manifest::{ComponentManifest, PluginManifest}};

            const COMPONENTS: &[ComponentManifest] = &[ $(
                ComponentManifest::new(
                    ::core::stringify!($kind),
                    $name,
                    <<$type as $crate::Component>::Config as $crate::config::Described>::SCHEMA,
                ) $( .$key(&$value) )*
            ),+ ];

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

            static TABLES: &[entry::Component] = &{
                let mut index = 0;
                [ $( {
                    let version = COMPONENTS[index].get_state_version();
                    index += 1;
                    let _ = index;
                    $crate::trampoline::$kind::component::<$type>($name, version)
                } ),+ ]
            };

            unsafe extern "C" fn init(host: *const $crate::abi::host::HostTable) -> i32 {
                private::init(::core::env!("CARGO_PKG_NAME"), host)
            }

            static ENTRY: entry::Entry = private::entry($crate::manifest::json_of(&SECTION), TABLES, init);

            extern "C" fn root() -> private::ConstructorResult {
                private::root(&ENTRY)
            }

            #[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
            pub static HEADER: private::LibHeader = private::header(root);
        };
    };
}
