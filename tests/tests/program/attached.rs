//! `busbar run`: on a terminal that somebody sits at, and between pipes.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{net::UnixStream, process::ExitStatusExt as _},
    process::{Child, Command, Stdio},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    busbar::{Busbar, Place},
    terminal::Sitting,
    wait::{skipped, until},
};

fn busbar(flags: &[&str]) -> Busbar {
    let place = Place::new();
    let directory = place.app_with("worker: exec sleep 6000");
    place.up(&directory, flags)
}

/// With each level that can be had here.
fn each_level() -> Vec<Busbar> {
    let mut all = vec![busbar(&[])];
    if rustix::process::geteuid().is_root() {
        all.push(busbar(&["--isolation", "full", "--network", "inbound"]));
    } else {
        skipped("only root has full isolation");
    }
    all
}

fn one_offs(busbar: &Busbar) -> Vec<String> {
    let all = busbar.ps().into_iter().filter(|dyno| dyno.name.starts_with("run."));
    all.map(|dyno| format!("{} {}", dyno.name, dyno.state)).collect()
}

/// A `sleep` that only this process's tests run, told from each other by a digit.
fn sleep(digit: u32) -> String {
    format!("sleep {}{digit}", std::process::id())
}

/// Waits until such a `sleep` runs, and is not stopped.
fn sleeps(command: &str) {
    let command = format!("{}\0", command.replace(' ', "\0"));
    let is_it = |process: fs::DirEntry| {
        let read = |file: &str| fs::read_to_string(process.path().join(file)).unwrap_or_default();
        read("cmdline") == command && read("stat").contains(") S ")
    };
    until("it sleeps", || fs::read_dir("/proc").unwrap().flatten().any(is_it).then_some(()));
}

fn nothing_runs(busbar: &Busbar) {
    until("no one-off dyno is left", || one_offs(busbar).is_empty().then_some(()));
}

#[test]
fn on_a_terminal_bash_is_as_at_home() {
    for busbar in each_level() {
        let mut sitting = Sitting::at(&busbar, &["PS1='> ' exec bash --norc --noprofile -i"]);
        sitting.shows("> ");
        assert!(sitting.is_raw());
        sitting.types("tty; stty size; echo $TERM\r");
        sitting.shows("/dev/pts/");
        sitting.shows("33 101\r\nxterm-256color\r\n");
        let sleep = sleep(1);
        sitting.types(&format!("{sleep}\r"));
        sleeps(&sleep);
        sitting.types("\x1a");
        sitting.shows("Stopped");
        sitting.types("jobs\r");
        sitting.shows(&format!("[1]+  Stopped                 {sleep}"));
        sitting.types("fg\r");
        sleeps(&sleep);
        sitting.types("\x03");
        sitting.shows("^C");
        sitting.shows("> ");
        sitting.types("echo rea\"\"dy; cat; echo en\"\"ded\r");
        sitting.shows("ready");
        sitting.types("\x04");
        sitting.shows("ended");
        sitting.types(&format!("{sleep}\r"));
        sleeps(&sleep);
        sitting.types("\x1c");
        sitting.shows("Quit");
        sitting.types("python3 -c 'import sys; print(sys.stdin.isatty(), input(\"na\" \"me? \"))'\r");
        sitting.shows("name? ");
        sitting.types("typed\r");
        sitting.shows("True typed");
        sitting.types("seq 100 | less\r");
        sitting.shows(":");
        sitting.types("q");
        sitting.shows("> ");
        sitting.types("exit 7\r");
        assert_eq!(sitting.ended().code(), Some(7), "{}", sitting.seen());
        nothing_runs(&busbar);
    }
}

/// At level `user`, which is not for root; `None` where there are no user namespaces.
fn of_somebody_who_is_not_root() -> Option<Busbar> {
    let place = Place::new();
    let directory = place.app_with("worker: exec sleep 6000");
    fs::create_dir(place.path("run")).unwrap();
    crate::binary::copy_busbar(&place.path("busbar"));
    let mut command = if rustix::process::geteuid().is_root() {
        let own = Command::new("chown").args(["-R", "65534:65534"]).arg(place.directory.path()).status();
        assert!(own.unwrap().success());
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(place.path("busbar"));
        command
    } else {
        Command::new(place.path("busbar"))
    };
    command.arg("up").arg(directory).args([
        "--app",
        &place.app,
        "--listen",
        "127.0.0.1:0",
        "--isolation",
        "user",
    ]);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", place.directory.path());
    command
        .env("XDG_RUNTIME_DIR", place.path("run"))
        .arg(format!("--admin=unix:{}", place.admin().display()));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if fs::read_to_string("/proc/sys/user/max_user_namespaces").is_ok_and(|most| most.trim() == "0") {
        skipped("this machine has no user namespaces");
        return None;
    }
    Some(Busbar::start(place, command))
}

