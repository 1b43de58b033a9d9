use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use candle_core::DType;
use proptest::prelude::*;

use super::{
    batch::{Plan, Verification},
    idle_fill::IdleFill,
    *,
};
use crate::learner::ports::{Alone, Batches as _, DataBatch, Helpers};
use crate::tensor::{Idle, Left};

/// Samples whose first field is their own index, and whose label is the index modulo the classes.
struct Counting {
    fields: Vec<Field>,
    splits: Vec<Split>,
    slow: Duration,
    fault: Fault,
    prepared: Mutex<Vec<(usize, Vec<u64>)>>,
    /// Samples that were written.
    filled: AtomicUsize,
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    Label(u64),
    Unfilled(u64),
    Error(u64),
    Panic(u64),
    /// Every sample with such a multiple as index is left out.
    LeftOut(u64),
}

impl Counting {
    fn new(splits: &[(&str, u64)]) -> Counting {
        let splits = splits
            .iter()
            .map(|&(name, samples)| Split { name: name.to_owned(), samples })
            .collect();
        let xs = Field { name: "xs".to_owned(), dtype: DType::F32, shape: vec![3], classes: None };
        let ys =
            Field { name: "ys".to_owned(), dtype: DType::U32, shape: vec![], classes: Some(4) };
        Counting {
            fields: vec![xs, ys],
            splits,
            slow: Duration::ZERO,
            fault: Fault::None,
            prepared: Mutex::default(),
            filled: AtomicUsize::new(0),
        }
    }
}

impl Samples for Counting {
    fn fields(&self) -> &[Field] {
        &self.fields
    }

    fn splits(&self) -> &[Split] {
        &self.splits
    }

    fn prepare(&self, split: usize, indices: &[u64]) -> Result<(), SampleError> {
        self.prepared.lock().unwrap().push((split, indices.to_vec()));
        Ok(())
    }

    fn fill(
        &self,
        &Request { split, indices, .. }: &Request<'_>,
        buffers: &mut [&mut [u8]],
        Remarks { left_out, .. }: &mut Remarks<'_>,
    ) -> Result<(), SampleError> {
        if !self.slow.is_zero() {
            std::thread::sleep(self.slow);
        }
        self.filled.fetch_add(indices.len(), Ordering::Relaxed);
        for (at, &index) in indices.iter().enumerate() {
            match self.fault {
                Fault::Error(bad) if bad == index => {
                    return Err(SampleError(format!("line {bad} is torn")));
                }
                Fault::Panic(bad) if bad == index => panic!("sample {bad} bites"),
                Fault::Unfilled(bad) if bad == index => continue,
                Fault::LeftOut(each) if index % each == 0 => {
                    left_out[at] = 1;
                    continue;
                }
                _ => {}
            }
            for element in 0..3 {
                let value = index as f32 + 1000.0 * split as f32 + element as f32 / 4.0;
                buffers[0][(at * 3 + element) * 4..][..4].copy_from_slice(&value.to_ne_bytes());
            }
            let label = if self.fault == Fault::Label(index) { 4 } else { (index % 4) as u32 };
            buffers[1][at * 4..][..4].copy_from_slice(&label.to_ne_bytes());
        }
        Ok(())
    }
}

fn settings(batch_size: usize, prefetch: usize) -> LoaderSettings {
    LoaderSettings { batch_size, prefetch, ..LoaderSettings::default() }
}

fn open(samples: Counting, settings: LoaderSettings) -> Result<Loader, LoaderError> {
    Loader::open(Arc::new(samples), settings, 42)
}

/// Runs each piece on a thread of its own and records the number of pieces.
#[derive(Default)]
struct Crew(Mutex<Vec<usize>>);

impl Helpers for Crew {
    fn threads(&self) -> usize {
        3
    }

    fn share(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
        self.0.lock().unwrap().push(count);
        std::thread::scope(|scope| {
            (0..count).for_each(|number| drop(scope.spawn(move || task(number))))
        });
    }

    fn idle(&self, _: Arc<Idle>) {}
}

