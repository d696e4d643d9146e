//! The text exposition format 0.0.4, streamed sample by sample.

use std::io::{self, Write};

/// Writes samples of one family, headed by its HELP and TYPE if there is any.
pub(super) struct Family<'a> {
    name: &'a str,
    help: &'a str,
    kind: &'static str,
    headed: bool,
}

impl<'a> Family<'a> {
    pub(super) fn new(name: &'a str, help: &'a str, kind: &'static str) -> Self {
        Self { name, help, kind, headed: false }
    }

    pub(super) fn sample(
        &mut self,
        out: &mut impl Write,
        labels: &[(&str, &str)],
        value: u64,
    ) -> io::Result<()> {
        if !self.headed {
            let Self { name, help, kind, .. } = self;
            write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n")?;
            self.headed = true;
        }
        out.write_all(self.name.as_bytes())?;
        let mut separator = b"{";
        for (label, text) in labels {
            out.write_all(separator)?;
            out.write_all(label.as_bytes())?;
            out.write_all(b"=\"")?;
            escaped(out, text)?;
            out.write_all(b"\"")?;
            separator = b",";
        }
        let close = if labels.is_empty() { "" } else { "}" };
        writeln!(out, "{close} {value}")
    }
}

/// A label's value may hold anything; backslash, quote and line feed are escaped.
fn escaped(out: &mut impl Write, text: &str) -> io::Result<()> {
    let special = |byte: u8| matches!(byte, b'\\' | b'"' | b'\n');
    for piece in text.as_bytes().split_inclusive(|byte| special(*byte)) {
        match piece.split_last() {
            Some((b'\n', plain)) => {
                out.write_all(plain)?;
                out.write_all(b"\\n")?;
            }
            Some((last, plain)) if special(*last) => {
                out.write_all(plain)?;
                out.write_all(&[b'\\', *last])?;
            }
            _ => out.write_all(piece)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_are_escaped() {
        let escape = |text: &str| {
            let mut out = Vec::new();
            escaped(&mut out, text).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(escape("plain-1"), "plain-1");
        assert_eq!(escape(""), "");
        assert_eq!(escape("a\\b\"c\nd"), r#"a\\b\"c\nd"#);
        assert_eq!(escape("\"\n\\"), r#"\"\n\\"#);
        assert_eq!(escape("zürich"), "zürich");
    }

    #[test]
    fn a_sample_may_have_no_labels() {
        let mut out = Vec::new();
        Family::new("up", "Help.", "gauge").sample(&mut out, &[], 1).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "# HELP up Help.\n# TYPE up gauge\nup 1\n");
    }
}
