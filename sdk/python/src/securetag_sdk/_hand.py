"""What a plugin does that a person runs, not a host."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import tempfile
from typing import Any, Sequence, TextIO

from google.protobuf import json_format

from . import scanner_pb2 as pb
from ._server import Server, Status
from .scanner import Mistake, Refuse, Scanner

# Exit codes: as of the host's own scan command.
_CLEAN, _FINDINGS, _USAGE, _FAILED = 0, 1, 2, 3


def execute(scanner: Scanner[Any], args: Sequence[str], stdout: TextIO, stderr: TextIO) -> int:
    """Do what the arguments say. Gives the exit code.

    It is 0 for clean, 1 for findings, 2 for wrong usage, 3 for failed or partial.
    """
    handler = logging.StreamHandler(stderr)
    log = logging.getLogger(scanner.name)
    log.handlers[:], log.propagate = [handler], False
    log.setLevel(logging.WARNING)
    try:
        server = Server(scanner, log)
    except Mistake as e:
        print(e, file=stderr)
        return _USAGE
    verb = args[0].lstrip("-") if args else ""
    if verb == "describe":
        print(json_format.MessageToJson(server.description), file=stdout)
        return _CLEAN
    if verb == "scan":
        return _scan(server, args[1:], stdout, stderr)
    helped = verb in ("h", "help")
    d = server.description
    print(
        f"""{d.name} {d.version} is a SecureTag scanner plugin.
{d.description}

A SecureTag host starts it. By hand it does this much:

  --describe             print its description, settings and {len(d.rules)} rules as JSON
  scan [flags] TARGET    scan a directory or URL and print the findings

      --json             one JSON object a line
      --config JSON      the settings, for example '{{"name": 1}}'
      --options JSON     the options of this scan""",
        file=stdout if helped else stderr,
    )
    return _CLEAN if helped else _USAGE


def _scan(server: Server, args: Sequence[str], stdout: TextIO, stderr: TextIO) -> int:
    parser = argparse.ArgumentParser(prog="scan", description="Scan a directory or URL and print the findings.")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--config", default="{}", metavar="JSON", help="the settings")
    parser.add_argument("--options", default="{}", metavar="JSON", help="the options of this scan")
    parser.add_argument("target", metavar="TARGET", help="a directory or URL")
    try:
        flags = parser.parse_args(args)
    except SystemExit as e:
        return _CLEAN if e.code == 0 else _USAGE
    target = pb.Target(display_name=flags.target)
    if flags.target.startswith(("http://", "https://")):
        target.url = flags.target
    elif os.path.isdir(flags.target):
        target.root = os.path.realpath(flags.target)
    else:
        print(f"scan: {flags.target} is not a directory", file=stderr)
        return _USAGE
    with tempfile.TemporaryDirectory(prefix="scan-") as work:
        req = pb.ScanRequest(run_id="by-hand", attempt=1, target=target, work_dir=work, options_json=flags.options.encode())
        try:
            diags = server.configure(pb.ConfigureRequest(config_json=flags.config.encode())).diagnostics
            for d in diags:
                print("config:", d.summary, file=stderr)
            if diags:
                return _USAGE
            run, events = server.scan(req)
            signal.signal(signal.SIGINT, lambda *_: run.cancel("interrupted", 5.0))
            printer = _Printer(server, flags.json, stdout, stderr)
            for ev in events:
                printer.take(ev)
        except (Status, Refuse) as e:
            print("scan:", e, file=stderr)
            return _FAILED
        return printer.code()


class _Printer:
    """Takes the place of the host when a person runs the plugin."""

    def __init__(self, server: Server, as_json: bool, stdout: TextIO, stderr: TextIO) -> None:
        self._rules = {r.id: r for r in server.description.rules}
        self._json, self._out, self._err = as_json, stdout, stderr
        self._completed = pb.Completed()

    def take(self, ev: pb.ScanEvent) -> None:
        for f in ev.findings.findings:
            f.severity = f.severity or self._rules[f.rule_id].severity
            if self._json:
                print(json_format.MessageToJson(f, indent=None), file=self._out)
                continue
            place = [f.location.path + f.location.url, str(f.location.start_line or ""), str(f.location.start_column or "")]
            severity = pb.Severity.Name(f.severity).removeprefix("SEVERITY_").lower()
            at = ":".join(p for p in place if p)
            print(_printable(f"{at}: {severity} {f.rule_id}: {f.message}"), file=self._out)
        if ev.HasField("diagnostic"):
            about = f"{ev.diagnostic.target_path}: {ev.diagnostic.summary}".removeprefix(": ")
            print(_printable(about), file=self._err)
        if ev.HasField("artifact"):
            print(_printable(f"artifact {ev.artifact.name} ({ev.artifact.media_type})"), file=self._err)
        if ev.HasField("completed"):
            self._completed = ev.completed

    def code(self) -> int:
        c = self._completed
        state = pb.Completed.Status.Name(c.status).removeprefix("STATUS_").lower()
        print(f"{state}: {c.findings} findings in {c.files_scanned} files, {c.bytes_scanned} bytes", file=self._err)
        if c.reason:
            print(_printable(c.reason), file=self._err)
        if c.status not in (pb.Completed.STATUS_SUCCEEDED, pb.Completed.STATUS_NOT_APPLICABLE):
            return _FAILED
        return _FINDINGS if c.findings else _CLEAN


def _printable(text: str) -> str:
    """Keep text of the target from steering the terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def run(scanner: Scanner[Any]) -> int:
    """Run by hand with the arguments of the process."""
    return execute(scanner, sys.argv[1:], sys.stdout, sys.stderr)
