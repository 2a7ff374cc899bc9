//! Finds the program: cargo builds it, in the same profile and into the same directory as this test, once per run.
//! `BUSBAR_PROGRAM=/path/to/busbar` tests that one instead. Also: programs that a test makes and then has executed.

use std::{
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

/// Where `busbar` is.
pub(crate) fn busbar() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| match env::var_os("BUSBAR_PROGRAM") {
        Some(given) => given.into(),
        None => built_in_this_run().unwrap_or_else(build),
    })
}

/// Copies `busbar` to where it will be executed.
///
/// Not by this process: a child of another test could inherit the file open for writing, and it could not be executed.
pub(crate) fn copy_busbar(to: &Path) {
    let copied = Command::new("cp").arg(busbar()).arg(to).status();
    assert!(copied.is_ok_and(|status| status.success()), "it can be copied");
}

/// Writes a script that everybody may execute; not by this process either.
pub(crate) fn write_script(file: &Path, text: &str) {
    let mut writes = Command::new("sh");
    writes.args(["-c", "cat > \"$0\" && chmod 755 \"$0\""]).arg(file).stdin(Stdio::piped());
    let mut writer = writes.spawn().expect("there is a shell");
    writer.stdin.take().expect("it is piped").write_all(text.as_bytes()).expect("it is read");
    assert!(writer.wait().is_ok_and(|status| status.success()), "it can be written");
}

/// Under nextest each test is a process of its own; the first one of a run writes down what it has built.
fn note() -> Option<(PathBuf, String)> {
    let run = env::var("NEXTEST_RUN_ID").ok()?;
    Some((Path::new(env!("CARGO_TARGET_TMPDIR")).join("busbar-of-this-run"), run))
}

fn built_in_this_run() -> Option<PathBuf> {
    let (file, run) = note()?;
    let text = fs::read_to_string(file).ok()?;
    let (of, program) = text.split_once('\n')?;
    (of == run).then(|| program.into())
}

fn build() -> PathBuf {
    // <target directory>/[<triple>/]<profile>/deps/program-…
    let test = env::current_exe().expect("this test has a path");
    let profile_directory = test.ancestors().nth(2).expect("cargo's layout");
    let profile = profile_directory.file_name().and_then(|name| name.to_str()).expect("cargo's layout");
    let profile = if profile == "debug" { "dev" } else { profile };
    let above = profile_directory.parent().expect("cargo's layout");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--package", "router-bin", "--bin", "busbar", "--profile", profile]);
    command.args(["--message-format", "json", "--manifest-path"]).arg(manifest());
    if above.join("CACHEDIR.TAG").exists() && !above.join(".rustc_info.json").exists() {
        command.arg("--target").arg(above.file_name().expect("a triple"));
        command.arg("--target-dir").arg(above.parent().expect("a target directory"));
    } else {
        command.arg("--target-dir").arg(above);
    }
    let output = command.stderr(Stdio::inherit()).output().expect("cargo can be run");
    assert!(output.status.success(), "cargo cannot build busbar");
    let program =
        executable(&String::from_utf8_lossy(&output.stdout)).expect("cargo names what it has built");
    if let Some((file, run)) = note() {
        let new = file.with_extension(std::process::id().to_string());
        let _others_build_again =
            fs::write(&new, format!("{run}\n{}", program.display())).and_then(|()| fs::rename(&new, &file));
    }
    program
}

fn manifest() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("Cargo.toml")
}

fn executable(messages: &str) -> Option<PathBuf> {
    let executable = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(message.get("executable")?.as_str()?.into())
    };
    messages.lines().rev().find_map(executable)
}
