//! Models: parameters that the host keeps, and a forward pass over them.

use abi_stable::StableAbi;

use super::{
    dataset::FieldSpec,
    handle::{Handle, Instance},
    text::Text,
};

/// The fields of the data, which a model is built for.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct ModelSpec {
    /// Fields of a batch in the data set's order, shapes per sample. Field 0 is `xs`, field 1 is
    /// `ys`.
    pub fields: *const FieldSpec,
    /// Number of fields.
    pub field_count: usize,
}

/// Functions of a model. All `[training]`.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct ModelTable {
    /// Makes the parameters with the tensor table's `parameter`; called once, before any forward
    /// pass.
    pub build: unsafe extern "C" fn(this: Instance, spec: *const ModelSpec) -> i32,
    /// Computes outputs from inputs: at most `capacity`, each one reference for the host.
    pub forward: unsafe extern "C" fn(
        this: Instance,
        inputs: *const Handle,
        input_count: usize,
        outputs: *mut Handle,
        capacity: usize,
        output_count: *mut usize,
    ) -> i32,
}

/// Id of the plugin extension that holds [`ModelNamesRows`].
pub const MODEL_NAMES_EXTENSION: &str = "fluxbay.model-names/1";

/// Addition to a model of a published family: where its weights come from, and the rules that turn
/// published names into paths of parameters.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct ModelNamesRow {
    /// [`MODEL`](super::kind::MODEL).
    pub kind: u32,
    /// 0.
    pub reserved: u32,
    /// Name of the component.
    pub component: Text,
    /// A JSON object, valid until the next call of this instance; empty for a model of no published
    /// family. `from`: a folder with safetensors files, or null. `config`: what is written as
    /// `config.json` beside trained weights, or null. `rules`: a list, applied in order to the names of
    /// a file, each an object with one key: `rename` {from, to}, `ignore` {names}, `transpose`
    /// {names}, `merge` {from: list, to, dim}, `split` {from, to: list, dim}, `fresh` {names}:
    /// parameters that may be missing or have another shape. In patterns `*` stands for any text and
    /// `#` for digits, and in results for what they matched. `adapter`: null, or for a model with
    /// parameters `lora_A.weight` and `lora_B.weight` below paths of layers an object: `from` (a
    /// folder, or null), `config` (written as `adapter_config.json`), `scale`. Called after `build`.
    /// `[training]`
    pub names: unsafe extern "C" fn(this: Instance, json: *mut Text) -> i32,
}

/// The rows of a plugin: what its `extension` returns for [`MODEL_NAMES_EXTENSION`].
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct ModelNamesRows {
    /// Size of a row in bytes, as the plugin was built.
    pub size: u64,
    /// First row.
    pub first: *const ModelNamesRow,
    /// Number of rows, each for another component.
    pub count: usize,
}

// SAFETY: immutable data of the plugin's, whose functions state their own threads.
unsafe impl Send for ModelNamesRows {}
// SAFETY: as above.
unsafe impl Sync for ModelNamesRows {}
// SAFETY: as above.
unsafe impl Send for ModelNamesRow {}
// SAFETY: as above.
unsafe impl Sync for ModelNamesRow {}
