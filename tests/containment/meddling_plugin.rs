//! A callback that changes the surroundings of the process once: what and when its configuration says,
//! or in a constructor what the environment says.

use fluxbay_plugin::prelude::*;

unsafe extern "C" {
    fn chdir(path: *const u8) -> i32;
    fn umask(mask: u32) -> u32;
    fn close(descriptor: i32) -> i32;
    fn fork() -> i32;
    fn signal(number: i32, handler: usize) -> usize;
    fn raise(number: i32) -> i32;
    fn sleep(seconds: u32) -> u32;
    fn write(descriptor: i32, bytes: *const u8, count: usize) -> isize;
}

fn meddle(deed: &str) {
    unsafe {
        match deed {
            "rounding" => {
                let mut word = 0_u32;
                std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut word, options(nostack));
                word |= 0x4000;
                std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const word, options(nostack));
            }
            "denormals" => {
                let mut word = 0_u32;
                std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut word, options(nostack));
                word |= 0x8040;
                std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const word, options(nostack));
            }
            "folder" => drop(chdir(c"/".as_ptr().cast())),
            "mode-mask" => drop(umask(0o777)),
            "descriptors" => drop((close(0), close(1), close(2))),
            "environment" => std::env::set_var("PATH", "/nowhere"),
            "fork" => drop(fork()),
            "print" => drop(write(1, c"[not json\n".as_ptr().cast(), 10)),
            "ignore-signals" => {
                signal(2, 1);
                signal(15, 1);
                std::fs::write("ignoring", "").expect("the working folder is writable");
                for _ in 0..600 {
                    sleep(1);
                }
            }
            "stop" => drop(raise(19)),
            _ => {}
        }
    }
}

extern "C" fn constructor() {
    if let Ok(deed) = std::env::var("MEDDLE_IN_CONSTRUCTOR") {
        meddle(&deed);
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = constructor;

config! {
    /// What is changed when.
    struct Config {
        /// What is changed when the instance is created.
        created: String = "",
        /// What is changed when the first step begins.
        step: String = "",
    }
}

struct Meddler(Option<String>);

impl Component for Meddler {
    type Config = Config;

    fn new(config: Config, _: &mut Setup) -> Result<Self> {
        meddle(&config.created);
        Ok(Meddler(Some(config.step)))
    }
}

impl Callback for Meddler {
    fn on(&mut self, _: &Event, _: &Learner) -> Result<()> {
        if let Some(deed) = self.0.take() {
            meddle(&deed);
        }
        Ok(())
    }
}

plugin! {
    summary: "Changes the surroundings of the process.",
    callback "meddler" => Meddler {
        summary: "Changes the surroundings of the process.",
        on: [StepBegin],
    },
}
