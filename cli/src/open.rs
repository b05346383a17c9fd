//! `netbind open`: opens sockets and executes a program that gets them.

use std::convert::Infallible;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use netbind::alloc::Global;
use netbind::enforce::Seal;
use netbind::fd::{AsFd, AsRawFd, IntoRawFd};
use netbind::{BindAddress, Existing, ListenOptions, Listener, NetBind, SocketError, inherit};
use rustix::fs::{Access, access};
use rustix::io::{Errno, fcntl_dupfd_cloexec};

use crate::arguments::{Arguments, OpenOptions};
use crate::failure::Failure;
use crate::policy;
use crate::report::printable;
use crate::trail::Trail;
use crate::users;

/// The name of a socket without `NAME=`, as `sd_listen_fds_with_names(3)` has it.
const UNNAMED: &str = "unknown";

/// The first descriptor of the protocol.
const FIRST: i32 = 3;

/// A socket to be opened.
struct Socket {
    name: String,
    address: BindAddress,
}

/// Returns only if it fails. Then nothing stays open.
pub(crate) fn open(arguments: &Arguments) -> Result<Infallible, Failure> {
    let options = &arguments.open;
    let sockets = arguments.addresses.iter().map(|text| socket(text));
    let sockets = sockets.collect::<Result<Vec<_>, _>>()?;
    check_options(options, &sockets)?;
    let identity = users::identity(options.user.as_deref(), options.group.as_deref())?;
    // After a change of the user, the sockets of a program that is missing could not be removed.
    let (program, rest) = split(&arguments.program)?;
    find(program).map_err(|error| of_program(program, &error))?;

    reserve(sockets.len()).map_err(|error| Failure::about("descriptors", error))?;
    let trail = Trail::open(arguments.trail.file.as_deref(), arguments.trail.json)?;
    let capability = policy::capability(&arguments.rules, Some(&trail))?;
    let listeners = sockets.iter().map(|socket| listen(socket, options, &capability));
    let listeners = listeners.collect::<Result<Vec<_>, _>>()?;
    if let Some(identity) = identity {
        identity.assume()?;
    }
    let mut command = Command::new(program);
    command.args(rest);
    execute(command, &sockets, &listeners, options.seal)
}

/// Parses `NAME=ADDRESS` or `ADDRESS`. A name has no `:` and no `/`, so most addresses with a `=`
/// have no name.
fn socket(text: &OsStr) -> Result<Socket, Failure> {
    let bytes = text.as_bytes();
    let shown = printable(bytes);
    let at = bytes.iter().position(|byte| *byte == b'=');
    let (name, address) = match at.map(|at| (&bytes[..at], &bytes[at + 1..])) {
        Some((name, address)) if !name.iter().any(|byte| matches!(byte, b':' | b'/')) => {
            (name, address)
        }
        _ => (UNNAMED.as_bytes(), bytes),
    };
    if name.is_empty() || !name.iter().all(|byte| (b' '..=b'~').contains(byte)) {
        return Err(Failure::about(shown, "the name before = must be printable ASCII"));
    }
    let name = String::from_utf8_lossy(name).into_owned();
    let address = BindAddress::parse(address).map_err(|error| Failure::about(shown, error))?;
    Ok(Socket { name, address })
}

const fn is_path(address: &BindAddress) -> bool {
    matches!(address, BindAddress::Path(_))
}

const fn is_ipv6(address: &BindAddress) -> bool {
    matches!(address, BindAddress::Ipv6 { .. })
}

/// An option that applies to none of the addresses is a mistake.
fn check_options(options: &OpenOptions, sockets: &[Socket]) -> Result<(), Failure> {
    let none =
        |applies: fn(&BindAddress) -> bool| !sockets.iter().any(|socket| applies(&socket.address));
    let asked = [
        ("--mode", options.mode.is_some() && none(is_path)),
        ("--owner", options.owner.is_some() && none(is_path)),
        ("--replace-stale", options.replace_stale && none(is_path)),
        ("--dual-stack", options.dual_stack && none(is_ipv6)),
    ];
    match asked.iter().find(|(_, is_mistake)| *is_mistake) {
        Some((option, _)) => Err(Failure::about(option, "it applies to none of the addresses")),
        None => Ok(()),
    }
}

