//! `fluxbay serve`: the answers of `predict`, and a clear error for whatever is no request.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use fluxbay_tests::{binary, run, succeed, write};
use serde_json::Value;
use tempfile::TempDir;

use crate::{Trained, rows};

/// A server that is ended when the value is dropped.
pub struct Server {
    pub child: Child,
    address: SocketAddr,
    said: Arc<Mutex<String>>,
    _programs: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `fluxbay` and the server beside it, away from the plugins of the workspace.
fn programs() -> TempDir {
    let dir = fluxbay_tests::scratch();
    for name in ["fluxbay", "fluxbay-serve"] {
        let (from, to) = (binary().with_file_name(name), dir.path().join(name));
        fs::hard_link(&from, &to).or_else(|_| fs::copy(&from, &to).map(drop)).unwrap();
    }
    dir
}

fn command(trained: &Trained, programs: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(programs.path().join("fluxbay"));
    command.current_dir(trained.dir.path()).env_clear();
    command
        .env("HOME", trained.dir.path())
        .env("FLUXBAY_PLUGIN_PATH", trained.plugins.path())
        .env("NO_COLOR", "1")
        .args(arguments);
    command
}

impl Server {
    pub fn start(trained: &Trained, arguments: &[&str]) -> Server {
        let programs = programs();
        let arguments = [&["serve", "run/bundle", "--address", "127.0.0.1:0"], arguments].concat();
        let mut child = command(trained, &programs, &arguments)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        let address = loop {
            let mut line = String::new();
            assert_ne!(errors.read_line(&mut line).unwrap(), 0, "the server ended: {said}");
            if let Some((_, rest)) = line.split_once("http://") {
                break rest.split(' ').next().unwrap().parse().unwrap();
            }
            said.push_str(&line);
        };
        // Further lines must not fill the pipe.
        let said = Arc::new(Mutex::new(said));
        let further = Arc::clone(&said);
        std::thread::spawn(move || {
            let mut line = String::new();
            while errors.read_line(&mut line).is_ok_and(|count| count > 0) {
                further.lock().unwrap().push_str(&line);
                line.clear();
            }
        });
        Server { child, address, said, _programs: programs }
    }

    /// What it has written to stderr.
    pub fn said(&self) -> String {
        // The last lines may still be on their way.
        std::thread::sleep(Duration::from_millis(100));
        self.said.lock().unwrap().clone()
    }

    /// Status and body of the answer to the bytes of a request.
    fn send(&self, request: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        (status, body.to_owned())
    }

    pub fn request(&self, line: &str, headers: &str, body: &[u8]) -> (u16, String) {
        let head = format!(
            "{line} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        self.send(&[head.as_bytes(), body].concat())
    }

    pub fn json(&self, body: &str) -> (u16, Value) {
        let (status, body) =
            self.request("POST /predict", "content-type: application/json\r\n", body.as_bytes());
        (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}")))
    }
}

#[test]
fn answers_are_those_of_predict() {
    let trained = Trained::shared();
    let server = Server::start(trained, &["--batch", "32"]);
    let table = rows(&succeed(trained.fluxbay(&["predict", "run", "penguins.csv"])).stdout);
    let predictions = |text: &str| {
        let json: Value =
            serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        json["predictions"].as_array().unwrap_or_else(|| panic!("{text}")).clone()
    };
    let csv = fs::read(trained.path("penguins.csv")).unwrap();
    let (status, body) = server.request("POST /predict?top=2", "content-type: text/csv\r\n", &csv);
    assert_eq!(status, 200, "{body}");
    let answered = predictions(&body);
    assert_eq!(answered.len(), table.len() - 1);
    for (answer, row) in answered.iter().zip(&table[1..]) {
        let probability = answer["probability"].to_string();
        assert_eq!(
            [answer["key"].as_str().unwrap(), answer["class"].as_str().unwrap(), &probability],
            row[..]
        );
        assert_eq!(answer["top"].as_array().unwrap().len(), 2);
    }
    // Rows as objects, with a missing value, as the run fills it in.
    let penguins = trained.penguins();
    let objects: Vec<String> = penguins[1..9]
        .iter()
        .map(|row| {
            let cells =
                penguins[0].iter().zip(row).skip(1).map(|(name, cell)| match cell.parse::<f64>() {
                    Ok(number) => format!("\"{name}\":{number}"),
                    Err(_) if cell == "NA" => format!("\"{name}\":null"),
                    Err(_) => format!("\"{name}\":\"{cell}\""),
                });
            format!("{{{}}}", cells.collect::<Vec<_>>().join(","))
        })
        .collect();
    let (status, json) = server.json(&format!("{{\"rows\":[{}]}}", objects.join(",")));
    assert_eq!(status, 200, "{json}");
    for (answer, row) in json["predictions"].as_array().unwrap().iter().zip(&table[1..]) {
        assert_eq!(answer["class"], row[1].as_str());
    }
    // Many clients at a time.
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let (status, json) = server.json(&format!("{{\"rows\":[{}]}}", objects[0]));
                    assert_eq!(status, 200, "{json}");
                    assert_eq!(json["predictions"][0]["class"], table[1][1].as_str());
                }
            });
        }
    });
    let (_, health) = server.request("GET /health", "", b"");
    assert!(health.contains("\"ok\""), "{health}");
    let (_, metrics) = server.request("GET /metrics", "", b"");
    assert!(metrics.contains("fluxbay_requests_total{status=\"200\"} 8"), "{metrics}");
    let (_, document) = server.request("GET /openapi.json", "", b"");
    let document: Value = serde_json::from_str(&document).unwrap();
    assert!(
        document["paths"]["/predict"]["post"]["requestBody"]["content"]["text/csv"].is_object()
    );
    let interrupted = Command::new("kill").args(["-TERM", &server.child.id().to_string()]).status();
    assert!(interrupted.unwrap().success());
    let mut server = server;
    assert_eq!(server.child.wait().unwrap().code(), Some(0), "an orderly end");
}

