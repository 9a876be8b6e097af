"""The log: one JSON object a line on standard error, as hclog writes it.

Every value is a string. The host takes a line of at most 2 KiB for what it is,
so fields are cut to fit; the end of a traceback says more than its beginning.
"""

from __future__ import annotations

import json
import logging
import traceback
from datetime import datetime, timezone
from typing import Any, MutableMapping

_LEVELS = ((logging.ERROR, "error"), (logging.WARNING, "warn"), (logging.INFO, "info"))
_MAX_LINE = 2000
_MAX_MESSAGE = 600
_MAX_FIELD = 1200


class Formatter(logging.Formatter):
    """Writes records as hclog does."""

    def format(self, record: logging.LogRecord) -> str:
        """Give one line."""
        entry = {
            "@level": next((name for level, name in _LEVELS if record.levelno >= level), "debug"),
            "@message": _short(record.getMessage(), _MAX_MESSAGE),
            "@module": record.name,
            "@timestamp": datetime.fromtimestamp(record.created, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        fields = dict(getattr(record, "fields", {}))
        if record.exc_info:
            fields["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        for key, value in fields.items():
            entry[str(key)] = str(value)[-_MAX_FIELD:]
        line = _json(entry)
        while len(line) > _MAX_LINE and len(entry) > 4:
            longest = max((k for k in entry if not k.startswith("@")), key=lambda k: len(entry[k]))
            if len(entry[longest]) < 16:
                del entry[longest]
            else:
                entry[longest] = entry[longest][len(entry[longest]) // 4 :]
            line = _json(entry)
        return line


def _json(entry: dict[str, str]) -> str:
    return json.dumps(entry, separators=(",", ":"))  # ASCII, so that no text breaks the line


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


class RunLog(logging.LoggerAdapter):  # type: ignore[type-arg] # generic in stubs only, until 3.11
    """The log of one scan: its fields go with every line."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Join the fields of the scan and of the call."""
        extra = dict(kwargs.get("extra") or {})
        extra["fields"] = {**(self.extra or {}), **extra.get("fields", {})}
        return msg, {**kwargs, "extra": extra}
