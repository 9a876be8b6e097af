"""Keeps standard output for the handshake.

Standard output of a plugin that a host started has one line, which go-plugin
reads. So when this package is imported, the real one is put aside and file
descriptor 1 becomes standard error: what the author, a library in C or a child
process prints goes to the host's log. Import the package before anything that
prints.
"""

import os
import sys

COOKIE_KEY = "SECURETAG_PLUGIN"
COOKIE_VALUE = "be6ae1cdf1b24a1c9b36ea3d0d3b33f2"  # no secret, see sdk/wire


def started_by_host() -> bool:
    """Tell whether a host started this process, and not a person."""
    return os.environ.get(COOKIE_KEY) == COOKIE_VALUE


def _keep_stdout() -> int:
    if not started_by_host():
        return -1
    real = os.dup(1)  # not inherited by children
    os.dup2(2, 1)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(line_buffering=True, errors="backslashreplace")
    return real


HANDSHAKE_FD = _keep_stdout()
