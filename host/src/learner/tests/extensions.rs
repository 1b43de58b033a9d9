//! Extensions of components: the direction of a metric, and what a data set learned.

use std::rc::Rc;

use fluxbay_plugin::abi::dataset::DatasetStateRow;
use fluxbay_plugin::abi::entry::Component as RawComponent;
use fluxbay_plugin::abi::metric::{MetricRow, direction};
use fluxbay_plugin::prelude::*;
use fluxbay_plugin::trampoline;

use super::fixture;
use crate::breadcrumb::Activity;
use crate::learner::*;
use crate::library::ComponentRows;

config! {
    /// Settings.
    struct Config {
        /// `lower`, `higher` or nothing.
        better: String = "",
    }
}

/// A metric whose direction depends on its configuration.
struct Fit {
    better: String,
}

impl Component for Fit {
    type Config = Config;
    fn new(config: Config, _: &mut Setup) -> Result<Self> {
        Ok(Fit { better: config.better })
    }
}

impl Metric for Fit {
    fn reset(&mut self) {}
    fn update(&mut self, _: &MetricInput) -> Result<f64> {
        Ok(0.0)
    }
    fn compute(&self) -> Result<f64> {
        Ok(0.0)
    }
    fn direction(&self) -> Direction {
        match &*self.better {
            "lower" => Direction::Lower,
            "higher" => Direction::Higher,
            _ => Direction::Unknown,
        }
    }
}

/// A data set that learns a mean.
#[derive(Default)]
struct Centred {
    mean: Option<f64>,
}

impl Component for Centred {
    type Config = NoConfig;
    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(Centred::default())
    }
}

impl Dataset for Centred {
    learns!(mean);
    fn open(&mut self) -> Result<()> {
        // What was restored before stays.
        self.mean.get_or_insert(0.1 + 0.2);
        Ok(())
    }
    fn fields(&self) -> Vec<Field> {
        vec![Field::new("xs", DType::F32, &[])]
    }
    fn splits(&self) -> Vec<Split> {
        vec![Split::new("all", 1)]
    }
    fn fill(&self, _: usize, _: &[u64], _: &mut Buffers<'_>) -> Result<()> {
        Ok(())
    }
}

static METRIC: RawComponent = trampoline::metric::component::<Fit>("fit", 1);
static METRIC_ROW: MetricRow = trampoline::metric::row::<Fit>("fit");
static DATASET: RawComponent = trampoline::dataset::component::<Centred>("centred", 1);
static DATASET_ROW: DatasetStateRow = trampoline::dataset::state_row::<Centred>("centred");

fn create(
    runtime: &Runtime,
    component: &'static RawComponent,
    rows: ComponentRows,
    config: &str,
) -> Rc<Instance> {
    let prepared = Prepared {
        component,
        rows,
        name: "test/extension".into(),
        plugin: "fixture".into(),
        config: config.into(),
        declared: Declared::default(),
    };
    runtime.create(NewInstance::named("extension"), prepared).unwrap()
}

#[test]
fn a_metric_says_its_direction_and_one_without_a_row_has_none() {
    let runtime = fixture::learner(&["training"], &[]);
    let direction_of = |rows: ComponentRows, config: &str| {
        let metric = create(&runtime, &METRIC, rows, config);
        metric.call(&runtime, Activity::Creating, |call| call.metric_direction()).unwrap()
    };
    let rows = ComponentRows { metric: Some(&METRIC_ROW), ..ComponentRows::default() };
    assert_eq!(direction_of(rows, r#"{"better":"lower"}"#), direction::LOWER);
    assert_eq!(direction_of(rows, r#"{"better":"higher"}"#), direction::HIGHER);
    assert_eq!(direction_of(rows, "{}"), direction::UNKNOWN);
    let none = ComponentRows::default();
    assert_eq!(direction_of(none, r#"{"better":"lower"}"#), direction::UNKNOWN);
}

#[test]
fn what_a_data_set_learned_is_restored_in_another_instance() {
    let runtime = fixture::learner(&["training"], &[]);
    let rows = ComponentRows { dataset_state: Some(&DATASET_ROW), ..ComponentRows::default() };
    let learnt = |set: &Instance, limit| {
        set.call(&runtime, Activity::PreparingData, |call| call.dataset_learnt(limit))
    };
    let first = create(&runtime, &DATASET, rows, "{}");
    let bytes = learnt(&first, 0).unwrap().unwrap();
    assert_eq!(bytes, to_bytes(&None::<f64>).unwrap());

    let second = create(&runtime, &DATASET, rows, "{}");
    let mean = to_bytes(&Some(0.5)).unwrap();
    let restored =
        second.call(&runtime, Activity::PreparingData, |call| call.dataset_restore(1, &mean));
    assert!(restored.is_ok());
    assert_eq!(learnt(&second, 0).unwrap(), Some(mean.clone()));
    let limited = learnt(&second, 1).unwrap_err();
    assert!(limited.0.text.contains("more than the 1 that are allowed"), "{}", limited.0.text);

    let damaged =
        second.call(&runtime, Activity::PreparingData, |call| call.dataset_restore(1, b"\xff"));
    assert!(damaged.unwrap_err().0.text.contains("cannot be read"));
    assert_eq!(learnt(&second, 0).unwrap(), Some(mean));

    let without = create(&runtime, &DATASET, ComponentRows::default(), "{}");
    assert_eq!(learnt(&without, 0).unwrap(), None);
    let refused =
        without.call(&runtime, Activity::PreparingData, |call| call.dataset_restore(1, b""));
    assert!(refused.unwrap_err().0.text.contains("nothing can be restored"));
}
