//! What the first process of a dyno becomes when everything is set up: the same as `sandbox::first::watch`, in a program of
//! a few KiB that uses no library, so that a dyno that does nothing costs next to nothing.
//!
//! Its arguments: its name; the number of the command's process; `dyno` if it is alone with its dyno in a pid namespace, else
//! `machine`; `estate` if it has the files [`EXIT`] and [`ENDED`], else `none`. All signals are blocked when it begins.
//! `build.rs` compiles it; it is no part of the library.
#![no_std]
#![no_main]

use core::arch::{asm, global_asm};

const EXIT: usize = 3;
const ENDED: usize = 6;

const SIGKILL: usize = 9;
const SIGCHLD: usize = 17;
/// SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGTERM and SIGWINCH are handed on.
const HANDED_ON: [usize; 7] = [1, 2, 3, 10, 12, 15, 28];

const NOHANG: usize = 1;
const SET_DUMPABLE: usize = 4;
const SET_NAME: usize = 15;
const SET_PTRACER: usize = 0x5961_6d61;

#[cfg(target_arch = "x86_64")]
mod number {
    pub const WRITE: usize = 1;
    pub const WRITEV: usize = 20;
    pub const WAIT4: usize = 61;
    pub const KILL: usize = 62;
    pub const SIGTIMEDWAIT: usize = 128;
    pub const PRCTL: usize = 157;
    pub const EXIT_GROUP: usize = 231;
}

#[cfg(target_arch = "aarch64")]
mod number {
    pub const WRITE: usize = 64;
    pub const WRITEV: usize = 66;
    pub const EXIT_GROUP: usize = 94;
    pub const KILL: usize = 129;
    pub const SIGTIMEDWAIT: usize = 137;
    pub const PRCTL: usize = 167;
    pub const WAIT4: usize = 260;
}

// The kernel starts it with the arguments on the stack, and nowhere to return to.
#[cfg(target_arch = "x86_64")]
global_asm!(".globl _start", "_start:", "xor ebp, ebp", "mov rdi, rsp", "and rsp, -16", "call {begin}", "ud2", begin = sym begin);
#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start:", "mov x29, xzr", "mov x0, sp", "bl {begin}", "brk 1", begin = sym begin);

/// # Safety
/// The arguments are what the system call takes; pointers among them are valid for it.
#[cfg(target_arch = "x86_64")]
unsafe fn call(number: usize, [a, b, c, d]: [usize; 4]) -> isize {
    let result;
    // SAFETY: the kernel's convention; it changes no other register and what the caller's pointers say.
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

/// # Safety
/// The arguments are what the system call takes; pointers among them are valid for it.
#[cfg(target_arch = "aarch64")]
unsafe fn call(number: usize, [a, b, c, d]: [usize; 4]) -> isize {
    let result;
    // SAFETY: the kernel's convention; it changes no other register and what the caller's pointers say.
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") a => result, in("x1") b, in("x2") c, in("x3") d, options(nostack));
    }
    result
}

extern "C" fn begin(stack: *const usize) -> ! {
    // SAFETY: so the kernel arranges the stack of a new program: the number of arguments, then a pointer to each.
    let argument = |nth: usize| unsafe {
        if nth < *stack { *(*stack.add(1 + nth) as *const u8) } else { 0 }
    };
    // SAFETY: as above; a text ends with NUL.
    let command = if argument(1) == 0 { 0 } else { unsafe { number_in(*stack.add(2) as *const u8) } };
    watch(command, argument(2) == b'd', argument(3) == b'e')
}

/// # Safety
/// It is a text that ends with NUL.
unsafe fn number_in(mut text: *const u8) -> isize {
    let mut number: isize = 0;
    // SAFETY: the caller's promise.
    while let digit @ b'0'..=b'9' = unsafe { *text } {
        number = number.wrapping_mul(10).wrapping_add((digit - b'0') as isize);
        // SAFETY: it was not the NUL yet.
        text = unsafe { text.add(1) };
    }
    number
}

fn watch(mut command: isize, its_dyno: bool, estate: bool) -> ! {
    let mut set: u64 = 1 << (SIGCHLD - 1);
    for signal in HANDED_ON {
        set |= 1 << (signal - 1);
    }
    // SAFETY: numbers, and a name that ends with NUL.
    unsafe {
        // Nobody in the dyno may look into it; beside the dyno the next runtime may, which has the same user.
        if its_dyno {
            call(number::PRCTL, [SET_DUMPABLE, 0, 0, 0]);
        } else {
            call(number::PRCTL, [SET_PTRACER, usize::MAX, 0, 0]);
        }
        call(number::PRCTL, [SET_NAME, c"dyno-init".as_ptr() as usize, 0, 0]);
    }
    loop {
        // SAFETY: a set of 64 signals, which lives during the call; nobody asks for details or a time limit.
        let signal = unsafe { call(number::SIGTIMEDWAIT, [&raw const set as usize, 0, 0, 8]) };
        if its_dyno && signal > 0 && signal as usize != SIGCHLD {
            signal_all(signal as usize);
        }
        loop {
            let mut status: u32 = 0;
            // SAFETY: a place for the status, which lives during the call.
            let pid = unsafe { call(number::WAIT4, [usize::MAX, &raw mut status as usize, NOHANG, 0]) };
            if pid <= 0 {
                break;
            }
            if pid != command {
                continue;
            }
            // An orphan may get its number later.
            command = 0;
            if !estate {
                end(status);
            }
            if its_dyno {
                signal_all(SIGKILL);
            }
            tell(status);
        }
    }
}

fn signal_all(signal: usize) {
    // SAFETY: numbers.
    unsafe { call(number::KILL, [usize::MAX, signal, 0, 0]) };
}

fn signal_in(status: u32) -> u32 {
    status & 0x7f
}

fn code_in(status: u32) -> u32 {
    status >> 8 & 0xff
}

fn end(status: u32) -> ! {
    let shown = if signal_in(status) == 0 { code_in(status) } else { 128 + signal_in(status) };
    loop {
        // SAFETY: a number; it does not return.
        unsafe { call(number::EXIT_GROUP, [shown as usize, 0, 0, 0]) };
    }
}

/// Writes how the command ended, as JSON and at once, for whoever comes later; then rings for whoever waits.
fn tell(status: u32) {
    let (what, number) = match signal_in(status) {
        0 => ("{\"Code\":", code_in(status)),
        signal => ("{\"Signal\":", signal),
    };
    let digits = [number / 100, number / 10 % 10, number % 10].map(|digit| b'0' + digit as u8);
    let leading = if number >= 100 { 0 } else { 1 + (number < 10) as usize };
    let parts = [
        [what.as_ptr() as usize, what.len()],
        [&raw const digits as usize + leading, digits.len() - leading],
        [c"}".as_ptr() as usize, 1],
    ];
    // SAFETY: three pieces of memory with their lengths, and a number of 8 bytes. When nobody can be told, the end of this
    // process is still an end.
    unsafe {
        call(number::WRITEV, [EXIT, &raw const parts as usize, parts.len(), 0]);
        call(number::WRITE, [ENDED, &raw const ONE as usize, 8, 0]);
    }
}

static ONE: u64 = 1;

#[panic_handler]
fn panicked(_: &core::panic::PanicInfo<'_>) -> ! {
    end(126 << 8)
}
