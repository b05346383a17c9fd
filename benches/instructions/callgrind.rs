//! Runs this program under callgrind and reads the totals of its dumps.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::{env, fs, io};

/// The argument of the counted run.
pub(crate) const CHILD: &str = "--counted";

/// Returns the number of instructions of each call, by the label that the child prints.
pub(crate) fn count() -> io::Result<HashMap<String, u64>> {
    let mut counts = HashMap::new();
    for subject in super::subjects::NAMES {
        count_calls(subject, &mut counts)?;
    }
    Ok(counts)
}

/// Counts the calls of one function. Each function has its own run, because callgrind confuses
/// names that begin alike.
fn count_calls(subject: &str, counts: &mut HashMap<String, u64>) -> io::Result<()> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("callgrind");
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory)?;
    // Counting starts and ends with the function. Each return from it writes a file.
    let function = format!("instructions::subjects::{subject}");
    let output = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--toggle-collect={function}"))
        .arg(format!("--dump-after={function}"))
        .arg(format!("--callgrind-out-file={}/out", directory.display()))
        .arg(env::current_exe()?)
        .arg(CHILD)
        .output()
        .map_err(|error| io::Error::new(error.kind(), format!("valgrind: {error}")))?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let printed = String::from_utf8_lossy(&output.stdout);
    let calls = printed
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .filter(|(function, _)| *function == subject);
    for (index, (_, call)) in calls.enumerate() {
        counts.insert(call.to_string(), total(&directory.join(format!("out.{}", index + 1)))?);
    }
    Ok(())
}

/// Returns the number in the line `totals: N` of a dump.
fn total(dump: &Path) -> io::Result<u64> {
    let text = fs::read_to_string(dump)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", dump.display())))?;
    text.lines()
        .find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok())
        .ok_or_else(|| io::Error::other(format!("{}: no totals", dump.display())))
}
