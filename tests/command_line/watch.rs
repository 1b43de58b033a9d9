//! `fluxbay watch` and `train --watch`: a dashboard on a terminal, from another process than the one that
//! trains.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use fluxbay_tests::{fluxbay, plugin_dir, run, scratch, succeed};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// What a program that covers the screen writes first and last.
const COVERS: &str = "\x1b[?1049h";
const UNCOVERS: &str = "\x1b[?1049l";

/// Both sides of a terminal of 80 columns and 24 rows: the one that shows it, the one for programs.
fn terminal() -> (File, File) {
    let controller =
        openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
    grantpt(&controller).and_then(|()| unlockpt(&controller)).expect("its other side");
    let name = ptsname(&controller, Vec::new()).expect("its name").into_string().unwrap();
    let terminal = OpenOptions::new().read(true).write(true).open(name).expect("it opens");
    resize(&terminal, 80, 24);
    (File::from(controller), terminal)
}

fn resize(terminal: &File, columns: u16, rows: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).expect("its size");
}

/// A command on such a terminal.
struct OnTerminal {
    child: Child,
    keys: File,
    written: Arc<Mutex<Vec<u8>>>,
    reader: thread::JoinHandle<()>,
}

impl OnTerminal {
    fn start(command: &mut Command) -> OnTerminal {
        let (mut screen, terminal) = terminal();
        let side = || terminal.try_clone().expect("a copy of the descriptor");
        command.env("TERM", "xterm-256color");
        let child = command.stdin(side()).stdout(side()).stderr(side()).spawn().expect("it starts");
        // Only the child holds the terminal from here on: reading ends when it does.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        drop(terminal);
        let keys = screen.try_clone().expect("a copy of the descriptor");
        let written = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&written);
        let reader = thread::spawn(move || {
            let mut part = [0; 4096];
            // A terminal whose other side is gone ends with an error.
            while let Ok(read @ 1..) = screen.read(&mut part) {
                into.lock().unwrap().extend_from_slice(&part[..read]);
            }
        });
        OnTerminal { child, keys, written, reader }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().unwrap()).into_owned()
    }

    /// Waits until the command has written a word. Spaces that were there before are not written.
    fn wait_for(&self, text: &str) {
        self.wait_until(text, |written| written.contains(text));
    }

    fn wait_until(&self, what: &str, is_there: impl Fn(&str) -> bool) {
        let began = Instant::now();
        while !is_there(&self.text()) {
            assert!(began.elapsed() < Duration::from_secs(60), "{what:?} in {:?}", self.text());
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Exit code and all that was written.
    fn end(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().expect("the command ends").code();
        self.reader.join().expect("the reader ends");
        let text = String::from_utf8_lossy(&self.written.lock().unwrap()).into_owned();
        (code, text)
    }
}

#[test]
fn a_finished_run_is_shown_until_the_user_leaves() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let train = ["train", "--set", "run.epochs=2", "--limit-batches", "9", "--run-dir", "one"];
    succeed(fluxbay(dir.path(), plugins.path()).args(train));
    let mut shown = OnTerminal::start(fluxbay(dir.path(), plugins.path()).args(["watch", "one"]));
    shown.wait_for("accuracy");
    shown.press("?");
    shown.wait_for("logarithmic");
    shown.press("xq");
    let (code, text) = shown.end();
    assert_eq!(code, Some(0), "{text:?}");
    for part in ["finished", "loss", "2/2", "100", "figures"] {
        assert!(text.contains(part), "{part:?} is missing in {text:?}");
    }
    // The terminal is as before, and without colours nothing sets one.
    let (from, to) = (text.find(COVERS).expect("covers"), text.rfind(UNCOVERS).expect("uncovers"));
    assert!(from < to && !text.contains("\x1b[38;5;"), "{text:?}");
}

#[test]
fn a_run_that_is_watched_trains_the_same_and_prints_its_summary_when_the_dashboard_closes() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let train = |name: &str, more: &[&str]| {
        let mut command = fluxbay(dir.path(), plugins.path());
        command.args(["train", "--set", "run.epochs=3", "--run-dir", name]).args(more);
        command
    };
    succeed(&mut train("plain", &[]));
    let (code, text) = OnTerminal::start(&mut train("watched", &["--watch"])).end();
    assert_eq!(code, Some(0), "{text:?}");
    let after = text.rsplit(UNCOVERS).next().unwrap();
    assert!(text.contains(COVERS), "{text:?}");
    assert!(after.contains("epoch 3/3 training") && after.contains("finished"), "{after:?}");
    let model =
        |name: &str| std::fs::read(dir.path().join(name).join("model.safetensors")).unwrap();
    assert_eq!(model("plain"), model("watched"));
}

