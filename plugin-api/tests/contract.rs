//! Nobody changes the contract by accident: its whole layout and its numbers are written down in
//! `contract.txt`.
//!
//! It is frozen as 1.0: a line that stands there stays, for plugins rely on it, and what is added
//! follows `docs/changing-the-contract.md`. After an addition, run
//! `FLUXBAY_BLESS=1 cargo test -p fluxbay-plugin --test contract`, read the difference, and commit
//! it with its reason.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    path::Path,
};

use abi_stable::{StableAbi, type_layout::TypeLayout};
use fluxbay_plugin::abi::{
    anomaly, callback, communicator, dataset, entry, event, figures, freezing, handle, kinds,
    learner, logger, metric, model,
    operation::{OPERATIONS, activation, reduction},
    packing, position, sampler, state, status, steps, tensor, transform,
};

/// The tables of extensions, which the root module does not reach.
const EXTENSIONS: [&TypeLayout; 25] = [
    <metric::MetricRows as StableAbi>::LAYOUT,
    <dataset::DatasetStateRows as StableAbi>::LAYOUT,
    <dataset::DatasetInputsRows as StableAbi>::LAYOUT,
    <model::ModelNamesRows as StableAbi>::LAYOUT,
    <dataset::DatasetFillRows as StableAbi>::LAYOUT,
    <dataset::DatasetRaggedRows as StableAbi>::LAYOUT,
    <dataset::DatasetTextRows as StableAbi>::LAYOUT,
    <dataset::FillRequest as StableAbi>::LAYOUT,
    <steps::DatasetStepsRows as StableAbi>::LAYOUT,
    <steps::TransformStepsRows as StableAbi>::LAYOUT,
    <kinds::KindRows as StableAbi>::LAYOUT,
    <transform::TransformTable as StableAbi>::LAYOUT,
    <transform::TransformContext as StableAbi>::LAYOUT,
    <transform::SampleRaw as StableAbi>::LAYOUT,
    <sampler::SamplerTable as StableAbi>::LAYOUT,
    <sampler::SamplerSpec as StableAbi>::LAYOUT,
    <sampler::OrderContext as StableAbi>::LAYOUT,
    <communicator::CommunicatorTable as StableAbi>::LAYOUT,
    <communicator::JoinedRaw as StableAbi>::LAYOUT,
    <figures::FiguresTable as StableAbi>::LAYOUT,
    <anomaly::AnomalyTable as StableAbi>::LAYOUT,
    <anomaly::AnomalyRaw as StableAbi>::LAYOUT,
    <freezing::FreezingTable as StableAbi>::LAYOUT,
    <position::PositionTable as StableAbi>::LAYOUT,
    <packing::PackingTable as StableAbi>::LAYOUT,
];

/// Everything that can be reached from the root module and the extensions, one block per type,
/// sorted by name.
fn describe() -> String {
    let (mut blocks, mut seen) = (BTreeMap::new(), BTreeSet::new());
    let mut queue = vec![<entry::RootRef as StableAbi>::LAYOUT];
    queue.extend(EXTENSIONS);
    while let Some(layout) = queue.pop() {
        let name = layout.full_type().to_string();
        if !seen.insert(name.clone()) {
            continue;
        }
        let mut block =
            format!("{name}: {} bytes, aligned to {}\n", layout.size(), layout.alignment());
        let mut offset = 0_usize;
        for field in layout.get_fields().into_iter().flat_map(|fields| fields.to_vec()) {
            let size_of = field.layout();
            offset = offset.next_multiple_of(size_of.alignment());
            write!(block, "  +{offset} {}: ", field.name()).unwrap();
            offset += size_of.size();
            let mut functions = field.function_range().iter().peekable();
            if functions.peek().is_none() {
                writeln!(block, "{}", field.full_type()).unwrap();
            }
            for function in functions {
                writeln!(block, "{}", function.to_string().replace('\n', " ")).unwrap();
            }
            queue.push(field.layout());
        }
        queue.extend(layout.shared_vars().type_layouts().iter().map(|layout| layout()));
        // Pointers say nothing that the functions and fields do not.
        if !name.starts_with('*') {
            blocks.insert(
                name,
                block.lines().map(|line| format!("{}\n", line.trim_end())).collect::<String>(),
            );
        }
    }
    blocks.into_values().collect()
}

