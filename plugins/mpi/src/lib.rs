//! Runs on several processes and machines over MPI.
//!
//! Nothing is linked: the library that belongs to the launcher is opened when a run needs it, so that one
//! plugin file serves Open MPI, MPICH and Intel MPI, and builds without any of them.
//!
//! | module | content |
//! |---|---|
//! | `launcher` | what the environment says: launcher, rank, number of processes |
//! | `library` | the functions and constants of an MPI library; the only file with `unsafe` |
//! | `rounds` | messages that are longer than MPI counts |

mod launcher;
mod library;
mod rounds;

use std::time::{Duration, Instant};

use fluxbay_plugin::prelude::*;
use launcher::Launcher;
use library::Mpi;

config! {
    /// Settings of MPI.
    pub struct Config {
        /// File or name of the MPI library, such as `libmpi.so.40`; empty for the one that belongs to
        /// the launcher.
        library: String = "",
    }
}

/// The communicator `mpi`.
struct Communicators {
    config: Config,
    launcher: Launcher,
    /// `None` before `open`, after `close`, and for a process without a launcher.
    mpi: Option<Mpi>,
}

impl Component for Communicators {
    type Config = Config;

    fn new(config: Config, _: &mut Setup) -> Result<Self> {
        let launcher = Launcher::of(|name| std::env::var(name).ok());
        Ok(Communicators { config, launcher, mpi: None })
    }
}

impl Communicators {
    fn mpi(&self) -> Result<&Mpi> {
        match &self.mpi {
            Some(mpi) => Ok(mpi),
            None => bail!("MPI is not open"),
        }
    }
}

impl Communicator for Communicators {
    fn open(&mut self, _deadline: Duration) -> Result<Joined> {
        let Launcher { name, ranks, local } = self.launcher.clone();
        if name.is_empty() && self.config.library.is_empty() {
            log::info!("no launcher of MPI started this process: it trains alone");
            return Ok(Joined { rank: 0, ranks: 1, local: 0 });
        }
        let mpi = Mpi::open(&self.config.library, self.launcher.libraries())?;
        let (rank, size) = mpi.place()?;
        if ranks.is_some_and(|ranks| ranks != size) {
            bail!(
                "{name} started {} processes, but the MPI library {} knows of {size}: launcher and \
                 library do not belong together; use the launcher of this library, or set `library` \
                 of [communicator] to the one of the launcher",
                ranks.unwrap_or_default(),
                mpi.file()
            );
        }
        log::info!("rank {rank} of {size} over {}", mpi.version());
        self.mpi = Some(mpi);
        Ok(Joined { rank, ranks: size, local: local.unwrap_or(rank) })
    }

    fn gather(&mut self, sent: &[u8], received: Parts<'_>, deadline: Duration) -> Result<()> {
        if self.mpi.is_none() {
            received.bytes.copy_from_slice(sent);
            return Ok(());
        }
        let mpi = self.mpi()?;
        rounds::gather(mpi, sent, received, rounds::MOST, Instant::now() + deadline, deadline)
    }

    fn exchange(
        &mut self,
        sent: &[u8],
        counts: &[u64],
        received: Parts<'_>,
        deadline: Duration,
    ) -> Result<()> {
        if self.mpi.is_none() {
            received.bytes.copy_from_slice(sent);
            return Ok(());
        }
        let end = Instant::now() + deadline;
        rounds::exchange(self.mpi()?, sent, counts, received, rounds::MOST, end, deadline)
    }

    fn close(&mut self, failed: bool) -> Result<()> {
        let Some(mpi) = self.mpi.take() else { return Ok(()) };
        if failed {
            // A process that exits with a failure and without having said goodbye makes the launcher end
            // the others. MPI_Abort would end this one before it has closed its record.
            return Ok(());
        }
        mpi.finalize()
    }
}

plugin! {
    summary: "Runs on several processes and machines over MPI.",
    communicator "mpi" => Communicators {
        summary: "MPI: Open MPI, MPICH or Intel MPI, the one that the launcher belongs to.",
        details: "A run with this communicator is started with the launcher of an MPI library, such as `mpirun -np 4 fluxbay train run.toml`. Without a launcher it trains in one process and needs no MPI. The library is opened when the run starts; the plugin is not linked to any.",
        example: "[communicator]\ncomponent = \"mpi\"\n",
    },
}
