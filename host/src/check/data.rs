//! Checks of data sets, schedules and metrics without a training.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use fluxbay_plugin::abi::metric::MetricInput;

use super::harness::{Harness, Trial};
use super::report::{Found, failed, passed, skipped};
use crate::breadcrumb::Activity;
use crate::learner::ports::DataBatch;
use crate::learner::{Instance, Runtime};
use crate::loader::{
    Loader, LoaderError, Occasion, PluginSamples, Remarks, Request, SampleError, Samples,
};

/// Limit of samples that are read.
const MOST: u64 = 64;

/// Calls `f` with the opened data set and the number of samples of its first split.
fn with_samples(
    harness: &Harness,
    place: usize,
    f: impl FnOnce(&PluginSamples, u64) -> Found,
) -> Found {
    let component = &harness.components[place];
    let made =
        || -> Result<(std::rc::Rc<Runtime>, std::rc::Rc<Instance>, PluginSamples), String> {
            let runtime = harness.empty()?;
            let config = harness.config(component)?.to_string();
            let instance = harness
                .instance(&runtime, harness.prepared(component, &config)?)
                .map_err(|stop| stop.to_string())?;
            let side = instance.plugin_side();
            let opened = side
                .call(&*runtime, Activity::OpeningData, |_| PluginSamples::open(Arc::clone(side)));
            Ok((runtime, instance, opened.map_err(|failure| failure.text)?))
        };
    match made() {
        Err(problem) => skipped(problem),
        Ok((_runtime, _instance, samples)) => {
            let count = samples.splits().first().map_or(0, |split| split.samples);
            if count == 0 {
                return skipped("it has no samples");
            }
            let all: Vec<u64> = (0..count).collect();
            if let Err(error) = samples.prepare(0, &all) {
                return failed(error.0);
            }
            f(&samples, count)
        }
    }
}

/// The bytes of samples, one buffer per field.
fn read(samples: &PluginSamples, indices: &[u64]) -> Result<Vec<Vec<u8>>, SampleError> {
    let mut buffers: Vec<Vec<u8>> = samples
        .fields()
        .iter()
        .map(|field| {
            vec![
                0;
                field.dtype.size_in_bytes() * field.shape.iter().product::<usize>() * indices.len()
            ]
        })
        .collect();
    let mut views: Vec<&mut [u8]> = buffers.iter_mut().map(Vec::as_mut_slice).collect();
    let request = Request { occasion: Occasion::default(), split: 0, indices };
    let mut left_out = vec![0; indices.len()];
    let fields = samples.fields();
    let maxima = samples.ragged().iter().flat_map(|one| {
        one.dimensions.iter().map(|dimension| fields[one.field].shape[*dimension] as u64)
    });
    let maxima: Vec<u64> = maxima.collect();
    let mut lengths = maxima.repeat(indices.len());
    let mut remarks = Remarks { left_out: &mut left_out, lengths: &mut lengths };
    samples.fill(&request, &mut views, &mut remarks)?;
    if lengths.iter().zip(maxima.iter().cycle()).any(|(length, most)| length > most) {
        return Err(SampleError("a sample is longer than the shape of its field says".to_owned()));
    }
    buffers.push(lengths.into_iter().flat_map(u64::to_ne_bytes).collect());
    Ok(buffers)
}

pub(super) fn same_again(harness: &Harness, place: usize) -> Found {
    with_samples(harness, place, |samples, count| {
        let indices: Vec<u64> = (0..count.min(MOST)).collect();
        match (read(samples, &indices), read(samples, &indices)) {
            (Ok(first), Ok(second)) if first == second => passed(),
            (Ok(_), Ok(_)) => failed(
                "read twice, the same samples differ: random numbers must be derived from the index of the sample",
            ),
            (Err(error), _) | (_, Err(error)) => failed(error.0),
        }
    })
}

pub(super) fn any_order(harness: &Harness, place: usize) -> Found {
    with_samples(harness, place, |samples, count| {
        let indices: Vec<u64> = (0..count.min(MOST)).rev().collect();
        let together = match read(samples, &indices) {
            Ok(together) => together,
            Err(error) => return failed(error.0),
        };
        for (place, &index) in indices.iter().enumerate() {
            let alone = match read(samples, &[index]) {
                Ok(alone) => alone,
                Err(error) => return failed(error.0),
            };
            let same = together
                .iter()
                .zip(&alone)
                .all(|(many, one)| many[place * one.len()..(place + 1) * one.len()] == one[..]);
            if !same {
                return failed(format!(
                    "sample {index} differs when it is read alone and with others"
                ));
            }
        }
        passed()
    })
}