fn split(words: &[OsString]) -> Result<(&OsStr, &[OsString]), Failure> {
    let (program, rest) = words.split_first().ok_or_else(|| Failure::new("no program"))?;
    Ok((program, rest))
}

fn of_program(program: &OsStr, error: &io::Error) -> Failure {
    Failure::of_program(printable(program.as_bytes()), error)
}

/// Finds out whether the program can be executed, as `exec` will.
fn find(program: &OsStr) -> io::Result<()> {
    if program.is_empty() {
        return Err(Errno::NOENT.into());
    }
    if program.as_bytes().contains(&b'/') {
        return check_file(program.as_ref());
    }
    // Without PATH, `exec` has a default of its own.
    let Some(path) = env::var_os("PATH") else { return Ok(()) };
    let mut failure = io::Error::from(Errno::NOENT);
    for directory in env::split_paths(&path) {
        match check_file(&directory.join(program)) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => failure = error,
            Err(_) => {}
            Ok(()) => return Ok(()),
        }
    }
    Err(failure)
}

fn check_file(file: &Path) -> io::Result<()> {
    if fs::metadata(file)?.is_dir() {
        return Err(Errno::ACCESS.into());
    }
    Ok(access(file, Access::EXEC_OK)?)
}

/// Gives the descriptors of the protocol away, so that nothing else of this process gets them.
fn reserve(count: usize) -> io::Result<()> {
    let end = i32::try_from(count).map_or(i32::MAX, |count| FIRST.saturating_add(count));
    loop {
        let descriptor = fcntl_dupfd_cloexec(rustix::stdio::stdin(), FIRST)?;
        if descriptor.as_raw_fd() >= end {
            return Ok(());
        }
        let _ = descriptor.into_raw_fd();
    }
}

fn listen(
    socket: &Socket,
    options: &OpenOptions,
    capability: &NetBind<'_>,
) -> Result<Listener<Global>, Failure> {
    let address = &socket.address;
    listen_options(options, address).capability(capability).listen_on(address, Global).map_err(
        |error| {
            let shown = printable(address.to_bytes());
            match error {
                SocketError::CapabilityDenied => {
                    Failure::new(format!("{shown}: denied; {}", policy::advice(address)))
                }
                error => Failure::about(shown, error),
            }
        },
    )
}

/// Returns the options that apply to this address.
fn listen_options<'a>(options: &OpenOptions, address: &BindAddress) -> ListenOptions<'a> {
    let mut result = ListenOptions::new();
    if let Some(backlog) = options.backlog {
        result = result.backlog(backlog);
    }
    if is_ipv6(address) {
        result = result.dual_stack(options.dual_stack);
    }
    if !is_path(address) {
        return result;
    }
    if let Some(mode) = options.mode {
        result = result.mode(mode);
    }
    if let Some((user, group)) = options.owner {
        result = result.owner(user, group);
    }
    if options.replace_stale {
        result = result.existing(Existing::ReplaceStale);
    }
    result
}

/// Executes the program with the sockets. The listeners are not dropped by `exec`, so their paths
/// stay; if it fails, they are removed.
fn execute(
    mut command: Command,
    sockets: &[Socket],
    listeners: &[Listener<Global>],
    seal: bool,
) -> Result<Infallible, Failure> {
    let names = sockets.iter().map(|socket| socket.name.as_str());
    let mut passed: Vec<_> = listeners.iter().map(AsFd::as_fd).zip(names).collect();
    // SAFETY: `reserve` gave these descriptors away before anything else was opened.
    #[allow(unsafe_code)]
    let variables = unsafe { inherit::pass(&mut passed) };
    let variables = variables.map_err(|error| Failure::new(error.to_string()))?;
    // On an older kernel `pass` does not set it, and the inherited one names another process.
    command.env_remove("LISTEN_PIDFDID");
    command.envs(variables.map(|variable| (variable.name(), variable.value().to_string())));
    if seal {
        Seal::Listening.apply().map_err(|error| Failure::about("--seal", error))?;
    }
    let error = command.exec();
    Err(of_program(command.get_program(), &error))
}
