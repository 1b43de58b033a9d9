//! A device for tests: plain loops over numbers of double precision, in buffers that only it can
//! read.
//!
//! It implements the kernels without a default and nothing else. The tests of operations and
//! gradients run on it as on the processor, so it is the specification of a device.

mod arrays;
mod convolution;
mod elementwise;
mod indexing;
mod pooling;
mod reduction;
mod storage;

use crate::backend::{Attention, Loss, Normalization, Optimizer, Product, RandomNumbers, Softmax};
use crate::backend::{label_error, product_sizes};
use crate::error::Result;
use crate::value::Value;
use arrays::{made, numbers, offsets};
use candle_core::{DType, Shape};

/// The device.
pub(crate) struct Reference;

impl RandomNumbers for Reference {}
impl Loss for Reference {}
impl Normalization for Reference {}
impl Attention for Reference {}
impl Optimizer for Reference {}

impl Product for Reference {
    fn matmul(&self, a: &Value, b: &Value, batch: &[usize]) -> Result<Value> {
        let ((m, n, k), shape) = product_sizes(a, b, batch);
        let full = |rows: usize, columns: usize| Shape::from([batch, &[rows, columns]].concat());
        let (x, y) =
            (numbers(&a.broadcast_as(full(m, k))?)?, numbers(&b.broadcast_as(full(k, n))?)?);
        let mut out = Vec::new();
        for matrix in 0..batch.iter().product::<usize>() {
            for i in 0..m {
                for j in 0..n {
                    let term = |l: usize| x[(matrix * m + i) * k + l] * y[(matrix * k + l) * n + j];
                    out.push((0..k).map(term).sum());
                }
            }
        }
        Ok(made(a.dtype(), &Shape::from(&shape[..]), out))
    }
}

impl Softmax for Reference {
    fn labels(&self, x: &Value, classes: usize, ignored: Option<i64>) -> Result<(Value, usize)> {
        let (mut labels, mut counted) = (Vec::new(), 0);
        for label in numbers(x)? {
            let label = label as i64;
            if Some(label) == ignored {
                labels.push(f64::from(u32::MAX));
            } else if (0..classes as i64).contains(&label) {
                labels.push(label as f64);
                counted += 1;
            } else {
                return Err(label_error(label, classes));
            }
        }
        Ok((made(DType::U32, x.shape(), labels), counted))
    }
}

#[test]
fn elements_cannot_be_read_on_the_host() {
    use crate::backend::Storage;
    let x = Reference.fill(DType::F32, &Shape::from(2), 1.0).unwrap();
    assert!(x.host().unwrap_err().to_string().contains("device"));
    assert_eq!(offsets(x.layout()), [0, 1]);
    assert_eq!(Reference.download(&x).unwrap().to_vec1::<f32>().unwrap(), [1.0, 1.0]);
}