/// The numbers that the layout does not show.
fn numbers() -> String {
    macro_rules! list {
        ($text:ident: $($module:ident :: $($name:ident)::+),+ $(,)?) => {
            $( writeln!($text, "{} = {:?}", stringify!($module::$($name)::+).replace(' ', ""), $module::$($name)::+).unwrap(); )+
        };
    }
    let mut text = String::new();
    list! { text:
        entry::MAGIC, entry::MANIFEST_SECTION, entry::MANIFEST_MAGIC, entry::MANIFEST_FORMAT, entry::MANIFEST_HEADER, entry::kind::NAMES,
        status::OK, status::ERROR, status::CANCEL_STEP, status::CANCEL_EPOCH, status::CANCEL_FIT, status::PANIC,
        event::NAMES, event::CUSTOM, event::phase_kind::TRAINING, event::phase_kind::VALIDATION, event::phase_kind::OTHER,
        event::phase_kind::NONE,
        handle::Handle::NONE, handle::dtype::U8, handle::dtype::U32, handle::dtype::I64, handle::dtype::BF16, handle::dtype::F16,
        handle::dtype::F32, handle::dtype::F64,
        callback::resolution::NOT_DEFINED, callback::resolution::UNRESOLVABLE, callback::resolution::RUN_FIRST,
        callback::resolution::NO_CONFLICT,
        state::value::ABSENT, state::value::NUMBER, state::value::FLAG, state::value::TEXT, state::value::BYTES, state::value::TENSOR,
        state::value::SERIES, state::value::NODE, state::value::TENSORS,
        learner::ALL, learner::FIELDS, learner::mode::RECORDING, learner::mode::TRAINING,
        logger::record::SCALAR, logger::record::TEXT, logger::record::HISTOGRAM, logger::record::IMAGE, logger::record::HYPER_PARAMETERS,
        logger::scope::STEP, logger::scope::EPOCH,
        metric::METRIC_EXTENSION, metric::direction::UNKNOWN, metric::direction::LOWER, metric::direction::HIGHER,
        dataset::DATASET_STATE_EXTENSION, dataset::DATASET_INPUTS_EXTENSION, model::MODEL_NAMES_EXTENSION,
        dataset::DATASET_FILL_EXTENSION, dataset::DATASET_RAGGED_EXTENSION, dataset::DATASET_TEXT_EXTENSION, dataset::NO_TOKEN, position::POSITION_EXTENSION, packing::PACKING_EXTENSION, freezing::FREEZING_EXTENSION, kinds::KINDS_EXTENSION, figures::FIGURES_EXTENSION,
        anomaly::ANOMALY_EXTENSION, anomaly::detect::NAN, anomaly::detect::INFINITE,
        tensor::MAX_RANK, tensor::init::CONSTANT, tensor::init::UNIFORM, tensor::init::NORMAL,
        activation::NONE, activation::RELU, activation::GELU, activation::GELU_ERF, activation::SILU, activation::SIGMOID, activation::TANH,
        reduction::MEAN, reduction::SUM, reduction::NONE,
    }
    assert_eq!(event::NAMES.len(), event::STANDARD as usize);
    assert_eq!(dataset::SplitSpec::LAYOUT.size(), 24);
    for operation in OPERATIONS {
        writeln!(
            text,
            "operation {} {} differentiable: {}",
            operation.code, operation.name, operation.differentiable
        )
        .unwrap();
    }
    text
}

#[test]
fn the_contract_is_the_one_that_is_written_down() {
    let found = format!(
        "contract {}.{}\n\n{}\n{}",
        entry::CONTRACT.major,
        entry::CONTRACT.minor,
        describe(),
        numbers()
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contract.txt");
    if std::env::var_os("FLUXBAY_BLESS").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    if let Some((line, (found, written))) =
        found.lines().zip(written.lines()).enumerate().find(|(_, (a, b))| a != b)
    {
        panic!(
            "contract.txt:{}: the contract has changed\n  written: {written}\n  found:   {found}\nSee the top of this test.",
            line + 1
        );
    }
    assert_eq!(
        found.lines().count(),
        written.lines().count(),
        "contract.txt: the contract has changed; see the top of this test"
    );
}

#[test]
fn the_table_of_every_kind_is_part_of_the_checked_layout() {
    let text = describe();
    for table in [
        "PhaseTable",
        "CallbackTable",
        "ModelTable",
        "LossTable",
        "DatasetTable",
        "MetricTable",
        "ScheduleTable",
        "LoggerTable",
        "OptimizerTable",
        "HostTable",
        "SetupTable",
        "TensorTable",
        "StateTable",
        "LearnerTable",
        "RecordTable",
        "DisplayTable",
        "ChildTable",
        "MetricRows",
        "DatasetStateRows",
        "DatasetInputsRows",
        "ModelNamesRows",
        "DatasetFillRows",
        "DatasetRaggedRows",
        "DatasetTextRows",
        "FillRequest",
        "DatasetStepsRows",
        "TransformStepsRows",
        "KindRows",
        "TransformTable",
        "TransformContext",
        "SampleRaw",
        "SamplerTable",
        "SamplerSpec",
        "OrderContext",
        "CommunicatorTable",
        "JoinedRaw",
        "FiguresTable",
        "AnomalyTable",
        "AnomalyRaw",
        "PositionTable",
        "PackingTable",
        "FreezingTable",
    ] {
        assert!(
            text.contains(&format!("\n{table}: ")),
            "{table} is reached neither from the root module nor from an extension"
        );
    }
}