/// Fills the given number of pieces at once, and keeps the task.
struct Eager(usize, Mutex<Vec<Arc<Idle>>>);

impl Eager {
    fn new(pieces: usize) -> Eager {
        Eager(pieces, Mutex::default())
    }
}

impl Helpers for Eager {
    fn threads(&self) -> usize {
        1
    }

    fn share(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..count).for_each(task);
    }

    fn idle(&self, task: Arc<Idle>) {
        let _ended = (0..self.0).any(|_| task() == Left::Nothing);
        self.1.lock().unwrap().push(task);
    }
}

fn contents(epoch: Epoch) -> Vec<(Vec<Vec<f32>>, Vec<u32>)> {
    epoch
        .map(|batch| {
            let batch = batch.unwrap();
            (batch.fields[0].to_vec2().unwrap(), batch.fields[1].to_vec1().unwrap())
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_epoch_reads_every_sample_once_and_its_order_is_its_own(samples in 40_u64..400, batch_size in 1_usize..50, seed: u64) {
        let open = |seed| Loader::open(Arc::new(Counting::new(&[("training", samples)])), settings(batch_size, 0), seed).unwrap();
        let loader = open(seed);
        let mut seen: Vec<u64> = loader
            .epoch("training", 1)
            .unwrap()
            .flat_map(|batch| batch.unwrap().fields[0].to_vec2::<f32>().unwrap())
            .map(|sample| sample[0] as u64)
            .collect();
        prop_assert_eq!(&seen[..], &*open(seed).order("training", 1).unwrap());
        prop_assert_ne!(&seen[..], &*loader.order("training", 2).unwrap());
        prop_assert_ne!(&seen[..], &*open(seed.wrapping_add(1)).order("training", 1).unwrap());
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..samples).collect::<Vec<_>>());
    }

    #[test]
    fn an_epoch_that_was_left_goes_on_where_it_stood(samples in 1_u64..200, batch_size in 1_usize..50, leave in 0_usize..40) {
        let loader = open(Counting::new(&[("training", samples)]), settings(batch_size, 0)).unwrap();
        let whole = contents(loader.epoch("training", 3).unwrap());
        let mut first = loader.epoch("training", 3).unwrap();
        let before: Vec<_> = first.by_ref().take(leave).collect();
        let rest = contents(loader.resume(&first.position()).unwrap());
        prop_assert_eq!(&whole[before.len()..], &rest[..]);
    }
}

#[test]
fn batches_hold_what_their_indices_name_and_shapes_begin_with_the_samples() {
    let loader =
        open(Counting::new(&[("training", 10), ("validation", 5)]), settings(4, 0)).unwrap();
    let batches: Vec<DataBatch> =
        loader.epoch("validation", 1).unwrap().map(Result::unwrap).collect();
    assert_eq!(batches.iter().map(|batch| batch.samples).collect::<Vec<_>>(), [4, 1]);
    assert_eq!(batches[0].fields[0].dims(), [4, 3]);
    assert_eq!(batches[1].fields[1].dims(), [1]);
    assert_eq!(batches[1].fields[0].to_vec2::<f32>().unwrap(), [[1004.0, 1004.25, 1004.5]]);
    let first = batches[0].fields[0].to_vec2::<f32>().unwrap();
    let order: Vec<f32> = first.iter().map(|sample| sample[0] - 1000.0).collect();
    assert_eq!(order, [0.0, 1.0, 2.0, 3.0], "validation keeps the data set's order");
}

#[test]
fn threads_make_the_same_batches_as_none() {
    let slow = |prefetch| {
        let mut samples = Counting::new(&[("all", 300)]);
        samples.slow = Duration::from_micros(200);
        open(samples, settings(7, prefetch)).unwrap()
    };
    let (alone, helped) = (slow(0), slow(3));
    for epoch in 1..4 {
        let helped = helped.epoch("training", epoch).unwrap();
        assert_eq!(helped.prefetch.is_some(), epoch > 1, "the timings of the split decide");
        assert_eq!(contents(alone.epoch("training", epoch).unwrap()), contents(helped));
    }
    assert_eq!(
        contents(alone.epoch("validation", 1).unwrap()),
        contents(helped.epoch("validation", 1).unwrap())
    );
}

