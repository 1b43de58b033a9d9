//! Ranks as threads: messages, trees, and tensors as bytes.

use std::rc::Rc;
use std::sync::{Arc, Barrier, Mutex};

use candle_core::{DType, Device, Tensor};

use super::meeting::{Doing, decode, encode, of_rank};
use super::packing::{concatenate, pack};
use super::reduction::add_tree;
use super::running::mean;
use super::{Ranks, part};
use crate::learner::control::{Stop, StopKind};
use crate::learner::ports::Communication;
use crate::tensor::code_of;

/// A communicator between threads.
struct Threads {
    rank: usize,
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
    barrier: Arc<Barrier>,
}

impl Threads {
    /// What each rank sent.
    fn swap(&self, sent: &[u8]) -> Vec<Vec<u8>> {
        self.sent.lock().unwrap()[self.rank] = sent.to_vec();
        self.barrier.wait();
        let all = self.sent.lock().unwrap().clone();
        self.barrier.wait();
        all
    }
}

impl Communication for Threads {
    fn gather(&self, sent: &[u8], counts: &[u64]) -> Result<Vec<u8>, String> {
        let all = self.swap(sent);
        for (one, &count) in all.iter().zip(counts) {
            assert_eq!(one.len() as u64, count, "a rank expected another number of bytes");
        }
        Ok(all.concat())
    }

    fn exchange(
        &self,
        sent: &[u8],
        sent_counts: &[u64],
        counts: &[u64],
    ) -> Result<Vec<u8>, String> {
        let mut head: Vec<u8> = sent_counts.iter().flat_map(|count| count.to_le_bytes()).collect();
        head.extend_from_slice(sent);
        let mut received = Vec::new();
        for (one, &count) in self.swap(&head).iter().zip(counts) {
            let (heads, bytes) = one.split_at(8 * sent_counts.len());
            let lengths: Vec<usize> = heads
                .chunks_exact(8)
                .map(|word| u64::from_le_bytes(word.try_into().unwrap()) as usize)
                .collect();
            let start: usize = lengths[..self.rank].iter().sum();
            assert_eq!(lengths[self.rank] as u64, count);
            received.extend_from_slice(&bytes[start..start + lengths[self.rank]]);
        }
        Ok(received)
    }

    fn close(&self, _: bool) -> Result<(), String> {
        Ok(())
    }
}

