"""Where a scan reports, and what waits there to be sent."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import deque
from dataclasses import dataclass
from typing import Any, Callable, Mapping, Sequence

from . import scanner_pb2 as pb
from ._text import (
    MAX_IDENTITY, MAX_MESSAGE, MAX_PATH, MAX_PROPERTIES, MAX_PROPERTY, MAX_SNIPPET, MAX_TITLE, clean, one_line,
)  # fmt: skip
from .scanner import Cancelled, Confidence, Severity

BATCH_COUNT = 50
BATCH_BYTES = 256 << 10
_MAX_NOTES = 1000
_MAX_REASONS = 5


@dataclass(frozen=True)
class Location:
    """A place in the tree or on the web.

    Lines and columns are 1-based, columns count bytes, end_column is one past
    the last; 0 means not known.
    """

    path: str = ""  # relative to the root, slash-separated
    start_line: int = 0
    start_column: int = 0
    end_line: int = 0
    end_column: int = 0
    url: str = ""


class Out:
    """Takes what a scan has to say. Its methods may be called from any thread.

    finding waits while the host is slow to read; the others never do. When the
    scan was cancelled, finding raises Cancelled. After the scan has ended they
    do nothing.
    """

    def __init__(
        self, log: logging.LoggerAdapter[Any], rules: frozenset[str], limit: int, fail: Callable[[str], None]
    ) -> None:
        self.log = log  # of this scan; it goes to the operator, not to the tenant
        self._rules = rules
        self._limit = limit  # findings wanted; 0: no limit
        self._fail = fail  # ends the scan with a mistake of the author's
        self.changed = threading.Condition()
        self._cancelled = False
        self._closed = False
        self._ready: deque[pb.ScanEvent] = deque()  # must not wait for the clock
        self._batch: list[pb.Finding] = []
        self._bytes = 0
        self._notes: list[pb.ScanEvent] = []
        self._noted = 0
        self._progress = pb.Progress(phase="starting")
        self._fresh = True  # the progress has not been sent
        self._reasons: list[str] = []
        self._not_applicable = ""
        self._artifacts: set[str] = set()
        self._found = self._files = self._scanned = 0

    def finding(
        self,
        rule: str,
        message: str,
        *,
        at: Location = Location(),
        severity: Severity | None = None,
        confidence: Confidence | None = None,
        snippet: str = "",
        identity: Sequence[str] = (),
        properties: Mapping[str, str] | None = None,
    ) -> None:
        """Report a finding by a declared rule. It is sent within 200 ms.

        snippet is the text that shows it, at most 2 KiB: redact secrets.
        identity is what stays the same when lines move; without it the snippet.
        """
        if rule not in self._rules:
            self._fail(f'the scanner reported a finding by the rule "{rule[:80]}", which it does not declare')
            raise Cancelled
        f = pb.Finding(
            rule_id=rule, message=clean(message, MAX_MESSAGE), snippet=clean(snippet, MAX_SNIPPET),
            identity=[clean(part, MAX_SNIPPET) for part in list(identity)[:MAX_IDENTITY]],
            location=_place(at),
        )  # fmt: skip
        if severity is not None:
            f.severity = severity.value
        if confidence is not None:
            f.confidence = confidence.value
        for key in sorted(properties or {})[:MAX_PROPERTIES]:
            f.properties[clean(key, MAX_TITLE)] = clean((properties or {})[key], MAX_PROPERTY)
        size = f.ByteSize()
        with self.changed:
            # One full batch may wait: the author's code waits for the host.
            self.changed.wait_for(lambda: not self._ready or self._closed or self._cancelled)
            if self._cancelled:
                raise Cancelled
            if self._closed:
                return
            if self._limit and self._found >= self._limit:
                self._incomplete(f"more than {self._limit} findings; the rest was left out")
                return
            self._found += 1
            self._batch.append(f)
            self._bytes += size
            if len(self._batch) >= BATCH_COUNT or self._bytes >= BATCH_BYTES:
                self._ready.append(self._take())
                self.changed.notify_all()

    def progress(self, phase: str, done: int = 0, total: int = 0, unit: str = "", message: str = "") -> None:
        """Replace the last progress. It is sent at most four times a second."""
        p = pb.Progress(
            phase=one_line(phase, MAX_TITLE), done=max(done, 0), total=max(total, 0),
            unit=one_line(unit, MAX_TITLE), message=one_line(message, MAX_TITLE),
        )  # fmt: skip
        with self.changed:
            self._progress, self._fresh = p, True

    def partial(self, reason: str) -> None:
        """Mark the result as good but incomplete, and say why in one line."""
        with self.changed:
            self._incomplete(one_line(reason, MAX_TITLE))

    def not_applicable(self, reason: str) -> None:
        """Say that nothing in the target is for this plugin, and why; then return."""
        with self.changed:
            self._not_applicable = one_line(reason, MAX_TITLE) or "nothing in the target is for this scanner"

    def note(self, summary: str, *, path: str = "", detail: str = "", warning: bool = False) -> None:
        """Tell the operator something about the target. At most 1000 are kept."""
        with self.changed:
            if self._closed or self._noted > _MAX_NOTES:
                return
            self._noted += 1
            if self._noted > _MAX_NOTES:
                summary, path, detail, warning = f"more than {_MAX_NOTES} notes; the rest was left out", "", "", True
            self._notes.append(pb.ScanEvent(diagnostic=pb.Diagnostic(
                severity=pb.Diagnostic.SEVERITY_WARNING if warning else pb.Diagnostic.SEVERITY_NOTE,
                summary=one_line(summary, MAX_TITLE), detail=clean(detail, MAX_MESSAGE), target_path=clean(path, MAX_PATH),
            )))  # fmt: skip

    def artifact(self, name: str, media_type: str, path: str, *, content: bytes | None = None) -> None:
        """Hand over a file that the scan made in the work directory.

        path is relative to it. The file is complete and is not changed any more.
        content is what is in it, when the author has it at hand: its hash goes along.
        """
        digest = hashlib.sha256(content).hexdigest() if content is not None else ""
        a = pb.Artifact(name=clean(name, MAX_TITLE), media_type=clean(media_type, MAX_TITLE), sha256=digest)
        a.path = clean(path, MAX_PATH)
        with self.changed:
            if self._closed:
                return
            if name in self._artifacts:
                raise ValueError(f"the artifact {name!r} was reported already")
            self._artifacts.add(name)
            self._notes.append(pb.ScanEvent(artifact=a))

    def scanned(self, files: int, size: int) -> None:
        """Add to the numbers of files and bytes that were looked at."""
        with self.changed:
            self._files += files
            self._scanned += size

    # What follows is for the kit.

    def _incomplete(self, reason: str) -> None:
        reason = reason or "some of the target was not scanned"
        if len(self._reasons) < _MAX_REASONS and reason not in self._reasons:
            self._reasons.append(reason)

    def _take(self) -> pb.ScanEvent:
        ev = pb.ScanEvent(findings=pb.Findings(findings=self._batch))
        self._batch, self._bytes = [], 0
        return ev

    def cancel(self) -> None:
        """Let what waits in finding go on, to its end."""
        with self.changed:
            self._cancelled = True
            self.changed.notify_all()

    def ready(self) -> list[pb.ScanEvent]:
        """Give what must not wait for the clock; the caller holds changed."""
        events = list(self._ready)
        self._ready.clear()
        self.changed.notify_all()
        return events

    def flush(self) -> list[pb.ScanEvent]:
        """Give all that waits for the clock but progress; the caller holds changed."""
        events, self._notes = self._notes + self.ready(), []
        if self._batch:
            events.append(self._take())
        return events

    def latest(self, always: bool) -> list[pb.ScanEvent]:
        """Give the progress when it is new, or when asked to; the caller holds changed."""
        if not self._fresh and not always:
            return []
        self._fresh = False
        return [pb.ScanEvent(progress=self._progress)]

    def end(self) -> pb.Completed:
        """Take nothing more and give the totals; the caller holds changed."""
        self._closed = True
        self.changed.notify_all()
        c = pb.Completed(status=pb.Completed.STATUS_SUCCEEDED, files_scanned=self._files, bytes_scanned=self._scanned)
        if self._not_applicable and not self._found:
            c.status, c.reason = pb.Completed.STATUS_NOT_APPLICABLE, self._not_applicable
        if self._reasons:
            c.status, c.reason = pb.Completed.STATUS_PARTIAL, "; ".join(self._reasons)
        return c


def _place(at: Location) -> pb.Location:
    return pb.Location(
        path=clean(at.path, MAX_PATH), url=clean(at.url, MAX_PATH),
        start_line=_number(at.start_line), start_column=_number(at.start_column),
        end_line=_number(at.end_line), end_column=_number(at.end_column),
    )  # fmt: skip


def _number(n: int) -> int:
    """Give n as the wire has it; what cannot be is 0, not known."""
    return n if 0 <= n < 1 << 32 else 0