/// Samples of 16 bytes, enough for several threads.
const LARGE: usize = 5_000;

#[test]
fn a_large_batch_made_by_several_threads_is_the_same_batch() {
    let loader = || open(Counting::new(&[("training", 12_000)]), settings(LARGE, 0)).unwrap();
    let (alone, shared, crew) = (loader(), loader(), Crew::default());
    let mut epoch = shared.epoch("training", 1).unwrap();
    let mut made = Vec::new();
    while let Some(batch) = epoch.next_with(&crew) {
        let batch = batch.unwrap();
        made.push((batch.fields[0].to_vec2().unwrap(), batch.fields[1].to_vec1().unwrap()));
    }
    assert_eq!(made, contents(alone.epoch("training", 1).unwrap()));
    assert_eq!(
        *crew.0.lock().unwrap(),
        [3],
        "the first is made and examined by one thread, and 2,000 samples are too few"
    );
}

#[test]
fn faults_in_a_shared_batch_are_reported_as_in_any_other() {
    let error = |fault, crew: &dyn Helpers| {
        let mut samples = Counting::new(&[("training", 4 * LARGE as u64)]);
        samples.fault = fault;
        let loader =
            open(samples, LoaderSettings { shuffle: false, ..settings(LARGE, 0) }).unwrap();
        let mut epoch = loader.epoch("training", 1).unwrap();
        std::iter::from_fn(|| epoch.next_with(crew)).find_map(Result::err).unwrap().to_string()
    };
    for at in [LARGE as u64, LARGE as u64 + 3_333, 2 * LARGE as u64 - 1] {
        for fault in [Fault::Label(at), Fault::Unfilled(at), Fault::Error(at), Fault::Panic(at)] {
            assert_eq!(error(fault, &Crew::default()), error(fault, &Alone));
        }
    }
}

/// All of a data set as one epoch in its own order.
fn plan(samples: &Arc<Counting>, batch_size: usize) -> Arc<Plan> {
    let order = (0..samples.splits[0].samples).collect();
    let (occasion, buffers, left_out, share) = Default::default();
    let samples: Arc<dyn Samples> = samples.clone();
    let fitting = Fitting::Pad { multiple: 1 };
    Arc::new(Plan {
        samples,
        source: 0,
        order,
        rows: None,
        batch_size,
        fitting,
        occasion,
        buffers,
        left_out,
        share,
    })
}

#[test]
fn a_batch_filled_by_idle_threads_is_the_same_however_much_they_filled() {
    let samples = Arc::new(Counting::new(&[("training", 100)]));
    let plan = plan(&samples, 40);
    for index in [0, 2] {
        let read = |batch: DataBatch| {
            (batch.index, batch.samples, batch.fields[0].to_vec2::<f32>().unwrap())
        };
        let expected = read(plan.make(index, Verification::Full, &Alone).unwrap());
        for pieces in [0, 1, 2, 9, 100] {
            let (eager, filled) = (Eager::new(pieces), samples.filled.load(Ordering::Relaxed));
            let fill = IdleFill::begin(Arc::clone(&plan), index, &eager);
            let idle_filled = samples.filled.load(Ordering::Relaxed) - filled;
            // The first piece only takes the buffers.
            let (count, each) = (expected.1, expected.1.div_ceil(16));
            assert_eq!(idle_filled, count.min(pieces.saturating_sub(1) * each));
            assert_eq!(read(fill.take(&Crew::default()).unwrap().unwrap()), expected);
            assert_eq!(
                samples.filled.load(Ordering::Relaxed) - filled,
                count,
                "no sample is filled twice"
            );
        }
    }
}

