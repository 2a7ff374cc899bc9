//! Compiles `resident/main.rs`, the program of a few KiB that the first process of a dyno becomes.
//!
//! It needs no more than what this crate itself is compiled with. Where it cannot be compiled (another processor, a linker
//! that does not know these flags), it is empty, and the first process stays what it was, with more memory.

use std::{env, fs, path::Path, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=resident/main.rs");
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name: &str| env::var(name).unwrap_or_default();
    let out = Path::new(&variable("OUT_DIR")).join("resident");
    let known = ["x86_64", "aarch64"].contains(&variable("CARGO_CFG_TARGET_ARCH").as_str());
    let compiled = known && variable("CARGO_CFG_TARGET_OS") == "linux" && compile(&out, &variable);
    if !compiled {
        println!(
            "cargo::warning=the first process of a dyno will take megabytes: resident/main.rs was not compiled"
        );
        let _unwritten = fs::write(&out, []);
    }
}

fn compile(out: &Path, variable: &dyn Fn(&str) -> String) -> bool {
    let mut rustc = Command::new(variable("RUSTC"));
    rustc.args(["--edition", "2024", "--crate-type", "bin", "--crate-name", "resident", "resident/main.rs"]);
    rustc.arg("--target").arg(variable("TARGET"));
    for setting in [
        "panic=abort",
        "opt-level=s",
        "debuginfo=0",
        "strip=symbols",
        "overflow-checks=off",
        "relocation-model=static",
    ] {
        rustc.args(["-C", setting]);
    }
    for flag in ["-nostartfiles", "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none", "-Wl,-z,norelro"]
    {
        rustc.arg("-C").arg(format!("link-arg={flag}"));
    }
    if let Some(linker) = Some(variable("RUSTC_LINKER")).filter(|linker| !linker.is_empty()) {
        rustc.arg("-C").arg(format!("linker={linker}"));
    }
    rustc.arg("-o").arg(out);
    rustc.status().is_ok_and(|status| status.success())
}
