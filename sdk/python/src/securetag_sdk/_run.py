"""One Scan call.

The author's code runs in a thread of its own and fills an Out; events, in the
call's thread, is the only one that sends.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from typing import Any, Callable, Iterator

from . import scanner_pb2 as pb
from ._out import Out
from ._text import MAX_TITLE, one_line
from .scanner import Cancelled, Refuse, ScanError

FLUSH_EVERY = 0.2
PROGRESS_EVERY = 0.25
HEARTBEAT = 2.0
_MAX_STACK = 1200  # the host keeps 2 KiB of a line of the log


class Run:
    """The life of one scan, from its start to Completed."""

    def __init__(self, log: logging.LoggerAdapter[Any], rules: frozenset[str], limits: pb.Limits) -> None:
        self.log = log
        self.stop = threading.Event()  # the author's code must end
        self.out = Out(log, rules, limits.max_findings, self._violate)
        self._beat = HEARTBEAT
        if limits.HasField("max_silence"):
            self._beat = min(HEARTBEAT, max(limits.max_silence.ToTimedelta().total_seconds() / 3, PROGRESS_EVERY))
        self._lock = threading.Lock()
        self._cancelled = ""  # why; the first Cancel counts
        self._deadline = 0.0  # of the grace
        self._fault = ""  # a violation of the contract by the author
        self._done = False
        self._error: BaseException | None = None
        self._sent = 0

    def cancel(self, reason: str, grace: float) -> None:
        """Ask the author's code to end within grace. Only the first time counts."""
        with self.out.changed:
            if self._cancelled:
                return
            self._cancelled = reason or "the host asked for it"
            self._deadline = time.monotonic() + grace
        self.abandon()

    def abandon(self) -> None:
        """Make the author's code end: nobody listens, or it broke the contract."""
        self.stop.set()
        self.out.cancel()

    def _violate(self, fault: str) -> None:
        with self.out.changed:
            self._fault = self._fault or fault
        self.abandon()

    def work(self, scan: Callable[[], None], ended: Callable[[], None]) -> None:
        """Run the author's code; the body of its thread."""
        try:
            scan()
        except BaseException as e:  # noqa: BLE001 - whatever it is, it ends this one scan
            self._error = e
        ended()
        with self.out.changed:
            self._done = True
            self.out.changed.notify_all()

    def events(self) -> Iterator[pb.ScanEvent]:
        """Give events until the author's code has ended, and then Completed.

        Raises Refuse when the scan is refused.
        """
        flush = beat = progress = time.monotonic()
        always = True
        while True:
            with self.out.changed:
                events = self.out.ready()
                now = time.monotonic()
                if now >= flush:
                    flush = now + FLUSH_EVERY
                    events += self.out.flush()
                if now >= progress:
                    progress = now + PROGRESS_EVERY
                    latest = self.out.latest(always or now >= beat)
                    events += latest
                    if latest:
                        beat, always = now + self._beat, False
                overdue = bool(self._cancelled) and now >= self._deadline
                if not events and not self._done and not overdue:
                    until = min(flush, progress, self._deadline if self._cancelled else flush)
                    self.out.changed.wait(max(until - now, 0.001))
                    continue
                ended = self._done or overdue
            for ev in events:
                yield self._count(ev)
            if ended:
                yield from self._finish(overdue=not self._done)
                return

    def _count(self, ev: pb.ScanEvent) -> pb.ScanEvent:
        self._sent += len(ev.findings.findings)
        return ev

    def _finish(self, overdue: bool) -> Iterator[pb.ScanEvent]:
        if isinstance(self._error, Refuse) and not self._cancelled:
            with self.out.changed:
                self.out.end()
            raise self._error
        with self.out.changed:
            completed = self.out.end()
            rest = self.out.flush()
        for ev in rest:
            yield self._count(ev)
        self._conclude(completed, overdue)
        completed.findings = self._sent
        yield pb.ScanEvent(completed=completed)

    def _conclude(self, c: pb.Completed, overdue: bool) -> None:
        """Set status and reason."""
        e = None if overdue else self._error
        if e is not None and not isinstance(e, (Cancelled, ScanError, Refuse)):
            stack = "".join(traceback.format_exception(e))[-_MAX_STACK:]
            self.log.error("the scanner raised an exception", extra={"fields": {"traceback": stack}})
        if self._fault:
            c.status, c.reason = pb.Completed.STATUS_FAILED, self._fault
        elif self._cancelled:
            c.status, c.reason = pb.Completed.STATUS_CANCELLED, f"cancelled: {self._cancelled}"
            if overdue:
                c.reason += " (the scanner did not stop in time)"
                self.log.warning("the scanner did not stop within its grace")
        elif isinstance(e, ScanError):
            c.status, c.reason, c.retryable = pb.Completed.STATUS_FAILED, str(e), e.retryable
        elif e is not None:
            # Its text may quote what was scanned, and a traceback is for the log.
            c.status, c.reason = pb.Completed.STATUS_FAILED, f"the scanner raised {type(e).__name__}: {e}"
        c.reason = one_line(c.reason, 1 << 10)
        if not c.reason and c.status != pb.Completed.STATUS_SUCCEEDED:
            c.reason = "the scanner gave no reason"


def shorten(reason: str) -> str:
    """Give a reason as one short line."""
    return one_line(reason, MAX_TITLE)
