//! Drop lists: files of networks that nobody should talk to, one prefix a line, in the form that
//! Spamhaus publishes DROP in. What follows `;` or `#` is a comment.
//!
//! Such a file is fetched from elsewhere: a line that cannot be read is passed over with a warning, so that
//! a publisher's slip does not keep the gateway from starting.

use std::sync::Arc;

use ipnetwork::IpNetwork;

use crate::config::diagnostic::{Diagnostic, Diagnostics};
use crate::config::source::Source;

/// Lines told one by one; a file of another format would otherwise fill the screen.
const TOLD_LINES: usize = 3;

/// The networks of one file.
pub(in crate::config) fn read_drop_list(source: &Arc<Source>, found: &mut Diagnostics) -> Vec<IpNetwork> {
    let mut networks = Vec::new();
    let mut wrong = 0;
    let mut line_start = 0;
    for line in source.text().split_inclusive('\n') {
        let entry = line.split([';', '#']).next().unwrap_or_default();
        let written = entry.trim();
        let start = line_start + (entry.len() - entry.trim_start().len());
        line_start += line.len();
        if written.is_empty() {
            continue;
        }
        match parse(written) {
            Ok(network) => networks.push(network),
            Err(label) => {
                wrong += 1;
                if wrong <= TOLD_LINES {
                    found.push(
                        Diagnostic::warning("a line of a drop list is left out")
                            .at(&source.span(start..start + written.len()), label)
                            .help(
                                "a line is a network such as 192.0.2.0/24, with comments behind `;` or `#`",
                            ),
                    );
                }
            }
        }
    }
    if wrong > TOLD_LINES {
        let more = wrong - TOLD_LINES;
        found.push(
            Diagnostic::warning(format!("{more} more lines of a drop list are left out"))
                .at(&source.span(0..0), format!("{} could be read", networks.len()))
                .help("fetch the list again, in the form of one prefix a line"),
        );
    }
    networks
}

fn parse(written: &str) -> Result<IpNetwork, &'static str> {
    let network: IpNetwork = written.parse().map_err(|_| "not a network")?;
    match network {
        network if network.prefix() == 0 => Err("covers every address"),
        network if network.ip() != network.network() => Err("bits after the prefix are set"),
        network => Ok(network),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(text: &str) -> (Vec<String>, Diagnostics) {
        let mut found = Diagnostics::default();
        let source = Source::new(0, Path::new("drop.txt"), text.to_owned());
        let networks = read_drop_list(&source, &mut found);
        (networks.iter().map(ToString::to_string).collect(), found)
    }

    #[test]
    fn comments_and_blank_lines_are_no_networks() {
        let (networks, found) = read(
            "; Spamhaus DROP List\n\n1.10.16.0/20 ; SBL256894\r\n  2001:db8::/32#x\n# 192.0.2.0/24\n192.0.2.1",
        );
        assert_eq!(networks, ["1.10.16.0/20", "2001:db8::/32", "192.0.2.1/32"]);
        assert!(found.is_empty(), "{found}");
    }

    #[test]
    fn lines_that_cannot_be_read_are_told_with_their_place() {
        let (networks, found) = read("192.0.2.0/24\n  nonsense ; x\n0.0.0.0/0\n192.0.2.1/24\n{\n}\n");
        assert_eq!(networks, ["192.0.2.0/24"]);
        assert_eq!((found.errors(), found.warnings()), (0, 4));
        let told = found.render(false);
        assert!(told.contains("drop.txt:2:3") && told.contains("drop.txt:3:1"), "{told}");
        assert!(told.contains("2 more lines of a drop list are left out"), "{told}");
    }
}
