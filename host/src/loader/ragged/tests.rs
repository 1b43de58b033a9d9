use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::super::{Loader, Reading, SampleError, Split};
use super::*;
use crate::run_file::Sampling;

/// Sample `i` has `lengths[i]` elements `100 i, 100 i + 1, ...`, and one element less 1000 per element as
/// target.
struct Words {
    fields: Vec<Field>,
    splits: Vec<Split>,
    ragged: Vec<Ragged>,
    lengths: Vec<u64>,
    left_out: Option<u64>,
    /// Samples that were written, beside their lengths.
    written: AtomicUsize,
}

const MOST: usize = 12;

impl Words {
    fn new(lengths: &[u64]) -> Words {
        let field = |name: &str, dtype| Field {
            name: name.to_owned(),
            dtype,
            shape: vec![MOST],
            classes: None,
        };
        let first = |field, padding| Ragged { field, dimensions: vec![0], padding };
        Words {
            fields: vec![field("xs", DType::U32), field("ys", DType::F32)],
            splits: vec![Split { name: "training".into(), samples: lengths.len() as u64 }],
            ragged: vec![first(0, 7.0), first(1, -1.0)],
            lengths: lengths.to_vec(),
            left_out: None,
            written: AtomicUsize::new(0),
        }
    }
}

impl Samples for Words {
    fn fields(&self) -> &[Field] {
        &self.fields
    }

    fn splits(&self) -> &[Split] {
        &self.splits
    }

    fn ragged(&self) -> &[Ragged] {
        &self.ragged
    }

    fn prepare(&self, _: usize, _: &[u64]) -> Result<(), SampleError> {
        Ok(())
    }

    fn fill(
        &self,
        &Request { indices, .. }: &Request<'_>,
        buffers: &mut [&mut [u8]],
        remarks: &mut Remarks<'_>,
    ) -> Result<(), SampleError> {
        for (at, &index) in indices.iter().enumerate() {
            let length = self.lengths[index as usize];
            remarks.lengths[2 * at..2 * at + 2].fill(length);
            if self.left_out == Some(index) {
                remarks.left_out[at] = 1;
                continue;
            }
            if buffers[0].is_empty() {
                continue;
            }
            self.written.fetch_add(1, Ordering::Relaxed);
            for element in 0..(length as usize).min(MOST) {
                let place = (at * MOST + element) * 4..(at * MOST + element + 1) * 4;
                let x = index as u32 * 100 + element as u32;
                buffers[0][place.clone()].copy_from_slice(&x.to_ne_bytes());
                buffers[1][place].copy_from_slice(&(x as f32 - 1000.0).to_ne_bytes());
            }
        }
        Ok(())
    }
}

fn settings(ragged: RaggedRule, batch_size: usize) -> LoaderSettings {
    LoaderSettings { ragged, batch_size, prefetch: 0, ..LoaderSettings::default() }
}

fn open(words: Words, settings: LoaderSettings) -> Result<Loader, LoaderError> {
    Loader::open(Arc::new(words), settings, 42)
}

/// The first field of each batch, in rows.
fn rows(loader: &Loader, epoch: u64) -> Vec<Vec<Vec<u32>>> {
    let batches = loader.epoch("training", epoch).unwrap();
    batches.map(|batch| batch.unwrap().fields[0].to_vec2().unwrap()).collect()
}

/// The numbers of the samples in all batches, in order of their numbers.
fn seen(batches: &[Vec<Vec<u32>>]) -> Vec<u32> {
    let elements = batches.iter().flatten().flatten();
    let mut seen: Vec<u32> = elements.filter(|x| **x % 100 == 0).map(|x| x / 100).collect();
    seen.sort_unstable();
    seen
}

const LENGTHS: [u64; 9] = [3, 12, 1, 5, 2, 8, 4, 4, 6];

#[test]
fn a_batch_is_as_long_as_its_longest_sample() {
    let unshuffled = LoaderSettings { shuffle: false, ..settings(RaggedRule::Pad, 3) };
    let loader = open(Words::new(&LENGTHS), unshuffled.clone()).unwrap();
    assert_eq!(loader.fields()[0].shape, [MOST]);
    let batches: Vec<_> = loader.epoch("training", 1).unwrap().map(Result::unwrap).collect();
    let widths: Vec<usize> = batches.iter().map(|batch| batch.fields[0].dims()[1]).collect();
    assert_eq!(widths, [12, 8, 6]);
    let last: Vec<Vec<u32>> = batches[2].fields[0].to_vec2().unwrap();
    assert_eq!(last[0], [600, 601, 602, 603, 7, 7]);
    let targets: Vec<Vec<f32>> = batches[2].fields[1].to_vec2().unwrap();
    assert_eq!(targets[0], [-400.0, -399.0, -398.0, -397.0, -1.0, -1.0]);
    let wider = LoaderSettings { pad_multiple: 5, ..unshuffled };
    let loader = open(Words::new(&LENGTHS), wider).unwrap();
    let widths: Vec<usize> = rows(&loader, 1).iter().map(|batch| batch[0].len()).collect();
    assert_eq!(widths, [12, 10, 10], "rounded up, at most the maximum");
}

