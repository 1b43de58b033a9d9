//! A terminal sees bars, a pipe plain lines.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::process::Command;
use std::thread;

use fluxbay_tests::{fluxbay, plugin_dir, scratch, succeed};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// Runs a command on a terminal of 80 columns; gives all that it wrote there.
fn on_a_terminal(command: &mut Command) -> String {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
    grantpt(&controller).and_then(|()| unlockpt(&controller)).expect("its other side");
    let name =
        ptsname(&controller, Vec::new()).expect("its name").into_string().expect("plain text");
    let terminal =
        OpenOptions::new().read(true).write(true).open(name).expect("its other side opens");
    tcsetwinsize(&terminal, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 })
        .expect("its size");
    let side = || terminal.try_clone().expect("a copy of the descriptor");
    let mut child =
        command.stdin(side()).stdout(side()).stderr(side()).spawn().expect("the command starts");
    // Only the child holds the terminal from here on: reading ends when it does.
    command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    drop(terminal);
    let mut screen = File::from(controller);
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        // A terminal whose other side is gone ends with an error.
        let _ = screen.read_to_end(&mut bytes);
        bytes
    });
    let status = child.wait().expect("the command ends");
    let text = String::from_utf8_lossy(&reader.join().expect("the reader ends")).into_owned();
    assert!(status.success(), "{text}");
    text
}

/// Few steps an epoch: a bar is drawn at the first one, however fast the others are, and a third of
/// it is full by then.
const THREE_STEPS: [&str; 5] = ["train", "--set", "run.epochs=3", "--set", "loader.batch-size=512"];

#[test]
fn a_terminal_sees_a_bar_with_loss_rate_and_time_left() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let text = on_a_terminal(
        fluxbay(dir.path(), plugins.path())
            .args(THREE_STEPS)
            .env_remove("NO_COLOR")
            .env("TERM", "xterm-256color"),
    );
    for part in
        ["━", "epoch 1/3 training", "loss", "accuracy 0.", "/s", "/3", "finished", "\x1b[1;32m"]
    {
        assert!(text.contains(part), "{part:?} is missing in {text:?}");
    }
    // The bar is redrawn in place and gone at the end.
    let after = text.rsplit("finished").next().unwrap();
    assert!(text.contains("\x1b[2K") && !after.contains('━'), "{text:?}");
    let plain = on_a_terminal(
        fluxbay(dir.path(), plugins.path())
            .args(THREE_STEPS)
            .env("NO_COLOR", "1")
            .env("TERM", "xterm-256color"),
    );
    assert!(
        plain.contains('━') && !plain.contains("\x1b[36m") && !plain.contains("\x1b[1;32m"),
        "{plain:?}"
    );
}

#[test]
fn a_pipe_sees_plain_lines_and_a_quiet_run_nothing() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let piped = succeed(
        fluxbay(dir.path(), plugins.path())
            .args(["train", "--set", "run.epochs=2"])
            .env_remove("NO_COLOR"),
    );
    assert!(!piped.stderr.contains(['\x1b', '\r', '━']), "{:?}", piped.stderr);
    assert!(piped.stderr.contains("epoch 1/2 training: 45 steps"), "{}", piped.stderr);
    assert_eq!(piped.stdout, "");
    let quiet = succeed(fluxbay(dir.path(), plugins.path()).args([
        "train",
        "--quiet",
        "--set",
        "run.epochs=1",
    ]));
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
}

#[test]
fn listings_fit_a_terminal_and_are_whole_in_a_pipe() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let narrow =
        on_a_terminal(fluxbay(dir.path(), plugins.path()).args(["list", "--kind", "callback"]));
    // Where a plugin lies is shown whole.
    let components = narrow.split("\r\nplugins").next().unwrap();
    assert!(components.lines().all(|line| line.trim_end().chars().count() <= 80), "{narrow}");
    assert!(narrow.contains("..."), "{narrow}");
    let whole =
        succeed(fluxbay(dir.path(), plugins.path()).args(["list", "--kind", "callback"])).stdout;
    assert!(
        !whole.contains("...") && whole.lines().any(|line| line.chars().count() > 80),
        "{whole}"
    );
}

#[test]
fn verbose_says_more_quiet_less_and_the_variable_wins() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let said = |arguments: &[&str], filter: Option<&str>| {
        let mut command = fluxbay(dir.path(), plugins.path());
        command.args(arguments).args(["train", "--dry-run", "--plugin-dir", "nowhere"]);
        succeed(command.envs(filter.map(|filter| ("RUST_LOG", filter)))).stderr
    };
    let (normal, verbose, all, quiet) =
        (said(&[], None), said(&["-v"], None), said(&["-vv"], None), said(&["--quiet"], None));
    let (more, most) = (
        [
            "the run: the built-in digits",
            "searched ",
            "loaded fluxbay-models 0.1.0 from ",
            "data opened in ",
        ],
        "libfluxbay_models.so (FLUXBAY_PLUGIN_PATH): ok",
    );
    assert!(
        more.iter()
            .all(|part| !normal.contains(part) && verbose.contains(part) && all.contains(part)),
        "{verbose}"
    );
    assert!(!verbose.contains(most) && all.contains(most), "{all}");
    // A missing directory that was named is a warning.
    let missing = "--plugin-dir nowhere: the directory does not exist";
    assert!(normal.contains(missing) && verbose.contains(missing), "{normal}");
    assert_eq!(quiet, "");
    assert!(
        !said(&["-vv"], Some("off")).contains(more[1])
            && said(&["--quiet"], Some("info")).contains(more[1])
    );
    let listed = succeed(fluxbay(dir.path(), plugins.path()).args(["-v", "list"]));
    assert!(
        listed.stderr.contains(more[1]) && !listed.stdout.contains(more[1]),
        "{}",
        listed.stderr
    );
}
