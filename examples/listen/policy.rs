//! The policy file.

use std::fs;
use std::path::Path;

use netbind::Rule;

/// Reads one rule a line. Empty lines and lines that begin with `#` are skipped.
pub(crate) fn read(file: &Path) -> Result<Vec<Rule>, String> {
    let bytes = fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let lines = bytes.split(|byte| *byte == b'\n').enumerate();
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with(b"#"))
        .map(|(index, line)| {
            Rule::parse(line).map_err(|error| format!("{}:{}: {error}", file.display(), index + 1))
        })
        .collect()
}
