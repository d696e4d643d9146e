//! Programs and people that mean harm, or are broken: half requests, requests that are none, text that deceives.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::Value;

use crate::fake::{Files, Gateway, stderr, stdout, tenant};

fn ask(gateway: &Gateway, request: &str) -> (u16, String) {
    let mut stream = UnixStream::connect(gateway.files.socket()).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

fn post(gateway: &Gateway, path: &str, headers: &str, body: &str) -> (u16, String) {
    let length = body.len();
    ask(
        gateway,
        &format!("POST {path} HTTP/1.1\r\nhost: x\r\n{headers}content-length: {length}\r\n\r\n{body}"),
    )
}

const JSON: &str = "content-type: application/json\r\n";

#[test]
fn every_failure_is_the_documented_object() {
    let gateway = Gateway::start(Files::new());
    let suspend = "/v1/tenants/acme/suspend";
    let whole = r#"{"scope": "mail", "reason": "x"}"#;
    let get = |path: &str| ask(&gateway, &format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n"));
    for (case, (status, body), expected) in [
        ("no such path", get("/v2/status"), 404),
        ("another method", get("/v1/reload"), 405),
        ("a path that is no text", get("/v1/explain/%ff"), 400),
        ("no address", get("/v1/explain/nowhere"), 422),
        ("a query that is none", get("/v1/tenants/acme/history?limit=many"), 400),
        ("no such tenant", get("/v1/tenants/nobody/history"), 422),
        ("no content type", post(&gateway, suspend, "", whole), 415),
        ("no JSON", post(&gateway, suspend, JSON, "{"), 400),
        ("another object", post(&gateway, suspend, JSON, "{}"), 422),
        ("an unknown key", post(&gateway, suspend, JSON, r#"{"scope": "mail", "reason": "x", "y": 1}"#), 422),
        ("too long", post(&gateway, suspend, JSON, &"x".repeat(70_000)), 413),
        ("no body", post(&gateway, suspend, JSON, ""), 400),
    ] {
        assert_eq!(status, expected, "{case}: {body}");
        let failure: Value =
            serde_json::from_str(&body).unwrap_or_else(|error| panic!("{case}: {error}: {body}"));
        assert_eq!(failure["version"], 1, "{case}: {body}");
        assert!(failure["error"].as_str().is_some_and(|error| !error.is_empty()), "{case}: {body}");
    }
    assert_eq!(gateway.record.lock().unwrap().restrictions.len(), 0, "one of them suspended a tenant");
}

#[test]
fn reasons_are_one_line_of_plain_text() {
    let gateway = Gateway::start(Files::new());
    let suspend = |reason: &str| gateway.fairway(&["suspend", "acme", "--scope", "mail", "--reason", reason]);
    for reason in ["", "  ", "two\nlines", "\u{1b}[2Jgone", "evil\u{202e}moc.knab", &"x".repeat(501)] {
        let output = suspend(reason);
        assert_eq!(output.status.code(), Some(1), "{reason:?}: {output:?}");
        assert!(stderr(&output).starts_with("error: the reason "), "{output:?}");
        assert!(!stderr(&output).contains(['\u{1b}', '\u{202e}']), "{output:?}");
    }
    assert!(suspend("bulk mail").status.success());
    let restored = gateway.fairway(&["restore", "acme", "--reason", "a\u{7}b"]);
    assert_eq!(restored.status.code(), Some(1), "{restored:?}");
    assert_eq!(gateway.record.lock().unwrap().restrictions.len(), 1);
}

#[test]
fn a_suspension_of_no_time_is_a_slip() {
    let gateway = Gateway::start(Files::new());
    let command = ["suspend", "acme", "--scope", "mail", "--reason", "x", "--for"];
    for none in ["0s", "0d", "999ms"] {
        let output = gateway.fairway(&[&command[..], &[none]].concat());
        assert_eq!(output.status.code(), Some(2), "{none}: {output:?}");
        assert!(stderr(&output).contains("a second at least"), "{output:?}");
    }
    let body = r#"{"scope": "mail", "reason": "x", "for_seconds": 0}"#;
    assert_eq!(post(&gateway, "/v1/tenants/acme/suspend", JSON, body).0, 422);
    assert_eq!(gateway.record.lock().unwrap().restrictions.len(), 0);
}

#[test]
fn names_and_file_names_reach_the_terminal_as_text() {
    let files = Files::new();
    files.write("tenants.d/a\u{1b}[2J.toml", &tenant("gamma", 3));
    let gateway = Gateway::start(files);
    let output = gateway.fairway(&["explain", "198.51.100.3"]);
    assert!(stdout(&output).contains("a\\u{1b}[2J.toml:"), "{output:?}");
    assert!(!stdout(&output).contains('\u{1b}'), "{output:?}");
    // As a mistake is reported, too.
    gateway
        .files
        .write("tenants.d/a\u{1b}[2J.toml", &tenant("gamma", 3).replace("gamma Ltd", "evil\u{202e}moc"));
    let output = gateway.fairway(&["reload"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("contains a character that hides or turns others"), "{output:?}");
    assert!(!stderr(&output).contains(['\u{1b}', '\u{202e}']), "{output:?}");
}

#[test]
fn thousands_of_half_requests_hold_nobody_up() {
    // For the other ends of the connections, which are in this process as well.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most.min(8_192), most).unwrap();
    let gateway = Gateway::start(Files::new());
    let mut halves = Vec::new();
    for _ in 0..1_000 {
        let mut half = UnixStream::connect(gateway.files.socket()).unwrap();
        // It may be closed already, for a newer one.
        let _ = half.write_all(b"GET /v1/sta");
        halves.push(half);
    }
    let output = gateway.fairway(&["suspend", "acme", "--scope", "everything", "--reason", "flood"]);
    assert!(output.status.success(), "{output:?}");
    assert!(gateway.fairway(&["status"]).status.success());
    let mut scrapers = Vec::new();
    for _ in 0..200 {
        let mut half = TcpStream::connect(gateway.files.metrics).unwrap();
        let _ = half.write_all(b"GET /met");
        scrapers.push(half);
    }
    assert!(gateway.scrape().contains("fairway_"));
}

#[test]
fn a_file_in_the_place_of_the_socket_is_left_as_it_is() {
    let files = Files::new();
    fs::create_dir(files.path("run")).unwrap();
    fs::write(files.socket(), "of great value").unwrap();
    let error = crate::service::refused_start(&files).to_string();
    assert!(error.contains("is no socket, and is left as it is"), "{error}");
    assert_eq!(fs::read_to_string(files.socket()).unwrap(), "of great value");
}
