//! Real signals to a real process, and what systemd hears of it.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gateway::config::OnStop;
use gateway::run::signals;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::fake::{Files, Record, serve};

/// In the child process: the configuration to serve.
const CHILD: &str = "FAIRWAY_TEST_SERVE";

#[test]
fn signals_reload_and_stop_and_systemd_is_told() {
    if let Some(config) = std::env::var_os(CHILD) {
        return serve_until_signalled(Path::new(&config));
    }
    let files = Files::new();
    let notices = UnixDatagram::bind(files.path("notify")).unwrap();
    notices.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let service = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "signals::signals_reload_and_stop_and_systemd_is_told", "--nocapture"])
        // Its report must not look like one of this process.
        .stdout(Stdio::null())
        .env(CHILD, files.config())
        .env("NOTIFY_SOCKET", files.path("notify"))
        .spawn()
        .unwrap();
    let mut service = Guard(service);
    let pid = Pid::from_raw(service.0.id().try_into().unwrap());

    assert_eq!(notice(&notices), "READY=1\nSTATUS=policing 2 tenants on 2 interfaces\n");
    kill(pid, Signal::SIGHUP).unwrap();
    let reloading = notice(&notices);
    let since = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&reloading);
    since.trim_end().parse::<u64>().expect(&reloading);
    assert_eq!(notice(&notices), "READY=1\nSTATUS=policing 2 tenants on 2 interfaces\n");

    // The second one must not cut the orderly end short.
    kill(pid, Signal::SIGTERM).unwrap();
    kill(pid, Signal::SIGTERM).unwrap();
    assert_eq!(notice(&notices), "STOPPING=1\n");
    assert!(service.0.wait().unwrap().success());
    assert!(!files.socket().exists());
}

fn serve_until_signalled(config: &Path) {
    let record = Arc::new(Mutex::new(Record::default()));
    serve(config, Arc::clone(&record), || signals().unwrap()).unwrap();
    let record = record.lock().unwrap();
    assert_eq!(record.policies.len(), 2, "at the start and by SIGHUP");
    assert_eq!(record.stopped, Some(OnStop::Keep));
}

fn notice(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 1024];
    let length = socket.recv(&mut buffer).expect("a notice in time");
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

/// Ends the process if the test fails.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
