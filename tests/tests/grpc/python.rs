//! A Python that has grpcio.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

/// A Python that has grpcio, installed here the first time; `None`, loudly, if it cannot be had.
pub(super) fn python() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("grpcio");
    let python = folder.join("bin/python3");
    let has =
        || Command::new(&python).args(["-c", "import grpc"]).output().is_ok_and(|done| done.status.success());
    if !has() {
        // Several tests want it at the same time.
        let lock = File::create(folder.with_extension("lock")).ok()?;
        lock.lock().ok()?;
        if !has() {
            let _made = Command::new("python3").args(["-m", "venv"]).arg(&folder).output();
            let _installed = Command::new(&python).args(["-m", "pip", "install", "-q", "grpcio"]).output();
        }
    }
    if has() {
        return Some(python);
    }
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let _nobody_reads_it = writeln!(std::io::stderr(), "SKIPPED {test}: grpcio cannot be had");
    None
}
