//! Batches created by tests.

use fluxbay::learner::ports::DataBatch;
use fluxbay::session::Tensor;

/// Batch `index` of the fixture: 8 samples.
pub fn batch(index: u64) -> DataBatch {
    let xs: Vec<f32> = (0..8).map(|sample| ((index * 8 + sample) * 37 % 100 + 1) as f32).collect();
    let ys: Vec<f32> = xs.iter().map(|x| 3.0 * x).collect();
    let tensor = |values| Tensor::from_vec(values, (8, 1), &fluxbay::session::Device::Cpu).unwrap();
    DataBatch { fields: vec![tensor(xs), tensor(ys)], samples: 8, index }
}
