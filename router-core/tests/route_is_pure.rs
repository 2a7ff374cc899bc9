//! `route/` decides and does nothing else: it runs in a simulation as in a worker.
#![expect(clippy::unwrap_used, reason = "a test says what it needs by failing")]

use std::{fs, path::Path};

/// What no line of code there may name. (A comment may; and tests of it may use what they like.)
const FORBIDDEN: [&str; 7] =
    ["tokio", "Instant::now", "SystemTime", "std::net::Tcp", "TcpStream", "UdpSocket", "thread::sleep"];

fn offences(folder: &Path, found: &mut Vec<String>, files: &mut u32) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            offences(&path, found, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            *files += 1;
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
            for (number, line) in code.lines().enumerate() {
                let line = line.split("//").next().unwrap_or_default();
                let words = FORBIDDEN.iter().filter(|word| line.contains(*word));
                found.extend(words.map(|word| format!("{}:{}: {word}", path.display(), number + 1)));
            }
        }
    }
}

#[test]
fn route_names_no_runtime_no_socket_and_no_clock() {
    let (mut found, mut files) = (Vec::new(), 0);
    offences(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/route"), &mut found, &mut files);
    assert!(files > 20, "only {files} files were looked at");
    assert!(found.is_empty(), "{found:#?}");
}