/// Runs `task` as every rank of several, and returns what each returns.
fn on<T: Send>(ranks: usize, task: impl Fn(Ranks) -> T + Sync) -> Vec<T> {
    let sent = Arc::new(Mutex::new(vec![Vec::new(); ranks]));
    let barrier = Arc::new(Barrier::new(ranks));
    let task = &task;
    std::thread::scope(|scope| {
        let start = |rank| {
            let link = Threads { rank, sent: Arc::clone(&sent), barrier: Arc::clone(&barrier) };
            scope.spawn(move || task(Ranks::connected(Box::new(link), rank, ranks, 0).unwrap()))
        };
        let threads: Vec<_> = (0..ranks).map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn blocks_belong_to_one_rank_each_and_have_sizes_that_differ_by_at_most_one() {
    for all in [0, 1, 3, 8, 29] {
        let sizes: Vec<usize> = (0..8).map(|index| part(all, index, 8).len()).collect();
        assert_eq!(sizes.iter().sum::<usize>(), all);
        assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
        // The parts of 2 are those of 4 of 8 blocks each.
        assert_eq!(part(all, 1, 2).start, part(all, 4, 8).start);
    }
    let link =
        || Box::new(Threads { rank: 0, sent: Arc::default(), barrier: Arc::new(Barrier::new(1)) });
    let error = Ranks::connected(link(), 0, 3, 4).unwrap_err();
    assert!(error.contains("4 blocks cannot be divided among 3"), "{error}");
    assert_eq!(Ranks::connected(link(), 1, 2, 8).unwrap().own_blocks(), 4..8);
}

#[test]
fn ranks_that_do_the_same_receive_what_all_sent() {
    let met = on(3, |ranks| {
        let met = ranks.meet(Doing::Outputs, ranks.rank() as u64, &vec![7; ranks.rank()]);
        let met = met.unwrap();
        (met.numbers, met.messages)
    });
    for (numbers, messages) in met {
        assert_eq!(numbers, [0, 1, 2]);
        assert_eq!(messages, [vec![], vec![7], vec![7, 7]]);
    }
}

#[test]
fn a_rank_that_has_ended_a_step_waits_for_those_within_it_which_give_up() {
    let outcomes = on(3, |ranks| {
        let mut said = Vec::new();
        if ranks.rank() != 1 {
            let stop = ranks.meet(Doing::Gradients, 0, &[1, 2, 3]).unwrap_err();
            assert_eq!(stop.kind(), StopKind::CancelFit);
            said.push(stop.to_string());
        }
        let own = Stop::fit("enough");
        let outcome = if ranks.rank() == 1 { Err(&own) } else { Ok(()) };
        let met = ranks.meet(Doing::StepEnd, 0, &encode(outcome)).unwrap();
        let stops = met.messages.iter().map(|message| decode(message).map(|stop| stop.kind()));
        (said, stops.collect::<Vec<_>>())
    });
    for (rank, (said, stops)) in outcomes.into_iter().enumerate() {
        assert_eq!(stops, [None, Some(StopKind::CancelFit), None]);
        assert_eq!(said.len(), usize::from(rank != 1));
        assert!(said.iter().all(|text| text == "on rank 1: enough"), "{said:?}");
    }
}

#[test]
fn ranks_that_do_different_things_of_one_kind_say_so() {
    let texts = on(2, |ranks| {
        let doing = if ranks.rank() == 0 { Doing::Batch } else { Doing::Outputs };
        ranks.meet(doing, 0, &[]).unwrap_err().to_string()
    });
    assert!(texts[0].contains("rank 0 takes a batch, while rank 1 puts predictions"), "{texts:?}");
    assert!(texts[1].contains("rank 1 puts predictions together, while rank 0"), "{texts:?}");
}

#[test]
fn stops_keep_their_cause_and_name_their_rank_once() {
    let mut stop = Stop::host("too large");
    (stop.0.by, stop.0.component) = ("clip".to_owned(), "callback/clip".to_owned());
    let sent = decode(&encode(Err(&stop))).unwrap();
    assert_eq!(sent, stop);
    let named = of_rank(of_rank(sent, 3), 1);
    assert_eq!(named.0.text, "on rank 3: too large");
    assert!(decode(&encode(Ok(()))).is_none());
}

#[test]
fn sums_are_those_of_a_binary_tree_over_the_ranks() {
    // The order of these additions can be seen in the last bits.
    let values = [1.0e8_f32, 1.0, -1.0e8, 1.0];
    let tree = (values[0] + values[1]) + (values[2] + values[3]);
    let mut parts: Vec<Vec<f32>> = values.iter().map(|&value| vec![value; 3]).collect();
    add_tree(&mut parts);
    assert_eq!(parts[0], [tree; 3]);
    let sums = on(4, |ranks| {
        let value = values[ranks.rank()];
        let tensor = |shape: &[usize]| Tensor::full(value, shape, &Device::Cpu).unwrap();
        // Nobody has the second; only the last rank has the third.
        let third = (ranks.rank() == 3).then(|| tensor(&[5]));
        let sums = ranks.add_up(vec![Some(tensor(&[2, 3])), None, third]).unwrap();
        let elements = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        sums.iter().map(|sum| sum.as_ref().map(elements)).collect::<Vec<_>>()
    });
    for sum in sums {
        assert_eq!(sum, [Some(vec![tree; 6]), None, Some(vec![1.0; 5])]);
    }
}

#[test]
fn an_absent_gradient_changes_no_bit_of_the_others() {
    let sums = on(2, |ranks| {
        let zeros = Tensor::from_vec(vec![-0.0_f32, 0.0], 2, &Device::Cpu).unwrap();
        let own = (ranks.rank() == 0).then_some(zeros);
        let sums = ranks.add_up(vec![own]).unwrap();
        sums[0].as_ref().unwrap().to_vec1::<f32>().unwrap()
    });
    for sum in sums {
        assert_eq!(sum.iter().map(|x| x.to_bits()).collect::<Vec<_>>(), [0x8000_0000, 0]);
    }
}

#[test]
fn rows_of_all_ranks_follow_each_other_and_other_shapes_are_refused() {
    let tensor = |rows: usize, columns: usize| {
        let values: Vec<u32> = (0..(rows * columns) as u32).collect();
        let tensor = Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap();
        (code_of(DType::U32).unwrap(), tensor)
    };
    let message = |rows, columns| pack(&[tensor(rows, columns)]).unwrap();
    let empty = pack(&[]).unwrap();
    let whole = concatenate(&[message(2, 2), empty.clone(), message(1, 2)]).unwrap().unwrap();
    assert_eq!(whole[0].to_vec2::<u32>().unwrap(), [[0, 1], [2, 3], [0, 1]]);
    assert!(concatenate(&[empty]).unwrap().is_none());
    let other = concatenate(&[message(2, 2), message(2, 3)]).unwrap_err().to_string();
    assert!(other.contains("other shapes or types in place 0"), "{other}");
    assert!(concatenate(&[message(2, 2)[..20].to_vec()]).is_err());
}

#[test]
fn running_statistics_are_means_weighted_with_samples() {
    let values = vec![(3, vec![1.0, 2.0]), (1, vec![5.0, 2.0])];
    assert_eq!(mean(&values), [2.0, 2.0]);
}

#[test]
fn after_a_failure_the_communicator_is_not_used_again() {
    struct Broken(Rc<std::cell::Cell<u32>>);
    impl Communication for Broken {
        fn gather(&self, _: &[u8], _: &[u64]) -> Result<Vec<u8>, String> {
            self.0.set(self.0.get() + 1);
            Err("rank 1 has gone".to_owned())
        }
        fn exchange(&self, _: &[u8], _: &[u64], _: &[u64]) -> Result<Vec<u8>, String> {
            unreachable!("nothing was exchanged")
        }
        fn close(&self, failed: bool) -> Result<(), String> {
            assert!(failed);
            Ok(())
        }
    }
    let calls = Rc::new(std::cell::Cell::new(0));
    let ranks = Ranks::connected(Box::new(Broken(Rc::clone(&calls))), 0, 2, 0).unwrap();
    for _ in 0..2 {
        let text = ranks.meet(Doing::Batch, 0, &[]).unwrap_err().to_string();
        assert!(text.contains("cannot reach") && text.contains("rank 1 has gone"), "{text}");
    }
    assert_eq!(calls.get(), 1);
    ranks.close().unwrap();
}
