//! Host tensors.

use candle_core::{CpuStorage, DType, Device, Shape, Storage as CandleStorage, Tensor};

use super::data::{contiguous, data, for_any, into_buffer, overwrite, value};
use super::kernels::elementwise::{round_in_place, rounded};
use super::{Cpu, memory};
use crate::backend::{Storage, number_of};
use crate::error::Result;
use crate::value::Value;

impl Storage for Cpu {
    fn name(&self) -> String {
        "cpu".to_owned()
    }

    fn upload(&self, tensor: Tensor) -> Result<Value> {
        let tensor =
            if tensor.device().is_cpu() { tensor } else { tensor.to_device(&Device::Cpu)? };
        Ok(Value::from_host(tensor))
    }

    fn download(&self, x: &Value) -> Result<Tensor> {
        Ok(x.host()?.clone())
    }

    fn fill(&self, dtype: DType, shape: &Shape, number: f64) -> Result<Value> {
        Ok(match dtype {
            DType::F32 => value(vec![number as f32; shape.elem_count()], shape.clone()),
            DType::F64 => value(vec![number; shape.elem_count()], shape.clone()),
            _ => Value::from_host(
                Tensor::full(number, shape.clone(), &Device::Cpu)?
                    .to_dtype(dtype)?
                    .force_contiguous()?,
            ),
        })
    }

    fn copy(&self, x: &Value) -> Result<Value> {
        Ok(Value::from_host(x.host()?.force_contiguous()?))
    }

    fn convert(&self, x: &Value, dtype: DType) -> Result<Value> {
        if x.dtype() == dtype {
            return Ok(x.clone());
        }
        Ok(Value::from_host(x.host()?.to_dtype(dtype)?))
    }

    fn rounded(&self, x: Value) -> Result<Value> {
        if x.is_unique() {
            overwrite(&x, |x: &mut [f32]| round_in_place(&self.pool, x))?;
            return Ok(x);
        }
        let x = contiguous(&x)?;
        let out = rounded(&self.pool, &data::<f32>(&x)?);
        Ok(value(out, x.shape().clone()))
    }

    fn write(&self, target: &Value, source: &Value) -> Result<()> {
        let source = contiguous(source)?;
        for_any!(target.dtype(), T => {
            let from = data::<T>(&source)?;
            overwrite(target, |into: &mut [T]| into.copy_from_slice(&from))
        })
    }

    fn concatenate(&self, parts: &[&Value], dim: usize) -> Result<Value> {
        let tensors = parts.iter().map(|part| part.host()).collect::<Result<Vec<_>>>()?;
        let out = Tensor::cat(&tensors, dim)?;
        // A single tensor is not copied by candle.
        Ok(Value::from_host(match parts.len() {
            1 => out.force_contiguous()?,
            _ => out.contiguous()?,
        }))
    }

    fn fits(&self, bytes: usize) -> Result<u64, Option<u64>> {
        memory::fits(bytes)
    }

    #[inline]
    fn number(&self, x: &Value) -> Result<f64> {
        let tensor = x.host()?;
        let (storage, layout) = tensor.storage_and_layout();
        match &*storage {
            CandleStorage::Cpu(CpuStorage::F32(elements)) if layout.shape().elem_count() == 1 => {
                Ok(f64::from(elements[layout.start_offset()]))
            }
            _ => number_of(tensor),
        }
    }

    fn reclaim(&self, x: Value) -> Option<CpuStorage> {
        into_buffer(x)
    }

    #[inline]
    fn contiguous(&self, x: &Value) -> Result<Value> {
        contiguous(x)
    }

    fn reshaped(&self, x: &Value, shape: &Shape) -> Result<Value> {
        match x.is_contiguous() {
            true => x.reshape(shape.clone()),
            false => Ok(Value::from_host(x.host()?.reshape(shape.clone())?)),
        }
    }
}
