//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

pub(crate) const USAGE: &str = "\
usage: listen [OPTION]... [ADDRESS]...

Opens every ADDRESS and serves all of them until Ctrl-C.

  ADDRESS           :PORT, IPV4:PORT, [IPV6]:PORT, unix:PATH, /PATH or unix:@NAME
                    (default: 127.0.0.1:8080)
  --allow-port N    also allow port N; 0 is any free port
  --allow-abstract  allow abstract names (unix:@NAME)
  --policy FILE     allow what the rules in FILE allow, instead of 8080, 3000,
                    8000 and every Unix path; one rule a line, such as
                    `port 8000-8999`, `host ::1 port 0-65535` or
                    `beneath /run/app`; a line that begins with # is a comment
  --timeout-ms N    fail if the addresses are not open after N milliseconds
  --help            print this text

It prints `listening on ADDRESS` to standard output, and the audit trail to
standard error.

Exit status:
  0  ended by SIGINT or SIGTERM, or --help was printed
  1  an address could not be opened, or standard output could not be written
  2  wrong usage
";

#[derive(Default)]
pub(crate) struct Arguments {
    pub(crate) addresses: Vec<OsString>,
    pub(crate) ports: Vec<u16>,
    pub(crate) allow_abstract: bool,
    pub(crate) policy: Option<PathBuf>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) help: bool,
}

impl Arguments {
    /// Parses the arguments after the name of the program.
    pub(crate) fn parse(mut words: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let mut arguments = Self::default();
        while let Some(word) = words.next() {
            match word.to_string_lossy().as_ref() {
                "--help" | "-h" => arguments.help = true,
                "--allow-port" => arguments.ports.push(number("--allow-port", words.next())?),
                "--allow-abstract" => arguments.allow_abstract = true,
                "--policy" => {
                    let file = words.next().ok_or("--policy needs a file")?;
                    arguments.policy = Some(file.into());
                }
                "--timeout-ms" => {
                    let timeout = number("--timeout-ms", words.next())?;
                    arguments.timeout = Some(Duration::from_millis(timeout));
                }
                option if option.starts_with('-') => {
                    return Err(format!("{option}: unknown option"));
                }
                _ => arguments.addresses.push(word),
            }
        }
        if arguments.addresses.is_empty() {
            arguments.addresses.push("127.0.0.1:8080".into());
        }
        Ok(arguments)
    }
}

fn number<T: FromStr>(option: &str, word: Option<OsString>) -> Result<T, String> {
    let word = word.ok_or_else(|| format!("{option} needs a number"))?;
    let word = word.to_string_lossy();
    word.parse().map_err(|_| format!("{option} {word}: not a number in range"))
}
