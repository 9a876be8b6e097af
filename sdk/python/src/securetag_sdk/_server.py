"""The methods of the contract, over one scanner, without a wire."""

from __future__ import annotations

import logging
import os
import threading
from typing import Any, Callable, Iterator

from . import scanner_pb2 as pb
from ._log import RunLog
from ._run import Run, shorten
from ._schema import Schema
from ._target import Target
from .scanner import Input, Mistake, Scanner

_GRACE = 5.0
_INTERVAL = 10.0
_MIN_INTERVAL = 0.1


class Status(Exception):
    """Refuses a call with a gRPC status, by its name in grpc.StatusCode."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Server:
    """Serves one scanner. The errors of its construction are the author's."""

    def __init__(self, scanner: Scanner[Any], log: logging.Logger) -> None:
        self._log = log
        self._scanner = scanner
        self._config = Schema(scanner.config)
        self._options = Schema(scanner.options)
        mistakes = scanner.mistakes() + self._config.mistakes + self._options.mistakes
        if mistakes:
            raise Mistake(f"scanner {scanner.name!r}: " + "; ".join(mistakes))
        self.description = scanner.describe()
        self.description.config_schema.CopyFrom(self._config.block())
        if scanner.options is not None:
            self.description.options_schema.CopyFrom(self._options.block())
        self._rules = frozenset(r.id for r in scanner.rules)
        self._changed = threading.Condition()
        self._settings: Any = None
        self._configured = False
        self._runs: dict[str, Run] = {}  # whose author's code has not returned
        self._draining = False
        self._stopping = False

    def describe(self) -> pb.DescribeResponse:
        """Implement the contract."""
        return self.description

    def configure(self, req: pb.ConfigureRequest) -> pb.ConfigureResponse:
        """Implement the contract."""
        try:
            settings, diags = self._config.decode(req.config_json)
        except Exception as e:  # validate() is the author's
            self._log.exception("checking the settings raised an exception")
            raise Status("INTERNAL", f"checking the settings raised {type(e).__name__}: {shorten(str(e))}") from e
        if not diags and not req.validate_only:
            with self._changed:
                self._settings, self._configured = settings, True
        return pb.ConfigureResponse(diagnostics=diags)

    def scan(self, req: pb.ScanRequest) -> tuple[Run, Iterator[pb.ScanEvent]]:
        """Implement the contract: start a run, and give it with its events."""
        run = Run(RunLog(self._log, {"run": req.run_id[:64]}), self._rules, req.limits)
        target = self._target(req, run)
        settings = self._begin(req.run_id, run)

        def ended() -> None:
            # The slot is free before the host can hear of the end, so that its
            # next scan is not refused.
            with self._changed:
                del self._runs[req.run_id]
                self._changed.notify_all()

        def scan() -> None:
            self._scanner.scan(settings, target, run.out)

        # A daemon: a scan that ignores its cancellation does not keep the process.
        threading.Thread(target=run.work, args=(scan, ended), name="scan", daemon=True).start()
        return run, run.events()

    def _target(self, req: pb.ScanRequest, run: Run) -> Target:
        if not req.run_id:
            raise Status("INVALID_ARGUMENT", "run_id is empty")
        options, diags = self._options.decode(req.options_json)
        if diags:
            raise Status("INVALID_ARGUMENT", "options: " + "\n".join(d.summary for d in diags))
        root = url = ""
        kind = req.target.WhichOneof("kind")
        if kind == "root":
            root = req.target.root
            if Input.TREE not in self._scanner.consumes:
                raise Status("INVALID_ARGUMENT", "this scanner takes no tree")
            if not os.path.isabs(root):
                raise Status("INVALID_ARGUMENT", "target.root is not an absolute path")
            if not os.path.isdir(root):
                raise Status("INVALID_ARGUMENT", "open the target: there is no such directory")
        elif kind == "url":
            url = req.target.url
            if Input.URL not in self._scanner.consumes:
                raise Status("INVALID_ARGUMENT", "this scanner takes no URL")
        else:
            raise Status("INVALID_ARGUMENT", "the request names no target that this scanner knows")
        return Target(
            root=root, url=url, name=req.target.display_name, work_dir=req.work_dir, permitted_hosts=tuple(req.permitted_hosts),
            attempt=req.attempt, options=options, stop=run.stop, key=req.identity_key, out=run.out,
        )  # fmt: skip

    def _begin(self, run_id: str, run: Run) -> Any:
        """Take a slot for run or say why there is none."""
        limit = self._scanner.max_concurrent_scans
        with self._changed:
            if self._draining:
                raise Status("UNAVAILABLE", "the plugin is draining")
            if not self._configured:
                raise Status("FAILED_PRECONDITION", "the plugin is not configured: call Configure first")
            if run_id in self._runs:
                raise Status("INVALID_ARGUMENT", f'the run "{run_id[:64]}" is going on already')
            if len(self._runs) >= limit:
                raise Status("RESOURCE_EXHAUSTED", f"{len(self._runs)} of {limit} scans are running")
            self._runs[run_id] = run
            self._changed.notify_all()
            return self._settings

    def cancel(self, req: pb.CancelRequest) -> pb.CancelResponse:
        """Implement the contract."""
        with self._changed:
            run = self._runs.get(req.run_id)
        if run is None:
            return pb.CancelResponse()
        grace = max(req.grace.ToTimedelta().total_seconds(), 0.0) if req.HasField("grace") else _GRACE
        run.cancel(shorten(req.reason), grace)
        return pb.CancelResponse(known=True)

    def health(self, req: pb.HealthRequest, listening: Callable[[], bool]) -> Iterator[pb.HealthUpdate]:
        """Implement the contract, until nobody is listening or the plugin stops."""
        every = _INTERVAL
        if req.HasField("interval"):
            every = max(req.interval.ToTimedelta().total_seconds(), _MIN_INTERVAL)
        while True:
            with self._changed:
                if self._stopping or not listening():
                    return
                u = pb.HealthUpdate(state=pb.HealthUpdate.STATE_HEALTHY, active_scans=len(self._runs))
                if self._draining:
                    u.state, u.description = pb.HealthUpdate.STATE_DEGRADED, "draining: no new scans"
            yield u
            with self._changed:
                self._changed.wait_for(lambda u=u: self._stopping or not listening() or self._differs(u), every)

    def _differs(self, u: pb.HealthUpdate) -> bool:
        draining = u.state == pb.HealthUpdate.STATE_DEGRADED
        return u.active_scans != len(self._runs) or draining != self._draining

    def wake(self) -> None:
        """Let what waits look again whether somebody listens."""
        with self._changed:
            self._changed.notify_all()

    def drain(self, req: pb.DrainRequest) -> pb.DrainResponse:
        """Implement the contract."""
        with self._changed:
            self._draining = True
            self._changed.notify_all()
        return pb.DrainResponse(active_scans=self.wait(max(req.grace.ToTimedelta().total_seconds(), 0.0)))

    def wait(self, seconds: float) -> int:
        """Return when no scan runs any more or the time is over, with how many do."""
        with self._changed:
            self._changed.wait_for(lambda: not self._runs, seconds)
            return len(self._runs)

    def stop(self, reason: str) -> None:
        """Cancel every run and end the health streams."""
        with self._changed:
            self._stopping = True
            runs = list(self._runs.values())
            self._changed.notify_all()
        for run in runs:
            run.cancel(reason, 0)
