//! Hyper-parameters over time: behaviours 28, 29 and 31.

use fluxbay::session::Session;

use crate::run::*;

const PHASES: &str = "[[phase]]\ncomponent = \"training\"\n[[phase]]\ncomponent = \"validation\"\n";
const TRACES: &str =
    "[[callback]]\ncomponent = \"traces\"\nvalues = { rate = \"optimizer.learning-rate\" }\n";

fn scheduler(schedule: &str) -> String {
    format!(
        "[[callback]]\ncomponent = \"scheduler\"\n[callback.schedules]\n\"optimizer.learning-rate\" = {schedule}\n"
    )
}

fn close(found: f64, expected: f64) {
    assert!((found / expected - 1.0).abs() <= 1e-9, "{found} is not {expected}");
}

#[test]
fn behaviour_28_an_interpolated_schedule_ends_each_epoch_with_its_value() {
    let schedule = "{ component = \"interpolator\", rate = 16, schedule = { component = \"poly\", start = 1e-4, degree = 1, steps = 10 } }";
    let session = session(&format!("{SCALAR}{PHASES}{}{TRACES}", scheduler(schedule)));
    session.fit_epochs(1);
    close(session.number("optimizer.learning-rate").unwrap(), 1e-4);
    session.fit_epochs(1);
    close(session.number("optimizer.learning-rate").unwrap(), 9e-5);
    let rates = values(&session, "cbstate.traces.training.rate");
    assert_eq!(rates.len(), 32, "only training phases count");
    rates[..16].iter().for_each(|rate| close(*rate, 1e-4));
    rates[16..].iter().for_each(|rate| close(*rate, 9e-5));
}

#[test]
fn behaviour_28_the_update_that_is_applied_follows_the_schedule_from_its_first_time_on() {
    // The gradient of the mean absolute error does not depend on `c` while `c` is below 3.
    let moved = |schedule: &str| {
        let session = session(&format!("{SCALAR}{PHASES}{}", scheduler(schedule)));
        let before = c(&session);
        session.run_step(0, crate::data::batch(0)).unwrap();
        let first = c(&session);
        session.run_step(0, crate::data::batch(0)).unwrap();
        (first - before, c(&session) - first)
    };
    let (first, second) = moved("{ component = \"exp\", start = 1e-3, decay = 0.5 }");
    assert!((first / second - 2.0).abs() < 1e-3, "{first} {second}");
    let (constant, _) = moved("1e-3");
    assert!(
        (first / constant - 1.0).abs() < 1e-3,
        "the first step uses the schedule's first value"
    );
}

#[test]
fn behaviour_28_any_hyper_parameter_of_any_instance_can_follow_a_schedule() {
    let optimizer = "[model]\ncomponent = \"scalar\"\n[optimizer]\ncomponent = \"sgd\"\nlearning-rate = 0.0001\nmomentum = 0.9\n";
    let text = format!(
        "{optimizer}{PHASES}[[callback]]\ncomponent = \"gradient-clipping\"\nid = \"clip\"\nnorm = 9.0\n[[callback]]\ncomponent = \"ema\"\n\
         [[callback]]\ncomponent = \"scheduler\"\n[callback.schedules]\n\"optimizer.momentum\" = {{ component = \"linear\", start = 0.9, end = \
         0.5, steps = 16 }}\n\"optimizer.weight-decay\" = 0.25\n\"hyper.clip.norm\" = {{ component = \"exp\", start = 8.0, decay = 0.5 }}\n\
         \"hyper.ema.decay\" = 0.75\n"
    );
    let session = session(&text);
    session.fit_epochs(1);
    let number = |path: &str| session.number(path).unwrap();
    assert!(number("optimizer.momentum") < 0.55);
    assert_eq!(number("optimizer.weight-decay"), 0.25);
    close(number("hyper.clip.norm"), 8.0 * 0.5_f64.powi(15));
    assert_eq!(number("hyper.ema.decay"), 0.75);
    let text = refusal(&format!(
        "{SCALAR}{PHASES}[[callback]]\ncomponent = \"scheduler\"\n[callback.schedules]\n\"hyper.clip.norm\" = 1.0\n"
    ));
    assert!(text.contains("no hyper-parameter `hyper.clip.norm`"), "{text}");
}

#[test]
fn behaviour_29_onecycle_has_exactly_these_values_in_a_run() {
    let session = session(&format!(
        "{SCALAR}{PHASES}{}{TRACES}",
        scheduler(
            "{ component = \"onecycle\", steps = 100, max = 0.01, warmup = 0.25, div = 25.0, final-div = 1e5 }"
        )
    ));
    session.fit_epochs(7);
    let rates = values(&session, "cbstate.traces.training.rate");
    assert_eq!(rates.len(), 112);
    let expected = [
        (1, 4.0e-4),
        (2, 1.0027889874814084e-3),
        (13, 6.971652216915412e-3),
        (25, 9.981056592911408e-3),
        (26, 1.0e-2),
        (27, 9.997806856680109e-3),
        (60, 7.569974857012003e-3),
        (100, 2.0952210459158278e-4),
        (101, 1e-7),
        (112, 1e-7),
    ];
    expected.into_iter().for_each(|(t, value)| close(rates[t - 1], value));
}

