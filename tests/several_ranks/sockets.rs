//! A communicator over Unix sockets, for tests without MPI: every pair of ranks has a connection.

use std::{
    collections::HashMap,
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    time::{Duration, Instant},
};

use fluxbay_plugin::prelude::*;

#[derive(Default)]
struct Sockets {
    rank: usize,
    ranks: usize,
    others: HashMap<usize, UnixStream>,
}

fn number(name: &str) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

impl Component for Sockets {
    type Config = NoConfig;

    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(Sockets::default())
    }
}

impl Sockets {
    /// Sends and receives at the same time, so that no two ranks wait for each other to read.
    fn swap(&mut self, sent: &[&[u8]], received: Vec<&mut [u8]>, deadline: Duration) -> Result<()> {
        let end = Instant::now() + deadline;
        let mut failures = Vec::new();
        let rank = self.rank;
        std::thread::scope(|scope| {
            let mut threads = Vec::new();
            for (other, place) in received.into_iter().enumerate() {
                if other == rank {
                    place.copy_from_slice(sent[other]);
                    continue;
                }
                let Some(stream) = self.others.get(&other) else { continue };
                let left = end.saturating_duration_since(Instant::now());
                let left = left.max(Duration::from_millis(1));
                let _ = stream.set_read_timeout(Some(left));
                let _ = stream.set_write_timeout(Some(left));
                let (mut to, mut from, bytes) = (stream, stream, sent[other]);
                threads.push((other, scope.spawn(move || to.write_all(bytes))));
                threads.push((other, scope.spawn(move || from.read_exact(place))));
            }
            for (other, thread) in threads {
                if let Ok(Err(error)) = thread.join() {
                    failures.push(match error.kind() {
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
                            format!("rank {other} did not answer for {} s", deadline.as_secs_f64())
                        }
                        _ => format!("rank {other} has gone"),
                    });
                }
            }
        });
        match failures.first() {
            Some(first) => bail!("{first}"),
            None => Ok(()),
        }
    }
}

impl Communicator for Sockets {
    fn open(&mut self, _deadline: Duration) -> Result<Joined> {
        (self.rank, self.ranks) = (number("FLUXBAY_RANK"), number("FLUXBAY_RANKS").max(1));
        let folder = PathBuf::from(std::env::var("FLUXBAY_MEETING").unwrap_or_default());
        // Machines that run many tests start processes late.
        let end = Instant::now() + Duration::from_secs(60);
        let place = |rank: usize| folder.join(format!("rank-{rank}"));
        let listener = match self.ranks {
            1 => None,
            _ => Some(UnixListener::bind(place(self.rank)).context("cannot listen")?),
        };
        for other in 0..self.rank {
            let mut stream = loop {
                match UnixStream::connect(place(other)) {
                    Ok(stream) => break stream,
                    Err(_) if Instant::now() < end => {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    Err(error) => bail!("rank {other} cannot be reached: {error}"),
                }
            };
            stream.write_all(&[self.rank as u8]).context("cannot write")?;
            self.others.insert(other, stream);
        }
        if let Some(listener) = listener {
            listener.set_nonblocking(true).context("cannot listen")?;
            while self.others.len() + 1 < self.ranks {
                match listener.accept() {
                    Ok((mut stream, _)) => {
                        let mut other = [0];
                        stream.set_nonblocking(false).context("cannot read")?;
                        stream.read_exact(&mut other).context("cannot read")?;
                        self.others.insert(usize::from(other[0]), stream);
                    }
                    Err(_) if Instant::now() < end => {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    Err(error) => bail!("not all ranks came: {error}"),
                }
            }
        }
        let local = self.rank as u32;
        Ok(Joined { rank: local, ranks: self.ranks as u32, local })
    }

    fn gather(&mut self, sent: &[u8], received: Parts<'_>, deadline: Duration) -> Result<()> {
        let all = vec![sent; self.ranks];
        self.swap(&all, received.split(), deadline)
    }

    fn exchange(
        &mut self,
        sent: &[u8],
        counts: &[u64],
        received: Parts<'_>,
        deadline: Duration,
    ) -> Result<()> {
        let mut rest = sent;
        let mut parts = Vec::new();
        for &count in counts {
            let (part, behind) = rest.split_at(count as usize);
            parts.push(part);
            rest = behind;
        }
        self.swap(&parts, received.split(), deadline)
    }

    fn close(&mut self, _failed: bool) -> Result<()> {
        self.others.clear();
        Ok(())
    }
}

plugin! {
    summary: "Processes on one machine, for tests.",
    communicator "sockets" => Sockets { summary: "Unix sockets between the processes." },
}
