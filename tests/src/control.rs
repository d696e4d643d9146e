//! Requests to the control socket, as a panel would make them.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// What became of a request.
pub enum Answer {
    /// It was done.
    Done,
    /// It was refused: nothing has changed.
    Refused,
    /// There is no answer: it was done or not.
    CutOff,
}

/// Posts to the control socket.
pub fn post(socket: &Path, path: &str, body: &Value) -> Answer {
    let exchange = || -> io::Result<String> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let body = body.to_string();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: fairway\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let Ok(answer) = exchange() else { return Answer::CutOff };
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return Answer::CutOff };
    match (head.get(9..12), serde_json::from_str::<Value>(body)) {
        (Some("200"), Ok(_)) => Answer::Done,
        (Some("422"), Ok(_)) => Answer::Refused,
        _ => Answer::CutOff,
    }
}
