//! Convolutions.

use candle_core::Shape;

use super::activation::{KeptElements, finish_planes, finish_planes_here, outcome};
use super::data::{data, for_real, overwrite, to_vec, value};
use super::kernels::convolution::{Wanted, add_bias, backward, forward, input_gradient};
use super::{Cpu, memory};
use crate::backend::{Activation, Convolution, Geometry, Kept, LARGE, Storage};
use crate::error::{Result, TensorError};
use crate::value::Value;

impl Cpu {
    /// Checks that the unfolded images of all threads can be allocated.
    fn admit_unfolded(&self, geometry: &Geometry, x: &Value) -> Result<()> {
        let bytes = geometry
            .unfolded()
            .and_then(|elements| elements.checked_mul(self.pool.threads()))
            .and_then(|elements| elements.checked_mul(x.dtype().size_in_bytes()))
            .filter(|&bytes| bytes <= isize::MAX as usize);
        match bytes {
            Some(bytes) if bytes < LARGE || memory::fits(bytes).is_ok() => Ok(()),
            _ => Err(TensorError::request(format!(
                "there is no memory for the windows of {:?} of images of {:?}: on {} threads they take {} bytes",
                geometry.kernel,
                geometry.input,
                self.pool.threads(),
                bytes.map_or_else(|| "too many".to_owned(), |bytes| bytes.to_string())
            ))),
        }
    }
}

impl Convolution for Cpu {
    fn convolve(&self, geometry: &Geometry, x: &Value, w: &Value) -> Result<Value> {
        self.admit_unfolded(geometry, x)?;
        let [height, width] = geometry.output;
        for_real!(x.dtype(), T => {
            let (x, w) = (data::<T>(x)?, data::<T>(w)?);
            let out = forward(&self.pool, geometry, &x, &w, &|_, _| {});
            Ok(value(out, (geometry.images, geometry.outputs, height, width)))
        })
    }

    fn convolve_input(&self, geometry: &Geometry, gradient: &Value, w: &Value) -> Result<Value> {
        self.admit_unfolded(geometry, gradient)?;
        let [height, width] = geometry.input;
        for_real!(gradient.dtype(), T => {
            let (gradient, w) = (data::<T>(gradient)?, data::<T>(w)?);
            let out = input_gradient(&self.pool, geometry, &gradient, &w);
            Ok(value(out, (geometry.images, geometry.inputs, height, width)))
        })
    }

    fn convolve_weights(&self, geometry: &Geometry, x: &Value, gradient: &Value) -> Result<Value> {
        let [height, width] = geometry.kernel;
        for_real!(x.dtype(), T => {
            let x = data::<T>(x)?;
            // The kernel takes a gradient that it may change.
            let mut gradient = to_vec::<T>(gradient)?;
            let wanted = Wanted { input: false, weights: true, bias: false };
            let full =
                backward(&self.pool, geometry, &x, &[], &mut gradient, &|_, _| {}, wanted);
            let inputs = geometry.inputs / geometry.groups;
            Ok(value(full.weights, (geometry.outputs, inputs, height, width)))
        })
    }

    fn add_bias(&self, planes: Value, bias: &Value) -> Result<Value> {
        let planes = if planes.is_unique() { planes } else { self.copy(&planes)? };
        let area = planes.dims()[2..].iter().product();
        for_real!(planes.dtype(), T => {
            let bias = data::<T>(bias)?;
            overwrite(&planes, |planes: &mut [T]| add_bias(&self.pool, planes, &bias, area))?;
        });
        Ok(planes)
    }

    fn convolve_fused(
        &self,
        geometry: &Geometry,
        x: &Value,
        w: &Value,
        bias: Option<&Value>,
        activation: Activation,
        records: bool,
        out: Shape,
    ) -> Result<(Value, Kept)> {
        self.admit_unfolded(geometry, x)?;
        let area = geometry.output[0] * geometry.output[1];
        for_real!(x.dtype(), T => {
            let elements = bias.map(data::<T>).transpose()?;
            let bias = elements.as_deref();
            let w = self.operand(w.clone(), geometry.rounded)?;
            let (x, w) = (data::<T>(x)?, data::<T>(&w)?);
            // Bias and activation go over each image while it is in the cache, unless the
            // derivative has to be kept beside the value.
            let slopes = activation.keeps_slope(records);
            let finish = |_, z: &mut [T]| {
                if !slopes {
                    finish_planes_here(activation, z, bias, area)
                }
            };
            let mut z = forward(&self.pool, geometry, &x, &w, &finish);
            let values =
                slopes.then(|| finish_planes(activation, &self.pool, &mut z, bias, area));
            Ok(outcome(activation, z, values, out, records))
        })
    }

    fn convolve_fused_gradient(
        &self,
        geometry: &Geometry,
        x: &Value,
        w: &Value,
        activation: Activation,
        kept: &Kept,
        gradient: Value,
        wants: [bool; 3],
    ) -> Result<[Option<Value>; 3]> {
        let gradient = if gradient.is_unique() { gradient } else { self.copy(&gradient)? };
        let wanted = Wanted { input: wants[0], weights: wants[1], bias: wants[2] };
        for_real!(gradient.dtype(), T => {
            let saved = match kept {
                Kept::Nothing => None,
                Kept::Values(saved) | Kept::Slopes(saved) => Some(data::<T>(saved)?),
            };
            let kept = match (kept, &saved) {
                (Kept::Values(_), Some(values)) => KeptElements::Values(values),
                (Kept::Slopes(_), Some(slopes)) => KeptElements::Slopes(slopes),
                _ => KeptElements::Nothing,
            };
            // Only the gradient of the input needs the weights.
            let rounded = self.operand(w.clone(), geometry.rounded && wanted.input)?;
            let (elements, weights) = (data::<T>(x)?, data::<T>(&rounded)?);
            let full = overwrite(&gradient, |gradient| {
                let prepare = |start: usize, gradient: &mut [T]| {
                    kept.deactivate_here(activation, start, gradient)
                };
                backward(&self.pool, geometry, &elements, &weights, gradient, &prepare, wanted)
            })?;
            Ok([
                wanted.input.then(|| value(full.input, x.shape().clone())),
                wanted.weights.then(|| value(full.weights, w.shape().clone())),
                wanted.bias.then(|| value(full.bias, geometry.outputs)),
            ])
        })
    }
}
