//! The program that changes the DNS for dns-01: `HOOK present DOMAIN VALUE`, and `HOOK cleanup DOMAIN VALUE` afterwards.

use std::{io, process::Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{io::AsyncReadExt as _, process::Command, time::timeout};

use crate::config::acme::Hook;

/// So much of what it says is logged.
const MOST_WORDS: u64 = 4096;
/// A value of the environment shorter than this cannot be told from any word.
const SHORTEST_SECRET: usize = 6;

/// Why it did not do it.
#[derive(Debug, thiserror::Error)]
pub(super) enum HookError {
    /// It did not start.
    #[error("the hook {program} cannot be run: {}; check that it is a program and may be run", crate::failure::reason(.source))]
    NotRun {
        /// Its path.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It did not end in time, and was ended.
    #[error(
        "the hook {program} was not done within {seconds} s, and was ended; raise `hook_timeout`, or see what it waits for"
    )]
    Slow {
        /// Its path.
        program: String,
        /// How long it had.
        seconds: u64,
    },
    /// It says no.
    #[error("the hook {program} {deed} {domain} failed ({status}): {words}")]
    Failed {
        /// Its path.
        program: String,
        /// `present` or `cleanup`.
        deed: &'static str,
        /// Whose record.
        domain: String,
        /// Its exit code.
        status: String,
        /// What it said.
        words: String,
    },
}

/// Has it done. What it says is logged; values of its environment that are secrets by their names are not.
///
/// # Errors
/// [`HookError`].
///
/// # Cancel safety
/// Dropped, the program is killed.
pub(super) async fn run(hook: &Hook, deed: &'static str, domain: &str, value: &str) -> Result<(), HookError> {
    let program = || hook.program.display().to_string();
    let not_run = |source| HookError::NotRun { program: program(), source };
    let mut command = Command::new(&hook.program);
    command.args([deed, domain, value]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.process_group(0).kill_on_drop(true).spawn().map_err(not_run)?;
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let done = timeout(hook.timeout, async {
        let (out, err, status) = tokio::join!(words(out), words(err), child.wait());
        status.map(|status| (status, format!("{out}{err}")))
    });
    let done = done.await;
    if let Some(group) = group {
        let _nobody_is_left = kill_process_group(group, Signal::KILL);
    }
    let Ok(done) = done else {
        return Err(HookError::Slow { program: program(), seconds: hook.timeout.as_secs() });
    };
    let (status, words) = done.map_err(not_run)?;
    let words = without_secrets(words.trim(), std::env::vars());
    if !status.success() {
        let (domain, status) = (domain.to_owned(), status.to_string());
        return Err(HookError::Failed { program: program(), deed, domain, status, words });
    }
    tracing::info!(hook = program(), deed, domain, said = words, "the DNS was changed");
    Ok(())
}

/// The beginning of what it says; the rest is read, so that it never waits, and thrown away.
async fn words(pipe: Option<impl tokio::io::AsyncRead + Unpin>) -> String {
    let Some(mut pipe) = pipe else { return String::new() };
    let mut words = Vec::new();
    let _what_there_is = (&mut pipe).take(MOST_WORDS).read_to_end(&mut words).await;
    let _thrown_away = tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await;
    let words = String::from_utf8_lossy(&words).into_owned();
    words.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}

fn without_secrets(words: &str, environment: impl Iterator<Item = (String, String)>) -> String {
    let is_secret = |name: &str| {
        let name = name.to_ascii_uppercase();
        ["KEY", "TOKEN", "SECRET", "PASS", "CREDENTIAL"].iter().any(|word| name.contains(word))
    };
    let secrets = environment.filter(|(name, value)| is_secret(name) && value.len() >= SHORTEST_SECRET);
    secrets.fold(words.to_owned(), |words, (_, value)| words.replace(&value, "***"))
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, time::Duration};

    use super::*;

    fn hook(directory: &tempfile::TempDir, script: &str, timeout: Duration) -> Hook {
        let program = directory.path().join("hook");
        // Not by this process: a child of another test could inherit the open file, and it could not be executed.
        let mut writes = std::process::Command::new("sh");
        writes.args(["-c", "cat > \"$0\" && chmod 755 \"$0\""]).arg(&program).stdin(Stdio::piped());
        let mut writer = writes.spawn().unwrap();
        write!(writer.stdin.take().unwrap(), "#!/bin/sh\n{script}\n").unwrap();
        assert!(writer.wait().unwrap().success());
        Hook { program, timeout }
    }

    #[tokio::test]
    async fn it_is_told_the_deed_the_domain_and_the_value_and_its_words_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let minute = Duration::from_secs(60);
        let good = hook(&directory, "test \"$1 $2 $3\" = 'present a.example v'", minute);
        run(&good, "present", "a.example", "v").await.unwrap();
        let bad = hook(&directory, "echo no such zone >&2; exit 3", minute);
        let said = run(&bad, "cleanup", "a.example", "v").await.unwrap_err().to_string();
        assert!(said.ends_with("cleanup a.example failed (exit status: 3): no such zone"), "{said}");
        std::fs::remove_file(&bad.program).unwrap();
        assert!(matches!(run(&bad, "present", "a", "v").await, Err(HookError::NotRun { .. })));
    }

    #[tokio::test]
    async fn one_that_hangs_is_ended_with_its_children() {
        let directory = tempfile::tempdir().unwrap();
        let slow = hook(&directory, "sleep 1000 & sleep 1000", Duration::from_millis(200));
        assert!(matches!(run(&slow, "present", "a", "v").await, Err(HookError::Slow { .. })));
    }

    #[test]
    fn secrets_of_its_environment_are_not_repeated() {
        let environment = [("API_TOKEN", "hunter22"), ("HOME", "/root/hunter"), ("KEY", "a")];
        let environment = environment.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(
            without_secrets("bad token hunter22 in /root/hunter", environment),
            "bad token *** in /root/hunter"
        );
    }
}
