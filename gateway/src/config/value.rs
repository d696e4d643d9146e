//! What kinds of values keys take, and why a value is refused.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use toml::de::DeValue;

use super::suggest::nearest;
use crate::text::is_deceptive;

/// Why a value was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// What is wrong; none: "`key` must be" what its kind expects.
    pub(super) message: Option<String>,
    /// What stands there, under the underlined value.
    pub(super) label: String,
    /// What to do.
    pub(super) help: Option<String>,
}

impl Refusal {
    pub(super) fn new(label: impl Into<String>) -> Self {
        Self { message: None, label: label.into(), help: None }
    }

    /// For a value of another TOML type.
    pub(super) fn type_of(value: &DeValue<'_>) -> Self {
        Self::new(format!("found {}", type_name(value)))
    }

    pub(super) fn message(mut self, message: impl Into<String>) -> Self {
        self.message = Some(message.into());
        self
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

pub(super) fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// What a key takes.
pub(super) trait Kind {
    type Value;

    /// Completes "must be ...".
    fn expected(&self) -> String;

    fn read(&self, value: &DeValue<'_>) -> Result<Self::Value, Refusal>;
}

/// A kind that is read by a function.
pub(super) struct Scalar<T> {
    pub(super) expected: &'static str,
    pub(super) read: fn(&DeValue<'_>) -> Result<T, Refusal>,
}

impl<T> Kind for Scalar<T> {
    type Value = T;

    fn expected(&self) -> String {
        self.expected.to_owned()
    }

    fn read(&self, value: &DeValue<'_>) -> Result<T, Refusal> {
        (self.read)(value)
    }
}

/// One word of a few.
pub(super) struct Choice<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: Copy> Kind for Choice<T> {
    type Value = T;

    fn expected(&self) -> String {
        self.0.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ")
    }

    fn read(&self, value: &DeValue<'_>) -> Result<T, Refusal> {
        let text = text(value)?;
        self.0.iter().find(|(word, _)| *word == text).map(|&(_, choice)| choice).ok_or_else(|| {
            let refusal = Refusal::new("not one of them");
            match nearest(text, self.0.iter().map(|(word, _)| *word)) {
                Some(word) => refusal.help(format!("did you mean \"{word}\"?")),
                None => refusal,
            }
        })
    }
}

/// The text of a string.
pub(super) fn text<'v>(value: &'v DeValue<'_>) -> Result<&'v str, Refusal> {
    value.as_str().ok_or_else(|| Refusal::type_of(value))
}

/// An integer within `range`.
pub(super) fn integer(value: &DeValue<'_>, range: RangeInclusive<u32>) -> Result<u32, Refusal> {
    let integer = value.as_integer().ok_or_else(|| Refusal::type_of(value))?;
    u32::from_str_radix(integer.as_str(), integer.radix())
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| Refusal::new("out of range"))
}

/// A whole number within a range.
pub(super) struct NumberWithin(pub(super) RangeInclusive<u32>);

impl Kind for NumberWithin {
    type Value = u32;

    fn expected(&self) -> String {
        format!("a number from {} to {}", self.0.start(), self.0.end())
    }

    fn read(&self, value: &DeValue<'_>) -> Result<u32, Refusal> {
        integer(value, self.0.clone())
    }
}

/// `true` or `false`.
pub(super) const FLAG: Scalar<bool> = Scalar {
    expected: "true or false",
    read: |value| value.as_bool().ok_or_else(|| Refusal::type_of(value)),
};

/// The longest [`TEXT`], in characters.
const TEXT_MAX_CHARS: usize = 500;

/// Text for people. What deceives is refused: names are shown on terminals.
pub(super) const TEXT: Scalar<String> = Scalar {
    expected: "a line of text",
    read: |value| match text(value)? {
        text if text.trim().is_empty() => Err(Refusal::new("empty")),
        text if text.contains(char::is_control) => Err(Refusal::new("contains a control character")),
        text if text.contains(is_deceptive) => {
            Err(Refusal::new("contains a character that hides or turns others"))
        }
        text if text.chars().count() > TEXT_MAX_CHARS => Err(Refusal::new(format!(
            "{} characters long, {TEXT_MAX_CHARS} are the most",
            text.chars().count()
        ))),
        text => Ok(text.to_owned()),
    },
};

/// A stable key: a label in metrics, a file name, an argument of commands.
pub(super) const IDENTIFIER: Scalar<String> = Scalar {
    expected: "a name of 1 to 63 characters of a-z, 0-9 and \"-\"",
    read: |value| {
        let text = text(value)?;
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.chars().all(allowed) && (1..=63).contains(&text.len()) {
            return Ok(text.to_owned());
        }
        Err(match text.chars().find(|&c| !allowed(c)) {
            Some(c) => Refusal::new(format!("contains {c:?}")),
            None => Refusal::new(format!("{} characters long", text.len())),
        })
    },
};

/// As [`IDENTIFIER`], or a number, which is what many systems key their customers by.
pub(super) const TENANT_ID: Scalar<String> = Scalar {
    expected: IDENTIFIER.expected,
    read: |value| match value.as_integer() {
        // Digits alone are the number as it is written: no sign, no other radix.
        Some(number) if number.radix() == 10 && number.as_str().bytes().all(|b| b.is_ascii_digit()) => {
            (IDENTIFIER.read)(&DeValue::String(number.as_str().into()))
        }
        _ => (IDENTIFIER.read)(value),
    },
};

/// A path that means the same wherever the command is started from.
pub(super) const ABSOLUTE_PATH: Scalar<PathBuf> = Scalar {
    expected: "an absolute path",
    read: |value| match text(value)? {
        text if text.contains('\0') => Err(Refusal::new("contains a NUL character")),
        text if text.starts_with('/') => Ok(PathBuf::from(text)),
        _ => Err(Refusal::new("does not start with \"/\"")),
    },
};