#[test]
fn an_epoch_filled_by_idle_threads_is_the_same_epoch() {
    let loader =
        |prefetch| open(Counting::new(&[("training", 100)]), settings(7, prefetch)).unwrap();
    for pieces in [0, 3, 100] {
        let (helped, eager) = (loader(1), Eager::new(pieces));
        for number in 1..4 {
            let mut epoch = helped.epoch("training", number).unwrap();
            let batches = std::iter::from_fn(|| epoch.next_with(&eager)).map(Result::unwrap);
            let read = |batch: DataBatch| {
                (batch.fields[0].to_vec2().unwrap(), batch.fields[1].to_vec1().unwrap())
            };
            assert_eq!(
                batches.map(read).collect::<Vec<_>>(),
                contents(loader(0).epoch("training", number).unwrap())
            );
        }
    }
    let (none, eager) = (loader(0), Eager::new(100));
    let mut epoch = none.epoch("training", 1).unwrap();
    assert_eq!(std::iter::from_fn(|| epoch.next_with(&eager)).count(), 15);
    assert!(eager.1.lock().unwrap().is_empty(), "prefetch = 0 makes each when it is needed");
}

#[test]
fn faults_in_a_batch_filled_by_idle_threads_are_reported_as_in_any_other() {
    for fault in [Fault::Label(45), Fault::Unfilled(45), Fault::Error(45), Fault::Panic(45)] {
        let mut samples = Counting::new(&[("training", 100)]);
        samples.fault = fault;
        let plan = plan(&Arc::new(samples), 40);
        let expected = plan.make(1, Verification::Tails, &Alone).unwrap_err().to_string();
        for pieces in [0, 3, 9, 100] {
            let fill = IdleFill::begin(Arc::clone(&plan), 1, &Eager::new(pieces));
            assert_eq!(fill.take(&Alone).unwrap().unwrap_err().to_string(), expected);
        }
    }
}

#[test]
fn an_unused_batch_does_not_keep_the_data_set_alive() {
    let samples = Arc::new(Counting::new(&[("training", 100)]));
    for pieces in [0, 3] {
        let eager = Eager::new(pieces);
        drop(IdleFill::begin(plan(&samples, 40), 0, &eager));
        assert_eq!(Arc::strong_count(&samples), 1);
        assert_eq!(eager.1.lock().unwrap()[0](), Left::Nothing);
    }
}

fn address(batch: &DataBatch) -> *const f32 {
    let (storage, _) = batch.fields[0].storage_and_layout();
    let candle_core::Storage::Cpu(storage) = &*storage else { panic!("in the processor's memory") };
    storage.as_slice::<f32>().unwrap().as_ptr()
}

#[test]
fn a_returned_buffer_is_reused_and_hides_no_unwritten_sample() {
    let mut samples = Counting::new(&[("training", 40)]);
    samples.fault = Fault::Unfilled(33);
    let loader = open(samples, LoaderSettings { shuffle: false, ..settings(10, 0) }).unwrap();
    let mut epoch = loader.epoch("training", 1).unwrap();
    epoch.next_batch(&Alone).unwrap();
    // As buffers of finished batches: with room for the guard behind the samples.
    let mut old = Vec::with_capacity(32);
    old.resize(30, 7.0_f32);
    let buffer = old.as_ptr();
    epoch.take_back(candle_core::CpuStorage::F32(old));
    let mut next = || epoch.next_batch(&Alone).map(Option::unwrap);
    let batch = next().unwrap();
    assert_eq!(address(&batch), buffer);
    assert_eq!(batch.fields[0].to_vec2::<f32>().unwrap()[9], [19.0, 19.25, 19.5]);
    let third = next().unwrap();
    assert_ne!(address(&third), buffer, "the batch before is still there");
    // Sample 33 is not written, and the old content of its buffer looks like a sample.
    epoch.take_back(candle_core::CpuStorage::F32(vec![7.0; 30]));
    let error = epoch.next_batch(&Alone).unwrap_err();
    assert!(
        error.starts_with("split `training`, sample 33: the data set reported success"),
        "{error}"
    );
}

