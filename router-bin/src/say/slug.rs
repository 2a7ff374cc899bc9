//! What is in a slug.

use std::path::Path;

use dyno_runtime::slug::{Manifest, SlugHash};

/// Some lines about a slug.
pub(crate) fn summary(file: &Path, hash: &SlugHash, compressed: u64, manifest: &Manifest) -> String {
    let mut text = format!(
        "=== {} ({})\n\nslug:     {}, {}\nhash:     {hash}\nstack:    {}\ncontents: {} in {} entries\n",
        manifest.app,
        manifest.made_by,
        file.display(),
        bytes(compressed),
        manifest.stack,
        bytes(manifest.bytes),
        manifest.entries,
    );
    for (name, value) in [
        ("source:", manifest.source_version.clone()),
        ("packs:", Some(manifest.buildpacks.join(", ")).filter(|packs| !packs.is_empty())),
    ] {
        text.extend(value.map(|value| format!("{name:<9} {}\n", value.escape_debug())));
    }
    text.push('\n');
    text.extend(
        manifest.process_types.iter().map(|(name, command)| format!("{name}: {}\n", printable(command))),
    );
    text
}

/// `28.1 MiB`
pub(crate) fn bytes(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB"];
    let mut scaled = bytes as f64;
    let mut unit = "bytes";
    for next in units {
        if scaled < 1024.0 {
            break;
        }
        (scaled, unit) = (scaled / 1024.0, next);
    }
    if unit == "bytes" { format!("{bytes} bytes") } else { format!("{scaled:.1} {unit}") }
}

/// A command comes from a slug that somebody else may have made: nothing of it is an order to the terminal.
fn printable(command: &str) -> String {
    command
        .chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_the_unit_that_fits() {
        assert_eq!(bytes(0), "0 bytes");
        assert_eq!(bytes(1023), "1023 bytes");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(500 << 20), "500.0 MiB");
        assert_eq!(bytes(5 << 40), "5120.0 GiB");
    }

    #[test]
    fn a_command_from_a_slug_gives_no_orders_to_a_terminal() {
        assert_eq!(printable("a\x1b[2Jb \"c\""), "a\\u{1b}[2Jb \"c\"");
    }
}
