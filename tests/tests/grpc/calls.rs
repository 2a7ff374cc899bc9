//! Every kind of call.

use std::fs;

use busbar_registry::{DynoProtocol, DynoTls};
use it::{App, Router};

use super::{call, dyno::GrpcDyno, python::python, router, secure_router};
use crate::embedding::outer::Outer;

fn app(dyno: &GrpcDyno) -> App {
    App::new([dyno.address]).routed(|routing| routing.dyno_protocol = DynoProtocol::H2c)
}

/// A call of this kind to a dyno that speaks HTTP/2 in the clear, through a router that does, too, and through one that is
/// reached over TLS.
#[track_caller]
fn agrees(kind: &str) {
    let Some(python) = python() else { return };
    let dyno = GrpcDyno::start(&python, "one");
    call(&python, router(app(&dyno)).address, None, &[kind]);
    let (secure, ca) = secure_router(app(&dyno));
    call(&python, secure.address, Some(ca.path()), &[kind]);
}

#[test]
fn a_unary_call_passes_with_metadata_both_ways() {
    agrees("unary");
}

#[test]
fn a_stream_of_answers_passes() {
    agrees("server_stream");
}

#[test]
fn a_stream_of_questions_passes() {
    agrees("client_stream");
}

#[test]
fn questions_and_answers_take_turns_and_nothing_is_held_back() {
    agrees("both");
}

#[test]
fn large_messages_pass_both_ways() {
    agrees("large");
}

#[test]
fn a_call_that_nobody_reads_holds_up_no_other_one() {
    agrees("slow_reader");
}

#[test]
fn an_error_without_a_message_reaches_the_client_with_its_details() {
    agrees("refuse");
}

#[test]
fn an_error_after_a_message_reaches_the_client() {
    agrees("break_off");
}

#[test]
fn a_cancelled_call_is_cancelled_at_the_dyno() {
    agrees("cancel");
}

#[test]
fn a_call_whose_deadline_has_passed_is_cancelled_at_the_dyno() {
    agrees("deadline");
}

#[test]
fn an_answer_before_the_last_question_reaches_the_client() {
    agrees("early");
}

#[test]
fn three_hundred_calls_at_once_pass() {
    agrees("burst");
}

#[test]
fn calls_reach_a_dyno_over_tls() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let [key, chain] = ["key", "chain"].map(|name| folder.path().join(name));
    let own = rcgen::generate_simple_self_signed(["dyno.internal".to_owned()]).expect("a certificate");
    fs::write(&key, own.signing_key.serialize_pem()).expect("it can be written");
    fs::write(&chain, own.cert.pem()).expect("it can be written");
    let dyno = GrpcDyno::secure(&python, "one", [&key, &chain]);
    let router = router(App::new([dyno.address]).routed(|routing| {
        routing.dyno_protocol = DynoProtocol::H2;
        routing.dyno_tls = Some(Box::new(DynoTls { ca: Some(own.cert.pem()), ..DynoTls::default() }));
    }));
    for kind in ["unary", "both", "large", "cancel"] {
        call(&python, router.address, None, &[kind]);
    }
}

#[test]
fn calls_pass_behind_a_server_of_axums() {
    let Some(python) = python() else { return };
    let dyno = GrpcDyno::start(&python, "one");
    let router = Router::start(app(&dyno));
    let outer = Outer::before(&router);
    for kind in ["unary", "both", "refuse", "cancel"] {
        call(&python, outer.address, None, &[kind]);
    }
}
