//! The wire path without sockets: `cargo bench -p busbar-bench --bench wire`.
//!
//! Heads as curl and a browser send them and as an app answers; chunked bodies of 64 KiB as they arrive in one buffer.

use std::{hint::black_box, net::Ipv4Addr, time::Duration};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use router_core::{
    internals::{Heads, chunks},
    route::{RequestIds, forward::Arrival},
};

const CURL: &[u8] =
    b"GET /index.html HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n";
const BROWSER: &[u8] = b"GET /products/4711?color=blue&size=m HTTP/1.1\r\n\
    Host: shop.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    Accept-Language: de,en-US;q=0.7,en;q=0.3\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://shop.example.com/products\r\n\
    Cookie: session=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOjQ3MTF9.dGhpcyBpcyBub3QgYSBzZWNyZXQ; theme=dark; consent=1\r\n\
    DNT: 1\r\n\
    Connection: keep-alive\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    Sec-Fetch-Dest: document\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Priority: u=0, i\r\n\
    Cache-Control: max-age=0\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Date: Mon, 23 Nov 2026 01:44:19 GMT\r\n\
    Content-Type: text/html; charset=utf-8\r\n\
    Content-Length: 5120\r\n\
    Cache-Control: private, max-age=0\r\n\
    Set-Cookie: session=eyJhbGciOiJIUzI1NiJ9; Path=/; HttpOnly; SameSite=Lax\r\n\
    X-Frame-Options: SAMEORIGIN\r\n\
    Strict-Transport-Security: max-age=31536000\r\n\
    Vary: Accept-Encoding\r\n\r\n";
/// Data of one chunked body.
const BODY: usize = 64 * 1024;

fn heads(c: &mut Criterion) {
    let mut group = c.benchmark_group("head");
    let (mut heads, id) = (Heads::default(), RequestIds::from_seed([7; 16]).accept(None));
    let arrival = Arrival::direct(std::net::IpAddr::from(Ipv4Addr::LOCALHOST), false, None);
    for (name, head) in [("curl", CURL), ("browser", BROWSER)] {
        assert_eq!(heads.parse_request(head), Some(head.len()), "{name}");
        group.bench_function(BenchmarkId::new("parse request", name), |b| {
            b.iter(|| heads.parse_request(black_box(head)));
        });
        group.bench_function(BenchmarkId::new("parse and rewrite request", name), |b| {
            b.iter(|| heads.rewrite_request(black_box(head), arrival, &id).map(<[u8]>::len));
        });
    }
    assert_eq!(heads.parse_response(RESPONSE), Some(RESPONSE.len()));
    group.bench_function("parse response", |b| b.iter(|| heads.parse_response(black_box(RESPONSE))));
}

fn chunked(c: &mut Criterion) {
    let mut group = c.benchmark_group("chunked");
    group.throughput(Throughput::Bytes(BODY as u64));
    for size in [64, 1024, BODY] {
        let body = body(size);
        for (name, keep) in [("keep framing", true), ("remove framing", false)] {
            assert!(chunks(&mut body.clone(), keep).is_some_and(|kept| kept >= BODY), "{name}, {size}");
            group.bench_function(BenchmarkId::new(name, size), |b| {
                b.iter_batched_ref(|| body.clone(), |body| chunks(body, keep), BatchSize::LargeInput);
            });
        }
    }
}

/// [`BODY`] bytes in chunks of `size`.
fn body(size: usize) -> Vec<u8> {
    let chunk = [format!("{size:x}\r\n").as_bytes(), &vec![b'x'; size], b"\r\n"].concat();
    [chunk.repeat(BODY / size), b"0\r\n\r\n".to_vec()].concat()
}

/// Short, so that all benches together take minutes.
fn short() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3))
}

criterion_group!(name = benches; config = short(); targets = heads, chunked);
criterion_main!(benches);
