//! Running the command.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fairway_tests::gateway::binary;
use serde_json::Value;

/// A gateway with tags checked on both sides, so that a capture's tags show.
const GATEWAY: &str = r#"
[gateway]
name = "replayed"
[[interface]]
name = "in0"
side = "tenant"
[[interface]]
name = "out0"
side = "uplink"
match_vlan = true
"#;

/// Two tenants.
pub(crate) const TENANTS: &str = r#"
[[tenant]]
id = "acme"
prefixes = ["203.0.113.0/28", "2001:db8:10::/48"]
contact = "admin@acme.example"

[[tenant]]
id = "tagged"
prefixes = ["203.0.113.16/28"]
contact = "admin@tagged.example"
vlan = 110
"#;

/// Files of one test.
pub(crate) struct Files {
    directory: tempfile::TempDir,
}

/// What the command left.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Files {
    /// With the policy of `policy`, on top of two interfaces.
    pub(crate) fn new(policy: &str) -> Self {
        let files = Self { directory: tempfile::tempdir().unwrap() };
        files.write("gateway.toml", format!("{GATEWAY}{policy}").as_bytes());
        files
    }

    /// Adds another policy as a file of its own.
    pub(crate) fn other_policy(&self, policy: &str) -> PathBuf {
        self.write("other.toml", format!("{GATEWAY}{policy}").as_bytes())
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Replays a capture.
    pub(crate) fn replay(&self, capture: &[u8], options: &[&str]) -> Outcome {
        let capture = self.write("capture", capture);
        replay(&self.directory.path().join("gateway.toml"), &capture, options)
    }

    /// Replays a capture that is read to its end; what `--json` prints.
    pub(crate) fn json(&self, capture: &[u8], options: &[&str]) -> Value {
        self.replay(capture, &[options, &["--json"]].concat()).json()
    }
}

/// Runs `fairway replay`.
pub(crate) fn replay(config: &Path, capture: &Path, options: &[&str]) -> Outcome {
    let mut command = Command::new(binary().unwrap());
    command.args(["replay", "--config"]).args([config, capture]).args(options);
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Outcome { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

impl Outcome {
    /// What a run that succeeded printed.
    pub(crate) fn json(&self) -> Value {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{self:#?}");
        serde_json::from_str(&self.stdout).unwrap()
    }
}

/// `n tenant direction verdict reason` of every verdict.
pub(crate) fn verdicts(report: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let line = |verdict: &Value| {
        let fields = ["tenant", "direction", "verdict", "reason"].map(|field| text(&verdict[field]));
        format!("{} {}", verdict["n"], fields.join(" "))
    };
    report["verdicts"].as_array().unwrap().iter().map(line).collect()
}