#[test]
fn all_is_divided_with_each_class_keeping_its_share_and_training_is_prepared_last() {
    let samples = Arc::new(Counting::new(&[("all", 103), ("test", 5)]));
    let loader = Loader::open(samples.clone(), settings(8, 0), 7).unwrap();
    let (training, validation) =
        (loader.part("training").unwrap(), loader.part("validation").unwrap());
    assert_eq!(
        (training.samples(), validation.samples(), loader.part("test").unwrap().samples()),
        (82, 21, 5)
    );
    for class in 0..4 {
        let count = validation.indices().iter().filter(|&&index| index % 4 == class).count();
        assert!((5..=6).contains(&count), "class {class}: {count}");
    }
    assert_eq!(samples.prepared.lock().unwrap().last(), Some(&(0, training.indices().to_vec())));
    let other = Loader::open(samples, settings(8, 0), 8).unwrap();
    assert_ne!(
        other.part("validation").unwrap().indices(),
        validation.indices(),
        "another seed divides differently"
    );
}

#[test]
fn the_last_small_batch_is_dropped_in_training_only() {
    let splits = [("training", 10), ("validation", 10)];
    let loader =
        open(Counting::new(&splits), LoaderSettings { drop_last: true, ..settings(4, 0) }).unwrap();
    let count = |split| loader.epoch(split, 1).unwrap().count();
    assert_eq!((count("training"), count("validation")), (2, 3));
    assert_eq!(loader.samples_read(loader.part("training").unwrap()), 8);
    assert_eq!(loader.samples_read(loader.part("validation").unwrap()), 10);
}

#[test]
fn a_batch_larger_than_its_split_is_one_batch_unless_it_would_be_dropped() {
    let loader = open(Counting::new(&[("training", 10)]), settings(64, 0)).unwrap();
    assert_eq!(
        loader
            .epoch("training", 1)
            .unwrap()
            .map(|batch| batch.unwrap().samples)
            .collect::<Vec<_>>(),
        [10]
    );
    let error = open(
        Counting::new(&[("training", 10)]),
        LoaderSettings { drop_last: true, ..settings(64, 0) },
    )
    .err()
    .unwrap();
    assert_eq!(
        error,
        LoaderError::NoBatch { split: "training".to_owned(), samples: 10, batch_size: 64 }
    );
    assert!(error.to_string().contains("at most 10"), "{error}");
}

#[test]
fn what_cannot_be_read_is_refused_with_help() {
    let refused = |splits: &[(&str, u64)], change: &dyn Fn(&mut LoaderSettings)| {
        let mut settings = settings(4, 0);
        change(&mut settings);
        open(Counting::new(splits), settings).err().unwrap().to_string()
    };
    let same = |_: &mut LoaderSettings| {};
    assert!(
        refused(&[("training", 0)], &same).contains("`training` of the data set has no samples")
    );
    assert!(
        refused(&[("test", 3)], &same).contains("offers `test`, and needs `training` or `all`")
    );
    assert!(refused(&[("all", 3), ("validation", 3)], &same).contains("either `all`"));
    assert!(refused(&[("test", 3), ("test", 3)], &same).contains("two splits"));
    assert!(refused(&[("all", 2)], &same).contains("leaves 2 for training and 0 for validation"));
    assert!(refused(&[("all", 2)], &|s| s.validation = 1.0).contains("below 1"));
    assert!(refused(&[("all", 2)], &|s| s.validation = f64::NAN).contains("below 1"));
    assert!(refused(&[("all", 2)], &|s| s.batch_size = 0).contains("at least 1"));
    let loader = open(Counting::new(&[("training", 9)]), settings(4, 0)).unwrap();
    assert!(
        loader.epoch("trainign", 1).err().unwrap().to_string().contains("did you mean `training`?")
    );
    assert!(
        loader
            .epoch("validation", 1)
            .err()
            .unwrap()
            .to_string()
            .contains("`[loader] validation` above 0")
    );
}

