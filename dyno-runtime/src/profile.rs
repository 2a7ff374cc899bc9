//! What runs before an app's command: `.profile.d/*.sh`, which buildpacks write, then `.profile`, which the app has. Pure.

/// Where `$1` is the command. Each script is read once, by the shell that then becomes the command's own: what it exports
/// is there, and what it only sets is not.
const BEFORE: &str = "export HOME=\"$PWD\"
for script in \"$HOME\"/.profile.d/*.sh; do [ -f \"$script\" ] && . \"$script\"; done
[ -f \"$HOME/.profile\" ] && . \"$HOME/.profile\"
cd \"$HOME\" && exec \"$0\" -c \"$1\"";

/// How `shell` runs a command. `profile`: with the app's directory, in which it starts, as `HOME`, and its scripts first.
pub(crate) fn argv(shell: &str, command: &str, profile: bool) -> Vec<String> {
    let parts: &[&str] =
        if profile { &[shell, "-c", BEFORE, shell, command] } else { &[shell, "-c", command] };
    parts.iter().map(|part| (*part).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use super::*;

    /// What the command prints in a directory with these files.
    fn runs(shell: &str, files: &[(&str, &str)], command: &str) -> String {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join(".profile.d")).unwrap();
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        let argv = argv(shell, command, true);
        let output = Command::new(&argv[0]).args(&argv[1..]).current_dir(&directory).output().unwrap();
        assert!(output.stderr.is_empty(), "{output:?}");
        let home = fs::canonicalize(directory.path()).unwrap().display().to_string();
        String::from_utf8(output.stdout).unwrap().replace(&home, "HOME")
    }

    #[test]
    fn profile_scripts_run_once_each_in_order_and_before_the_command() {
        let files = [
            (".profile.d/10-b.sh", "echo b; export COUNT=$COUNT.b; cd /"),
            (".profile.d/05-a.sh", "echo a; export COUNT=$COUNT.a PATH=\"$HOME/bin:$PATH\""),
            (".profile.d/notes.txt", "echo never"),
            (".profile", "echo profile; COUNT=$COUNT.p"),
        ];
        for shell in ["/bin/bash", "/bin/sh"] {
            let said =
                runs(shell, &files, "echo \"$COUNT $HOME $PWD ${PATH%%:*}\"; echo \"it's \\\"quoted\\\"\"");
            assert_eq!(said, "a\nb\nprofile\n.a.b.p HOME HOME HOME/bin\nit's \"quoted\"\n", "{shell}");
        }
    }

    #[test]
    fn without_scripts_the_command_runs_all_the_same() {
        assert_eq!(runs("/bin/bash", &[], "echo $0 $#"), "/bin/bash 0\n");
        assert_eq!(argv("/bin/sh", "x", false), ["/bin/sh", "-c", "x"]);
    }
}
