//! Socket files, and a process that has no file descriptors left.

use std::{
    fs,
    io::Read as _,
    net::TcpStream,
    os::unix::net::{UnixListener, UnixStream},
    process::Command,
    thread,
    time::Instant,
};

use it::{Dyno, Wire, fakes};
use rustix::process::Signal;

use super::edge::shop;
use crate::{
    busbar::{Busbar, Place, get},
    wait::until,
};

#[test]
fn a_file_may_name_socket_files_to_listen_at_and_dynos_behind_them() {
    let place = Place::new();
    let (http, app) = (place.path("http.sock"), place.path("app.sock"));
    let dyno = UnixListener::bind(&app).unwrap();
    drop(UnixListener::bind(&http).unwrap()); // what a dead process has left
    let text = format!(
        "listen = [\"127.0.0.1:0\", \"unix:{}\"]\nworkers = 2\n[[app]]\nname = \"shop\"\n\
         catch_all = true\ndynos = [\"unix:{}\"]\n",
        http.display(),
        app.display()
    );
    let mut busbar = place.router(&text, &[]);
    busbar.err.line(&format!("listening on unix:{}", http.display()));
    let serving = thread::spawn(move || {
        let mut wire = Wire::over_unix(dyno.accept().expect("the router comes").0);
        for _ in 0..2 {
            wire.request();
            wire.send(fakes::ok("by file"));
        }
        wire.rest();
    });
    let mut client = Wire::over_unix(UnixStream::connect(&http).unwrap());
    for _ in 0..2 {
        assert_eq!(get(&mut client, "any.example", "/"), (200, "by file".into()));
    }
    assert!(busbar.place.verb(&["ps"]).out.contains(&format!("unix:{}", app.display())));
    busbar.signal(Signal::TERM);
    client.rest();
    assert_eq!(busbar.ended().code(), Some(0));
    serving.join().unwrap();
    assert!(!http.exists(), "its socket file is left");
}

#[test]
fn a_socket_file_that_is_listened_at_or_is_no_socket_is_an_error() {
    let place = Place::new();
    let (live, other) = (place.path("live.sock"), place.path("file"));
    let _listener = UnixListener::bind(&live).unwrap();
    fs::write(&other, "mine").unwrap();
    let file = place.write("edge.toml", "").display().to_string();
    for (path, words) in [(&live, "stop the program that listens there"), (&other, "it is no socket")] {
        let listen = format!("unix:{}", path.display());
        let said = place.verb(&["router", "--config", &file, "--listen", &listen]).failed(4);
        assert!(said.contains(&listen) && said.contains(words), "{said}");
    }
    assert_eq!(fs::read(&other).unwrap(), b"mine");
}

/// `busbar router` that may open so many files.
fn with_files(files: u32, text: &str) -> Busbar {
    let place = Place::new();
    let file = place.write("edge.toml", text).display().to_string();
    let mut command = place.command(&["router", "--config", &file]);
    let (program, arguments) = (command.get_program().to_owned(), command.get_args().map(ToOwned::to_owned));
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("ulimit -n {files}; exec \"$0\" \"$@\"")).arg(program).args(arguments);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    command = shell;
    command.stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    Busbar::start(place, command)
}

fn open_files(busbar: &Busbar) -> usize {
    fs::read_dir(format!("/proc/{}/fd", busbar.pid().as_raw_nonzero())).unwrap().count()
}

/// Whether the router has closed it, or sent something.
fn is_silent(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    stream.read(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

#[test]
fn clients_leave_descriptors_for_dynos_and_wait_in_the_kernel_meanwhile() {
    let dyno = fakes::answers("ok");
    let busbar = with_files(64, &shop(&[dyno.address], ""));
    busbar.err.line("this process may open 64 files, so each worker takes 24 client connections");
    let mut first = busbar.client();
    assert_eq!(get(&mut first, "shop.example", "/"), (200, "ok".into()));
    let mut others: Vec<_> = (0..100).map(|_| TcpStream::connect(busbar.address).unwrap()).collect();
    for _ in 0..20 {
        assert_eq!(get(&mut first, "shop.example", "/"), (200, "ok".into()));
    }
    assert!(open_files(&busbar) < 64);
    // A request is counted once its last byte is on its way.
    until("all is counted", || {
        let state: serde_json::Value = serde_json::from_str(&busbar.admin("/v1/state").unwrap().1).unwrap();
        let traffic = &state["traffic"];
        assert_eq!(traffic["files_limit"], 64, "{traffic}");
        assert!(traffic["files_open"].as_u64().unwrap() < 64, "{traffic}");
        (traffic["requests"] == 21 && traffic["clients"]["open"] == 24).then_some(())
    });
    assert!(others.iter_mut().all(is_silent), "somebody was cut");
    drop(others);
    until("it takes connections again", || {
        (busbar.get("shop.example", "/") == (200, "ok".into())).then_some(())
    });
}

#[test]
fn without_descriptors_accepting_waits_and_does_not_spin_and_what_is_open_goes_on() {
    let dyno = Dyno::listening();
    let busbar = with_files(4096, &shop(&[dyno.address], ""));
    let mut served = busbar.client();
    served.send("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    let mut wire = dyno.accept();
    // Whatever it has open now is all it may have from now on.
    let limit = rustix::process::Rlimit { current: Some(3), maximum: Some(4096) };
    let nofile = rustix::process::Resource::Nofile;
    let begin = Instant::now();
    let before = rustix::process::prlimit(Some(busbar.pid()), nofile, limit).unwrap();
    let waiting: Vec<_> = (0..10).map(|_| TcpStream::connect(busbar.address).unwrap()).collect();
    busbar.err.line("cannot accept connections for now");
    for _ in 0..10 {
        wire.request();
        wire.send(fakes::ok("ok"));
        assert_eq!(served.response().text(), "ok");
        served.send("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    }
    // A connection to the dyno is lost, and there is no descriptor for another one: the request waits for one.
    let open = open_files(&busbar);
    drop(wire);
    until("its end is closed, too", || (open_files(&busbar) < open).then_some(()));
    rustix::process::prlimit(Some(busbar.pid()), nofile, before).unwrap();
    let mut recovered = Wire::new(waiting.into_iter().next().unwrap());
    recovered.send("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    for _ in 0..2 {
        let mut wire = dyno.accept();
        wire.request();
        wire.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\nrecovered");
    }
    for mut client in [served, recovered] {
        assert_eq!(client.response().text(), "recovered");
    }
    let state: serde_json::Value = serde_json::from_str(&busbar.admin("/v1/state").unwrap().1).unwrap();
    let failed = state["traffic"]["clients"]["accepts_failed"].as_u64().unwrap();
    // It is tried again every 100 ms, not in a loop.
    let most = 2 + begin.elapsed().as_millis() / 100;
    assert!(failed >= 1 && u128::from(failed) <= most, "{failed} times, at most {most} were right");
}
