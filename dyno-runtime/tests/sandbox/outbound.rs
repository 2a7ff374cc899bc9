//! The way out, in network namespaces of the test's own: a machine, and a world behind it.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use crate::{
    root,
    support::{eventually, supervise},
};

/// Accepts connections. (`http.server` would first ask a name server that nobody reaches what it is called.)
const SERVER: &str = "\
import socket, sys
listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
while True: listener.accept()[0].close()
";

/// A network namespace, as long as this lives.
struct Net(Child);

impl Net {
    async fn new() -> Self {
        let net = Self(Command::new("unshare").args(["--net", "sleep", "600"]).spawn().unwrap());
        let of = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).ok();
        eventually("a network namespace", || of(&net.0.id().to_string()) != of("self")).await;
        net
    }

    fn command(&self, command: &str) -> Command {
        let mut within = Command::new("nsenter");
        within.args(["--net", "-t", &self.0.id().to_string()]).args(command.split(' '));
        within
    }

    fn ip(&self, command: &str) {
        let done = self.command(&format!("ip {command}")).output().unwrap();
        assert!(done.status.success(), "ip {command}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// Somebody who accepts connections there; it ends with the value.
    fn serve(&self, address: &str, port: u16) -> Net {
        let mut python = self.command("python3 -c");
        Net(python.arg(SERVER).args([address, &port.to_string()]).stderr(Stdio::null()).spawn().unwrap())
    }

    fn reaches(&self, address: &str) -> bool {
        let (host, port) = address.rsplit_once(':').unwrap();
        let connect = format!("import socket; socket.create_connection((\"{host}\", {port}), timeout=1)");
        let mut python = self.command("python3 -c");
        python.arg(connect).stderr(Stdio::null()).status().unwrap().success()
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// A runtime that stops its dynos and ends, also when the test fails.
struct Supervisor(Child);

impl Supervisor {
    fn stop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ended_already = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _reaped = self.0.wait();
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.stop();
    }
}

#[tokio::test]
async fn a_dyno_calls_the_world_by_nat_and_neither_the_machine_nor_a_metadata_service_nor_is_it_called() {
    if !root() {
        return;
    }
    if Command::new("ip").arg("-V").output().is_err() {
        eprintln!("skipped: there is no ip (apt-get install iproute2)");
        return;
    }
    let (machine, world) = (Net::new().await, Net::new().await);
    let world_pid = world.0.id();
    machine.ip(&format!("link add up0 type veth peer name w0 netns {world_pid}"));
    for (net, link, address) in [(&machine, "up0", "192.0.2.1/24"), (&world, "w0", "192.0.2.2/24")] {
        net.ip(&format!("addr add {address} dev {link}"));
        net.ip(&format!("link set {link} up"));
        net.ip("link set lo up");
    }
    machine.ip("route add default via 192.0.2.2");
    for metadata in ["169.254.169.254", "168.63.129.16"] {
        world.ip(&format!("addr add {metadata}/32 dev w0"));
    }
    world.ip("route add 10.253.0.0/16 via 192.0.2.1");
    let _servers = [
        world.serve("192.0.2.2", 8000),
        world.serve("169.254.169.254", 8000),
        world.serve("169.254.169.254", 53),
        world.serve("168.63.129.16", 8000),
        machine.serve("192.0.2.1", 9000),
    ];
    eventually("the servers", || machine.reaches("192.0.2.2:8000") && world.reaches("192.0.2.1:9000")).await;
    for own in ["169.254.169.254:8000", "168.63.129.16:8000", "169.254.169.254:53"] {
        eventually("the machine itself may", || machine.reaches(own)).await;
    }

    let (app, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(app.path().join("probe.py"), include_str!("probe.py")).unwrap();
    // At one of them there is a name server, too.
    let there = ["192.0.2.2:8000", "169.254.169.254:53"];
    let refused = [
        "192.0.2.1:9000",
        "169.254.169.254:8000",
        "168.63.129.16:8000",
        "169.254.1.1:9000",
        "169.254.1.1:53",
    ];
    let tries = there.iter().chain(&refused).map(|at| format!("connect={at} ")).collect::<String>();
    fs::write(app.path().join("server.py"), SERVER).unwrap();
    let web = format!(
        "web: python3 probe.py {tries}; echo at $(hostname -I):$PORT; exec python3 server.py 0.0.0.0 $PORT\n"
    );
    fs::write(app.path().join("Procfile"), web).unwrap();
    let instance = format!("test-out-{}", std::process::id());
    let mut command = machine.command(&supervise().display().to_string());
    command.arg(app.path()).arg(state.path()).args(["off", &instance, "full", "outbound"]);
    let mut supervisor = Supervisor(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(supervisor.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut seen = vec![];
    for line in lines.by_ref() {
        let end = line.contains("to up") || line.contains("crashed") || line.contains("cannot be had");
        seen.push(line);
        if end {
            break;
        }
    }
    let said = |text: &str| seen.iter().any(|line| line.contains(text));
    for reached in there {
        assert!(said(&format!("connect={reached}: connected")), "{reached}: {seen:#?}");
    }
    for refused in refused {
        assert!(said(&format!("connect={refused}: TimeoutError")), "{refused}: {seen:#?}");
    }
    let at = seen.iter().find_map(|line| line.split_once("]: at ")).unwrap().1.replace(' ', "");
    assert!(machine.reaches(&at), "the router is there: {at}");
    assert!(!world.reaches(&at), "nobody else comes in: {at}");

    supervisor.stop();
    drop(lines);
    assert!(!machine.reaches(&at));
}