pub(super) fn on_threads(harness: &Harness, place: usize) -> Found {
    with_samples(harness, place, |samples, count| {
        let indices: Vec<u64> = (0..count.min(MOST)).collect();
        let Ok(alone) = read(samples, &indices) else { return failed("it cannot be read") };
        let same = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        (0..20).all(|_| read(samples, &indices).is_ok_and(|read| read == alone))
                    })
                })
                .collect();
            threads.into_iter().all(|thread| thread.join().unwrap_or(false))
        });
        if same {
            passed()
        } else {
            failed("four threads at once do not read what one thread reads")
        }
    })
}

pub(super) fn beyond(harness: &Harness, place: usize) -> Found {
    with_samples(harness, place, |samples, count| {
        for index in [count, count + 1, u64::MAX] {
            match read(samples, &[index]) {
                Ok(_) => return failed(format!("sample {index} of {count} was given")),
                Err(error) if error.0.trim().is_empty() => {
                    return failed("it refuses without a word of why");
                }
                Err(error) if error.0.contains("panicked") => return failed(error.0),
                Err(_) => {}
            }
        }
        passed()
    })
}

/// Calls `f` with an instance outside of any run.
fn with_instance(
    harness: &Harness,
    place: usize,
    f: impl FnOnce(&Runtime, &Instance) -> Found,
) -> Found {
    let component = &harness.components[place];
    let made = || -> Result<_, String> {
        let runtime = harness.empty()?;
        let config = harness.config(component)?.to_string();
        let instance = harness
            .instance(&runtime, harness.prepared(component, &config)?)
            .map_err(|stop| stop.to_string())?;
        Ok((runtime, instance))
    };
    match made() {
        Ok((runtime, instance)) => f(&runtime, &instance),
        Err(problem) => skipped(problem),
    }
}

fn values(runtime: &Runtime, instance: &Instance, times: &[f64]) -> Result<Vec<f64>, String> {
    let value = |t: &f64| {
        instance
            .plugin_side()
            .call(runtime, Activity::Value, |call| call.schedule_value(*t))
            .map_err(|failure| failure.text)
    };
    times.iter().map(value).collect()
}

pub(super) fn schedule_again(harness: &Harness, place: usize) -> Found {
    with_instance(harness, place, |runtime, instance| {
        let times: Vec<f64> = (1..200).map(f64::from).collect();
        let back: Vec<f64> = times.iter().rev().copied().collect();
        match (values(runtime, instance, &times), values(runtime, instance, &back)) {
            (Ok(there), Ok(mut back)) => {
                back.reverse();
                let same = there.iter().zip(&back).all(|(a, b)| a.to_bits() == b.to_bits());
                if same {
                    passed()
                } else {
                    failed("its values differ when they are requested in another order")
                }
            }
            (Err(problem), _) | (_, Err(problem)) => failed(problem),
        }
    })
}

pub(super) fn schedule_finite(harness: &Harness, place: usize) -> Found {
    with_instance(harness, place, |runtime, instance| {
        let times = [1.0, 2.0, 3.0, 10.0, 99.0, 1000.0, 1e6];
        let found = match values(runtime, instance, &times) {
            Ok(found) => found,
            Err(problem) => return failed(problem),
        };
        if let Some((t, value)) = times.iter().zip(&found).find(|(_, value)| !value.is_finite()) {
            return failed(format!("at {t} it is {value}"));
        }
        let length = match instance
            .plugin_side()
            .call(runtime, Activity::Length, |call| call.schedule_length())
        {
            Ok(length) => length,
            Err(failure) => return failed(failure.text),
        };
        if length == 0 {
            return passed();
        }
        let end = length as f64;
        match values(runtime, instance, &[end, end + 1.0, end + 1000.0]) {
            Ok(after) if after.iter().all(|value| value.to_bits() == after[0].to_bits()) => {
                passed()
            }
            Ok(after) => {
                failed(format!("its length is {length}, but its values change after it: {after:?}"))
            }
            Err(problem) => failed(problem),
        }
    })
}

/// Calls `f` with the loader of a run that uses the component.
fn with_loader(harness: &Harness, place: usize, f: impl FnOnce(&Loader) -> Found) -> Found {
    match harness.session(place, &Trial::default()) {
        Err(problem) => skipped(problem),
        Ok(session) => match session.loader() {
            Some(loader) => f(loader),
            None => skipped("the run has no data"),
        },
    }
}

/// Batches of an epoch that are compared.
const BATCHES: usize = 8;