#[test]
fn somebody_who_is_not_root_has_dynos_with_terminals_and_pipes_too() {
    let Some(busbar) = of_somebody_who_is_not_root() else { return };
    let mut sitting = Sitting::at(&busbar, &["PS1='> ' exec bash --norc --noprofile -i"]);
    sitting.shows("> ");
    sitting.types("tty; stty size; id -un; echo by-name > $(tty)\r");
    sitting.shows("/dev/pts/0\r\n33 101\r\ndyno\r\nby-name\r\n");
    let sleep = sleep(2);
    sitting.types(&format!("{sleep}\r"));
    sleeps(&sleep);
    sitting.types("\x1a");
    sitting.shows("Stopped");
    sitting.shows("> ");
    sitting.types("exit 4\r");
    sitting.shows("There are stopped jobs");
    sitting.types("exit 4\r");
    assert_eq!(sitting.ended().code(), Some(4), "{}", sitting.seen());
    let mut client = start(&busbar, &["--", "cat"]);
    client.stdin.take().unwrap().write_all(b"passes").unwrap();
    assert_eq!(client.wait_with_output().unwrap().stdout, b"passes");
    nothing_runs(&busbar);
}

#[test]
fn a_new_size_of_the_terminal_is_told_to_the_command() {
    for busbar in each_level() {
        // A shell may lose a signal that comes while it is still busy with the one before.
        let sizes = "import os, signal\n\
                     signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGWINCH])\n\
                     print('ready', flush=True)\n\
                     while signal.sigwait([signal.SIGWINCH]):\n \
                     print(os.get_terminal_size().lines, os.get_terminal_size().columns, flush=True)";
        let mut sitting = Sitting::at(&busbar, &["--", "python3", "-c", sizes]);
        sitting.shows("ready");
        for (rows, columns) in [(44, 55), (1, 2), (500, 1000)] {
            sitting.resize(rows, columns);
            sitting.shows(&format!("{rows} {columns}\r\n"));
        }
        sitting.types("\x1c");
        assert_eq!(sitting.ended().code(), Some(131));
    }
}

#[test]
fn on_a_terminal_the_exit_status_is_the_commands_and_the_output_is_whole() {
    for busbar in each_level() {
        for (command, status) in [("true", 0), ("exit 3", 3), ("kill -9 $$", 137), ("kill -TERM $$", 143)] {
            let mut sitting = Sitting::at(&busbar, &[command]);
            assert_eq!(sitting.ended().code(), Some(status), "{command}: {}", sitting.seen());
        }
        let mut sitting = Sitting::at(&busbar, &["seq 100000; echo at-last"]);
        assert_eq!(sitting.ended().code(), Some(0));
        sitting.shows("99999\r\n100000\r\nat-last\r\n");
    }
}

#[test]
fn a_megabyte_is_pasted_whole() {
    let busbar = busbar(&[]);
    let lines: String = (0..).map(|n| format!("{n} {}\n", "x".repeat(n % 900))).take(2500).collect();
    assert!(lines.len() > 1_000_000);
    let head = format!("stty -echo; echo ready; head -c {} > pasted; echo taken", lines.len());
    let mut sitting = Sitting::at(&busbar, &[&head]);
    sitting.shows("ready");
    sitting.types(&lines);
    sitting.shows("taken");
    assert_eq!(sitting.ended().code(), Some(0));
    let pasted = fs::read_to_string(busbar.place.path("app").join("pasted")).unwrap();
    assert!(pasted == lines, "{} of {} bytes", pasted.len(), lines.len());
}

/// On a terminal, a command that runs until it is ended.
fn sleeping(busbar: &Busbar) -> Sitting {
    let sitting = Sitting::at(busbar, &["echo ready; exec sleep 6000"]);
    sitting.shows("ready");
    assert!(sitting.is_raw());
    sitting
}

#[test]
fn the_terminal_is_put_back_and_the_command_hung_up_whatever_ends_us() {
    let busbar = busbar(&[]);
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        let mut sitting = sleeping(&busbar);
        sitting.signal(signal);
        assert_eq!(sitting.ended().code(), Some(128 + signal.as_raw()));
        nothing_runs(&busbar);
    }
    let is_hung_up = |line: &&String| line.contains("exited with status 129");
    until("each one is hung up", || {
        (busbar.out.lines().iter().filter(is_hung_up).count() == 4).then_some(())
    });
}

