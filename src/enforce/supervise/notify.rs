//! The user notifications of seccomp:
//! [seccomp_unotify(2)](https://man7.org/linux/man-pages/man2/seccomp_unotify.2.html).

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsRawFd, OwnedFd};

use crate::enforce::error::EnforceError;
use crate::enforce::seccomp;
use crate::enforce::sys::{call, number, system};
use crate::error::Errno;
use crate::linux::{borrow, from_rustix};

/// `struct seccomp_data`
#[repr(C)]
#[derive(Default)]
struct Data {
    number: i32,
    architecture: u32,
    instruction_pointer: u64,
    arguments: [u64; 6],
}

/// `struct seccomp_notif`
#[repr(C)]
#[derive(Default)]
struct Notification {
    id: u64,
    thread: u32,
    flags: u32,
    data: Data,
}

/// `struct seccomp_notif_resp`
#[repr(C)]
struct Response {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

const NOTIF_RECV: usize = 0xc050_2100;
const NOTIF_SEND: usize = 0xc018_2101;
const NOTIF_ID_VALID: usize = 0x4008_2102;
const NOTIF_SET_FLAGS: usize = 0x4008_2104;

/// A call of a supervised thread, which waits for its answer.
pub(super) struct Call {
    id: u64,
    /// The id of the thread, as the supervisor sees it.
    pub(super) thread: u32,
    /// The number of the system call.
    pub(super) number: u32,
    pub(super) arguments: [u64; 6],
}

/// The descriptor from which the notifications are received.
pub(super) struct Notifications(OwnedFd);

impl Notifications {
    /// Takes the descriptor over, and asks the kernel to run both sides on one processor, because
    /// they take turns: `ioctl(SECCOMP_IOCTL_NOTIF_SET_FLAGS)`.
    pub(super) fn new(descriptor: OwnedFd) -> Self {
        const SYNC_WAKE_UP: usize = 1;
        let notifications = Self(descriptor);
        // An error only costs speed.
        // SAFETY: the call takes numbers only.
        #[allow(unsafe_code)]
        let _ = unsafe { notifications.ioctl(NOTIF_SET_FLAGS, SYNC_WAKE_UP) };
        notifications
    }

    pub(super) const fn descriptor(&self) -> &OwnedFd {
        &self.0
    }

    /// Waits for the next call: `poll`, `ioctl(SECCOMP_IOCTL_NOTIF_RECV)`. It is `None` if no
    /// process uses the filter any more.
    pub(super) fn receive(&self) -> Result<Option<Call>, EnforceError> {
        loop {
            if !wait(&self.0)? {
                return Ok(None);
            }
            let mut notification = Notification::default(); // the kernel wants zeros
            // SAFETY: the kernel writes one notification, whose size `check_support` has checked.
            #[allow(unsafe_code)]
            match unsafe { self.ioctl(NOTIF_RECV, &raw mut notification as usize) } {
                Ok(_) => {
                    let Notification { id, thread, data, .. } = notification;
                    let number = data.number.cast_unsigned();
                    return Ok(Some(Call { id, thread, number, arguments: data.arguments }));
                }
                // The call was interrupted before it was received, or a signal came.
                Err(Errno::NOENT | Errno::INTR) => {}
                Err(errno) => return Err(system("ioctl(SECCOMP_IOCTL_NOTIF_RECV)")(errno)),
            }
        }
    }

    /// Returns true if the call is still pending. Then the id of its thread was not given to
    /// another one, and what was read about the thread since the call is valid.
    pub(super) fn is_waiting(&self, call: &Call) -> bool {
        // SAFETY: the kernel reads one id, which outlives the call.
        #[allow(unsafe_code)]
        let valid = unsafe { self.ioctl(NOTIF_ID_VALID, &raw const call.id as usize) };
        valid.is_ok()
    }

    /// Answers: the call returns 0 or the errno. Returns false if the thread was killed meanwhile.
    pub(super) fn answer(
        &self,
        call: &Call,
        result: Result<(), Errno>,
    ) -> Result<bool, EnforceError> {
        let error = result.map_or_else(|errno| -errno.raw_os_error(), |()| 0);
        // Without flags, the kernel does not continue the call.
        let response = Response { id: call.id, value: 0, error, flags: 0 };
        // SAFETY: the kernel reads one response, whose size `check_support` has checked.
        #[allow(unsafe_code)]
        match unsafe { self.ioctl(NOTIF_SEND, &raw const response as usize) } {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(system("ioctl(SECCOMP_IOCTL_NOTIF_SEND)")(errno)),
        }
    }

    /// # Safety
    ///
    /// The argument must be valid for the operation.
    #[allow(unsafe_code)]
    #[allow(clippy::cast_sign_loss)] // a descriptor is not negative
    unsafe fn ioctl(&self, operation: usize, argument: usize) -> Result<i32, Errno> {
        let descriptor = self.0.as_raw_fd() as usize;
        // SAFETY: the caller's responsibility.
        unsafe { call(number::IOCTL, [descriptor, operation, argument, 0, 0]) }
    }
}

/// Waits until the descriptor can be read: `poll`. Returns false if the other end is closed and
/// nothing is left.
pub(super) fn wait(descriptor: &OwnedFd) -> Result<bool, EnforceError> {
    loop {
        let mut fds = [PollFd::from_borrowed_fd(borrow(descriptor), PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) => {
                let [fd] = &fds;
                return Ok(fd.revents().contains(PollFlags::IN));
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(system("poll")(from_rustix(errno))),
        }
    }
}

/// Returns an error unless the kernel's notifications are the ones that this module knows.
pub(super) fn check_support() -> Result<(), EnforceError> {
    const SECCOMP_GET_NOTIF_SIZES: usize = 3;
    const SECCOMP_RET_USER_NOTIF: u32 = 0x7fc0_0000;
    let unsupported = EnforceError::Unsupported {
        needs: "seccomp with user notifications of the known size (Linux 5.5)",
        found: 0,
    };
    seccomp::require_action(SECCOMP_RET_USER_NOTIF).map_err(|_| unsupported)?;
    let mut sizes = [0_u16; 3];
    let arguments = [SECCOMP_GET_NOTIF_SIZES, 0, &raw mut sizes as usize, 0, 0];
    // SAFETY: the kernel writes three sizes of 16 bits.
    #[allow(unsafe_code)]
    let known = unsafe { call(number::SECCOMP, arguments) };
    let expected = [size_of::<Notification>(), size_of::<Response>(), size_of::<Data>()];
    let is_expected = known.is_ok() && sizes.map(usize::from) == expected;
    if is_expected { Ok(()) } else { Err(unsupported) }
}
