"""The plugin's side of go-plugin: handshake, socket, services, and the end."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import threading
import time
from concurrent import futures
from typing import Any, Callable, Iterator

import grpc

from . import _early
from . import scanner_pb2 as pb
from ._log import Formatter
from ._server import Server, Status
from ._text import MAX_MESSAGE, clean, one_line
from .scanner import Mistake, Refuse, Scanner

_MAX_RECV = 16 << 20  # a request carries settings and options, never a target
_STOP_GRACE = 0.8  # the host kills a second after it asked
_PARENT_CHECK = 1.0


def serve(scanner: Scanner[Any]) -> int:
    """Serve until the host stops the plugin or dies. Gives the exit code."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter())
    logging.basicConfig(handlers=[handler], level=logging.DEBUG, force=True)
    logging.captureWarnings(True)
    log = logging.getLogger(scanner.name)
    threading.excepthook = lambda a: _lost(log, a)
    try:
        _check_host()
        server = Server(scanner, log)
    except Mistake as e:
        print("this plugin cannot be served:", one_line(str(e), MAX_MESSAGE), file=sys.stderr)
        return 2
    over = _Over()
    threading.Thread(target=_watch_parent, args=(os.getppid(), over.end), daemon=True).start()
    path = os.path.join(os.environ.get("PLUGIN_UNIX_SOCKET_DIR") or tempfile.mkdtemp(prefix="plugin-"), "s")
    wire = _listen(server, path, scanner.max_concurrent_scans, over)
    multiplex = "||false" if os.environ.get("PLUGIN_MULTIPLEX_GRPC") else ""
    os.write(_early.HANDSHAKE_FD, f"1|1|unix|{path}|grpc{multiplex}\n".encode())
    server.stop(over.wait())
    stopped = wire.stop(_STOP_GRACE)
    server.wait(_STOP_GRACE)
    stopped.wait()
    logging.shutdown()
    return 0


class _Over:
    """The end of the plugin, which several wait for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._why: str | None = None
        self._event = threading.Event()
        self._waiting: list[threading.Event] = []

    def end(self, why: str) -> None:
        """Begin the end. Only the first time counts."""
        with self._lock:
            self._why = self._why or why
            self._event.set()
            for e in self._waiting:
                e.set()

    def wait(self) -> str:
        """Wait for the end and say why it came."""
        self._event.wait()
        return self._why or ""

    def tell(self, e: threading.Event) -> None:
        """Set e at the end."""
        with self._lock:
            self._waiting.append(e)
            if self._why is not None:
                e.set()


def _lost(log: logging.Logger, a: threading.ExceptHookArgs) -> None:
    if a.exc_value is not None:
        log.error("an exception ended a thread", exc_info=a.exc_value)


def _check_host() -> None:
    """Refuse what this kit does not do, in words."""
    versions = os.environ.get("PLUGIN_PROTOCOL_VERSIONS", "1").split(",")
    if "1" not in versions:
        raise Mistake(f"it speaks plugin protocol 1, and the host speaks {','.join(versions)[:40]}")
    if os.environ.get("PLUGIN_CLIENT_CERT"):
        raise Mistake("the host wants TLS (AutoMTLS of go-plugin), which this kit does not speak: switch it off there")


def _watch_parent(ppid: int, gone: Callable[[str], None]) -> None:
    """Call gone when the process has another parent: its own has died."""
    while os.getppid() == ppid:
        time.sleep(_PARENT_CHECK)
    gone("the host is gone")


def _listen(server: Server, path: str, scans: int, over: _Over) -> grpc.Server:
    # Each scan and each stream holds a thread; what is over the limit must
    # still get one, to be refused.
    pool = futures.ThreadPoolExecutor(max_workers=2 * scans + 16, thread_name_prefix="grpc")
    wire = grpc.server(pool, options=[("grpc.max_receive_message_length", _MAX_RECV)])
    wire.add_generic_rpc_handlers((
        grpc.method_handlers_generic_handler("securetag.plugin.v1.Scanner", _scanner(server)),
        grpc.method_handlers_generic_handler("plugin.GRPCController", {"Shutdown": _shutdown(over)}),
        grpc.method_handlers_generic_handler("plugin.GRPCStdio", {"StreamStdio": _stdio(over)}),
        grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": _health()}),
    ))  # fmt: skip
    if wire.add_insecure_port(f"unix:{path}") == 0:
        raise OSError(f"listen on {path}: refused")
    os.chmod(path, 0o600)
    wire.start()
    return wire


def _scanner(server: Server) -> dict[str, grpc.RpcMethodHandler]:
    def unary(call: Callable[[Any], Any], req: Any) -> grpc.RpcMethodHandler:
        return grpc.unary_unary_rpc_method_handler(
            lambda r, ctx: _answer(call, r, ctx), req.FromString, lambda m: m.SerializeToString()
        )

    def stream(call: Callable[[Any, grpc.ServicerContext], Iterator[Any]], req: Any) -> grpc.RpcMethodHandler:
        return grpc.unary_stream_rpc_method_handler(call, req.FromString, lambda m: m.SerializeToString())

    def scan(req: pb.ScanRequest, ctx: grpc.ServicerContext) -> Iterator[pb.ScanEvent]:
        run, events = _answer(server.scan, req, ctx)
        # When nobody listens any more the author's code must end.
        if not ctx.add_callback(run.abandon):
            run.abandon()
        try:
            yield from events
        except Refuse as e:
            ctx.abort(grpc.StatusCode.INVALID_ARGUMENT, one_line(str(e), MAX_MESSAGE) or "the scanner gave no reason")

    def health(req: pb.HealthRequest, ctx: grpc.ServicerContext) -> Iterator[pb.HealthUpdate]:
        ctx.add_callback(server.wake)
        yield from server.health(req, ctx.is_active)

    return {
        "Describe": unary(lambda _: server.describe(), pb.DescribeRequest),
        "Configure": unary(server.configure, pb.ConfigureRequest),
        "Scan": stream(scan, pb.ScanRequest),
        "Cancel": unary(server.cancel, pb.CancelRequest),
        "Health": stream(health, pb.HealthRequest),
        "Drain": unary(server.drain, pb.DrainRequest),
    }


def _answer(call: Callable[[Any], Any], req: Any, ctx: grpc.ServicerContext) -> Any:
    try:
        return call(req)
    except Status as e:
        ctx.abort(getattr(grpc.StatusCode, e.code), clean(str(e), MAX_MESSAGE))


# The messages of these services are empty, or have one field: bytes will do.


def _shutdown(over: _Over) -> grpc.RpcMethodHandler:
    def shutdown(_: bytes, ctx: grpc.ServicerContext) -> bytes:
        # After the answer has gone.
        ctx.add_callback(lambda: over.end("the host stopped the plugin"))
        return b""

    return grpc.unary_unary_rpc_method_handler(shutdown)


def _stdio(over: _Over) -> grpc.RpcMethodHandler:
    def stdio(_: bytes, ctx: grpc.ServicerContext) -> Iterator[bytes]:
        # Held open: what is printed goes to standard error, see _early.
        gone = threading.Event()
        over.tell(gone)
        if ctx.add_callback(gone.set):
            gone.wait()
        yield from ()

    return grpc.unary_stream_rpc_method_handler(stdio)


def _health() -> grpc.RpcMethodHandler:
    return grpc.unary_unary_rpc_method_handler(lambda _, __: b"\x08\x01")  # SERVING
