//! The columns of a CSV file: what their names mean, and what their cells hold.

use std::collections::{HashMap, HashSet};

/// What a column's cells hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One value.
    Value,
    /// Values separated by blanks, tabs, line feeds, commas or semicolons.
    List,
    /// `true` or `false`.
    Flag,
}

/// A column; dotted: of the table in the tenant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
}

impl Column {
    const fn new(name: &'static str, shape: Shape) -> Self {
        Self { name, shape }
    }

    /// Whether its cells may begin with any character, `#` among them.
    pub(super) fn is_free_text(self) -> bool {
        matches!(self.name, "name" | "contact")
    }

    /// Whether both cannot be in one file.
    pub(super) fn excludes(self, other: Self) -> bool {
        let is_cap_and_part = |cap: Self, part: Self| cap.name == "cap" && part.name.starts_with("cap.");
        self.name == other.name || is_cap_and_part(self, other) || is_cap_and_part(other, self)
    }
}

/// Everything that a row can say: a tenant without mail exemptions, which are no single values.
const COLUMNS: [Column; 15] = [
    Column::new("id", Shape::Value),
    Column::new("name", Shape::Value),
    Column::new("prefixes", Shape::List),
    Column::new("vlan", Shape::Value),
    Column::new("contact", Shape::Value),
    Column::new("domains", Shape::List),
    Column::new("cap", Shape::Value),
    Column::new("cap.up", Shape::Value),
    Column::new("cap.down", Shape::Value),
    Column::new("burst", Shape::Value),
    Column::new("fragments", Shape::Value),
    Column::new("submission", Shape::Value),
    Column::new("relay", Shape::Flag),
    Column::new("open", Shape::List),
    Column::new("detect_class", Shape::Value),
];

/// The names of [`COLUMNS`].
pub(in crate::config) const KEYS: [&str; COLUMNS.len()] = {
    let mut names = [""; COLUMNS.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = COLUMNS[index].name;
        index += 1;
    }
    names
};

/// What another system calls the columns (`[csv]`).
#[derive(Clone, Debug, Default)]
pub(in crate::config) struct ColumnNames {
    /// Keys of tenants by names in headers, in lower case.
    pub(in crate::config) keys: HashMap<String, &'static str>,
    /// Names of columns that say nothing about a tenant, in lower case.
    pub(in crate::config) ignored: HashSet<String>,
}

impl ColumnNames {
    /// What the name of a column says. The configuration's own names come first; case does not matter.
    pub(super) fn meaning(&self, written: &str) -> Named {
        let name = written.to_lowercase();
        if self.ignored.contains(&name) {
            return Named::Ignored;
        }
        let key = self.keys.get(&name).copied().unwrap_or(&name);
        let known = COLUMNS.iter().find(|column| column.name == key);
        known.map_or(Named::Unknown, |column| Named::Key(*column))
    }
}

/// What the name of a column says.
#[derive(Clone, Copy, Debug)]
pub(super) enum Named {
    /// A key of the tenants.
    Key(Column),
    /// Nothing about a tenant.
    Ignored,
    Unknown,
}
