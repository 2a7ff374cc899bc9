//! Control groups of version 2, for real: in a small virtual machine that this test makes (`version_2/machine.sh`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test says what it needs by failing, and why it was skipped by printing"
)]

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// What `examples/guest.rs` checks there.
const CHECKS: [&str; 7] = [
    "the_machine_has_version_2",
    "f1_a_fork_bomb_is_held_and_killed",
    "f2_what_left_the_session_is_gone_after_the_stop",
    "f13_a_child_that_needs_too_much_ends_the_dyno_and_no_other",
    "f14_above_the_quota_it_lives_and_r14_is_said_again",
    "f19_cpu_time_goes_by_weight",
    "limits_change_while_it_runs",
];

/// The example as a program that needs no library, in a target directory of its own.
fn guest() -> PathBuf {
    let (target, triple) = (Path::new(env!("CARGO_TARGET_TMPDIR")).join("guest"), "x86_64-unknown-linux-gnu");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--locked", "--package", "dyno-runtime", "--example", "guest"])
        .args(["--target", triple, "--target-dir"])
        .arg(&target)
        .env("RUSTFLAGS", "-C target-feature=+crt-static -C strip=symbols")
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(built.success(), "the guest does not build");
    target.join(triple).join("debug/examples/guest")
}

#[test]
fn f1_f2_f13_f14_and_f19_hold_under_version_2_in_a_virtual_machine() {
    if cfg!(not(all(target_arch = "x86_64", target_os = "linux"))) {
        return eprintln!("skipped: the virtual machine is one for x86_64 Linux");
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/version_2/machine.sh");
    let machine = Command::new("sh")
        .arg(script)
        .arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("machine"))
        .arg(guest())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&machine.stdout);
    if machine.status.code() == Some(77) {
        return eprintln!("skipped: no virtual machine, so version 2 is NOT tested: {said}");
    }
    let verdicts: Vec<&str> = said
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("PASS ") || line.starts_with("FAIL "))
        .collect();
    eprintln!("{}", verdicts.join("\n"));
    let expected: Vec<String> = CHECKS.iter().map(|check| format!("PASS {check}")).collect();
    let whole = format!("{said}{}", String::from_utf8_lossy(&machine.stderr));
    assert_eq!(verdicts, expected, "{whole}");
    assert!(said.contains("DONE"), "{whole}");
}
