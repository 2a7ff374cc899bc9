//! What this machine is called as a stack.

use std::fs;

/// The stack of this machine, like `debian-12`: `ID` and `VERSION_ID` of `/etc/os-release`; `linux` where there is none.
pub fn stack_of_this_machine() -> String {
    let text = fs::read_to_string("/etc/os-release").or_else(|_| fs::read_to_string("/usr/lib/os-release"));
    text.ok().and_then(|text| stack(&text)).unwrap_or_else(|| "linux".to_owned())
}

fn stack(os_release: &str) -> Option<String> {
    let value = |key: &str| {
        let line = os_release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        let plain = line.trim().trim_matches(['"', '\'']);
        let good = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        (!plain.is_empty() && plain.bytes().all(good)).then(|| plain.to_owned())
    };
    let id = value("ID")?;
    Some(value("VERSION_ID").map_or(id.clone(), |version| format!("{id}-{version}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_is_the_system_and_its_version() {
        assert_eq!(stack("NAME=\"x\"\nID=debian\nVERSION_ID=\"12\"\n").as_deref(), Some("debian-12"));
        assert_eq!(stack("ID=arch\n").as_deref(), Some("arch"));
        assert_eq!(stack("ID=\"a b\"\n"), None);
        assert_eq!(stack("NAME=x\n"), None);
    }
}