#[test]
fn labels_out_of_range_and_unwritten_samples_are_named() {
    for prefetch in [0, 2] {
        let first_error = |fault, slow| {
            let mut samples = Counting::new(&[("training", 60)]);
            (samples.fault, samples.slow) = (fault, slow);
            let loader = open(samples, settings(6, prefetch)).unwrap();
            let mut epoch = loader.epoch("training", 1).unwrap();
            let error = epoch.find_map(Result::err).unwrap();
            assert!(epoch.next().is_none(), "an epoch ends with its first error");
            error.to_string()
        };
        for slow in [Duration::ZERO, Duration::from_micros(100)] {
            assert_eq!(
                first_error(Fault::Label(33), slow),
                "split `training`, sample 33: label 4 in field `ys` is out of range: the data set states 4 classes (0 to 3)"
            );
            assert!(
                first_error(Fault::Unfilled(17), slow)
                    .starts_with("split `training`, sample 17: the data set reported success")
            );
            assert!(first_error(Fault::Error(5), slow).contains("line 5 is torn"));
            assert!(first_error(Fault::Panic(59), slow).contains("panicked: sample 59 bites"));
        }
    }
}

#[test]
fn a_sample_that_looks_like_the_poison_is_no_error() {
    struct Poisonous(Vec<Field>, Vec<Split>);
    impl Samples for Poisonous {
        fn fields(&self) -> &[Field] {
            &self.0
        }
        fn splits(&self) -> &[Split] {
            &self.1
        }
        fn prepare(&self, _: usize, _: &[u64]) -> Result<(), SampleError> {
            Ok(())
        }
        fn fill(
            &self,
            &Request { indices, .. }: &Request<'_>,
            buffers: &mut [&mut [u8]],
            _: &mut Remarks<'_>,
        ) -> Result<(), SampleError> {
            buffers[0].fill(if indices.contains(&3) { 0x5A } else { 0xA5 });
            Ok(())
        }
    }
    let field = Field { name: "xs".to_owned(), dtype: DType::U8, shape: vec![2, 2], classes: None };
    let split = Split { name: "training".to_owned(), samples: 9 };
    let loader =
        Loader::open(Arc::new(Poisonous(vec![field], vec![split])), settings(1, 0), 1).unwrap();
    assert!(loader.epoch("training", 1).unwrap().all(|batch| batch.is_ok()));
}

#[test]
fn leaving_an_epoch_early_and_dropping_the_loader_ends_the_threads() {
    let mut samples = Counting::new(&[("training", 600)]);
    samples.slow = Duration::from_micros(100);
    let samples = Arc::new(samples);
    let loader = Loader::open(samples.clone(), settings(3, 4), 1).unwrap();
    let (done, ended) = mpsc::channel();
    let owner = std::thread::spawn(move || {
        for epoch in 1..5 {
            assert_eq!(
                loader.epoch("training", epoch).unwrap().take(5).filter(Result::is_ok).count(),
                5
            );
        }
        drop(loader);
        done.send(()).unwrap();
    });
    ended.recv_timeout(Duration::from_secs(60)).expect("the threads end");
    owner.join().unwrap();
    assert_eq!(Arc::strong_count(&samples), 1, "the threads have released the data set");
}

#[test]
fn a_position_of_other_data_is_refused() {
    let loader = |samples| open(Counting::new(&[("training", samples)]), settings(4, 0)).unwrap();
    let mut position = loader(20).epoch("training", 1).unwrap().position();
    position.next = 2;
    assert!(loader(20).resume(&position).is_ok());
    assert!(matches!(loader(21).resume(&position), Err(LoaderError::Order { .. })));
    position.next = 6;
    assert!(matches!(loader(20).resume(&position), Err(LoaderError::Position { batches: 5, .. })));
}

mod chains;

#[test]
fn the_memory_of_a_batch_is_used_by_a_later_one() {
    let loader = open(Counting::new(&[("training", 30)]), settings(10, 0)).unwrap();
    let mut epoch = loader.epoch("training", 1).unwrap();
    let first = epoch.next_batch(&Alone).unwrap().unwrap();
    let buffer = address(&first);
    epoch.reuse(first);
    assert_eq!(address(&epoch.next_batch(&Alone).unwrap().unwrap()), buffer);
}
