//! The client of the control socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::api::Failure;
use crate::limits;

/// The server gives up after 60 seconds; a controller that does not even do that hangs.
const PATIENCE: Duration = Duration::from_secs(65);

/// Talks to the controller behind one control socket; a connection per request.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

/// Why there is no answer, or not the one hoped for.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens.
    #[error(
        "no controller is running on {socket} ({source}). Start it (systemctl start fairway), or name its socket \
         with --socket or its configuration with --config"
    )]
    NotRunning {
        /// The socket that was tried.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The socket's mode refused this user.
    #[error(
        "permission denied on {socket}. Run as root, or as a member of its group (gateway.control_group)"
    )]
    Denied {
        /// The socket that was tried.
        socket: PathBuf,
    },
    /// This process, or the machine, is at a limit.
    #[error("cannot talk to the controller on {socket}: {source}. {remedy}")]
    AtLimit {
        /// The socket that was tried.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
        /// What the operator can do.
        remedy: &'static str,
    },
    /// The controller refused or failed.
    #[error("{}", .0.error)]
    Refused(Failure),
    /// The conversation broke off.
    #[error(
        "the controller on {socket} did not answer properly: {cause}. Its log (journalctl -u fairway) says more"
    )]
    Broken {
        /// The socket that was tried.
        socket: PathBuf,
        /// What was wrong.
        cause: String,
    },
}

impl Client {
    /// For the controller that listens on `socket`.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.into() }
    }

    /// Asks for what is at `path`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        self.call(Method::GET, path, Bytes::new()).await
    }

    /// Has done what `path` names.
    pub async fn post<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        self.call(Method::POST, path, Bytes::new()).await
    }

    /// The same, with what it needs to know.
    pub async fn post_json<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, CallError> {
        let body = serde_json::to_vec(body)
            .map_err(|error| CallError::Broken { socket: self.socket.clone(), cause: error.to_string() })?;
        self.call(Method::POST, path, body.into()).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, CallError> {
        timeout(PATIENCE, self.converse(method, path, body)).await.unwrap_or_else(|_| {
            let cause = format!("no answer in {} seconds", PATIENCE.as_secs());
            Err(CallError::Broken { socket: self.socket.clone(), cause })
        })
    }

    async fn converse<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, CallError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|source| self.unreachable(source))?;
        let broken = |cause: &dyn std::fmt::Display| CallError::Broken {
            socket: self.socket.clone(),
            cause: cause.to_string(),
        };
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
        // Errors of the connection come out of the request as well.
        tokio::spawn(connection);
        let request = Request::builder().method(method).uri(path).header(header::HOST, "fairway");
        let request = request.header(header::CONTENT_TYPE, "application/json");
        let request = request.body(Full::new(body)).map_err(|error| broken(&error))?;
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|error| broken(&error))?.to_bytes();
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| broken(&error));
        }
        let failure = serde_json::from_slice(&body).map_err(|_| broken(&status))?;
        Err(CallError::Refused(failure))
    }

    fn unreachable(&self, source: io::Error) -> CallError {
        let socket = self.socket.clone();
        match source.kind() {
            io::ErrorKind::PermissionDenied => CallError::Denied { socket },
            _ => match limits::remedy(&source) {
                Some(remedy) => CallError::AtLimit { socket, source, remedy },
                None => CallError::NotRunning { socket, source },
            },
        }
    }
}
