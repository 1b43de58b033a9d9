//! Pictures of the dashboard at several sizes, from a record whose values are computed.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
};

use crate::{
    Host,
    app::{After, App},
    record::Record,
};

const SOON: Duration = Duration::from_secs(10);

struct Runs(Vec<(String, PathBuf)>);

impl Host for Runs {
    fn is_live(&self, _: &Path) -> bool {
        true
    }

    fn runs(&self) -> Vec<(String, PathBuf)> {
        self.0.clone()
    }
}

/// Writes the record of a run in its third epoch of five; `speed` is how fast the loss falls.
fn write(folder: &Path, speed: f64) {
    fs::create_dir_all(folder).unwrap();
    let (mut metrics, mut events) = (String::new(), String::new());
    let mut time = 1_000_000.0;
    let mut event = |time: f64, event: &str, phase: &str, epoch: u64| {
        writeln!(
            events,
            "{{\"time\":{time},\"event\":{event:?},\"phase\":{phase:?},\"epoch\":{epoch},\"step\":0,\"by\":\"\",\"detail\":\"\"}}"
        )
        .unwrap();
    };
    let mut metric = |time: f64,
                      phase: &str,
                      scope: &str,
                      epoch: u64,
                      step: u64,
                      name: &str,
                      value: f64| {
        writeln!(
            metrics,
            "{{\"time\":{time},\"phase\":{phase:?},\"scope\":{scope:?},\"epoch\":{epoch},\"step\":{step},\"name\":{name:?},\"value\":{value}}}"
        )
        .unwrap();
    };
    for epoch in 1..=3 {
        for (phase, steps) in [("training", 80), ("validation", 20)] {
            event(time, "epoch-begin", phase, epoch);
            for step in 1..=steps {
                time += 0.25;
                let done = (epoch - 1) as f64 + step as f64 / steps as f64;
                let loss = 2.3 * (-speed * done).exp() + 0.05 * (step as f64).sin();
                metric(time, phase, "step", epoch, step, "loss", loss);
                metric(time, phase, "step", epoch, step, "accuracy", 1.0 - loss / 2.5);
                if epoch == 3 && phase == "training" && step == 40 {
                    event(time, "checkpoint", "training", 3);
                    finish(folder, &metrics, &events);
                    return;
                }
            }
            let loss = 2.3 * (-speed * epoch as f64).exp();
            metric(time, phase, "epoch", epoch, 0, "loss", loss);
            metric(time, phase, "epoch", epoch, 0, "accuracy", 1.0 - loss / 2.5);
            event(time, "epoch-end", phase, epoch);
        }
    }
}

fn finish(folder: &Path, metrics: &str, events: &str) {
    let files = [
        ("metrics.jsonl", metrics),
        ("events.jsonl", events),
        ("phases.json", "{\"training\": 80, \"validation\": 20}"),
        ("directions.json", "{\"validation/accuracy\": \"higher\"}"),
        (
            "state.json",
            "{\"format\": 1, \"status\": \"running\", \"epoch\": 3, \"step\": 40, \"started\": \"1970-01-12T13:46:30.000Z\", \"updated\": \"1970-01-12T13:47:50.000Z\", \"process\": 7, \"resumed\": 1}",
        ),
        (
            "resolved.toml",
            "[run]\nepochs = 5\n[loader]\nbatch-size = 32\n[optimizer]\nlearning-rate = 0.001\n[[phase]]\ncomponent = \"training\"\n[[phase]]\ncomponent = \"validation\"\n",
        ),
        (
            "log.txt",
            "1970-01-12T13:46:41.000Z warn  plugin::mean: the running mean is low\n1970-01-12T13:47:05.000Z error fluxbay::durable: no space left on device\n",
        ),
    ];
    for (name, content) in files {
        fs::write(folder.join(name), content).unwrap();
    }
}

fn app(folder: &Path) -> App {
    let mut app = App::new(Record::new("20260301-123456-digits", folder), false);
    app.update(SOON);
    (app.live, app.now, app.memory) = (true, 1_000_060.5, Some(214_000_000));
    app
}

fn picture(app: &App, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| super::draw(frame, app)).unwrap();
    let buffer = terminal.backend().buffer();
    let row = |y: u16| {
        let row: String = (0..width).map(|x| buffer[(x, y)].symbol()).collect();
        row.trim_end().to_owned() + "\n"
    };
    (0..height).map(row).collect()
}

fn press(app: &mut App, keys: &[KeyCode], host: &Runs) -> After {
    let press = |code: &KeyCode| app.key(KeyEvent::new(*code, KeyModifiers::NONE), host);
    keys.iter().map(press).last().expect("a key")
}

#[test]
fn a_live_run_at_80_by_24_and_at_200_by_60() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 0.8);
    let app = app(folder.path());
    insta::assert_snapshot!("live-80x24", picture(&app, 80, 24));
    insta::assert_snapshot!("live-200x60", picture(&app, 200, 60));
}

