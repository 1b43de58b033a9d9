//! The communicator `{{name}}`: a start for one that connects the processes of a run. This one knows
//! only the process itself.

use std::time::Duration;

use fluxbay_plugin::prelude::*;

struct {{Type}};

impl Component for {{Type}} {
    type Config = NoConfig;

    fn new(_: NoConfig, _setup: &mut Setup) -> Result<Self> {
        Ok({{Type}})
    }
}

impl Communicator for {{Type}} {
    // Called once. The launcher's environment usually says which process this is.
    fn open(&mut self, _deadline: Duration) -> Result<Joined> {
        Ok(Joined { rank: 0, ranks: 1, local: 0 })
    }

    // Every process sends the same bytes to all, and receives those of all in the order of the ranks.
    fn gather(&mut self, sent: &[u8], received: Parts<'_>, _deadline: Duration) -> Result<()> {
        received.bytes.copy_from_slice(sent);
        Ok(())
    }

    // As above, with other bytes for each process.
    fn exchange(
        &mut self,
        sent: &[u8],
        _counts: &[u64],
        received: Parts<'_>,
        _deadline: Duration,
    ) -> Result<()> {
        received.bytes.copy_from_slice(sent);
        Ok(())
    }

    // After a failure, the others have to learn of it: they may be waiting for this process.
    fn close(&mut self, _failed: bool) -> Result<()> {
        Ok(())
    }
}

plugin! {
    summary: "The communicator {{name}}.",
    communicator "{{name}}" => {{Type}} {
        summary: "Connects the processes of a run.",
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_receives_what_it_sends() {
        let mut communicator = {{Type}};
        let mut bytes = [0; 3];
        let received = Parts { bytes: &mut bytes, counts: &[3] };
        communicator.gather(b"abc", received, Duration::ZERO).unwrap();
        assert_eq!(&bytes, b"abc");
    }
}
