//! The program of a few KiB that the first process of a dyno becomes when everything is set up.
//!
//! Whoever has set up a dyno is this whole program, with megabytes of memory that only it has; for the rest of the dyno's life
//! it is to wait and to bury. So it executes `resident/main.rs`, which `build.rs` has compiled, out of memory: no file of the
//! machine is seen through it, and none has to be installed.

use std::{
    convert::Infallible,
    ffi::CString,
    fs::File,
    io::{self, Write as _},
    os::fd::AsFd as _,
};

use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create},
    io::{FdFlags, fcntl_setfd},
    process::Pid,
};

use super::{first::Around, sys};

const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/resident"));

/// Becomes it; `held` stays open, and so do the files of the estate, if there is one. Returns only when that cannot be done:
/// then nothing has changed.
///
/// # Errors
/// There is no such program for this machine, or the system does not execute it.
pub(crate) fn become_it(
    command: Pid,
    around: Around,
    estate: bool,
    held: Option<&File>,
) -> io::Result<Infallible> {
    if PROGRAM.is_empty() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let mut program = File::from(memfd()?);
    program.write_all(PROGRAM)?;
    fcntl_add_seals(&program, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
    if let Some(held) = held {
        fcntl_setfd(held, FdFlags::empty())?;
    }
    let around = match around {
        Around::ItsDyno => c"dyno",
        Around::TheMachine => c"machine",
    };
    let command = CString::new(command.as_raw_pid().to_string())?;
    sys::execute(program.as_fd(), &[c"dyno-init", &command, around, if estate { c"estate" } else { c"none" }])
}

fn memfd() -> io::Result<std::os::fd::OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels before 6.3 do not know the flag, and let everything be executed.
    match memfd_create(c"dyno-init", flags | MemfdFlags::EXEC) {
        Err(rustix::io::Errno::INVAL) => Ok(memfd_create(c"dyno-init", flags)?),
        made => Ok(made?),
    }
}
