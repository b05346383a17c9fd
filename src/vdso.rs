//! Where the kernel's monotonic clocks are read: in the vDSO, the few functions that it maps into every process, or by a
//! system call where there is none: [vdso(7)](https://man7.org/linux/man-pages/man7/vdso.7.html).
//!
//! rustix reads it there too, but its look-up asserts that the kernel's image is well formed, and so leaves a panic in
//! every program that has a clock; it is also taken into each reading, with 700 bytes of stack. So on the architectures of
//! which [`syscall`](crate::syscall) knows, the look-up is made here, on bytes that are checked; elsewhere it is
//! rustix's.

pub(crate) use imp::Source;

/// Which clock, by the kernel's number.
#[derive(Clone, Copy)]
pub(crate) enum Id {
    /// `CLOCK_MONOTONIC`
    Monotonic = 1,
    /// `CLOCK_MONOTONIC_COARSE`
    Coarse = 6,
}

/// A `struct timespec` as one number, which has room for 292 years.
fn nanos(seconds: i64, nanos: i64) -> Option<u64> {
    u64::try_from(seconds.checked_mul(1_000_000_000)?.checked_add(nanos)?).ok()
}

#[cfg(all(
    any(target_arch = "x86_64", target_arch = "aarch64"),
    target_pointer_width = "64",
    target_endian = "little",
    not(miri)
))]
#[allow(unsafe_code)]
mod imp {
    use super::{Id, nanos};
    use crate::syscall::{number, syscall};

    /// `AT_SYSINFO_EHDR`, the entry of the auxiliary vector that tells where the vDSO is.
    const SYSINFO_EHDR: usize = 33;

    #[cfg(target_arch = "x86_64")]
    const NAME: &[u8] = b"__vdso_clock_gettime\0";
    #[cfg(target_arch = "aarch64")]
    const NAME: &[u8] = b"__kernel_clock_gettime\0";

    /// `struct timespec`
    #[repr(C)]
    struct Time {
        seconds: i64,
        nanos: i64,
    }

    type Function = unsafe extern "C" fn(i32, *mut Time) -> i32;

    /// The vDSO's function, or the system call.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Source(Option<Function>);

    impl Source {
        pub(crate) fn find() -> Self {
            Self(function())
        }

        /// Nanoseconds; `None` where the kernel refuses.
        #[inline]
        pub(crate) fn read(self, id: Id) -> Option<u64> {
            let mut time = Time { seconds: 0, nanos: 0 };
            let done = self.0.is_some_and(|function| {
                // SAFETY: that is the kernel's `clock_gettime`, which writes one `struct timespec`.
                unsafe { function(id as i32, &raw mut time) == 0 }
            });
            let arguments = [id as usize, &raw mut time as usize, 0, 0, 0];
            // SAFETY: `clock_gettime` writes one `struct timespec`.
            if !done && unsafe { syscall(number::CLOCK_GETTIME, arguments) } != 0 {
                return None;
            }
            nanos(time.seconds, time.nanos)
        }
    }

    fn function() -> Option<Function> {
        let base = base().filter(|base| is_mapped(*base))? as *const u8;
        // SAFETY: the kernel has mapped the image there for the life of the process, and it has a page at least. The tables
        // come first in it, so that no more is read.
        let page = unsafe { core::slice::from_raw_parts(base, 4096) };
        let function = base.wrapping_add(symbol(page, NAME)?);
        // SAFETY: the function of that name in the kernel's own image has this type.
        Some(unsafe { core::mem::transmute::<*const u8, Function>(function) })
    }

    /// Where the vDSO is, by the auxiliary vector.
    fn base() -> Option<usize> {
        let mut vector = [[0_usize; 2]; 32];
        read_vector(&mut vector)?;
        vector.iter().find(|[kind, _]| *kind == SYSINFO_EHDR).map(|[_, base]| *base).filter(|base| *base != 0)
    }

    /// `prctl(PR_GET_AUXV)`, and on kernels before 6.4 `/proc/self/auxv`.
    fn read_vector(vector: &mut [[usize; 2]; 32]) -> Option<()> {
        const PR_GET_AUXV: usize = 0x4155_5856;
        const AT_FDCWD: usize = (-100_isize).cast_unsigned();
        const O_CLOEXEC: usize = 0o2_000_000;
        let (at, size) = (vector.as_mut_ptr() as usize, size_of_val(vector));
        // SAFETY: it writes at most `size` bytes to `vector`.
        if unsafe { syscall(number::PRCTL, [PR_GET_AUXV, at, size, 0, 0]) } > 0 {
            return Some(());
        }
        let path = c"/proc/self/auxv".as_ptr() as usize;
        // SAFETY: the path ends with a NUL byte.
        let file = unsafe { syscall(number::OPENAT, [AT_FDCWD, path, O_CLOEXEC, 0, 0]) };
        let file = usize::try_from(file).ok()?;
        // SAFETY: it writes at most `size` bytes to `vector`.
        let length = unsafe { syscall(number::READ, [file, at, size, 0, 0]) };
        // SAFETY: the descriptor is this function's own.
        unsafe { syscall(number::CLOSE, [file, 0, 0, 0, 0]) };
        (length > 0).then_some(())
    }

