//! Programs that run no longer than the value that stands for them, nor than the process that started them.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::run::wait_for;

/// How long a program has between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// A running program; dropping it ends it.
#[derive(Debug)]
pub struct Process {
    line: String,
    child: Child,
    stdout: File,
    stderr: File,
}

/// What a program left behind.
#[derive(Clone, Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
}

impl Process {
    /// Starts `arguments[0]` with the rest as its arguments, in the calling thread's network namespace.
    ///
    /// Should the calling thread die without dropping the value, the kernel ends the program
    /// (`PR_SET_PDEATHSIG`, set by setpriv, which then becomes the program).
    pub fn start(arguments: &[&str]) -> Result<Self> {
        Self::start_with_input(arguments, Stdio::null())
    }

    /// [`Self::start`] with something to read.
    pub fn start_with_input(arguments: &[&str], stdin: impl Into<Stdio>) -> Result<Self> {
        let line = arguments.join(" ");
        let stdout = tempfile::tempfile().context("a file for its output")?;
        let stderr = tempfile::tempfile().context("a file for its errors")?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "--"])
            .args(arguments)
            .env("PATH", search_path()?)
            .env("PYTHONUNBUFFERED", "1")
            .stdin(stdin)
            .stdout(stdout.try_clone()?)
            .stderr(stderr.try_clone()?)
            .spawn()
            .with_context(|| format!("starting {line}"))?;
        Ok(Self { line, child, stdout, stderr })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard output so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        contents(&self.stdout)
    }

    /// What it has written to standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        contents(&self.stderr)
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?);
        kill(pid, signal).with_context(|| format!("sending {signal} to {}", self.line))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If it does not end in time; it is killed then.
    pub fn finish(mut self, timeout: Duration) -> Result<Finished> {
        let line = self.line.clone();
        let status = wait_for(&line, timeout, || self.ended())?;
        Ok(Finished { status, stdout: self.stdout(), stderr: self.stderr() })
    }

    /// Waits until it is ready, as told by `is_ready`.
    ///
    /// # Errors
    /// If it ends instead, or does not get there in time; with what it wrote.
    pub fn wait_until_ready(
        &mut self,
        timeout: Duration,
        mut is_ready: impl FnMut(&Self) -> bool,
    ) -> Result<()> {
        let line = self.line.clone();
        let ready = wait_for(&line, timeout, || match self.ended() {
            Some(status) => Some(Err(status)),
            None => is_ready(self).then_some(Ok(())),
        });
        let written = format!("{}{}", self.stdout(), self.stderr());
        match ready.with_context(|| format!("it wrote:\n{written}"))? {
            Ok(()) => Ok(()),
            Err(status) => bail!("{line} ended with {status} instead of getting ready. It wrote:\n{written}"),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_some() {
            return;
        }
        // Ignored errors mean that it is already gone, which is what is wanted.
        let _ = self.signal(Signal::SIGTERM);
        if wait_for(&self.line.clone(), GRACE, || self.ended()).is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Finished {
    /// The output of a program that has succeeded.
    ///
    /// # Errors
    /// If it failed; with what it wrote.
    pub fn success(self) -> Result<String> {
        if !self.status.success() {
            bail!("{}:\n{}{}", self.status, self.stdout, self.stderr);
        }
        Ok(self.stdout)
    }

    /// The exit code; 128 and the signal's number for one that was killed, as shells tell it.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }
}

/// The workspace's tools, then the user's path, then the administrator's programs.
fn search_path() -> Result<std::ffi::OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let tools = std::path::PathBuf::from(crate::TARGET).join("tools/bin");
    let directories = std::iter::once(tools).chain(std::env::split_paths(&path));
    Ok(std::env::join_paths(directories.chain(["/usr/sbin", "/sbin"].map(Into::into)))?)
}

/// A file from its start, whatever the position that its writer and this process share.
fn contents(file: &File) -> String {
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    let read = file.read_at(&mut bytes, 0).unwrap_or(0);
    bytes.truncate(read);
    String::from_utf8_lossy(&bytes).into_owned()
}