pub(super) fn transform_again(harness: &Harness, place: usize) -> Found {
    let read = |loader: &Loader| -> Result<Vec<Vec<u64>>, String> {
        let epoch = loader.epoch("training", 1).map_err(|error| error.to_string())?;
        let bits = |batch: Result<DataBatch, LoaderError>| {
            let batch = batch.map_err(|error| error.to_string())?;
            let fields = batch.fields.iter().map(|field| {
                let values = field.to_dtype(candle_core::DType::F64)?.flatten_all()?;
                Ok(values.to_vec1::<f64>()?.into_iter().map(f64::to_bits).collect::<Vec<u64>>())
            });
            let fields: candle_core::Result<Vec<Vec<u64>>> = fields.collect();
            fields.map(|fields| fields.concat()).map_err(|error| error.to_string())
        };
        epoch.take(BATCHES).map(bits).collect()
    };
    with_loader(harness, place, |loader| match (read(loader), read(loader)) {
        (Ok(first), Ok(second)) if first == second => passed(),
        (Ok(_), Ok(_)) => failed(
            "transformed twice, the same samples differ: every random choice must come from the \
             draws that the host passes, and nothing may be kept between samples",
        ),
        (Err(error), _) | (_, Err(error)) => failed(error),
    })
}

pub(super) fn order_again(harness: &Harness, place: usize) -> Found {
    with_loader(harness, place, |loader| {
        for epoch in [1, 2, 1] {
            match (loader.order("training", epoch), loader.order("training", epoch)) {
                (Ok(first), Ok(second)) if first == second => {}
                (Ok(_), Ok(_)) => {
                    return failed(format!(
                        "epoch {epoch}, asked for twice, has two orders: every random choice must \
                         come from the draws that the host passes"
                    ));
                }
                (Err(error), _) | (_, Err(error)) => return failed(error.to_string()),
            }
        }
        passed()
    })
}

pub(super) fn metric_forgets(harness: &Harness, place: usize) -> Found {
    with_instance(harness, place, |runtime, instance| {
        let side = instance.plugin_side();
        if let Err(failure) = side.call(runtime, Activity::Resetting, |call| call.metric_reset()) {
            return failed(failure.text);
        }
        let Ok(fresh) = side.call(runtime, Activity::Computing, |call| call.metric_compute())
        else {
            return skipped("it has no value before the first step");
        };
        let took = inputs(runtime).into_iter().any(|input| {
            side.call(runtime, Activity::Measuring, |call| call.metric_update(&input)).is_ok()
        });
        if !took {
            return skipped("it takes neither class scores with labels nor numbers with numbers");
        }
        if let Err(failure) = side.call(runtime, Activity::Resetting, |call| call.metric_reset()) {
            return failed(failure.text);
        }
        match side.call(runtime, Activity::Computing, |call| call.metric_compute()) {
            Ok(again)
                if again.to_bits() == fresh.to_bits() || (again.is_nan() && fresh.is_nan()) =>
            {
                passed()
            }
            Ok(again) => failed(format!("{fresh} when new, {again} after a step and a reset")),
            Err(failure) => failed(failure.text),
        }
    })
}

pub(super) fn details_are_json(harness: &Harness, place: usize) -> Found {
    with_instance(harness, place, |runtime, instance| {
        let side = instance.plugin_side();
        if let Err(failure) = side.call(runtime, Activity::Resetting, |call| call.metric_reset()) {
            return failed(failure.text);
        }
        for input in inputs(runtime) {
            if side.call(runtime, Activity::Measuring, |call| call.metric_update(&input)).is_ok() {
                break;
            }
        }
        match side.call(runtime, Activity::Details, |call| call.metric_details()) {
            Ok(details) if details.is_empty() => passed(),
            Ok(details) => match serde_json::from_str::<serde_json::Value>(&details) {
                Ok(_) => passed(),
                Err(error) => failed(format!("its details are no JSON: {error}")),
            },
            Err(failure) => failed(failure.text),
        }
    })
}

/// Predictions and targets of a classification and a regression.
fn inputs(runtime: &Runtime) -> Vec<MetricInput> {
    let cpu = &Device::Cpu;
    let scores =
        Tensor::new(&[[0.1f32, 0.7, 0.2], [0.8, 0.1, 0.1], [0.2, 0.2, 0.6], [0.3, 0.4, 0.3]], cpu);
    let labels = Tensor::new(&[1u32, 0, 2, 2], cpu);
    let numbers = Tensor::new(&[[0.5f32], [1.5], [-0.5], [0.25]], cpu);
    let others = Tensor::new(&[[0.4f32], [1.0], [-1.0], [0.5]], cpu);
    let mut engine = runtime.engine.borrow_mut();
    let mut put = |tensor: candle_core::Result<Tensor>| {
        tensor.ok().and_then(|tensor| engine.insert(tensor).ok())
    };
    let pairs = [(put(scores), put(labels)), (put(numbers), put(others))];
    let input = |(yhats, ys)| Some(MetricInput { yhats: yhats?, ys: ys?, loss: 0.5, samples: 4 });
    pairs.into_iter().filter_map(input).collect()
}