    /// Whether there is a page at `base`: a supervisor, valgrind for one, may have taken the vDSO away.
    fn is_mapped(base: usize) -> bool {
        let mut resident = 0_u8;
        // SAFETY: `mincore` writes one byte for one page to `resident`, and looks at no memory otherwise.
        unsafe { syscall(number::MINCORE, [base, 4096, &raw mut resident as usize, 0, 0]) == 0 }
    }

    /// Longer than any vDSO.
    const LONGEST: usize = 1 << 20;

    /// Where in a mapped 64-bit ELF image the function of this name begins; the name has its NUL.
    ///
    /// The symbols end where the strings begin, as in every vDSO; so neither hash table is asked, of which kernels bring one,
    /// the other or both. The image is linked to address 0, as it has been for ten years; in one that is not, nothing is
    /// found where it should be.
    fn symbol(image: &[u8], name: &[u8]) -> Option<usize> {
        let dynamic = dynamic_section(image)?;
        let strings = entry(image, dynamic, DT_STRTAB)?;
        let mut at = entry(image, dynamic, DT_SYMTAB)?;
        while at < strings {
            let [n0, n1, n2, n3, info, _, s0, s1] = bytes(image, at)?;
            let text = strings.checked_add(u32::from_ne_bytes([n0, n1, n2, n3]) as usize)?;
            let is_function = info & 15 == STT_FUNC && [s0, s1] != [0, 0];
            if is_function && image.get(text..).is_some_and(|text| text.starts_with(name)) {
                return word(image, at + 8).filter(|function| *function < LONGEST);
            }
            at += 24;
        }
        None
    }

    const PT_DYNAMIC: u32 = 2;
    const DT_STRTAB: usize = 5;
    const DT_SYMTAB: usize = 6;
    const STT_FUNC: u8 = 2;

    /// Where the dynamic section is, by the program header that tells it.
    fn dynamic_section(image: &[u8]) -> Option<usize> {
        // 64-bit, in the processor's own order.
        if bytes::<6>(image, 0)? != *b"\x7fELF\x02\x01" {
            return None;
        }
        let mut at = word(image, 32)?;
        for _ in 0..u16::from_ne_bytes(bytes(image, 56)?) {
            if u32::from_ne_bytes(bytes(image, at)?) == PT_DYNAMIC {
                return word(image, at + 8);
            }
            at += 56;
        }
        None
    }

    /// The value of this entry of the dynamic section at `at`.
    fn entry(image: &[u8], mut at: usize, kind: usize) -> Option<usize> {
        loop {
            match word(image, at)? {
                0 => return None,
                there if there == kind => return word(image, at + 8),
                _ => at += 16,
            }
        }
    }

    fn word(image: &[u8], at: usize) -> Option<usize> {
        bytes(image, at).map(usize::from_ne_bytes)
    }

    fn bytes<const N: usize>(image: &[u8], at: usize) -> Option<[u8; N]> {
        image.get(at..)?.first_chunk().copied()
    }
}

#[cfg(not(all(
    any(target_arch = "x86_64", target_arch = "aarch64"),
    target_pointer_width = "64",
    target_endian = "little",
    not(miri)
)))]
mod imp {
    use rustix::time::{ClockId, DynamicClockId, clock_gettime_dynamic};

    use super::{Id, nanos};

    /// rustix's, which is looked up once for the process.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Source(());

    impl Source {
        pub(crate) fn find() -> Self {
            let source = Self(());
            let _ = source.read(Id::Monotonic);
            source
        }

        pub(crate) fn read(self, id: Id) -> Option<u64> {
            let id = match id {
                Id::Monotonic => ClockId::Monotonic,
                Id::Coarse => ClockId::MonotonicCoarse,
            };
            let time = clock_gettime_dynamic(DynamicClockId::Known(id)).ok()?;
            #[allow(clippy::useless_conversion)] // the fields' widths are the processor's
            nanos(time.tv_sec.into(), time.tv_nsec.into())
        }
    }
}
