//! Connects the processes of a run.

use std::sync::Arc;
use std::time::Duration;

use fluxbay_plugin::abi::entry::kind;
use sha2::{Digest as _, Sha256};

use super::Composed;
use super::places::placed;
use crate::breadcrumb::Activity;
use crate::calls::communicator::PluginCommunicator;
use crate::learner::ports::Communication;
use crate::learner::ranks::{Fingerprint, Ranks};
use crate::learner::{Instance, Stop};
use crate::run_file::{Diagnostic, Diagnostics};

/// A communicator of a plugin with the deadline of the run.
struct Link {
    communicator: PluginCommunicator,
    deadline: Duration,
}

fn reason(error: crate::calls::CallError) -> String {
    error.reason().to_owned()
}

impl Communication for Link {
    fn gather(&self, sent: &[u8], counts: &[u64]) -> Result<Vec<u8>, String> {
        self.communicator.gather(sent, counts, self.deadline).map_err(reason)
    }

    fn exchange(
        &self,
        sent: &[u8],
        sent_counts: &[u64],
        counts: &[u64],
    ) -> Result<Vec<u8>, String> {
        self.communicator.exchange(sent, sent_counts, counts, self.deadline).map_err(reason)
    }

    fn close(&self, failed: bool) -> Result<(), String> {
        self.communicator.close(failed).map_err(reason)
    }
}

impl Composed {
    /// Joins the other processes, if the run has a communicator, and divides steps into blocks.
    pub(super) fn connect(&self) -> Result<(), Diagnostics> {
        let blocks = self.run.run.gradient_blocks;
        let ranks = match &self.run.communicator {
            Some(_) => self.joined(blocks)?,
            None if blocks > 1 => Ranks::alone(blocks),
            None => return Ok(()),
        };
        if ranks.are_several() {
            self.refuse_files()?;
        }
        if ranks.run_in_blocks() {
            self.refuse_readers()?;
        }
        let synchronises = self.run.run.sync_batch_norm && ranks.run_in_blocks();
        let compared =
            if ranks.are_several() { ranks.compare(&self.fingerprint()) } else { Ok(()) };
        compared
            .and_then(|()| self.runtime.set_ranks(ranks))
            .map_err(|stop| self.refused_by_ranks(&stop.to_string()))?;
        if synchronises {
            self.runtime.normalize_across_ranks();
        }
        Ok(())
    }

    fn joined(&self, blocks: usize) -> Result<Ranks, Diagnostics> {
        let Some(spec) = &self.run.communicator else { return Ok(Ranks::alone(blocks)) };
        let instance = self.instance(&spec.id);
        let instance = instance.ok_or_else(|| {
            self.refused(Stop::host(format!("instance `{}` was not created", spec.id)))
        })?;
        let deadline = Duration::try_from_secs_f64(self.run.run.rank_timeout)
            .unwrap_or(Duration::from_secs(60));
        let side = Arc::clone(instance.plugin_side());
        let opened = instance.call(&self.runtime, Activity::Communicating, |_| {
            let communicator = PluginCommunicator::new(side)?;
            let place = communicator.open(deadline)?;
            Ok((communicator, place))
        });
        let (communicator, place) = opened.map_err(|stop| self.refused(stop))?;
        let link = Box::new(Link { communicator, deadline });
        let shares = self.run.run.shard_optimizer;
        Ranks::connected(link, place.rank, place.ranks, blocks)
            .map(|ranks| ranks.sharing_optimizer(shares))
            .map_err(|text| self.refused_by_ranks(&text))
    }

    /// A problem of the run on several ranks.
    fn refused_by_ranks(&self, text: &str) -> Diagnostics {
        let mut diagnostics = Diagnostics::new();
        let found = Diagnostic::error("ranks", text);
        diagnostics.push(placed(found, &self.run, self.run.communicator.as_ref()));
        diagnostics
    }

    /// Refuses callbacks that every rank would let write the same files.
    fn refuse_files(&self) -> Result<(), Diagnostics> {
        fn asks(instance: &Instance) -> bool {
            instance.asks_for_base_dir() || instance.children.iter().any(|child| asks(child))
        }
        let mut diagnostics = Diagnostics::new();
        for instance in self.instances() {
            if instance.kind() != kind::CALLBACK || !asks(instance) {
                continue;
            }
            let text = format!(
                "`{}` ({} of {}) asks for the folder of the run file, where every rank would write \
                 the same files",
                instance.id, instance.component, instance.plugin
            );
            let found = Diagnostic::error("ranks", text).help(
                "remove it, or train in one process; a callback that writes below the folder of the \
                 run (`setup.run_dir()`) can be used: only the files of rank 0 are kept",
            );
            diagnostics.push(placed(found, &self.run, self.run.instance(&instance.id)));
        }
        if diagnostics.has_errors() { Err(diagnostics) } else { Ok(()) }
    }

    /// Refuses models that read the batch themselves: in blocks, their inputs are some of its rows.
    fn refuse_readers(&self) -> Result<(), Diagnostics> {
        let mut diagnostics = Diagnostics::new();
        for instance in self.instances().iter().filter(|one| one.kind() == kind::MODEL) {
            let path = instance.requested.reads.iter().find(|path| path.starts_with("step"));
            let Some(path) = path else { continue };
            let text = format!(
                "`{}` ({} of {}) reads `{path}` of the whole batch, and cannot run on blocks of \
                 samples",
                instance.id, instance.component, instance.plugin
            );
            let found = Diagnostic::error("ranks", text)
                .help("train it in one process, without `gradient-blocks`");
            diagnostics.push(placed(found, &self.run, self.run.instance(&instance.id)));
        }
        if diagnostics.has_errors() { Err(diagnostics) } else { Ok(()) }
    }

    /// What has to be equal on all ranks.
    fn fingerprint(&self) -> Fingerprint {
        let hash = Sha256::digest(self.run.to_toml().as_bytes());
        let hash = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let mut plugins: Vec<String> = self
            .plugins
            .loaded()
            .iter()
            .map(|loaded| {
                let sha256: String = loaded.sha256().to_string().chars().take(16).collect();
                format!("{} {sha256}", loaded.manifest().plugin.name)
            })
            .collect();
        plugins.sort();
        Fingerprint {
            host: env!("CARGO_PKG_VERSION").to_owned(),
            threads: self.runtime.engine.borrow().threads(),
            run: hash,
            plugins: plugins.join(", "),
        }
    }
}
