//! `fluxbay serve` with a plugin that crashes, hangs or panics: the server goes on, and says which it was.

use std::{
    fs,
    time::{Duration, Instant},
};

use fluxbay_tests::{build_plugin, fluxbay, plugin_dir, scratch, succeed, write};
use serde_json::Value;

use crate::{Trained, serving::Server};

/// A trained run of a model that fails for inputs whose first value says how.
fn trained() -> Trained {
    let (dir, plugins) = (scratch(), plugin_dir());
    let plugin = build_plugin("faulty-model", include_str!("faulty_model.rs"));
    fs::copy(plugin, plugins.path().join("faulty-model.so")).unwrap();
    write(
        dir.path(),
        "run.toml",
        "[run]\nepochs = 1\n[data]\ncomponent = \"digits\"\n[loader]\nvalidation = 0.2\n[model]\ncomponent = \"faulty-model\"\n[loss]\ncomponent = \"cross-entropy\"\n[optimizer]\ncomponent = \"sgd\"\n",
    );
    let train = ["train", "run.toml", "--run-dir", "run", "-q", "--limit-batches", "1"];
    succeed(fluxbay(dir.path(), plugins.path()).args(train));
    Trained { dir, plugins }
}

/// The body of a request with one image whose first value is `first`.
fn image(first: u32) -> String {
    let mut rows = vec![vec![0; 8]; 8];
    rows[0][0] = first;
    serde_json::json!({ "inputs": [rows] }).to_string()
}

/// Waits until the model can be asked again, after its process has ended `crashes` times.
fn wait(server: &Server, crashes: usize) {
    let begin = Instant::now();
    let count = format!("fluxbay_crashes_total {crashes}\n");
    let is_back = || {
        server.request("GET /metrics", "", b"").1.contains(&count)
            && server.request("GET /health", "", b"").0 == 200
    };
    while !is_back() {
        assert!(begin.elapsed() < Duration::from_secs(60), "it does not come back");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn text(answer: &Value) -> &str {
    answer["error"].as_str().unwrap_or_else(|| panic!("{answer}"))
}

#[test]
fn a_plugin_that_crashes_hangs_or_panics_is_named_and_the_model_started_again() {
    let trained = trained();
    let server = Server::start(&trained, &["--timeout", "2s", "--crashes", "6"]);
    let (status, good) = server.json(&image(0));
    assert_eq!(status, 200, "{good}");
    let faults =
        [(2, "SIGSEGV"), (3, "SIGABRT"), (5, "exit code 0"), (6, "panicked and cannot be called")];
    for (crashes, (first, how)) in faults.into_iter().enumerate() {
        let (status, answer) = server.json(&image(first));
        assert_eq!(status, 500, "{answer}");
        // A panic is an error of this request; the process ends after it.
        let parts = ["ended before it answered", "(model/faulty-model of faulty-model)", how];
        for part in parts.iter().filter(|_| first != 6) {
            assert!(text(&answer).contains(part), "{part}: {answer}");
        }
        wait(&server, crashes + 1);
        assert_eq!(server.json(&image(0)), (200, good.clone()), "after {how}");
    }
    // An error ends nothing.
    let (status, answer) = server.json(&image(7));
    assert!(status == 500 && text(&answer).contains("out of luck"), "{answer}");
    assert_eq!(server.json(&image(0)), (200, good.clone()));
    // The request that hangs is given up; one that waits behind it learns why the process is ended.
    std::thread::scope(|scope| {
        let hangs = scope.spawn(|| server.json(&image(4)));
        std::thread::sleep(Duration::from_millis(700));
        let waits = server.json(&image(0));
        let (status, answer) = hangs.join().unwrap();
        assert!(status == 504 && text(&answer).contains("did not answer within"), "{answer}");
        let (status, answer) = waits;
        let limit = "did not return for 2 s, the limit that `--timeout` sets";
        assert!(status == 500 && text(&answer).contains(limit), "{answer}");
    });
    wait(&server, 5);
    assert_eq!(server.json(&image(0)), (200, good));
    let (_, metrics) = server.request("GET /metrics", "", b"");
    assert!(metrics.contains("fluxbay_waiting_requests 0"), "{metrics}");
    let said = server.said();
    for part in ["panicked and cannot be called again", "the model is started again (end 5 of 6"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn a_model_that_crashes_again_and_again_ends_the_server_with_an_error() {
    let trained = trained();
    let mut server = Server::start(&trained, &["--crashes", "2"]);
    assert_eq!(server.json(&image(2)).0, 500);
    wait(&server, 1);
    assert_eq!(server.json(&image(2)).0, 500);
    assert_eq!(server.child.wait().unwrap().code(), Some(1));
    let said = server.said();
    for part in ["faulty-model", "SIGSEGV", "as often as `--crashes 2` allows"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn the_process_of_the_model_ends_with_the_server_even_if_that_is_killed() {
    let trained = Trained::shared();
    let mut server = Server::start(trained, &[]);
    let pid = server.child.id();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of_threads: String = threads
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok())
        .collect();
    let Some(model) = of_threads.split_whitespace().next().map(str::to_owned) else {
        // The kernel does not list them.
        assert!(children.is_err(), "the server has no process of the model");
        return;
    };
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    let begin = Instant::now();
    let ended = || match fs::read_to_string(format!("/proc/{model}/stat")) {
        Ok(stat) => stat.contains(") Z"),
        Err(_) => true,
    };
    while !ended() {
        assert!(begin.elapsed() < Duration::from_secs(10), "the process of the model goes on");
        std::thread::sleep(Duration::from_millis(10));
    }
}
