//! Reading a configuration again: what has not changed is taken from before, and nothing shows that.

#![expect(clippy::unwrap_used, reason = "a test may fall over")]

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;

use gateway::config::{BitRate, Config, Diagnostics, Loaded, Loader, load};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tempfile::TempDir;

const NOW: &str = "2026-11-01T12:00:00Z";

/// A main file with `files` of tenants beside it, and who reads them.
struct Bed {
    directory: TempDir,
    loader: Loader,
}

impl Bed {
    fn new(files: &[(&str, &str)]) -> Self {
        let bed = Self { directory: tempfile::tempdir().unwrap(), loader: Loader::default() };
        fs::create_dir(bed.directory.path().join("tenants.d")).unwrap();
        bed.write_main("");
        files.iter().for_each(|(name, text)| bed.write(name, text));
        bed
    }

    fn main_file(&self) -> PathBuf {
        self.directory.path().join("gateway.toml")
    }

    fn write_main(&self, more: &str) {
        let interface = |name, side| format!("[[interface]]\nname = \"{name}\"\nside = \"{side}\"\n");
        let interfaces = interface("eth1", "tenant") + &interface("eth0", "uplink");
        let gateway = "[gateway]\nname = \"edge1\"\ntenants = [\"tenants.d/*.toml\"]\n";
        fs::write(self.main_file(), format!("{gateway}{interfaces}{more}")).unwrap();
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.directory.path().join("tenants.d").join(name), text).unwrap();
    }

    /// Reads all anew, and makes sure that it comes to the same as reading it for the first time; with the
    /// warnings of that moment.
    fn read_at(&mut self, now: &str) -> Result<(Config, Diagnostics), Diagnostics> {
        let (file, now) = (self.main_file(), now.parse().unwrap());
        let with_warnings = |loaded: Loaded| {
            let warnings = loaded.warnings_at(now);
            (loaded.config, warnings)
        };
        let again = self.loader.load(&file).map(with_warnings);
        let first = load(&file).map(with_warnings);
        match (&again, &first) {
            (Ok((config, warnings)), Ok((first, first_warnings))) => {
                assert_eq!(config.tenants, first.tenants);
                assert_eq!(config.detection, first.detection);
                assert_eq!(config.digest, first.digest);
                assert_eq!(warnings.render(false), first_warnings.render(false));
            }
            (Err(mistakes), Err(first)) => assert_eq!(mistakes.render(false), first.render(false)),
            _ => panic!("again: {again:?}\nfor the first time: {first:?}"),
        }
        again
    }

    fn read(&mut self) -> Result<(Config, Diagnostics), Diagnostics> {
        self.read_at(NOW)
    }
}

fn tenant(id: &str, number: u8, more: &str) -> String {
    format!(
        "[[tenant]]\nid = \"{id}\"\nprefixes = [\"203.0.113.{number}/32\"]\ncontact = \"a@b.example\"\n{more}\n"
    )
}

#[test]
fn tenants_of_files_that_did_not_change_are_shared() {
    let mut bed = Bed::new(&[("a.toml", &tenant("a", 1, "")), ("b.toml", &tenant("b", 2, ""))]);
    let (before, _) = bed.read().unwrap();
    bed.write("b.toml", &tenant("b", 2, "name = \"Beta\""));
    let (after, _) = bed.read().unwrap();
    assert!(Arc::ptr_eq(&before.tenants[0], &after.tenants[0]));
    assert_eq!(after.tenants[1].name, "Beta");
    assert_ne!(before.digest, after.digest);
}

#[test]
fn another_main_file_changes_tenants_too() {
    let mut bed = Bed::new(&[("a.toml", &tenant("a", 1, ""))]);
    bed.read().unwrap();
    bed.write_main("[fair_use]\nceiling = \"5 Mbit/s\"\n");
    let (config, _) = bed.read().unwrap();
    assert_eq!(Some(config.tenants[0].cap_up), BitRate::from_bits_per_sec(5_000_000));
}

#[test]
fn mistakes_are_told_again_in_the_order_of_the_files() {
    let mistake = tenant("b", 2, "vlan = 0");
    let mut bed = Bed::new(&[("b.toml", &mistake), ("d.toml", &tenant("b", 2, ""))]);
    // The vlan; the second tenant of the id and of the network.
    assert_eq!(bed.read().unwrap_err().errors(), 3);
    // Files before, between and after them come and go.
    bed.write("a.toml", &tenant("a", 1, "vlan = 4095"));
    bed.write("c.toml", &tenant("c", 3, "vlan = 4096"));
    assert_eq!(bed.read().unwrap_err().errors(), 5);
    bed.write("b.toml", "");
    bed.write("a.toml", "");
    assert_eq!(bed.read().unwrap_err().errors(), 1);
    bed.write("c.toml", &tenant("c", 3, ""));
    assert_eq!(bed.read().unwrap().0.tenants.len(), 2);
}

