//! Messages in rounds: MPI counts bytes in 32-bit numbers, so longer messages are sent in parts.

use std::time::{Duration, Instant};

use fluxbay_plugin::prelude::*;

use crate::library::Mpi;

/// Most bytes that all ranks together send to one in a round.
pub(crate) const MOST: u64 = 1 << 30;

/// What a round needs of MPI.
pub(crate) trait Rounds {
    /// Number of ranks.
    fn ranks(&self) -> usize;
    /// One gather: `counts` bytes of each rank, written at `places`.
    fn gather_once(
        &self,
        sent: &[u8],
        received: &mut [u8],
        parts: &[Part],
        end: Instant,
    ) -> Result<()>;
    /// One exchange: the parts `to` of `sent` to each rank, the parts `from` of `received` from each.
    fn exchange_once(
        &self,
        sent: &[u8],
        to: &[Part],
        received: &mut [u8],
        from: &[Part],
        end: Instant,
    ) -> Result<()>;
}

/// Some bytes of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub start: u64,
    pub count: u64,
}

/// The parts of all ranks in round `round`, of at most `most` bytes each. They start where the whole parts
/// do, which lie one after the other.
fn parts(counts: &[u64], round: u64, most: u64) -> Vec<Part> {
    let mut start = 0;
    counts
        .iter()
        .map(|&count| {
            let done = count.min(round * most);
            let part = Part { start: start + done, count: (count - done).min(most) };
            start += count;
            part
        })
        .collect()
}

/// Rounds that `count` bytes take, at least one.
fn rounds(count: u64, most: u64) -> u64 {
    count.div_ceil(most).max(1)
}

/// Gathers in as many rounds as the longest message needs.
pub(crate) fn gather(
    mpi: &impl Rounds,
    sent: &[u8],
    received: Parts<'_>,
    most: u64,
    end: Instant,
    deadline: Duration,
) -> Result<()> {
    let Parts { bytes, counts } = received;
    let most = (most / counts.len() as u64).max(1);
    let longest = counts.iter().copied().max().unwrap_or(0);
    for round in 0..rounds(longest, most) {
        let start = (round * most).min(sent.len() as u64) as usize;
        let stop = ((round + 1) * most).min(sent.len() as u64) as usize;
        let parts = parts(counts, round, most);
        mpi.gather_once(&sent[start..stop], bytes, &parts, end)
            .map_err(|error| late(error, end, deadline))?;
    }
    Ok(())
}

/// Exchanges in as many rounds as the longest message of any rank needs.
pub(crate) fn exchange(
    mpi: &impl Rounds,
    sent: &[u8],
    sent_counts: &[u64],
    received: Parts<'_>,
    most: u64,
    end: Instant,
    deadline: Duration,
) -> Result<()> {
    let Parts { bytes, counts } = received;
    let most = (most / counts.len() as u64).max(1);
    let own = counts.iter().chain(sent_counts).copied().max().unwrap_or(0);
    // A rank knows only its own messages.
    let mut all = vec![0; 8 * mpi.ranks()];
    let eights = vec![8; mpi.ranks()];
    let places = Parts { bytes: &mut all, counts: &eights };
    gather(mpi, &own.to_le_bytes(), places, MOST, end, deadline)?;
    let lengths = all.chunks_exact(8).map(|word| word.try_into().map_or(0, u64::from_le_bytes));
    let longest = lengths.max().unwrap_or(0);
    for round in 0..rounds(longest, most) {
        let (to, from) = (parts(sent_counts, round, most), parts(counts, round, most));
        mpi.exchange_once(sent, &to, bytes, &from, end)
            .map_err(|error| late(error, end, deadline))?;
    }
    Ok(())
}

/// The error of a round, with the deadline if it has passed.
fn late(error: Error, end: Instant, deadline: Duration) -> Error {
    if Instant::now() < end {
        return error;
    }
    Error::new(format!("no answer for {} s (`run.rank-timeout`)", deadline.as_secs_f64()))
}

impl Rounds for Mpi {
    fn ranks(&self) -> usize {
        self.size() as usize
    }

    fn gather_once(
        &self,
        sent: &[u8],
        received: &mut [u8],
        parts: &[Part],
        end: Instant,
    ) -> Result<()> {
        self.allgatherv(sent, received, parts, end)
    }

    fn exchange_once(
        &self,
        sent: &[u8],
        to: &[Part],
        received: &mut [u8],
        from: &[Part],
        end: Instant,
    ) -> Result<()> {
        self.alltoallv(sent, to, received, from, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_divided_into_rounds_of_equal_size() {
        assert_eq!((rounds(0, 4), rounds(4, 4), rounds(9, 4)), (1, 1, 3));
        let part = |start, count| Part { start, count };
        let counts = [9, 0, 3];
        assert_eq!(parts(&counts, 0, 4), [part(0, 4), part(9, 0), part(9, 3)]);
        assert_eq!(parts(&counts, 1, 4), [part(4, 4), part(9, 0), part(12, 0)]);
        assert_eq!(parts(&counts, 2, 4), [part(8, 1), part(9, 0), part(12, 0)]);
    }

    /// One rank: what it sends comes back.
    struct Mirror;

    impl Rounds for Mirror {
        fn ranks(&self) -> usize {
            1
        }

        fn gather_once(
            &self,
            sent: &[u8],
            received: &mut [u8],
            parts: &[Part],
            _: Instant,
        ) -> Result<()> {
            let start = parts[0].start as usize;
            received[start..start + parts[0].count as usize].copy_from_slice(sent);
            Ok(())
        }

        fn exchange_once(
            &self,
            sent: &[u8],
            to: &[Part],
            received: &mut [u8],
            from: &[Part],
            _: Instant,
        ) -> Result<()> {
            let range = |part: Part| part.start as usize..(part.start + part.count) as usize;
            received[range(from[0])].copy_from_slice(&sent[range(to[0])]);
            Ok(())
        }
    }

    #[test]
    fn a_message_of_several_rounds_arrives_whole() {
        let sent: Vec<u8> = (0..23).collect();
        let second = Duration::from_secs(1);
        let end = Instant::now() + second;
        let mut bytes = vec![0; 23];
        let parts = Parts { bytes: &mut bytes, counts: &[23] };
        gather(&Mirror, &sent, parts, 5, end, second).unwrap();
        assert_eq!(bytes, sent);
        let mut bytes = vec![0; 23];
        let parts = Parts { bytes: &mut bytes, counts: &[23] };
        exchange(&Mirror, &sent, &[23], parts, 5, end, second).unwrap();
        assert_eq!(bytes, sent);
    }
}
