//! Dynos that run by themselves, each on a port the kernel chose, named by how they behave. Each remembers every byte
//! it received. A behaviour is told once per connection; what waits, waits for the test and not for a clock.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use crate::{Message, PATIENCE, Wire, filler};

/// A dyno that runs by itself until it is dropped.
#[derive(Debug)]
pub struct Fake {
    /// Where it listens.
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
    received: Arc<Mutex<Vec<Vec<u8>>>>,
    accepts: Option<JoinHandle<()>>,
}

impl Fake {
    /// Tells `behaviour` on each connection, on a thread of its own.
    pub fn new(behaviour: impl Fn(&mut Wire) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port can be had");
        let address = listener.local_addr().expect("it is bound");
        let (stop, received) = <(Arc<AtomicBool>, Arc<Mutex<Vec<Vec<u8>>>>)>::default();
        let (stopped, record, behaviour) = (Arc::clone(&stop), Arc::clone(&received), Arc::new(behaviour));
        let accepts = thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (record, behaviour) = (Arc::clone(&record), Arc::clone(&behaviour));
                thread::spawn(move || {
                    let mut wire = Wire::new(stream);
                    behaviour(&mut wire);
                    record.lock().expect("nobody panicked").push(wire.received().to_vec());
                });
            }
        });
        Self { address, stop, received, accepts: Some(accepts) }
    }

    /// What it received, for each connection that has ended.
    pub fn received(&self) -> Vec<Vec<u8>> {
        self.received.lock().expect("nobody panicked").clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address); // so that it looks up
        let _ = self.accepts.take().map(JoinHandle::join);
    }
}

/// Something a fake waits for and the test opens.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// Lets everybody through, now and later.
    pub fn open(&self) {
        *self.0.0.lock().expect("nobody panicked") = true;
        self.0.1.notify_all();
    }
    /// Waits until it is open.
    pub fn pass(&self) {
        let closed = self.0.0.lock().expect("nobody panicked");
        let (open, _) =
            self.0.1.wait_timeout_while(closed, PATIENCE, |open| !*open).expect("nobody panicked");
        assert!(*open, "the gate was never opened");
    }
}

/// The requests of one connection, until the router closes it.
fn each_request(wire: &mut Wire, mut answer: impl FnMut(&mut Wire, Message)) {
    while wire.has_more() {
        let request = wire.request();
        answer(wire, request);
    }
}

/// A 200 with this body.
pub fn ok(body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

/// Answers every request with `body`.
pub fn answers(body: &'static str) -> Fake {
    Fake::new(move |wire| each_request(wire, |wire, _| wire.try_send(ok(body))))
}

/// Answers every request with the request as JSON: `method target headers body trailers`.
pub fn echoes() -> Fake {
    Fake::new(|wire| {
        each_request(wire, |wire, request| {
            let json = serde_json::json!({
                "method": request.method(),
                "target": request.target(),
                "headers": request.fields,
                "body": request.text(),
                "trailers": request.trailers(),
            });
            wire.try_send(ok(json.to_string()));
        });
    })
}

/// Answers every request when the gate is open.
pub fn answers_when(gate: Gate) -> Fake {
    Fake::new(move |wire| {
        each_request(wire, |wire, _| {
            gate.pass();
            wire.try_send(ok("late"));
        });
    })
}

/// Answers in chunks, with a trailer.
pub fn answers_in_chunks() -> Fake {
    sends(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\nX-Sum: 7\r\n\r\n",
    )
}

/// Answers each request with exactly these bytes and keeps the connection.
pub fn sends(bytes: impl Into<Vec<u8>>) -> Fake {
    let bytes = bytes.into();
    Fake::new(move |wire| each_request(wire, |wire, _| wire.try_send(&bytes)))
}

/// Answers one request with exactly these bytes and closes.
pub fn sends_and_closes(bytes: impl Into<Vec<u8>>) -> Fake {
    let bytes = bytes.into();
    Fake::new(move |wire| {
        if wire.has_more() {
            wire.request();
            wire.try_send(&bytes);
        }
    })
}

/// Answers with a body that ends with the connection.
pub fn ends_by_closing(body: &str) -> Fake {
    sends_and_closes(format!("HTTP/1.1 200 OK\r\n\r\n{body}"))
}

/// Says `100 Continue` twice before it answers.
pub fn says_100_twice() -> Fake {
    let twice = "HTTP/1.1 100 Continue\r\n\r\n".repeat(2).into_bytes();
    sends([twice, ok("at last")].concat())
}

/// Takes everything and says nothing.
pub fn says_nothing() -> Fake {
    Fake::new(|wire| drop(wire.rest()))
}

/// Takes a request and closes without a byte.
pub fn closes_without_a_byte() -> Fake {
    sends_and_closes("")
}

/// Sends half of the body it announced and closes.
pub fn sends_half_a_response() -> Fake {
    sends_and_closes("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
}

/// Sends half of the body it announced and resets the connection when the gate is open.
pub fn resets_in_the_middle(gate: Gate) -> Fake {
    Fake::new(move |wire| {
        if wire.has_more() {
            wire.request();
            wire.try_send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345");
            gate.pass();
            wire.reset_on_close();
        }
    })
}

/// Sends more body than it announced.
pub fn lies_about_its_length() -> Fake {
    sends("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12345HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
}

/// Sends byte by byte.
pub fn drips(body: &'static str) -> Fake {
    Fake::new(move |wire| each_request(wire, |wire, _| wire.drip(ok(body))))
}

/// Speaks something that is not HTTP.
pub fn speaks_garbage() -> Fake {
    sends_and_closes("220 mail.example ESMTP ready\r\n")
}

/// Sends a header of `len` bytes.
pub fn sends_a_header_of(len: usize) -> Fake {
    let value = filler(len);
    sends([b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Big: ", &*value, b"\r\n\r\n"].concat())
}

/// Upgrades to whatever is asked for, then sends back what it gets.
pub fn upgrades_and_echoes() -> Fake {
    Fake::new(|wire| {
        if wire.has_more() {
            let request = wire.request();
            let protocol = request.get("Upgrade").unwrap_or("nothing");
            wire.send(format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n"
            ));
            while wire.has_more() {
                let bytes = wire.available();
                wire.try_send(bytes);
            }
        }
    })
}