#[test]
fn the_terminal_is_put_back_when_busbar_is_killed_and_when_it_stops() {
    let mut killed = busbar(&[]);
    let mut sitting = sleeping(&killed);
    killed.signal(Signal::KILL);
    assert_eq!(sitting.ended().code(), Some(5), "{}", sitting.seen());
    sitting.shows("the connection to busbar was lost");
    killed.ended();

    let mut stopped = busbar(&[]);
    let mut sitting = sleeping(&stopped);
    stopped.signal(Signal::TERM);
    assert_eq!(sitting.ended().code(), Some(143), "{}", sitting.seen());
    assert!(stopped.ended().success());
}

#[test]
fn stopped_the_terminal_is_the_shells_and_continued_it_is_the_dynos_again() {
    let busbar = busbar(&[]);
    let mut sitting = sleeping(&busbar);
    sitting.signal(Signal::TSTP);
    until("it is put back", || (!sitting.is_raw()).then_some(()));
    sitting.signal(Signal::CONT);
    until("it is raw again", || sitting.is_raw().then_some(()));
    sitting.types("\x03");
    assert_eq!(sitting.ended().code(), Some(130));
}

#[test]
fn ctrl_c_four_times_leaves_a_command_that_hears_nothing() {
    let busbar = busbar(&[]);
    let mut sitting =
        Sitting::at(&busbar, &["trap '' INT; stty -echo; echo ready; while :; do sleep 1; done"]);
    sitting.shows("ready");
    until("it ends", || {
        if sitting.client.try_wait().unwrap().is_none() {
            sitting.types("\x03");
        }
        sitting.client.try_wait().unwrap()
    });
    assert_eq!(sitting.ended().code(), Some(130));
    nothing_runs(&busbar);
}

/// What a program in a dyno can try to have typed at the terminal of whoever runs it.
const TYPE_THERE: &str = "
import fcntl, os
for name in ['/dev/tty', 0, 1, 2]:
    f = os.open(name, os.O_RDWR) if isinstance(name, str) else name
    for request, data in [(0x5412, b'X'), (0x5412, b'\\n'), (0x541c, b'\\x03')]:
        try: fcntl.ioctl(f, request, data)
        except OSError as error: print(error.strerror)
held = [os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{n}')]
print('held', sorted(set(name for name in held if not name.startswith('/proc'))))
print('own', os.ttyname(0))
";

#[test]
fn f35_nothing_is_typed_at_the_terminal_of_whoever_runs_a_dyno() {
    for busbar in each_level() {
        let mut sitting = Sitting::at(&busbar, &["--", "python3", "-c", TYPE_THERE]);
        assert_eq!(sitting.ended().code(), Some(0), "{}", sitting.seen());
        let seen = [sitting.shows("\nown "), sitting.shows("\n")].concat();
        let said =
            |what: &str| seen.lines().find_map(|line| line.strip_prefix(what)).expect("it says").trim();
        assert!(said("own ").starts_with("/dev/pts/"), "{seen}");
        assert_eq!(said("held "), format!("['{}', '/dev/tty']", said("own ")), "only its own terminal");
        assert_eq!(sitting.waiting(), 0, "nothing was typed");
    }
}

#[test]
fn f35_a_terminal_that_is_closed_hangs_the_command_up_and_then_ends_it() {
    let busbar = busbar(&["--exit-timeout", "1s"]);
    let sitting =
        Sitting::at(&busbar, &["trap 'echo hung-up > told' HUP; echo ready; while :; do sleep 0.1; done"]);
    sitting.shows("ready");
    drop(sitting);
    busbar.out.line("Error R16 (Detached)");
    busbar.out.line("Stopping all processes with SIGTERM");
    nothing_runs(&busbar);
    assert_eq!(fs::read_to_string(busbar.place.path("app").join("told")).unwrap(), "hung-up\n");
}

#[test]
fn without_a_terminal_there_is_none_and_with_options_it_is_as_they_say() {
    let busbar = busbar(&[]);
    let mut sitting = Sitting::at(&busbar, &["--no-tty", "tty; cat"]);
    sitting.shows("not a tty");
    assert!(!sitting.is_raw());
    sitting.types("line\n\x04");
    sitting.shows("line\r\nline");
    assert_eq!(sitting.ended().code(), Some(0));

    let mut piped = start(&busbar, &["--tty", "tty; stty size; cat"]);
    piped.stdin.take().unwrap().write_all(b"no end of line").unwrap();
    let output = piped.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("/dev/pts/") && said.contains("24 80") && output.status.success(), "{said}");
    assert_eq!(said.matches("no end of line").count(), 2, "its echo, and cat: {said}");

    let both = busbar.verb(&["run", "--tty", "--no-tty", "true"]).failed(2);
    assert!(both.contains("cannot be used with"), "{both}");
    let mut odd = Sitting::with(&busbar, &["echo TERM=${TERM-none}."], |command| {
        command.env("TERM", "x\x1b]0;title");
    });
    odd.ended();
    assert!(!odd.seen().contains("title"), "{:?}", odd.seen());
}

