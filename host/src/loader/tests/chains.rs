//! Transforms between data set and batch, samples that are left out, samplers.

use super::*;
use crate::calls::transform::SampleContext;

/// Adds a number that follows from the draw to each of the elements, and appends one more.
struct Jitter;

impl Transform for Jitter {
    fn apply(
        &self,
        context: &SampleContext,
        input: &mut [u8],
        output: &mut [u8],
    ) -> Result<(), SampleError> {
        let noise = (context.draw[0] % 1000) as f32;
        let (values, last) = output.split_at_mut(input.len());
        for (y, x) in values.chunks_exact_mut(4).zip(input.chunks_exact(4)) {
            let x = f32::from_ne_bytes(x.try_into().unwrap());
            y.copy_from_slice(&(x + noise).to_ne_bytes());
        }
        last.copy_from_slice(&(context.epoch as f32).to_ne_bytes());
        Ok(())
    }
}

/// Halves every element.
struct Halved;

impl Transform for Halved {
    fn apply(
        &self,
        _: &SampleContext,
        input: &mut [u8],
        output: &mut [u8],
    ) -> Result<(), SampleError> {
        for (y, x) in output.chunks_exact_mut(4).zip(input.chunks_exact(4)) {
            let x = f32::from_ne_bytes(x.try_into().unwrap());
            y.copy_from_slice(&(x / 2.0).to_ne_bytes());
        }
        Ok(())
    }
}

fn step(id: &str, elements: usize, transform: impl Transform + 'static) -> Step {
    let output =
        Field { name: "xs".to_owned(), dtype: DType::F32, shape: vec![elements], classes: None };
    Step { id: id.to_owned(), field: 0, output, transform: Box::new(transform) }
}

/// Jitter and halving for training, halving of a longer sample for evaluation.
fn chained(samples: Counting) -> Arc<Chained> {
    let chains = Chains {
        training: vec![step("jitter", 4, Jitter), step("halved", 4, Halved)],
        evaluation: vec![step("other", 4, Jitter)],
    };
    Arc::new(Chained::new(Arc::new(samples), chains).unwrap())
}

fn with_threads(threads: usize, prefetch: usize, batch_size: usize) -> Loader {
    let mut samples = Counting::new(&[("all", 300)]);
    samples.slow = Duration::from_micros(200);
    let settings = LoaderSettings { threads, ..settings(batch_size, prefetch) };
    Loader::open(chained(samples), settings, 42).unwrap()
}

#[test]
fn transformed_batches_are_the_same_with_any_number_of_threads_and_after_a_resume() {
    let expected: Vec<_> = {
        let loader = with_threads(0, 0, 7);
        (1..4).map(|epoch| contents(loader.epoch("training", epoch).unwrap())).collect()
    };
    for (threads, prefetch) in [(1, 1), (2, 3), (8, 16)] {
        let loader = with_threads(threads, prefetch, 7);
        for (number, expected) in expected.iter().enumerate() {
            let epoch = loader.epoch("training", number as u64 + 1).unwrap();
            assert_eq!(epoch.prefetch.is_some(), number > 0);
            assert_eq!(contents(epoch), *expected);
        }
        let mut left = loader.epoch("training", 2).unwrap();
        let before = left.by_ref().take(9).count();
        let fresh = with_threads(threads, prefetch, 7);
        assert_eq!(contents(fresh.resume(&left.position()).unwrap())[..], expected[1][before..]);
    }
    // Shared among the kernels' threads.
    let loader = with_threads(0, 0, 200);
    let (mut shared, crew) = (loader.epoch("training", 1).unwrap(), Crew::default());
    let batch = shared.next_with(&crew).unwrap().unwrap();
    let flat: Vec<_> = expected[0].iter().flat_map(|batch| batch.0.clone()).collect();
    assert_eq!(batch.fields[0].to_vec2::<f32>().unwrap()[..], flat[..200]);
}

#[test]
fn draws_follow_from_epoch_sample_and_transform_and_evaluation_has_its_own_chain() {
    let loader = with_threads(0, 0, 300);
    let read = |split: &str, epoch| contents(loader.epoch(split, epoch).unwrap()).remove(0).0;
    let order = |epoch| loader.order("training", epoch).unwrap();
    let noise = |epoch: u64| -> std::collections::BTreeMap<u64, f32> {
        let samples = read("training", epoch);
        let of = |(index, sample): (&u64, &Vec<f32>)| {
            assert_eq!(sample[1] - sample[0], 0.125, "halved");
            assert_eq!(sample[3], epoch as f32 / 2.0);
            (*index, sample[0] * 2.0 - *index as f32)
        };
        order(epoch).iter().zip(&samples).map(of).collect()
    };
    let (first, second) = (noise(1), noise(2));
    let equal = first.iter().zip(&second).filter(|(one, other)| one == other).count();
    assert!(equal < 10, "{equal} of {} samples have the noise of the epoch before", first.len());
    let validation = read("validation", 1);
    assert_eq!(validation, read("validation", 1));
    assert!(validation.iter().all(|sample| sample[1] - sample[0] == 0.25), "not halved");

    let reading = Reading { only_evaluates: true, ..Reading::default() };
    let samples = chained(Counting::new(&[("training", 20)]));
    let evaluated = Loader::open_with(samples, settings(20, 0), 42, reading).unwrap();
    let samples = contents(evaluated.epoch("training", 1).unwrap()).remove(0).0;
    assert!(samples.iter().all(|sample| sample[1] - sample[0] == 0.25), "nothing is trained");
}

