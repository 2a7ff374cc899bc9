"""A client that speaks gRPC: `client.py ADDRESS AUTHORITY CA-OR-- KIND` makes one kind of call and checks what comes back."""
import sys, threading, time
import grpc

address, authority, ca, kind = sys.argv[1:5]
options = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.default_authority", authority),
    ("grpc.ssl_target_name_override", authority),
    ("grpc.enable_retries", 0),
]
if ca == "-":
    channel = grpc.insecure_channel(address, options)
else:
    channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(open(ca, "rb").read()), options)


def method(kind, name):
    return getattr(channel, kind)("/test.T/" + name)


def fails(deed):
    try:
        deed()
    except grpc.RpcError as error:
        return error
    raise AssertionError("it did not fail")


def unary():
    reply, call = method("unary_unary", "Unary").with_call(b"hello", timeout=20, metadata=(("x-asked", "it"),))
    first, last = dict(call.initial_metadata()), dict(call.trailing_metadata())
    assert reply == b"hello", reply
    assert first["x-first"] == "1" and first["x-bin-bin"] == b"\x00\xff", first
    assert last["x-last"] == "it", last
    assert method("unary_unary", "Unary")(b"", timeout=20) == b""


def server_stream():
    assert list(method("unary_stream", "ServerStream")(b"500", timeout=20)) == [b"%d" % n for n in range(500)]
    assert list(method("unary_stream", "ServerStream")(b"0", timeout=20)) == []


def client_stream():
    got = method("stream_unary", "ClientStream")((b"%d" % n for n in range(500)), timeout=20)
    assert got == b",".join(b"%d" % n for n in range(500))
    assert method("stream_unary", "ClientStream")(iter(()), timeout=20) == b""


def both():
    """Each message is sent when the answer to the one before has come: nobody may hold anything back."""
    answered = threading.Semaphore(1)

    def asked():
        for n in range(200):
            assert answered.acquire(timeout=15), n
            yield b"%d" % n

    replies = method("stream_stream", "Both")(asked(), timeout=60)
    for n, reply in enumerate(replies):
        assert reply == b"re:%d" % n
        answered.release()
    assert n == 199


def large():
    size = 5_000_000
    assert method("unary_unary", "Big")(b"%d" % size, timeout=40) == bytes(size)
    assert method("unary_unary", "Unary")(bytes(size), timeout=40) == bytes(size)
    assert method("stream_unary", "Swallow")((bytes(100_000) for _ in range(100)), timeout=40) == b"10000000"


def slow_reader():
    """A stream that nobody reads holds up no other one of the same connection."""
    slow = method("unary_stream", "ManyBig")(b"200", timeout=60)
    assert len(next(slow)) == 100_000
    for _ in range(20):
        unary()
    assert sum(len(piece) for piece in slow) == 199 * 100_000


def refuse():
    error = fails(lambda: method("unary_unary", "Refuse")(b"", timeout=20))
    assert error.code() == grpc.StatusCode.NOT_FOUND and error.details() == "no such thing: 100 %", error
    assert dict(error.trailing_metadata())["x-why"] == "because"


def break_off():
    replies = method("unary_stream", "BreakOff")(b"", timeout=20)
    assert next(replies) == b"one"
    error = fails(lambda: next(replies))
    assert error.code() == grpc.StatusCode.DATA_LOSS and error.details() == "gone", error


def cancel():
    replies = method("unary_stream", "Wait")(b"", timeout=20)
    assert next(replies) == b"waiting"
    replies.cancel()
    assert method("unary_unary", "WasCancelled")(b"", timeout=20) == b"yes"


def deadline():
    replies = method("unary_stream", "Wait")(b"", timeout=1)
    assert next(replies) == b"waiting"
    assert fails(lambda: next(replies)).code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert method("unary_unary", "WasCancelled")(b"", timeout=20) == b"yes"


def early():
    gate = threading.Event()

    def asked():
        yield b"first"
        gate.wait(20)
        yield b"second"

    assert method("stream_unary", "Early")(asked(), timeout=20) == b"first"
    gate.set()


def burst():
    calls = [method("unary_unary", "Unary").future(b"%d" % n, timeout=40) for n in range(300)]
    assert [call.result() for call in calls] == [b"%d" % n for n in range(300)]


def who():
    print(sorted({method("unary_unary", "Who")(b"", timeout=20).decode() for _ in range(20)}))


def fault():
    """What the router itself answers: its status and its words."""
    error = fails(lambda: method("unary_unary", "Die" if sys.argv[5:] == ["die"] else "Unary")(b"", timeout=20))
    print(error.code().name, error.details())


globals()[kind]()
print("agrees")