fn start(busbar: &Busbar, arguments: &[&str]) -> Child {
    let mut command = busbar.place.command(&[&["run"], arguments].concat());
    command.stdin(Stdio::piped()).spawn().unwrap()
}

#[test]
fn twenty_megabytes_pass_both_ways_unchanged() {
    for busbar in each_level() {
        let bytes: Vec<u8> =
            (0..20_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 23) as u8).collect();
        let mut client = start(&busbar, &["--", "cat"]);
        let (mut stdin, sent) = (client.stdin.take().unwrap(), bytes.clone());
        let writer = thread::spawn(move || stdin.write_all(&sent));
        let output = client.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(0), bytes.len()));
        assert!(output.stdout == bytes, "the bytes are others");
        let log = busbar.verb(&["logs", "-n", "100"]).out;
        assert!(!log.contains("app[run."), "none of it is in the log");
    }
}

#[test]
fn standard_output_and_error_are_two_and_the_status_is_exact() {
    let busbar = busbar(&[]);
    let output = start(&busbar, &["echo out; echo err >&2; kill -KILL $$"]).wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), &output.stdout[..], &output.stderr[..]),
        (Some(137), &b"out\n"[..], &b"err\n"[..])
    );
}

#[test]
fn a_command_that_reads_no_more_ends_cleanly_and_lets_whoever_writes_know() {
    let busbar = busbar(&[]);
    for command in ["head -c 10 | wc -c", "exec 0<&-; echo 10; sleep 0.1"] {
        let mut client = start(&busbar, &[command]);
        let mut stdin = client.stdin.take().unwrap();
        let writer = thread::spawn(move || while stdin.write_all(&[b'x'; 65536]).is_ok() {});
        let output = client.wait_with_output().unwrap();
        writer.join().unwrap();
        assert_eq!((output.status.code(), output.stdout.trim_ascii()), (Some(0), &b"10"[..]), "{command}");
    }
}

#[test]
fn a_command_that_never_reads_takes_little_and_whoever_goes_away_meanwhile_is_missed() {
    let busbar = busbar(&[]);
    let mut client = start(&busbar, &["echo ready; exec sleep 6000"]);
    let mut stdin = client.stdin.take().unwrap();
    client.stdout.as_mut().unwrap().read_exact(&mut [0; 6]).unwrap();
    rustix::fs::fcntl_setfl(&stdin, rustix::fs::OFlags::NONBLOCK).unwrap();
    // Until nothing is taken any more: each of pipes, sockets and windows on the way has its bound.
    let mut written = 0;
    let mut full = 0;
    while full < 20 {
        match stdin.write(&[b'x'; 65536]) {
            Ok(count) => (written, full) = (written + count, 0),
            Err(_) => full += 1,
        }
        assert!(written < 4 << 20, "{written} bytes are held");
        assert!(one_offs(&busbar).len() == 1);
    }
    client.kill().unwrap();
    client.wait().unwrap();
    nothing_runs(&busbar);
    busbar.out.line("Process exited with status 129");
}

#[test]
fn a_reader_that_stalls_holds_up_its_own_dyno_and_no_other() {
    let busbar = busbar(&[]);
    let mut stalled = start(&busbar, &["yes > /dev/stderr & exec yes"]);
    until("it runs", || (one_offs(&busbar).len() == 1).then_some(()));
    for _ in 0..3 {
        let mut client = start(&busbar, &["--", "cat"]);
        client.stdin.take().unwrap().write_all(b"passes").unwrap();
        assert_eq!(client.wait_with_output().unwrap().stdout, b"passes");
    }
    assert_eq!(one_offs(&busbar).len(), 1);
    // It still hears signals.
    kill_process(Pid::from_child(&stalled), Signal::TERM).unwrap();
    assert_eq!(until("it ends", || stalled.try_wait().unwrap()).code(), Some(143));
    nothing_runs(&busbar);
}

