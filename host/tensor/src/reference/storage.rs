//! Transfer and copies.

use candle_core::{DType, Device, Shape, Tensor};

use super::Reference;
use super::arrays::{buffer, made, numbers, offsets};
use crate::backend::Storage;
use crate::error::Result;
use crate::value::Value;

impl Storage for Reference {
    fn name(&self) -> String {
        "reference".to_owned()
    }

    fn upload(&self, tensor: Tensor) -> Result<Value> {
        let numbers = tensor.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
        Ok(made(tensor.dtype(), tensor.shape(), numbers))
    }

    fn download(&self, x: &Value) -> Result<Tensor> {
        let tensor = Tensor::from_vec(numbers(x)?, x.shape().clone(), &Device::Cpu)?;
        Ok(tensor.to_dtype(x.dtype())?)
    }

    fn fill(&self, dtype: DType, shape: &Shape, number: f64) -> Result<Value> {
        Ok(made(dtype, shape, vec![number; shape.elem_count()]))
    }

    fn copy(&self, x: &Value) -> Result<Value> {
        Ok(made(x.dtype(), x.shape(), numbers(x)?))
    }

    fn convert(&self, x: &Value, dtype: DType) -> Result<Value> {
        Ok(made(dtype, x.shape(), numbers(x)?))
    }

    fn rounded(&self, x: Value) -> Result<Value> {
        let nearest = numbers(&x)?.into_iter().map(|x| half::bf16::from_f32(x as f32).to_f64());
        Ok(made(x.dtype(), x.shape(), nearest.collect()))
    }

    fn write(&self, target: &Value, source: &Value) -> Result<()> {
        let source = numbers(source)?;
        let mut all = buffer(target)?.borrow_mut();
        offsets(target.layout()).into_iter().zip(source).for_each(|(at, x)| all[at] = x);
        Ok(())
    }

    fn fits(&self, bytes: usize) -> Result<u64, Option<u64>> {
        // Each element takes 8 bytes here.
        crate::cpu::memory::fits(bytes.saturating_mul(8).min(isize::MAX as usize))
    }

    fn concatenate(&self, parts: &[&Value], dim: usize) -> Result<Value> {
        let mut dims = parts[0].dims().to_vec();
        dims[dim] = parts.iter().map(|part| part.dims()[dim]).sum();
        let inner: usize = dims[dim + 1..].iter().product();
        let elements = parts.iter().map(|part| numbers(part)).collect::<Result<Vec<_>>>()?;
        let mut out = Vec::new();
        for block in 0..dims[..dim].iter().product::<usize>() {
            for (part, elements) in parts.iter().zip(&elements) {
                let run = part.dims()[dim] * inner;
                out.extend_from_slice(&elements[block * run..(block + 1) * run]);
            }
        }
        Ok(made(parts[0].dtype(), &Shape::from(dims), out))
    }
}