#[test]
fn hostile_requests_are_answered_with_an_error_and_harm_no_others() {
    let trained = Trained::shared();
    let server =
        Server::start(trained, &["--max-body", "4096", "--max-samples", "5", "--timeout", "2s"]);
    let json = "content-type: application/json\r\n";
    let csv = "content-type: text/csv\r\n";
    let post = "POST /predict";
    let deep = format!("{{\"inputs\":{}1{}}}", "[".repeat(1500), "]".repeat(1500));
    let many = format!("{{\"inputs\":[{}]}}", ["0"; 6].join(","));
    let lines = "island,bill_length_mm\n".repeat(40);
    let refused: [(u16, &str, &str, &[u8], &str); 23] = [
        (404, "GET /../../etc/passwd", "", b"", "no such path"),
        (405, "GET /predict", "", b"", "another method"),
        (405, "DELETE /health", "", b"", "another method"),
        (415, post, "content-type: text/html\r\n", b"<html>", "application/json"),
        (415, post, "", b"{}", "application/json"),
        (422, post, json, b"{\"inputs\": [[1, 2", "no JSON"),
        (422, post, json, b"\xff\xfe{}", "no JSON"),
        (422, post, json, deep.as_bytes(), "no JSON"),
        (422, post, json, b"{\"inputs\": \"DROP TABLE\"}", "no list of samples"),
        (422, post, json, many.as_bytes(), "at most 5"),
        (422, post, json, b"{\"rows\": [{\"island\": {\"$ne\": 1}}]}", "is a list or an object"),
        (422, post, json, b"{\"inputs\": [NaN]}", "no JSON"),
        (422, post, json, b"{\"inputs\": [[1e999]]}", "no JSON"),
        (422, post, json, b"{\"inputs\": [[true, false]]}", "elements where"),
        (422, post, json, b"{\"rows\": [], \"rows\": []}", "duplicate field"),
        (422, post, json, b"{\"rows\": [{\"island\": 1}], \"__proto__\": {}}", "unknown field"),
        (422, post, json, b"{\"rows\": [{\"island\": \"\\u0000\"}], \"top\": -1}", "no JSON"),
        (422, post, json, b"", "no JSON"),
        (422, post, csv, b"", ""),
        (422, post, csv, b"island,bill_length_mm\n\"never closed", ""),
        (422, post, csv, b"a,b\n1,2\n", "predicts from column"),
        (422, post, csv, b"\x1f\x8b\x08\x00garbage", ""),
        (413, post, csv, &[b'1'; 5000], "more than 4096 bytes"),
    ];
    for (status, line, headers, body, part) in refused {
        let (found, text) = server.request(line, headers, body);
        assert_eq!(found, status, "{line} {headers} {text}");
        let error: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
        assert!(error["error"].as_str().unwrap().contains(part), "{part}: {text}");
        assert!(!text.contains("/proc/self"), "{text}");
    }
    let (status, text) = server.request("POST /predict?top=many", csv, lines.as_bytes());
    assert_eq!(status, 400, "{text}");
    // Another name for this machine: a web page that has its name resolved to the loopback.
    let rebound = b"GET /health HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
    assert_eq!(server.send(rebound).0, 421);
    let nameless = b"GET /health HTTP/1.0\r\n\r\n";
    assert_eq!(server.send(nameless).0, 421);
    // No end of the body, in pieces.
    let mut endless = format!(
        "POST /predict HTTP/1.1\r\nhost: localhost\r\n{csv}transfer-encoding: chunked\r\n\r\n"
    );
    endless.push_str(&format!("900\r\n{}\r\n", "x".repeat(0x900)).repeat(2));
    assert_eq!(server.send(endless.as_bytes()).0, 413);
    // Two lengths, or a length beside pieces: where the next request begins would be a matter of opinion.
    for lengths in [
        "content-length: 4\r\ncontent-length: 40\r\n",
        "content-length: -1\r\n",
        "content-length: 99999999999999999999999\r\n",
    ] {
        let head = format!("POST /predict HTTP/1.1\r\nhost: localhost\r\n{csv}{lengths}\r\nabcd");
        assert!(matches!(server.send(head.as_bytes()).0, 400 | 413), "{lengths}");
    }
    let piece = "POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/csv\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    assert_eq!(server.send(format!("{piece}zz\r\n").as_bytes()).0, 400, "no length of a piece");
    // A full address in the first line names the host, too.
    let absolute = b"GET http://evil.example/health HTTP/1.1\r\nhost: evil.example\r\n\r\n";
    assert_eq!(server.send(absolute).0, 421);
    let tunnel = b"CONNECT evil.example:443 HTTP/1.1\r\nhost: evil.example:443\r\n\r\n";
    assert_eq!(server.send(tunnel).0, 421);
    // HTTP/2 and TLS are not spoken.
    for other in
        [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"]
    {
        assert!(!(200..300).contains(&server.send(other).0));
    }
    // A body that never arrives is given up.
    let slow = b"POST /predict HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: text/csv\r\ncontent-length: 100\r\n\r\nisland";
    assert_eq!(server.send(slow).0, 408);
    for garbage in [&b"\x00\x01\x02\x03\r\n\r\n"[..], b"GET / HTTP/9.9\r\n\r\n"] {
        assert!(!(200..300).contains(&server.send(garbage).0));
    }
    let long =
        format!("GET /health HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "y".repeat(64 << 10));
    // The connection may be reset before the answer is read.
    assert!(matches!(server.send(long.as_bytes()).0, 431 | 0));
    let (status, health) = server.request("GET /health", "", b"");
    assert_eq!((status, health.contains("ok")), (200, true), "it still serves");
}

#[test]
fn other_addresses_and_those_with_a_token_need_it() {
    let trained = Trained::shared();
    let programs = programs();
    let open = run(&mut command(trained, &programs, &["serve", "run", "--address", "0.0.0.0:0"]));
    assert!(open.code == Some(2) && open.stderr.contains("--token-file"), "{}", open.stderr);
    write(trained.dir.path(), "short", "secret\n");
    let short = ["serve", "run", "--token-file", "short"];
    let short = run(&mut command(trained, &programs, &short));
    assert!(short.code == Some(2) && short.stderr.contains("at least 16"), "{}", short.stderr);
    write(trained.dir.path(), "token", "0123456789abcdef0123\n");
    let server = Server::start(trained, &["--token-file", "token"]);
    let health = |headers: &str| server.request("GET /health", headers, b"").0;
    assert_eq!(health(""), 401);
    assert_eq!(health("authorization: Bearer 0123456789abcdef0124\r\n"), 401);
    assert_eq!(health("authorization: Basic 0123456789abcdef0123\r\n"), 401);
    assert_eq!(health("authorization: Bearer 0123456789abcdef0123\r\n"), 200);
    let missing = run(&mut command(trained, &programs, &["serve", "nowhere"]));
    assert!(missing.code == Some(2) && missing.stderr.contains("nowhere"), "{}", missing.stderr);
}
