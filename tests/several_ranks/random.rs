//! Random sequences of kills, interruptions, resumes and changes of the number of ranks. Six in each test
//! run; `FLUXBAY_RANDOM_RANKS=100 cargo test -p fluxbay-tests --test several_ranks random` tries more.

use std::time::Duration;

use crate::place::{Place, TROUBLE, digits};
use crate::same_bits::CALLBACKS;

const LIMIT: Duration = Duration::from_secs(120);
/// Training steps of the run: 4 epochs of 5.
const STEPS: u64 = 20;

/// Random numbers of a seed (SplitMix64).
struct Draws(u64);

impl Draws {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }

    fn of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len() as u64) as usize]
    }
}

fn number(variable: &str, unless: u64) -> u64 {
    std::env::var(variable).map_or(unless, |text| text.parse().unwrap())
}

#[test]
fn random_kills_resumes_and_numbers_of_ranks_change_no_bit() {
    let count = number("FLUXBAY_RANDOM_RANKS", 6);
    let mut draws = Draws(number("FLUXBAY_RANDOM_SEED", 1));
    // Dropout and batch normalisation, clipping, accumulation, averages, mixup, checkpoints.
    let model = "[model]\ncomponent = \"sequential\"\nlayers = [{ type = \"flatten\" }, { type = \"linear\", out = 8 }, \
                 { type = \"batch-norm\" }, { type = \"dropout\" }, { type = \"activation\" }, { type = \"linear\", out = 10 }]\n\
                 [optimizer]\ncomponent = \"adamw\"\nlearning-rate = 0.01\n[checkpoints]\nevery-steps = 3\nkeep-last = 3\n";
    let text = digits("gradient-blocks = 4\n", &format!("{model}{CALLBACKS}{TROUBLE}"));
    let place = Place::new(&text.replace("epochs = 2", "epochs = 4"));
    place.succeed(1, &["train", "run.toml", "--run-dir", "straight"]);
    for sequence in 0..count {
        let out = format!("sequence-{sequence}");
        let mut history = Vec::new();
        let mut begun = false;
        for _ in 0..1 + draws.below(4) {
            let ranks = [1, 2, 4][draws.below(3) as usize];
            let kind = draws.of(&["kill", "kill", "abort", "terminate", "error", "interrupt"]);
            let (rank, step) = (draws.below(ranks), 1 + draws.below(STEPS));
            history.push(format!("{kind} on rank {rank} of {ranks} in step {step}"));
            let mut arguments = vec!["train", "run.toml", "--run-dir", &out];
            if begun {
                arguments = vec!["resume", &out];
            }
            let shard = format!("run.shard-optimizer={}", draws.below(2) == 0);
            arguments.extend(["--set", &shard]);
            let step = step.to_string();
            let trouble = format!("{kind} {rank} {step}");
            if kind == "interrupt" {
                arguments.extend(["--interrupt-at", &step]);
            }
            // A step that the run has passed brings no trouble: then it ends by itself.
            let all = place.start_in_trouble(ranks as usize, &trouble, &arguments).wait(LIMIT);
            begun = true;
            if all.iter().all(|finished| finished.code == Some(0)) {
                break;
            }
        }
        let ranks = [1, 2, 4][draws.below(3) as usize];
        history.push(format!("the rest on {ranks}"));
        if place.state(&out)["status"] != "finished" {
            place.succeed(ranks, &["resume", &out]);
        }
        assert_eq!(place.differences("straight", &out), Vec::<String>::new(), "{history:#?}");
        std::fs::remove_dir_all(place.path(&out)).unwrap();
    }
}
