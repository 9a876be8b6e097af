"""SecureTag scanner plugins in Python.

A scanner is one function from a target to findings; main() makes a plugin of it
that a host starts, and that a person can run by hand:

    import re
    from dataclasses import dataclass
    import securetag_sdk as sdk

    @dataclass
    class Config:
        max_file_size: sdk.Bytes = sdk.setting("1MiB", min=1, doc="Larger files are left out.")

    def scan(config: Config, target: sdk.Target, out: sdk.Out) -> None:
        for line in target.lines(max_file_size=config.max_file_size):
            for m in re.finditer(r"\\bAKIA[0-9A-Z]{16}\\b", line.text):
                out.finding("aws-key-id", "AWS access key id " + sdk.redact(m[0]), at=line.at(*m.span()))

    if __name__ == "__main__":
        sdk.main(sdk.Scanner(
            name="aws-keys", version="0.1.0", config=Config, scan=scan, consumes=[sdk.Input.TREE],
            rules=[sdk.Rule("aws-key-id", title="AWS access key id", severity=sdk.Severity.HIGH)],
        ))

A scan that returns has scanned the whole target, unless out.partial was called.
ScanError ends it without a result, Refuse says that the request is wrong, and any
other exception fails that one scan, with its traceback in the log. When the scan
is cancelled, target.lines, target.files, target.check and out.finding raise
Cancelled: let it pass. Import this package before anything that prints.
"""

from __future__ import annotations

import sys
from typing import Any, NoReturn

from . import _early  # first: it keeps standard output
from ._out import Location, Out
from ._schema import setting
from ._target import File, Line, Target
from ._text import Bytes, redact
from .scanner import (
    VERSION, Cancelled, Confidence, Input, Mistake, Needs, Refuse, Rule, ScanError, Scanner, Severity,
)  # fmt: skip

__version__ = VERSION
__all__ = [
    "Bytes", "Cancelled", "Confidence", "File", "Input", "Line", "Location", "Mistake", "Needs", "Out",
    "Refuse", "Rule", "ScanError", "Scanner", "Severity", "Target", "main", "redact", "setting",
]  # fmt: skip


def main(scanner: Scanner[Any]) -> NoReturn:
    """Be the plugin: all that its main does. It does not return."""
    if _early.started_by_host():
        from ._serve import serve  # gRPC is slow to import, and by hand there is none

        code = serve(scanner)
        sys.stdout.flush()
        sys.stderr.flush()
        # Not sys.exit: a scan that ignored its cancellation may still run.
        _early.os._exit(code)
    from ._hand import run

    sys.exit(run(scanner))
