"""A dyno that speaks gRPC. Messages are bytes; what a method does is its name. Prints its port, ends with its input."""
import os, sys, threading
from concurrent import futures
import grpc

cancelled = threading.Semaphore(0)


def unary(request, context):
    sent = dict(context.invocation_metadata())
    context.send_initial_metadata((("x-first", "1"), ("x-bin-bin", b"\x00\xff")))
    context.set_trailing_metadata((("x-last", sent.get("x-asked", "nothing")),))
    return request


def server_stream(request, context):
    for n in range(int(request)):
        yield b"%d" % n


def client_stream(requests, context):
    return b",".join(requests)


def both(requests, context):
    for request in requests:
        yield b"re:" + request


def big(request, context):
    return bytes(int(request))


def many_big(request, context):
    for _ in range(int(request)):
        yield bytes(100_000)


def swallow(requests, context):
    return b"%d" % sum(len(request) for request in requests)


def refuse(request, context):
    context.set_trailing_metadata((("x-why", "because"),))
    context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: 100 %")


def break_off(request, context):
    yield b"one"
    context.abort(grpc.StatusCode.DATA_LOSS, "gone")


def wait(request, context):
    gone = threading.Event()
    context.add_callback(gone.set)
    yield b"waiting"
    gone.wait(20)
    cancelled.release()


def was_cancelled(request, context):
    return b"yes" if cancelled.acquire(timeout=10) else b"no"


def early(requests, context):
    """Answers after the first message, whatever else comes."""
    return next(requests)


def who(request, context):
    return sys.argv[1].encode()


def die(request, context):
    os._exit(1)


def handler(kind, deed):
    return getattr(grpc, kind + "_rpc_method_handler")(deed)


methods = {
    "Unary": handler("unary_unary", unary),
    "ServerStream": handler("unary_stream", server_stream),
    "ClientStream": handler("stream_unary", client_stream),
    "Both": handler("stream_stream", both),
    "Big": handler("unary_unary", big),
    "ManyBig": handler("unary_stream", many_big),
    "Swallow": handler("stream_unary", swallow),
    "Refuse": handler("unary_unary", refuse),
    "BreakOff": handler("unary_stream", break_off),
    "Wait": handler("unary_stream", wait),
    "WasCancelled": handler("unary_unary", was_cancelled),
    "Early": handler("stream_unary", early),
    "Who": handler("unary_unary", who),
    "Die": handler("unary_unary", die),
}
options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)]
server = grpc.server(futures.ThreadPoolExecutor(32), options=options)
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.T", methods),))
if len(sys.argv) > 2:
    key, chain = (open(path, "rb").read() for path in sys.argv[2:4])
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, chain)]))
else:
    port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
sys.stdin.read()
server.stop(None)
