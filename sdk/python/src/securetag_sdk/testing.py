"""For the tests of a scanner: run it on a directory, without a host.

    result = testing.scan(scanner, "sample")
    assert [f.rule_id for f in result.findings] == ["todo"]
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from dataclasses import dataclass, field
from typing import Any, Mapping

from . import scanner_pb2 as pb
from ._server import Server
from .scanner import Mistake, Scanner


@dataclass
class Result:
    """What came of a scan, as the host would get it."""

    findings: list[pb.Finding] = field(default_factory=list)
    notes: list[pb.Diagnostic] = field(default_factory=list)
    progress: list[pb.Progress] = field(default_factory=list)
    artifacts: dict[str, bytes] = field(default_factory=dict)
    events: list[pb.ScanEvent] = field(default_factory=list)
    completed: pb.Completed = field(default_factory=pb.Completed)

    @property
    def status(self) -> str:
        """Give how it ended: "succeeded", "partial", "failed"."""
        return pb.Completed.Status.Name(self.completed.status).removeprefix("STATUS_").lower()


def scan(
    scanner: Scanner[Any],
    target: str | os.PathLike[str],
    *,
    config: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Result:
    """Scan a directory or a URL with settings as the host would send them.

    Raises Mistake for settings or a scanner that a host would refuse.
    """
    server = Server(scanner, logging.getLogger(scanner.name))
    resp = server.configure(pb.ConfigureRequest(config_json=json.dumps(dict(config or {})).encode()))
    if resp.diagnostics:
        raise Mistake("; ".join(d.summary for d in resp.diagnostics))
    where = pb.Target(display_name=str(target))
    if str(target).startswith(("http://", "https://")):
        where.url = str(target)
    else:
        where.root = os.path.realpath(target)
    result = Result()
    with tempfile.TemporaryDirectory(prefix="scan-") as work:
        req = pb.ScanRequest(run_id="test", attempt=1, target=where, work_dir=work, identity_key=b"sdktest")
        req.options_json = json.dumps(dict(options or {})).encode()
        _, events = server.scan(req)
        for ev in events:
            _keep(result, ev, work)
    return result


def _keep(result: Result, ev: pb.ScanEvent, work: str) -> None:
    result.events.append(ev)
    match ev.WhichOneof("event"):
        case "findings":
            result.findings.extend(ev.findings.findings)
        case "diagnostic":
            result.notes.append(ev.diagnostic)
        case "progress":
            result.progress.append(ev.progress)
        case "artifact":
            with open(os.path.join(work, ev.artifact.path), "rb") as f:
                result.artifacts[ev.artifact.name] = f.read()
        case "completed":
            result.completed = ev.completed