#[test]
fn schedules_count_updates_and_not_the_steps_that_only_accumulate() {
    let accumulation = "[[callback]]\ncomponent = \"gradient-accumulation\"\nsteps = 5\n";
    let session = session(&format!(
        "{SCALAR}{PHASES}{accumulation}{}{TRACES}",
        scheduler("{ component = \"exp\", start = 1.0, decay = 0.5 }")
    ));
    session.fit_epochs(1);
    // 16 steps: three updates of five steps each, and one of the last step.
    let expected: Vec<f64> = (0..16).map(|step| 0.5_f64.powi(step / 5)).collect();
    assert_eq!(values(&session, "cbstate.traces.training.rate"), expected);
    let two = |session: &Session| session.fit_epochs(1);
    two(&session);
    assert_eq!(
        values(&session, "cbstate.traces.training.rate")[16],
        0.5_f64.powi(4),
        "the tail counted as an update"
    );
}

#[test]
fn reduce_on_plateau_lowers_the_rate_once_the_loss_stays() {
    let model = SCALAR.replace("0.001", "0.0");
    let plateau = "[[callback]]\ncomponent = \"reduce-on-plateau\"\nfactor = 0.5\npatience = 2\npath = \"optimizer.weight-decay\"\n";
    let model = model.replace("learning-rate", "weight-decay = 0.25\nlearning-rate");
    let session =
        session(&format!("{model}{PHASES}[[callback]]\ncomponent = \"metrics\"\n{plateau}"));
    session.fit_epochs(3);
    assert_eq!(session.number("optimizer.weight-decay"), Some(0.25));
    session.fit_epochs(1);
    assert_eq!(session.number("optimizer.weight-decay"), Some(0.125));
    session.fit_epochs(3);
    assert_eq!(session.number("optimizer.weight-decay"), Some(0.0625));
}

#[test]
fn behaviour_31_to_device_goes_before_the_scheduler_and_leaves_the_optimizer_s_state() {
    let adam =
        "[model]\ncomponent = \"scalar\"\n[optimizer]\ncomponent = \"adam\"\nlearning-rate = 0.1\n";
    let schedule = scheduler("{ component = \"exp\", start = 0.1, decay = 0.99 }");
    let device = "[[callback]]\ncomponent = \"to-device\"\ndevice = \"cpu\"\ndtype = \"f32\"\n";
    let run = |callbacks: &str| {
        let session = session(&format!("{adam}{PHASES}{callbacks}"));
        session.fit_epochs(3);
        session
    };
    let moved = run(&format!("{schedule}{device}"));
    let ids: Vec<String> = moved.callbacks().iter().map(|callback| callback.id.clone()).collect();
    assert_eq!(ids, ["to-device", "scheduler"]);
    assert_eq!(c(&moved).to_bits(), c(&run(&schedule)).to_bits(), "Adam remembers what it did");
    let text = refusal(&format!("{adam}{PHASES}{}", device.replace("cpu", "cuda:0")));
    assert!(
        text.contains("this run trains on `cpu`, not on `cuda:0`") && text.contains("[run]"),
        "{text}"
    );
}

#[test]
fn to_device_turns_inputs_into_the_wanted_elements() {
    let device = "[[callback]]\ncomponent = \"to-device\"\ndtype = \"f64\"\n";
    let session = session(&format!("{SCALAR}[[phase]]\ncomponent = \"bare\"\n{device}"));
    session.run_step(0, crate::data::batch(0)).unwrap();
    assert_eq!(format!("{:?}", session.tensor("step.xs").unwrap().dtype()), "F64");
}

#[test]
fn behaviour_32_memory_is_trimmed_every_n_steps() {
    let session =
        session(&format!("{SCALAR}{PHASES}[[callback]]\ncomponent = \"memory-trim\"\nevery = 5\n"));
    session.fit_epochs(2);
    for phase in ["training", "validation"] {
        let trimmed = series(&session, &format!("cbstate.memory.{phase}"));
        assert_eq!(
            trimmed.iter().map(|(step, _)| *step).collect::<Vec<_>>(),
            [5.0, 10.0, 15.0, 20.0, 25.0, 30.0]
        );
        assert!(trimmed.iter().all(|(_, resident)| *resident > 1e6), "{trimmed:?}");
    }
}

#[test]
fn a_schedule_is_previewed_as_numbers_and_as_a_plot() {
    let dir = fluxbay_tests::scratch();
    let preview = |arguments: &[&str]| {
        let mut command = fluxbay_tests::fluxbay(dir.path(), plugins());
        fluxbay_tests::succeed(command.arg("schedule").args(arguments)).stdout
    };
    let json = preview(&["--of", "onecycle{steps = 100, max = 0.01}", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&json).unwrap();
    let values: Vec<f64> = shown["schedules"][0]["values"]
        .as_array()
        .unwrap()
        .iter()
        .map(|value| value.as_f64().unwrap())
        .collect();
    assert_eq!((values.len(), shown["schedules"][0]["length"].as_u64()), (101, Some(101)));
    close(values[0], 4.0e-4);
    close(values[59], 7.569974857012003e-3);
    let run = fixture(&format!(
        "{SCALAR}{PHASES}{}",
        scheduler("{ component = \"linear\", start = 0.1, end = 0.0, steps = 50 }")
    ));
    fluxbay_tests::write(dir.path(), "run.toml", &run);
    let text = preview(&["run.toml", "--points", "3"]);
    assert!(text.starts_with("optimizer.learning-rate of scheduler: "), "{text}");
    assert!(text.contains("1.000e-1 |*") && text.contains("0.000e0 |"), "{text}");
    assert!(text.contains("1  1.000000e-1\n"), "{text}");
    let refused =
        fluxbay_tests::run(fluxbay_tests::fluxbay(dir.path(), plugins()).args(["schedule"]));
    assert_eq!(refused.code, Some(2));
    assert!(
        refused.stderr.contains("no hyper-parameter of this run follows a schedule"),
        "{}",
        refused.stderr
    );
}