#[test]
fn samples_that_are_left_out_leave_their_lengths_out_too() {
    let mut words = Words::new(&[3, 12, 1, 5]);
    words.left_out = Some(1);
    let settings = LoaderSettings { shuffle: false, ..settings(RaggedRule::Pad, 4) };
    let batches = rows(&open(words, settings).unwrap(), 1);
    assert_eq!(batches[0].iter().map(Vec::len).collect::<Vec<_>>(), [5, 5, 5]);
    assert_eq!(batches[0][1], [200, 7, 7, 7, 7]);
}

#[test]
fn buckets_hold_samples_of_similar_lengths_and_every_sample_once() {
    let lengths: Vec<u64> = (0..203).map(|index| index * 7 % 12 + 1).collect();
    let loader = open(Words::new(&lengths), settings(RaggedRule::Bucket, 4)).unwrap();
    let plain = open(Words::new(&lengths), settings(RaggedRule::Pad, 4)).unwrap();
    let elements = |batches: &[Vec<Vec<u32>>]| -> usize {
        batches.iter().map(|batch| batch.len() * batch[0].len()).sum()
    };
    let (first, second) = (rows(&loader, 1), rows(&loader, 2));
    assert!(elements(&first) * 4 < elements(&rows(&plain, 1)) * 3);
    assert_ne!(first, second);
    assert_eq!(first, rows(&loader, 1));
    for batches in [&first, &second] {
        assert_eq!(seen(batches), (0..203).collect::<Vec<u32>>());
        let sizes: Vec<usize> = batches.iter().map(Vec::len).collect();
        assert_eq!((&sizes[..50], sizes[50]), (&[4; 50][..], 3));
    }
    // Long and short batches alternate.
    let widths: Vec<usize> = first.iter().map(|batch| batch[0].len()).collect();
    assert!(!widths.is_sorted() && !widths.iter().rev().is_sorted());
}

#[test]
fn packs_fill_rows_and_say_where_samples_are() {
    let packing = LoaderSettings { shuffle: false, ..settings(RaggedRule::Pack, 2) };
    let loader = open(Words::new(&LENGTHS), packing).unwrap();
    let names: Vec<&str> = loader.fields().iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["xs", "ys", "segments", "positions"]);
    let batches: Vec<_> = loader.epoch("training", 1).unwrap().map(Result::unwrap).collect();
    // 45 elements need four rows of 12.
    let part = loader.part("training").unwrap();
    assert_eq!((loader.batches(part), loader.samples_read(part)), (2, 4));
    assert_eq!(batches.iter().map(|batch| batch.samples).collect::<Vec<_>>(), [2, 2]);
    let all: Vec<Vec<Vec<u32>>> =
        batches.iter().map(|batch| batch.fields[0].to_vec2().unwrap()).collect();
    assert_eq!(seen(&all), (0..9).collect::<Vec<u32>>());
    for batch in &batches {
        let column = |field: usize| -> Vec<u32> {
            batch.fields[field].flatten_all().unwrap().to_vec1().unwrap()
        };
        let (xs, segments, positions) = (column(0), column(2), column(3));
        let mut before = 0;
        for (at, x) in xs.iter().enumerate() {
            match segments[at] {
                0 => assert_eq!((*x, positions[at]), (7, 0)),
                segment => {
                    assert_eq!(x % 100, positions[at]);
                    let begins = positions[at] == 0;
                    let expected = if at % MOST == 0 { 1 } else { before + u32::from(begins) };
                    assert_eq!(segment, expected, "at {at}");
                }
            }
            before = segments[at];
        }
    }
    let shuffled = open(Words::new(&LENGTHS), settings(RaggedRule::Pack, 1)).unwrap();
    assert_ne!(rows(&shuffled, 1), rows(&shuffled, 2));
    let sorted = |epoch| {
        let mut rows = rows(&shuffled, epoch);
        rows.sort();
        rows
    };
    assert_eq!(sorted(1), sorted(2), "the rows are those of every epoch");
}