#[test]
fn keys_select_zoom_scale_and_compare() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    write(&one, 0.8);
    write(&two, 0.4);
    let host = Runs(vec![("two".to_owned(), two), ("one".to_owned(), one.clone())]);
    let mut app = app(&one);
    press(&mut app, &[KeyCode::Char('c')], &host);
    insta::assert_snapshot!("runs-80x24", picture(&app, 80, 24));
    press(&mut app, &[KeyCode::Enter, KeyCode::Char('l'), KeyCode::Char('s')], &host);
    app.update(SOON);
    let compared = picture(&app, 80, 24);
    for part in
        ["beside two", "+ training, other run", "log, smoothed 0.6", "0.4644    0.4644    1.0335"]
    {
        assert!(compared.contains(part), "{part} in\n{compared}");
    }
    // Back to one run, the next metric, the last eighth of the run.
    let keys = [
        KeyCode::Char('c'),
        KeyCode::Char('l'),
        KeyCode::Right,
        KeyCode::Right,
        KeyCode::Char('+'),
        KeyCode::Char('+'),
        KeyCode::Char('+'),
    ];
    press(&mut app, &keys, &host);
    let zoomed = picture(&app, 80, 24);
    assert!(zoomed.contains("accuracy by step") && zoomed.contains("zoom 8x"), "{zoomed}");
    assert!(
        zoomed.contains("175") && zoomed.contains("200") && !zoomed.contains("other run"),
        "{zoomed}"
    );
    press(&mut app, &[KeyCode::Char('[')], &host);
    assert!(app.window[0] < 0.875 && app.window[1] < 1.0, "{:?}", app.window);
    press(&mut app, &[KeyCode::Char('0'), KeyCode::Right], &host);
    let last = picture(&app, 80, 24);
    assert!(last.contains("accuracy by epoch") && last.contains("4 of 4"), "{last}");
    press(&mut app, &[KeyCode::Char('?')], &host);
    let help = picture(&app, 80, 24);
    for part in ["keys", "smooth the curves", "compare with another run", "ctrl-c            leave"]
    {
        assert!(help.contains(part), "{part} in\n{help}");
    }
    assert_eq!(press(&mut app, &[KeyCode::Char('q')], &host), After::Stay, "closes the help");
    assert_eq!(press(&mut app, &[KeyCode::Char('q')], &host), After::Leave);
}

#[test]
fn ctrl_c_leaves_or_ends_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let mut app = app(folder.path());
    let ctrl_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(app.key(ctrl_c, &Runs(Vec::new())), After::Leave);
    app.ends_run = true;
    assert_eq!(app.key(ctrl_c, &Runs(Vec::new())), After::Interrupt);
}

#[test]
fn a_run_that_never_started_a_finished_one_and_every_size_are_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let mut app = App::new(Record::new("empty", folder.path()), false);
    assert!(picture(&app, 80, 24).contains("the folder holds no run"));
    fs::write(folder.path().join("state.json"), "{\"status\": \"running\"}").unwrap();
    app.update(SOON);
    let broken_off = picture(&app, 80, 24);
    assert!(
        broken_off.contains("broken-off") && broken_off.contains("recorded no metrics"),
        "{broken_off}"
    );
    app.live = true;
    assert!(picture(&app, 80, 24).contains("nothing was recorded yet"));

    write(folder.path(), 0.8);
    let finished = "{\"status\": \"finished\", \"started\": \"1970-01-12T13:46:30.000Z\", \"updated\": \"1970-01-12T13:47:50.000Z\"}";
    fs::write(folder.path().join("state.json"), finished).unwrap();
    let profile = "{\"phases\": [{\"phase\": \"training\", \"work\": {\"step\": 9, \"forward\": 3.5}}], \"callbacks\": [{\"callback\": \"metrics\", \"event\": \"step-end\", \"seconds\": 1.25}, {\"callback\": \"metrics\", \"event\": \"epoch-end\", \"seconds\": 0.25}], \"peak-memory\": 99000000}";
    fs::write(folder.path().join("profile.json"), profile).unwrap();
    let mut metrics = fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap();
    metrics += "{\"time\":1000060,\"phase\":\"training\",\"scope\":\"step\",\"epoch\":3,\"step\":41,\"name\":\"loss\",\"value\":\"NaN\"}\n";
    fs::write(folder.path().join("metrics.jsonl"), metrics).unwrap();
    app.live = false;
    app.panel = crate::app::Panel::Times;
    app.update(SOON);
    let text = picture(&app, 80, 24);
    for part in [
        "finished",
        "100 %",
        "peak memory 99 MB",
        "metrics",
        "1.5 s",
        "training forward",
        "3.5 s",
        "1 training NaN or infinite, first at step 201",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    for (width, height) in
        [(1, 1), (20, 5), (30, 8), (40, 12), (79, 23), (81, 25), (150, 36), (400, 120)]
    {
        for overlay in [crate::app::Overlay::None, crate::app::Overlay::Help] {
            app.overlay = overlay;
            picture(&app, width, height);
        }
    }
}
