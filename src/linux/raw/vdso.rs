//! The clock, read by the function in the vDSO or by a system call if there is none:
//! [vdso(7)](https://man7.org/linux/man-pages/man7/vdso.7.html).

use super::super::timespec::{ClockId, to_nanos};
use super::syscall::{number, syscall};

#[cfg(target_arch = "x86_64")]
const NAME: &[u8] = b"__vdso_clock_gettime\0";
#[cfg(target_arch = "aarch64")]
const NAME: &[u8] = b"__kernel_clock_gettime\0";

/// The key of the vDSO's address in the auxiliary vector.
const AT_SYSINFO_EHDR: usize = 33;

const PAGE: usize = 4096;

/// An upper limit of the size of a vDSO.
const MAX_IMAGE: usize = 1 << 20;

/// `struct timespec`
#[repr(C)]
struct Timespec {
    seconds: i64,
    nanos: i64,
}

type ClockGettime = unsafe extern "C" fn(i32, *mut Timespec) -> i32;

/// The vDSO's `clock_gettime`, or `None` for the system call.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct ClockSource(Option<ClockGettime>);

impl ClockSource {
    pub(in super::super) fn find() -> Self {
        Self(find_clock_gettime())
    }

    /// Returns the nanoseconds, or `None` if the kernel refuses the clock.
    pub(in super::super) fn read(self, id: ClockId) -> Option<u64> {
        let mut time = Timespec { seconds: 0, nanos: 0 };
        let done = self.0.is_some_and(|clock_gettime| {
            // SAFETY: this is the kernel's `clock_gettime`, which writes one `struct timespec`.
            unsafe { clock_gettime(id as i32, &raw mut time) == 0 }
        });
        if !done {
            let arguments = [id as usize, &raw mut time as usize, 0, 0, 0];
            // SAFETY: `clock_gettime` writes one `struct timespec`.
            if unsafe { syscall(number::CLOCK_GETTIME, arguments) } != 0 {
                return None;
            }
        }
        to_nanos(time.seconds, time.nanos)
    }
}

fn find_clock_gettime() -> Option<ClockGettime> {
    let base = vdso_address().filter(|base| is_mapped(*base))? as *const u8;
    // SAFETY: `is_mapped` has found this page, and the kernel never unmaps the image. Its tables
    // come first, so no more than the page is read.
    let page = unsafe { core::slice::from_raw_parts(base, PAGE) };
    let function = base.wrapping_add(find_function(page, NAME)?);
    // SAFETY: the function of this name in the kernel's own image has this type.
    Some(unsafe { core::mem::transmute::<*const u8, ClockGettime>(function) })
}

/// Returns the address of the vDSO, from the auxiliary vector.
fn vdso_address() -> Option<usize> {
    let mut vector = [[0_usize; 2]; 32];
    read_auxiliary_vector(&mut vector)?;
    let [_, base] = vector.iter().find(|[key, _]| *key == AT_SYSINFO_EHDR)?;
    (*base != 0).then_some(*base)
}

/// Reads the auxiliary vector by `prctl(PR_GET_AUXV)`, and on kernels before 6.4 from
/// `/proc/self/auxv`.
fn read_auxiliary_vector(vector: &mut [[usize; 2]; 32]) -> Option<()> {
    const PR_GET_AUXV: usize = 0x4155_5856;
    const AT_FDCWD: usize = (-100_isize).cast_unsigned();
    const O_CLOEXEC: usize = 0o2_000_000;
    let (to, size) = (vector.as_mut_ptr() as usize, size_of_val(vector));
    // SAFETY: it writes at most `size` bytes to `vector`.
    if unsafe { syscall(number::PRCTL, [PR_GET_AUXV, to, size, 0, 0]) } > 0 {
        return Some(());
    }
    let path = c"/proc/self/auxv".as_ptr() as usize;
    // SAFETY: the path ends with a NUL byte.
    let file = unsafe { syscall(number::OPENAT, [AT_FDCWD, path, O_CLOEXEC, 0, 0]) };
    let file = usize::try_from(file).ok()?;
    // SAFETY: it writes at most `size` bytes to `vector`.
    let length = unsafe { syscall(number::READ, [file, to, size, 0, 0]) };
    // SAFETY: this function opened the descriptor, and does not use it any more.
    unsafe { syscall(number::CLOSE, [file, 0, 0, 0, 0]) };
    (length > 0).then_some(())
}

/// Returns true if there is a page at `base`. valgrind, for one, unmaps the vDSO.
fn is_mapped(base: usize) -> bool {
    let mut resident = 0_u8;
    // SAFETY: `mincore` writes one byte for one page to `resident`, and reads no memory.
    unsafe { syscall(number::MINCORE, [base, PAGE, &raw mut resident as usize, 0, 0]) == 0 }
}

const PT_DYNAMIC: u32 = 2;
const DT_STRTAB: usize = 5;
const DT_SYMTAB: usize = 6;
const STT_FUNC: u8 = 2;

/// Returns the offset of a function in a mapped 64-bit ELF image. `name` ends with a NUL.
///
/// The symbol table ends where the string table begins, as in every vDSO. So no hash table is read:
/// kernels differ in whether they have `DT_HASH` or `DT_GNU_HASH`. The image is linked to address
/// 0.
fn find_function(image: &[u8], name: &[u8]) -> Option<usize> {
    let dynamic = dynamic_section(image)?;
    let strings = dynamic_entry(image, dynamic, DT_STRTAB)?;
    let mut symbol = dynamic_entry(image, dynamic, DT_SYMTAB)?;
    while symbol < strings {
        // `Elf64_Sym`: name (4 bytes), info, other, section index (2), value (8), size (8).
        let [n0, n1, n2, n3, info, _, s0, s1] = bytes(image, symbol)?;
        let text = strings.checked_add(u32::from_ne_bytes([n0, n1, n2, n3]) as usize)?;
        let is_function = info & 15 == STT_FUNC && [s0, s1] != [0, 0];
        if is_function && image.get(text..).is_some_and(|text| text.starts_with(name)) {
            return word(image, symbol + 8).filter(|offset| *offset < MAX_IMAGE);
        }
        symbol += 24;
    }
    None
}

/// Returns the offset of the dynamic section, from the program headers.
fn dynamic_section(image: &[u8]) -> Option<usize> {
    // `Elf64_Ehdr`: 64-bit, little-endian; the program headers' offset is at 32, their number at
    // 56.
    if bytes::<6>(image, 0)? != *b"\x7fELF\x02\x01" {
        return None;
    }
    let mut header = word(image, 32)?;
    for _ in 0..u16::from_ne_bytes(bytes(image, 56)?) {
        if u32::from_ne_bytes(bytes(image, header)?) == PT_DYNAMIC {
            return word(image, header + 8);
        }
        header += 56;
    }
    None
}

/// Returns the value of the entry with this tag, in the dynamic section at `entry`.
fn dynamic_entry(image: &[u8], mut entry: usize, tag: usize) -> Option<usize> {
    loop {
        match word(image, entry)? {
            0 => return None,
            found if found == tag => return word(image, entry + 8),
            _ => entry += 16,
        }
    }
}

fn word(image: &[u8], at: usize) -> Option<usize> {
    bytes(image, at).map(usize::from_ne_bytes)
}

fn bytes<const N: usize>(image: &[u8], at: usize) -> Option<[u8; N]> {
    image.get(at..)?.first_chunk().copied()
}