#[test]
fn whoever_reads_no_more_ends_the_command() {
    let busbar = busbar(&[]);
    let mut client = start(&busbar, &["--", "yes"]);
    let mut stdout = client.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 4]).unwrap();
    drop(stdout);
    let status = until("it ends", || client.try_wait().unwrap());
    assert!(status.success() && status.signal().is_none(), "{status:?}");
    nothing_runs(&busbar);
}

/// A connection of the admin API, after this was asked for; and the head of the answer.
fn asked(busbar: &Busbar, upgrade: Option<&str>, body: &str) -> (UnixStream, String) {
    let mut connection = UnixStream::connect(busbar.place.admin()).unwrap();
    let upgrade =
        upgrade.map(|name| format!("Connection: upgrade\r\nUpgrade: {name}\r\n")).unwrap_or_default();
    let length = body.len();
    write!(
        connection,
        "POST /v1/run HTTP/1.1\r\nHost: busbar\r\nContent-Type: application/json\r\n{upgrade}Content-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut head = vec![];
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        connection.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    (connection, String::from_utf8(head).unwrap())
}

const PROTOCOL: &str = "busbar-attach/1";
const PIPES: &str = r#"{"command":"exec sleep 6000","attach":"pipes"}"#;

/// The next frame: its kind, and what follows.
fn frame(connection: &mut UnixStream) -> (u8, Vec<u8>) {
    let mut head = [0; 3];
    connection.read_exact(&mut head).unwrap();
    let mut rest = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
    connection.read_exact(&mut rest).unwrap();
    (head[0], rest)
}

#[test]
fn whoever_is_gone_before_the_command_starts_is_r13_and_it_does_not_start() {
    let busbar = busbar(&[]);
    let (mut connection, head) = asked(&busbar, Some(PROTOCOL), PIPES);
    assert!(head.starts_with("HTTP/1.1 101") && head.contains(PROTOCOL), "{head}");
    let (kind, name) = frame(&mut connection);
    assert!(kind == 10 && name.starts_with(b"run."), "{kind} {name:?}");
    busbar.out.line("Awaiting client");
    assert_eq!(one_offs(&busbar).len(), 1);
    drop(connection);
    busbar.out.line("Error R13 (Attach error) -> Failed to attach to process");
    nothing_runs(&busbar);
    assert!(!busbar.out.lines().iter().any(|line| line.contains("sleep 6000") && line.contains("run.")));
}

#[test]
fn whoever_says_what_is_not_in_the_protocol_is_cut_off() {
    let busbar = busbar(&[]);
    let attach = [1, 0, 0];
    // What belongs elsewhere; too much; a second beginning; what follows the end; another kind; a frame too long.
    let wrong: [&[u8]; 5] = [
        &[2, 0, 1, b'x'],
        &[1, 0, 0, 1, 0, 0],
        &[1, 0, 0, 3, 0, 0, 2, 0, 1, b'x'],
        &[9, 0, 0],
        &[1, 0, 0, 2, 0xff, 0xff],
    ];
    for said in wrong {
        let (mut connection, _) = asked(&busbar, Some(PROTOCOL), PIPES);
        connection.write_all(said).unwrap();
        let mut rest = vec![];
        let _reset = connection.read_to_end(&mut rest);
        assert!(!rest.windows(3).any(|part| part == [16, 0, 5]), "{said:?}: {rest:?}");
        nothing_runs(&busbar);
    }
    // More than may be on the way.
    let (mut connection, _) = asked(&busbar, Some(PROTOCOL), PIPES);
    connection.write_all(&attach).unwrap();
    let piece = [&[2, 0x80, 0][..], &[b'x'; 0x8000]].concat();
    let refused = (0..99).find_map(|_| connection.write_all(&piece).err());
    assert!(refused.is_some(), "it was cut off");
    nothing_runs(&busbar);

    for (upgrade, body, status) in [
        (None, PIPES, "426"),
        (Some("busbar-attach/2"), PIPES, "426"),
        (Some(PROTOCOL), r#"{"command":"true"}"#, "422"),
        (
            Some(PROTOCOL),
            r#"{"command":"true","attach":{"terminal":{"size":{"rows":1,"columns":1},"term":"a b"}}}"#,
            "422",
        ),
        (
            Some(PROTOCOL),
            r#"{"command":"true","attach":{"terminal":{"size":{"rows":1,"columns":65536}}}}"#,
            "422",
        ),
    ] {
        let (_, head) = asked(&busbar, upgrade, body);
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{body}: {head}");
    }
    assert_eq!(one_offs(&busbar), [] as [String; 0]);
}