#[test]
fn leaving_the_dashboard_does_not_end_the_run_and_ctrl_c_does() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let mut command = fluxbay(dir.path(), plugins.path());
    command.args(["train", "--set", "run.epochs=100000", "--run-dir", "one", "--watch"]);
    let mut watched = OnTerminal::start(&mut command);
    watched.wait_for("steps/s");
    watched.press("\x03");
    let (code, text) = watched.end();
    assert_eq!(code, Some(130), "{text:?}");
    assert!(text.rsplit(UNCOVERS).next().unwrap().contains("fluxbay resume one"), "{text:?}");

    let mut command = fluxbay(dir.path(), plugins.path());
    command.args(["train", "--set", "run.epochs=60", "--run-dir", "two", "--watch"]);
    let mut watched = OnTerminal::start(&mut command);
    watched.wait_for("steps/s");
    watched.press("q");
    let (code, text) = watched.end();
    assert_eq!(code, Some(0), "{text:?}");
    assert!(text.rsplit(UNCOVERS).next().unwrap().contains("finished"), "{text:?}");
}

/// The lowest row and the rightmost column that a program has moved the cursor to.
fn reach(written: &str) -> (u16, u16) {
    let moves = written.split("\x1b[").filter_map(|part| {
        let (row, column) = part.split_once('H')?.0.split_once(';')?;
        Some((row.parse::<u16>().ok()?, column.parse::<u16>().ok()?))
    });
    moves.fold((0, 0), |reach, at| (reach.0.max(at.0), reach.1.max(at.1)))
}

#[test]
fn a_terminal_may_change_its_size_while_a_run_is_shown() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let mut command = fluxbay(dir.path(), plugins.path());
    command.args(["train", "--set", "run.epochs=100000", "--run-dir", "one", "--watch"]);
    let mut watched = OnTerminal::start(&mut command);
    watched.wait_for("steps/s");
    let (rows, columns) = reach(&watched.text());
    assert!(rows == 24 && columns <= 80, "{rows} rows, {columns} columns");
    resize(&watched.keys, 200, 60);
    watched.wait_until("row 60", |written| {
        let (rows, columns) = reach(written);
        rows == 60 && (101..=200).contains(&columns)
    });
    // The space of a few words is enough to go on.
    for (columns, rows) in [(30, 8), (1, 1), (80, 24)] {
        resize(&watched.keys, columns, rows);
        let before = watched.text().len();
        watched.wait_until("another frame", |written| written.len() > before);
    }
    watched.press("\x03");
    let (code, text) = watched.end();
    assert_eq!(code, Some(130), "{text:?}");
    let (rows, columns) = reach(&text);
    assert!(rows == 60 && columns <= 200, "{rows} rows, {columns} columns");
}

#[test]
fn the_dashboard_ends_when_its_terminal_is_closed_and_a_run_goes_on() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let shown_then_closed = |arguments: &[&str]| {
        let mut command = fluxbay(dir.path(), plugins.path());
        command.args(arguments).env("TERM", "xterm-256color");
        let (mut screen, terminal) = terminal();
        let side = || terminal.try_clone().expect("a copy of the descriptor");
        let mut child = command.stdin(side()).stdout(side()).stderr(side()).spawn().unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        drop(terminal);
        let (mut text, mut part) = (String::new(), [0; 4096]);
        while !text.contains("figures") {
            let read = screen.read(&mut part).expect("the dashboard draws");
            text.push_str(&String::from_utf8_lossy(&part[..read]));
        }
        drop(screen);
        let began = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status.code();
            }
            if began.elapsed() > Duration::from_secs(60) {
                child.kill().unwrap();
                panic!("{arguments:?} goes on without a terminal");
            }
            thread::sleep(Duration::from_millis(20));
        }
    };
    let train = ["train", "--set", "run.epochs=60", "--run-dir", "one"];
    shown_then_closed(&[&train[..], &["--watch"]].concat());
    let state = std::fs::read_to_string(dir.path().join("one/state.json")).unwrap();
    assert!(state.contains("\"finished\""), "{state}");
    assert_eq!(shown_then_closed(&["watch", "one"]), Some(129));
}

#[test]
fn without_a_terminal_the_dashboard_is_refused_with_what_to_use_instead() {
    let (dir, plugins) = (scratch(), plugin_dir());
    for arguments in [["watch", "last"], ["train", "--watch"]] {
        let refused = run(fluxbay(dir.path(), plugins.path()).args(arguments));
        assert_eq!(refused.code, Some(2), "{}", refused.stderr);
        assert!(refused.stderr.contains("fluxbay report"), "{}", refused.stderr);
    }
    assert!(!dir.path().join("runs").exists());
}