#[test]
fn what_expires_is_warned_about_in_files_that_nobody_changes() {
    let exemption = "[[tenant.smtp_exemption]]\ndirection = \"out\"\nticket = \"T-1\"\n\
        approved_by = \"j.doe\"\nexpires = 2026-12-31";
    let mut bed = Bed::new(&[("a.toml", &tenant("a", 1, exemption))]);
    let held = |(config, warnings): (Config, Diagnostics)| {
        (config.tenants[0].smtp_exemptions.len(), warnings.warnings())
    };
    assert_eq!(held(bed.read_at("2026-11-01T12:00:00Z").unwrap()), (1, 0));
    assert_eq!(held(bed.read_at("2026-12-20T12:00:00Z").unwrap()), (1, 1), "expires soon");
    assert_eq!(held(bed.read_at("2026-12-29T12:00:00Z").unwrap()), (1, 1), "in other words");
    assert_eq!(held(bed.read_at("2027-01-01T00:00:00Z").unwrap()), (1, 1), "has expired");
}

#[test]
fn detection_is_read_again_beside_tenants_that_are_not() {
    let mut bed = Bed::new(&[("a.toml", &tenant("acme", 1, ""))]);
    bed.write_main(
        "[detect]\ndrop_lists = [\"drop.txt\"]\n[[detect.allow]]\nsources = [\"203.0.113.1\"]\nreason = \"crawler\"\n\
         ticket = \"T-1\"\napproved_by = \"j.doe\"\nexpires = 2026-12-31\n",
    );
    let list = bed.directory.path().join("drop.txt");
    fs::write(&list, "198.51.100.0/24\n").unwrap();
    let (before, warnings) = bed.read().unwrap();
    assert_eq!((before.detection.listed.len(), before.detection.allow.len()), (1, 1));
    assert_eq!(warnings.warnings(), 0, "{}", warnings.render(false));

    fs::write(&list, "198.51.100.0/24\n192.0.2.0/24\n").unwrap();
    let (after, _) = bed.read().unwrap();
    assert_eq!(after.detection.listed.len(), 2);
    assert_ne!(after.digest, before.digest);
    assert!(Arc::ptr_eq(&before.tenants[0], &after.tenants[0]));

    let (_, warnings) = bed.read_at("2026-12-24T12:00:00Z").unwrap();
    assert_eq!(warnings.warnings(), 1, "{}", warnings.render(false));
    let (lapsed, warnings) = bed.read_at("2027-01-01T00:00:00Z").unwrap();
    assert!(warnings.render(false).contains("the allowance T-1 has expired"), "{}", warnings.render(false));
    assert_eq!(lapsed.detection.allow, before.detection.allow, "a configuration knows no time");
    assert!(Arc::ptr_eq(&before.tenants[0], &lapsed.tenants[0]));
}

#[test]
fn a_change_anywhere_in_a_long_file_is_noticed() {
    let long = tenant("acme", 1, "") + &"# a line of a comment\n".repeat(10_000);
    let mut bed = Bed::new(&[("a.toml", &long)]);
    let (first, _) = bed.read().unwrap();
    let (same, _) = bed.read().unwrap();
    assert!(Arc::ptr_eq(&first.tenants[0], &same.tenants[0]));
    for changed in [
        format!("{long}# one more\n"),
        long[..long.len() - 1].to_owned(),
        long.replacen("# a line of a comment\n# a line", "# a line of a comment\n# A line", 1),
        long.replacen("acme", "beta", 1),
    ] {
        let before = bed.read().unwrap().0.digest;
        bed.write("a.toml", &changed);
        assert_ne!(bed.read().unwrap().0.digest, before);
    }
    assert_eq!(bed.read().unwrap().0.tenants[0].id, "beta");
}

#[test]
fn what_is_no_file_of_text_is_named_and_hangs_nothing() {
    let mut bed = Bed::new(&[("a.toml", &tenant("a", 1, ""))]);
    let directory = bed.directory.path().join("tenants.d");
    let at = |name: &str| directory.join(name);
    mkfifo(&at("fifo.toml"), Mode::S_IRWXU).unwrap();
    symlink("/dev/zero", at("zero.toml")).unwrap();
    symlink("loop.toml", at("loop.toml")).unwrap();
    let _socket = UnixListener::bind(at("socket.toml")).unwrap();
    fs::File::create(at("large.toml")).unwrap().set_len(1 << 32).unwrap();
    let told = bed.read().unwrap_err();
    let told: Vec<_> =
        told.iter().map(|told| told.message().replace(&*at("").to_string_lossy(), "")).collect();
    assert_eq!(
        told,
        [
            "cannot read fifo.toml: it is a FIFO (named pipe), not a regular file",
            "cannot read large.toml: it is larger than 256 MiB, the most that is read of a file",
            "cannot read loop.toml: Too many levels of symbolic links (os error 40)",
            "cannot read socket.toml: it is a socket, not a regular file",
            "cannot read zero.toml: it is a device, not a regular file",
        ]
    );
}

#[test]
fn a_file_that_becomes_a_fifo_is_named_too() {
    let mut bed = Bed::new(&[("a.toml", &tenant("a", 1, ""))]);
    bed.read().unwrap();
    let file = bed.directory.path().join("tenants.d/a.toml");
    fs::remove_file(&file).unwrap();
    mkfifo(&file, Mode::S_IRWXU).unwrap();
    assert!(bed.read().unwrap_err().render(false).contains("it is a FIFO"));
}