#[test]
fn a_pack_can_be_resumed_and_has_the_same_bits_on_threads() {
    let lengths: Vec<u64> = (0..64).map(|index| index * 5 % 12 + 1).collect();
    let settings = settings(RaggedRule::Pack, 2);
    let loader = open(Words::new(&lengths), settings.clone()).unwrap();
    let all = rows(&loader, 3);
    let mut epoch = loader.epoch("training", 3).unwrap();
    for _ in 0..5 {
        epoch.next();
    }
    let threads = LoaderSettings { prefetch: 5, threads: 3, ..settings };
    let other = open(Words::new(&lengths), threads).unwrap();
    let rest = other.resume(&epoch.position()).unwrap();
    let rest: Vec<Vec<Vec<u32>>> =
        rest.map(|batch| batch.unwrap().fields[0].to_vec2().unwrap()).collect();
    assert_eq!(rest, all[5..]);
}

#[test]
fn rows_without_a_sample_do_not_come() {
    let mut words = Words::new(&[12, 12, 12]);
    words.left_out = Some(1);
    let loader = open(words, settings(RaggedRule::Pack, 3)).unwrap();
    let batches = rows(&loader, 1);
    assert_eq!((batches.len(), batches[0].len()), (1, 2));
}

#[test]
fn what_does_not_fit_is_refused() {
    let error = |words: Words, settings: LoaderSettings| {
        open(words, settings).err().expect("it is refused").to_string()
    };
    let short = LoaderSettings { pack_length: 8, ..settings(RaggedRule::Pack, 2) };
    let text = error(Words::new(&LENGTHS), short);
    assert!(text.contains("sample 1 of split `training` has 12 elements"), "{text}");
    let mut labelled = Words::new(&LENGTHS);
    labelled.ragged.pop();
    let text = error(labelled, settings(RaggedRule::Pack, 2));
    assert!(text.contains("that of field `ys` is the same for all"), "{text}");
    let mut padded = Words::new(&LENGTHS);
    padded.ragged[0].padding = -1.0;
    let text = error(padded, settings(RaggedRule::Pad, 2));
    assert!(text.contains("pads field `xs` with -1"), "{text}");
    let drawn = LoaderSettings { sampling: Sampling::Balanced, ..settings(RaggedRule::Bucket, 2) };
    let mut labelled = Words::new(&LENGTHS);
    labelled.fields[0].classes = Some(10_000);
    let text = error(labelled, drawn);
    assert!(text.contains("leave out one of them"), "{text}");
    let loader = open(Words::new(&[13]), settings(RaggedRule::Pad, 1)).unwrap();
    let text = loader.epoch("training", 1).unwrap().next().unwrap().unwrap_err().to_string();
    assert!(text.contains("sample 0: the data set states 13 elements of field `xs`"), "{text}");
}

#[test]
fn lengths_are_read_without_samples() {
    let words = Arc::new(Words::new(&LENGTHS));
    let settings = settings(RaggedRule::Bucket, 2);
    let samples = Arc::clone(&words) as Arc<dyn Samples>;
    let loader = Loader::open_with(samples, settings, 42, Reading::default()).unwrap();
    assert_eq!(loader.lengths[0], LENGTHS);
    assert_eq!(words.written.load(Ordering::Relaxed), 0);
}

proptest! {
    #[test]
    fn elements_within_a_sample_stay_and_others_are_padding(
        shape in prop::collection::vec(1_usize..4, 1..4),
        parts in prop::collection::vec(0_usize..4, 3),
    ) {
        let used: Vec<usize> =
            shape.iter().zip(&parts).map(|(size, part)| *size.min(part)).collect();
        let count: usize = shape.iter().product();
        let inside = |at: usize| {
            let mut rest = at;
            shape.iter().zip(&used).rev().all(|(size, used)| {
                let here = rest % size;
                rest /= size;
                here < *used
            })
        };
        let mut sample: Vec<u8> = (0..count as u8).collect();
        pad(&mut sample, &shape, &used, &[255]);
        for (at, value) in sample.iter().enumerate() {
            prop_assert_eq!(*value, if inside(at) { at as u8 } else { 255 });
        }
        let mut small = vec![254; used.iter().product()];
        copy((&sample, &shape), (&mut small, &used), &used, 1);
        let kept: Vec<u8> = sample.into_iter().filter(|value| *value < 255).collect();
        prop_assert_eq!(small, kept);
    }

    #[test]
    fn each_sample_is_in_the_first_row_with_room(lengths in prop::collection::vec(0_u64..=10, 0..40)) {
        let mut room = Room::new(lengths.len(), 10);
        let mut rows: Vec<u64> = Vec::new();
        for length in lengths {
            let expected = rows.iter().position(|used| used + length <= 10).unwrap_or(rows.len());
            prop_assert_eq!(room.take(length), Some(expected));
            if expected == rows.len() {
                rows.push(0);
            }
            rows[expected] += length;
        }
    }
}