#[test]
fn chains_that_end_differently_are_refused_with_both_shapes() {
    let chains = Chains { training: vec![step("jitter", 4, Jitter)], evaluation: Vec::new() };
    let error = Chained::new(Arc::new(Counting::new(&[("all", 3)])), chains).err().unwrap();
    let text = error.to_string();
    assert!(text.contains("F32 of shape [4]") || text.contains("f32 of shape [4]"), "{text}");
    assert!(text.contains("of shape [3]"), "{text}");
}

#[test]
fn a_transform_that_fails_or_writes_too_far_is_named() {
    struct Broken;
    impl Transform for Broken {
        fn apply(
            &self,
            context: &SampleContext,
            _: &mut [u8],
            _: &mut [u8],
        ) -> Result<(), SampleError> {
            Err(SampleError(format!("sample {} is odd", context.index)))
        }
    }
    let chains = || vec![step("good", 4, Jitter), step("broken", 4, Broken)];
    let chains = Chains { training: chains(), evaluation: chains() };
    let samples = Chained::new(Arc::new(Counting::new(&[("training", 5)])), chains).unwrap();
    let settings = LoaderSettings { shuffle: false, ..settings(2, 0) };
    let loader = Loader::open(Arc::new(samples), settings, 1).unwrap();
    let error = loader.epoch("training", 1).unwrap().next().unwrap().unwrap_err().to_string();
    assert!(error.ends_with("transform `broken`: sample 0 is odd"), "{error}");
}

#[test]
fn samples_that_are_left_out_are_missing_from_their_batches_and_counted_once() {
    for (prefetch, chain) in [(0, false), (0, true), (2, true)] {
        let mut samples = Counting::new(&[("training", 40)]);
        samples.fault = Fault::LeftOut(4);
        let samples: Arc<dyn Samples> = if chain { chained(samples) } else { Arc::new(samples) };
        let loader = Loader::open(samples, settings(10, prefetch), 42).unwrap();
        for number in 1..4 {
            let epoch = contents(loader.epoch("training", number).unwrap());
            let labels: Vec<u32> = epoch.iter().flat_map(|batch| batch.1.clone()).collect();
            assert_eq!(labels.len(), 30, "every other sample comes once");
            assert!(labels.iter().all(|label| *label != 0));
            assert!(epoch.iter().all(|(xs, ys)| xs.len() == ys.len()));
        }
        assert_eq!(loader.left_out(loader.part("training").unwrap()), 10);
    }
}

#[test]
fn a_batch_of_which_every_sample_is_left_out_does_not_come() {
    let mut samples = Counting::new(&[("training", 8)]);
    samples.fault = Fault::LeftOut(2);
    let settings = LoaderSettings { shuffle: false, ..settings(1, 0) };
    let loader = Loader::open(Arc::new(samples), settings, 42).unwrap();
    let labels: Vec<u32> =
        contents(loader.epoch("training", 1).unwrap()).into_iter().flat_map(|it| it.1).collect();
    assert_eq!(labels, [1, 3, 1, 3]);
}

/// Reads the last training samples, as many as there are classes, in an order by epoch.
struct Last(Mutex<u64>);

impl Sampler for Last {
    fn open(&self, samples: u64, labels: Option<(&[u32], u64)>) -> Result<u64, String> {
        let (labels, classes) = labels.ok_or("no labels")?;
        assert_eq!(labels.len() as u64, samples);
        *self.0.lock().unwrap() = samples;
        Ok(classes)
    }

    fn order(&self, epoch: u64, draw: [u64; 2], count: usize) -> Result<Vec<u64>, String> {
        assert_ne!(draw, [0, 0]);
        let samples = *self.0.lock().unwrap();
        let first = if epoch == 3 { samples } else { samples - count as u64 };
        Ok((0..count as u64).map(|place| first + (place + epoch) % count as u64).collect())
    }
}

#[test]
fn a_sampler_decides_the_order_of_training_among_the_training_samples_alone() {
    let sampler = NamedSampler::new("last".into(), Box::new(Last(Mutex::default())));
    let reading = Reading { sampler: Some(sampler), ..Reading::default() };
    let samples = Arc::new(Counting::new(&[("all", 100)]));
    let loader = Loader::open_with(samples, settings(3, 0), 7, reading).unwrap();
    let training = loader.part("training").unwrap();
    assert_eq!((loader.batches(training), loader.samples_read(training)), (2, 4));
    let last = &training.indices()[training.samples() - 4..];
    assert_eq!(&*loader.order("training", 1).unwrap(), [last[1], last[2], last[3], last[0]]);
    assert_eq!(contents(loader.epoch("training", 2).unwrap()).len(), 2);
    assert_eq!(loader.order("validation", 1).unwrap().len(), 20);
    let error = loader.order("training", 3).unwrap_err().to_string();
    assert!(error.contains("the sampler `last`: it names training sample"), "{error}");
}

#[test]
fn a_sampler_and_the_setting_for_sampling_exclude_each_other() {
    for sampling in [Sampling::Balanced, Sampling::Weighted] {
        let sampler = NamedSampler::new("last".into(), Box::new(Last(Mutex::default())));
        let reading = Reading { sampler: Some(sampler), ..Reading::default() };
        let samples = Arc::new(Counting::new(&[("all", 100)]));
        let settings = LoaderSettings { sampling, ..settings(3, 0) };
        let refused =
            Loader::open_with(samples, settings, 7, reading).err().map(|it| it.to_string());
        let text = refused.unwrap_or_default();
        assert!(text.contains("the run has a `[sampler]`, too: leave out one of them"), "{text}");
    }
}
