//! A callback that ends one rank at one step, in the way that the environment says: `TROUBLE` holds the
//! kind, the rank and the training step. So runs with and without trouble have the same run file.

use fluxbay_plugin::prelude::*;

unsafe extern "C" {
    fn kill(process: i32, signal: i32) -> i32;
    fn getpid() -> i32;
    fn getppid() -> i32;
}

const KILL: i32 = 9;
const TERM: i32 = 15;
const STOP: i32 = 19;

struct Trouble {
    kind: String,
    step: u64,
}

impl Component for Trouble {
    type Config = NoConfig;

    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        let text = std::env::var("TROUBLE").unwrap_or_default();
        let words: Vec<&str> = text.split(' ').collect();
        let names = ["FLUXBAY_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK"];
        let own = names.iter().find_map(|name| std::env::var(name).ok());
        let own = own.unwrap_or_else(|| "0".to_owned());
        match words[..] {
            [kind, rank, step] if rank == own => {
                Ok(Trouble { kind: kind.to_owned(), step: step.parse().unwrap_or(0) })
            }
            _ => Ok(Trouble { kind: String::new(), step: 0 }),
        }
    }
}

impl Callback for Trouble {
    fn on(&mut self, event: &Event, _: &Learner) -> Result<()> {
        if !event.is_training() || event.total_steps() != self.step {
            return Ok(());
        }
        let signal = |to: i32, signal: i32| {
            // SAFETY: signals to this process and its parent.
            let _ = unsafe { kill(to, signal) };
        };
        // SAFETY: they ask for numbers.
        let (own, supervisor) = unsafe { (getpid(), getppid()) };
        match self.kind.as_str() {
            "error" => bail!("something is wrong"),
            "panic" => panic!("something is very wrong"),
            "cancel-step" => return Err(Error::cancel_step("enough of this step")),
            "cancel-epoch" => return Err(Error::cancel_epoch("enough of this epoch")),
            "cancel-fit" => return Err(Error::cancel_fit("enough")),
            "abort" => std::process::abort(),
            "exit" => std::process::exit(0),
            // SAFETY: it is to crash.
            "segfault" => unsafe { (8 as *mut u64).write_volatile(1) },
            "kill" => signal(own, KILL),
            "stop" => signal(own, STOP),
            "terminate" => signal(supervisor, TERM),
            "hang" => std::thread::sleep(std::time::Duration::from_secs(600)),
            _ => {}
        }
        Ok(())
    }
}

plugin! {
    summary: "Trouble on one rank.",
    callback "trouble" => Trouble {
        summary: "Ends a rank.",
        on: [BackwardBegin],
    },
}
