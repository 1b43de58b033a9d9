//! The tables of a plugin beyond contract 1.0: read and checked once, when the plugin is loaded.
//!
//! An extension of components is a list of rows, one per component that supports it. All pointers
//! are checked as those of the entry are; a component without a row behaves as in 1.0.

use fluxbay_plugin::abi::dataset::{
    DATASET_FILL_EXTENSION, DATASET_INPUTS_EXTENSION, DATASET_RAGGED_EXTENSION,
    DATASET_STATE_EXTENSION, DATASET_TEXT_EXTENSION, DatasetFillRow, DatasetInputsRow,
    DatasetRaggedRow, DatasetStateRow, DatasetTextRow,
};
use fluxbay_plugin::abi::entry::Entry;
use fluxbay_plugin::abi::kinds::KindRow;
use fluxbay_plugin::abi::metric::{METRIC_EXTENSION, MetricRow};
use fluxbay_plugin::abi::model::{MODEL_NAMES_EXTENSION, ModelNamesRow};
use fluxbay_plugin::abi::steps::{
    DATASET_STEPS_EXTENSION, DatasetStepsRow, TRANSFORM_STEPS_EXTENSION, TransformStepsRow,
};
use fluxbay_plugin::abi::text::Text;

use super::image::Image;
use super::later_kinds;
use super::rows::{self, violation};
use crate::library::manifest::{ComponentManifest, Kind};
use crate::library::report::Refusal;

/// The rows of all components of a plugin.
#[derive(Clone, Debug, Default)]
pub(super) struct Extensions {
    metrics: Vec<(String, &'static MetricRow)>,
    dataset_states: Vec<(String, &'static DatasetStateRow)>,
    dataset_inputs: Vec<(String, &'static DatasetInputsRow)>,
    model_names: Vec<(String, &'static ModelNamesRow)>,
    dataset_fills: Vec<(String, &'static DatasetFillRow)>,
    dataset_ragged: Vec<(String, &'static DatasetRaggedRow)>,
    dataset_texts: Vec<(String, &'static DatasetTextRow)>,
    dataset_steps: Vec<(String, &'static DatasetStepsRow)>,
    transform_steps: Vec<(String, &'static TransformStepsRow)>,
    pub(super) kinds: Vec<(Kind, String, &'static KindRow)>,
}

/// The rows of one component; none of those that it has not.
#[derive(Clone, Copy, Debug, Default)]
pub struct ComponentRows {
    /// Row in `fluxbay.metric/1`.
    pub metric: Option<&'static MetricRow>,
    /// Row in `fluxbay.dataset-state/1`.
    pub dataset_state: Option<&'static DatasetStateRow>,
    /// Row in `fluxbay.dataset-inputs/1`.
    pub dataset_inputs: Option<&'static DatasetInputsRow>,
    /// Row in `fluxbay.model-names/1`.
    pub model_names: Option<&'static ModelNamesRow>,
    /// Row in `fluxbay.dataset-fill/1`.
    pub dataset_fill: Option<&'static DatasetFillRow>,
    /// Row in `fluxbay.dataset-text/1`.
    pub dataset_text: Option<&'static DatasetTextRow>,
    /// Row in `fluxbay.dataset-ragged/1`.
    pub dataset_ragged: Option<&'static DatasetRaggedRow>,
    /// Row in `fluxbay.dataset-steps/1`.
    pub dataset_steps: Option<&'static DatasetStepsRow>,
    /// Row in `fluxbay.transform-steps/1`.
    pub transform_steps: Option<&'static TransformStepsRow>,
    /// Row in `fluxbay.kinds/1`, of a component whose kind the entry has no table for.
    pub kind: Option<&'static KindRow>,
}

impl Extensions {
    /// Requests the extensions that this host knows, after `init`.
    pub(super) fn read(
        entry: &'static Entry,
        image: &Image,
        components: &[ComponentManifest],
    ) -> Result<Self, Refusal> {
        let list = List { entry, image, components };
        Ok(Self {
            metrics: list.rows()?,
            dataset_states: list.rows()?,
            dataset_inputs: list.rows()?,
            model_names: list.rows()?,
            dataset_fills: list.rows()?,
            dataset_ragged: list.rows()?,
            dataset_texts: list.rows()?,
            dataset_steps: list.rows()?,
            transform_steps: list.rows()?,
            kinds: later_kinds::read(entry, image, components)?,
        })
    }

    /// The rows of component `name`.
    pub(super) fn of(&self, kind: Kind, name: &str) -> ComponentRows {
        fn find<T>(
            of: Kind,
            kind: Kind,
            rows: &[(String, &'static T)],
            name: &str,
        ) -> Option<&'static T> {
            rows.iter().find(|row| of == kind && row.0 == name).map(|row| row.1)
        }
        ComponentRows {
            metric: find(kind, Kind::Metric, &self.metrics, name),
            dataset_state: find(kind, Kind::Dataset, &self.dataset_states, name),
            dataset_inputs: find(kind, Kind::Dataset, &self.dataset_inputs, name),
            model_names: find(kind, Kind::Model, &self.model_names, name),
            dataset_fill: find(kind, Kind::Dataset, &self.dataset_fills, name),
            dataset_ragged: find(kind, Kind::Dataset, &self.dataset_ragged, name),
            dataset_text: find(kind, Kind::Dataset, &self.dataset_texts, name),
            dataset_steps: find(kind, Kind::Dataset, &self.dataset_steps, name),
            transform_steps: find(kind, Kind::Transform, &self.transform_steps, name),
            kind: self.kinds.iter().find(|row| row.0 == kind && row.1 == name).map(|row| row.2),
        }
    }
}

/// A row type of the contract. All begin with a [`Head`], followed by functions only.
trait Row: 'static {
    const ID: &'static str;
    const KIND: Kind;
    const FUNCTIONS: &'static [&'static str];
}

impl Row for MetricRow {
    const ID: &'static str = METRIC_EXTENSION;
    const KIND: Kind = Kind::Metric;
    const FUNCTIONS: &'static [&'static str] = &["direction"];
}

impl Row for DatasetStateRow {
    const ID: &'static str = DATASET_STATE_EXTENSION;
    const KIND: Kind = Kind::Dataset;
    const FUNCTIONS: &'static [&'static str] = &["learnt", "restore"];
}

impl Row for DatasetInputsRow {
    const ID: &'static str = DATASET_INPUTS_EXTENSION;
    const KIND: Kind = Kind::Dataset;
    const FUNCTIONS: &'static [&'static str] = &["begin", "read", "key", "class_name"];
}

impl Row for ModelNamesRow {
    const ID: &'static str = MODEL_NAMES_EXTENSION;
    const KIND: Kind = Kind::Model;
    const FUNCTIONS: &'static [&'static str] = &["names"];
}

impl Row for DatasetFillRow {
    const ID: &'static str = DATASET_FILL_EXTENSION;
    const KIND: Kind = Kind::Dataset;
    const FUNCTIONS: &'static [&'static str] = &["fill", "key"];
}

impl Row for DatasetTextRow {
    const ID: &'static str = DATASET_TEXT_EXTENSION;
    const KIND: Kind = Kind::Dataset;
    const FUNCTIONS: &'static [&'static str] = &["encode", "decode", "end"];
}

impl Row for DatasetRaggedRow {
    const ID: &'static str = DATASET_RAGGED_EXTENSION;
    const KIND: Kind = Kind::Dataset;
    const FUNCTIONS: &'static [&'static str] = &["ragged"];
}

impl Row for DatasetStepsRow {
    const ID: &'static str = DATASET_STEPS_EXTENSION;
    const KIND: Kind = Kind::Dataset;
    const FUNCTIONS: &'static [&'static str] = &["steps"];
}

impl Row for TransformStepsRow {
    const ID: &'static str = TRANSFORM_STEPS_EXTENSION;
    const KIND: Kind = Kind::Transform;
    const FUNCTIONS: &'static [&'static str] = &["steps"];
}

