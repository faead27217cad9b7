//! Randomness and the time of day, the same in every run of a seed: the system's own, replaced for the threads of a simulation.
//!
//! Hash maps, `select!`, jitter and ids all draw from `getrandom`; certificates and records read `clock_gettime`. Other threads of the
//! process, such as SQLite's, get the real ones. Only for a statically linked test binary.
//!
//! So is the disk that is full: what is written there is refused when it is to be made durable, in our own processes' files as in a real one.
#![allow(
    unsafe_code,
    reason = "foreign functions cannot be replaced without it; test code only"
)]

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    ffi::{CStr, c_char, c_int, c_uint, c_void},
    path::{Path, PathBuf},
    time::Duration,
};

thread_local! {
    static SEED: Cell<Option<u64>> = const { Cell::new(None) };
    static NOW: Cell<Option<Duration>> = const { Cell::new(None) };
    static FULL: RefCell<BTreeSet<PathBuf>> = const { RefCell::new(BTreeSet::new()) };
}

/// Small, fast, and the same everywhere (SplitMix64, Steele et al. 2014).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The same seed, the same rolls.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to `sides - 1`.
    pub const fn roll(&mut self, sides: u64) -> u64 {
        self.bits() % sides
    }

    /// True once in `times`.
    pub const fn one_in(&mut self, times: u64) -> bool {
        self.roll(times) == 0
    }

    /// Between two durations, to the millisecond.
    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let span = u64::try_from((most - least).as_millis()).unwrap_or(u64::MAX);
        least + Duration::from_millis(self.roll(span + 1))
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        let most = u64::try_from(of.len()).ok().filter(|most| *most > 0)?;
        of.get(usize::try_from(self.roll(most)).ok()?)
    }
}

/// From here on this thread draws from this seed and has this time of day.
pub fn begin(seed: u64, now: Duration) {
    SEED.set(Some(seed));
    NOW.set(Some(now));
}

/// Moves this thread's time of day, counted from the Unix epoch.
pub fn set_now(now: Duration) {
    NOW.set(Some(now));
}

/// From here on there is no room for what this thread writes under a directory, or there is again.
pub fn fill(directory: &Path, full: bool) {
    FULL.with_borrow_mut(|all| match full {
        true => all.insert(directory.to_owned()),
        false => all.remove(directory),
    });
}

/// Whether there is no room where this file is.
fn no_room(file: c_int) -> bool {
    FULL.try_with(|all| {
        let all = all.borrow();
        let path = || std::fs::read_link(format!("/proc/self/fd/{file}"));
        !all.is_empty() && path().is_ok_and(|path| all.iter().any(|it| path.starts_with(it)))
    })
    .unwrap_or(false)
}

/// This thread's time of day in Unix milliseconds.
#[must_use]
pub fn now_unix_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

// SAFETY: the signature is libc's own; `buffer` is valid for `length` bytes by its contract.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, flags: c_uint) -> isize {
    if buffer.is_null() || length == 0 {
        return 0;
    }
    let Some(seed) = SEED.get() else {
        return unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) } as isize;
    };
    let mut dice = Dice::new(seed);
    let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length) };
    for byte in bytes {
        *byte = dice.bits().to_le_bytes()[0];
    }
    SEED.set(Some(dice.bits()));
    isize::try_from(length).unwrap_or(isize::MAX)
}

// SAFETY: the signature is libc's own. Nothing in a static binary can be looked up by name; who looks for `getrandom` finds ours.
#[unsafe(no_mangle)]
unsafe extern "C" fn dlsym(_handle: *mut c_void, name: *const c_char) -> *mut c_void {
    if !name.is_null() && unsafe { CStr::from_ptr(name) } == c"getrandom" {
        return getrandom as *mut c_void;
    }
    std::ptr::null_mut()
}

// SAFETY: the signature is libc's own; `time` is valid by its contract.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: c_int, time: *mut libc::timespec) -> c_int {
    match NOW.try_with(Cell::get).ok().flatten() {
        Some(now) if clock == libc::CLOCK_REALTIME && !time.is_null() => {
            unsafe {
                (*time).tv_sec = libc::time_t::try_from(now.as_secs()).unwrap_or_default();
                (*time).tv_nsec = now.subsec_nanos().into();
            }
            0
        }
        _ => unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) as c_int },
    }
}

// SAFETY: the signature is libc's own.
#[unsafe(no_mangle)]
unsafe extern "C" fn fsync(file: c_int) -> c_int {
    if no_room(file) {
        unsafe { *libc::__errno_location() = libc::ENOSPC };
        return -1;
    }
    unsafe { libc::syscall(libc::SYS_fsync, file) as c_int }
}
