"""Text as the wire wants it, and sizes and durations as people write them.

The limits are those of the Go SDK, and of the host, which cuts at the same
places: a batch then always fits its message.
"""

from __future__ import annotations

import re
from datetime import timedelta

MAX_TITLE = 256
MAX_MESSAGE = 8 << 10
MAX_SNIPPET = 2 << 10
MAX_PATH = 4 << 10
MAX_IDENTITY = 16
MAX_PROPERTIES = 32
MAX_PROPERTY = 1 << 10


def clean(text: str, limit: int) -> str:
    """Make text valid UTF-8 without NUL and cut it to at most limit bytes."""
    # First roughly, so that the cost does not grow with the text.
    raw = str(text)[:limit].encode("utf-8", "surrogateescape" if _escaped(text[:limit]) else "replace")
    good = raw[: limit + 4].decode("utf-8", "replace").replace("\0", "\ufffd")
    raw = good.encode("utf-8")
    if len(raw) <= limit:
        return good
    return raw[:limit].decode("utf-8", "ignore")  # a rune is not split


def _escaped(text: str) -> bool:
    """Tell whether every surrogate of text is an undecodable byte."""
    return all(not 0xD800 <= ord(c) <= 0xDFFF or 0xDC80 <= ord(c) <= 0xDCFF for c in text)


def one_line(text: str, limit: int) -> str:
    """Clean text that must be one line."""
    return " ".join(clean(text, limit).split())


def redact(secret: str) -> str:
    """Make a secret fit to be shown.

    It becomes "****", after the first four bytes when it is 20 bytes or longer,
    so that people can tell which key it is ("AKIA****"). Its length is not told.
    """
    if len(secret.encode("utf-8", "surrogateescape")) < 20:
        return "****"
    return clean(secret, 4) + "****"


_UNITS = {
    "": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}  # fmt: skip
_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([A-Za-z]*)\s*", re.ASCII)


class Bytes(int):
    """A size. In settings it is a whole number or a text such as "10MiB"."""

    @classmethod
    def parse(cls, text: str) -> Bytes:
        """Read "512", "64KiB", "1.5 MB"."""
        m = _SIZE.fullmatch(text)
        unit = _UNITS.get(m[2].lower()) if m else None
        if m is None or unit is None:
            raise ValueError(f"{text[:40]!r} is not a size such as 10MiB")
        n = float(m[1]) * unit
        if n >= 1 << 63 or n != int(n):
            raise ValueError(f"{text[:40]!r} is not a whole number of bytes below 8 EiB")
        return cls(int(n))

    def __str__(self) -> str:
        """Write it as people do: 10MiB."""
        for shift, name in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
            if self >= 1 << shift and self % (1 << shift) == 0:
                return f"{self >> shift}{name}"
        return f"{int(self)}B"


_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(text: str) -> timedelta:
    """Read a duration as Go writes it: "1h30m", "250ms", "0"."""
    rest = text[1:] if text[:1] in ("+", "-") else text
    seconds = 0.0
    if rest != "0":
        at = 0
        while at < len(rest) or at == 0:
            m = _PART.match(rest, at)
            if m is None:
                raise ValueError(f'{text[:40]!r} is not a duration such as "30s"')
            seconds += float(m[1]) * _SECONDS[m[2]]
            at = m.end()
    if seconds >= 1 << 33:  # 272 years, where the host's own durations end
        raise ValueError(f"{text[:40]!r} is too long")
    return timedelta(seconds=-seconds if text[:1] == "-" else seconds)


def duration_text(d: timedelta) -> str:
    """Write a duration so that the host reads it: "90s", "0.25s"."""
    return f"{d.total_seconds():.6f}".rstrip("0").rstrip(".") + "s"