/// The beginning of a row of any type.
#[repr(C)]
#[derive(Clone, Copy)]
struct Head {
    kind: u32,
    reserved: u32,
    component: Text,
}

struct List<'a> {
    entry: &'static Entry,
    image: &'a Image,
    components: &'a [ComponentManifest],
}

impl List<'_> {
    fn rows<T: Row>(&self) -> Result<Vec<(String, &'static T)>, Refusal> {
        const { assert!(size_of::<T>() == size_of::<Head>() + T::FUNCTIONS.len() * size_of::<usize>()) };
        let mut found: Vec<(String, &'static T)> = Vec::new();
        for (index, row) in rows::read::<T>(T::ID, self.entry, self.image)?.into_iter().enumerate()
        {
            let name = self.check_row(index, row)?;
            if found.iter().any(|(known, _)| *known == name) {
                return violation(T::ID, "component", format_args!("{name} has two rows"));
            }
            // SAFETY: every field has been checked, and a library is never unmapped.
            found.push((name, unsafe { &*row }));
        }
        Ok(found)
    }

    /// Checks a readable row; returns the name of its component.
    fn check_row<T: Row>(&self, index: usize, row: *const T) -> Result<String, Refusal> {
        let row = row.cast::<u8>();
        // SAFETY: the row is readable and begins with these fields: numbers and a pointer.
        let head = unsafe { row.cast::<Head>().read() };
        let field = |name: &str| format!("[{index}].{name}");
        if head.kind != T::KIND.number() {
            return violation(
                T::ID,
                &field("kind"),
                format_args!("{}, expected {} ({})", head.kind, T::KIND.number(), T::KIND),
            );
        }
        let named = (T::KIND, head.component);
        let component =
            rows::component(T::ID, &field("component"), self.image, named, self.components)?;
        for (place, function) in T::FUNCTIONS.iter().enumerate() {
            let place = size_of::<Head>() + place * size_of::<usize>();
            // SAFETY: within the readable row; a function pointer, read as a number.
            let address = unsafe { row.add(place).cast::<usize>().read() };
            if !self.image.has_code(address) {
                return violation(
                    T::ID,
                    &field(function),
                    format_args!("{address:#x} is no address of a function"),
                );
            }
        }
        Ok(component.name.clone())
    }
}
