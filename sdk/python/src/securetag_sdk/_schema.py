"""Settings: a dataclass as the wire knows it, and how to fill one."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import typing
from datetime import timedelta
from typing import Any

from . import scanner_pb2 as pb
from ._text import MAX_MESSAGE, MAX_TITLE, Bytes, clean, duration_text, one_line, parse_duration

_UNSET: Any = object()
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_TYPES: dict[Any, pb.Attribute.Type] = {
    str: pb.Attribute.TYPE_STRING,
    bool: pb.Attribute.TYPE_BOOL,
    int: pb.Attribute.TYPE_INT,
    float: pb.Attribute.TYPE_FLOAT,
    Bytes: pb.Attribute.TYPE_BYTES,
    timedelta: pb.Attribute.TYPE_DURATION,
    list[str]: pb.Attribute.TYPE_STRING_LIST,
    dict[str, str]: pb.Attribute.TYPE_STRING_MAP,
}
_TEXTS = (pb.Attribute.TYPE_STRING, pb.Attribute.TYPE_STRING_LIST)
_ORDERED = (pb.Attribute.TYPE_INT, pb.Attribute.TYPE_FLOAT, pb.Attribute.TYPE_BYTES, pb.Attribute.TYPE_DURATION)


def setting(
    default: Any = _UNSET,
    *,
    doc: str = "",
    required: bool = False,
    min: Any = None,  # noqa: A002 - the word of the contract
    max: Any = None,  # noqa: A002
    one_of: typing.Sequence[str] = (),
    pattern: str = "",
    sensitive: bool = False,
    deprecated: str = "",
) -> Any:
    """Say more about a field of a settings dataclass than its type does.

    default may be written as operators do ("1MiB", "30s"); without it the type's
    zero is used. min and max are inclusive, for numbers, sizes and durations.
    pattern is RE2, unanchored: keep to what Python's re shares with it.
    """
    about = {
        "doc": doc, "required": required, "min": min, "max": max, "one_of": list(one_of),
        "pattern": pattern, "sensitive": sensitive, "deprecated": deprecated, "default": default,
    }  # fmt: skip
    # A default for the dataclass, so that fields may stand in any order.
    return dataclasses.field(default=None, metadata={"securetag": about})


class Schema:
    """A settings dataclass. Its mistakes are the plugin author's."""

    def __init__(self, cls: type | None) -> None:
        self.cls = cls
        self.attributes: list[pb.Attribute] = []
        self.mistakes: list[str] = []
        if cls is None:
            return
        if not dataclasses.is_dataclass(cls):
            self.mistakes.append(f"settings must be a dataclass, and {cls!r} is none")
            return
        hints = typing.get_type_hints(cls)
        for f in dataclasses.fields(cls):
            try:
                self.attributes.append(_attribute(f, hints[f.name]))
            except (ValueError, TypeError, re.error) as e:
                self.mistakes.append(f"{cls.__name__}.{f.name}: {e}")

    def block(self) -> pb.Block:
        """Give the schema on the wire."""
        return pb.Block(attributes=self.attributes)

    def decode(self, raw: bytes) -> tuple[Any, list[pb.Diagnostic]]:
        """Make settings of raw, one JSON object; empty counts as {}.

        Gives every mistake at once. The settings are None when there are any,
        and an instance of the dataclass otherwise.
        """
        diags: list[pb.Diagnostic] = []

        def bad(name: str, summary: str, detail: str) -> None:
            d = pb.Diagnostic(severity=pb.Diagnostic.SEVERITY_ERROR)
            d.summary, d.detail = clean(summary, MAX_TITLE), clean(detail, MAX_MESSAGE)
            if name:
                d.attribute_path.append(clean(name, MAX_TITLE))
            diags.append(d)

        given = _object(raw)
        if given is None:
            bad("", "the settings are not one JSON object", f"give an object such as {{}} ({len(raw)} bytes were given)")
            return None, diags
        known = [a.name for a in self.attributes]
        for name in sorted(given):
            if name not in known:
                takes = f"It takes {', '.join(known)}." if known else "This takes no settings."
                bad(name, f'there is no setting "{name[:64]}"', takes)
        values: dict[str, Any] = {}
        for a in self.attributes:
            value = given.get(a.name)
            if value is None and a.required:
                bad(a.name, f'"{a.name}" is required', a.description)
                continue
            if value is None and not a.default_json:
                values[a.name] = _zero(a.type)
                continue
            if value is None:
                value = json.loads(a.default_json)
            values[a.name], problem = _value(a, value)
            if problem:
                bad(a.name, f'"{a.name}" {problem}', a.description)
        if diags:
            return None, diags
        if self.cls is None:
            return None, diags
        settings = self.cls(**values)
        validate = getattr(settings, "validate", None)
        if validate is not None:
            try:
                validate()
            except ValueError as e:
                bad("", one_line(str(e), MAX_TITLE), "")
        return settings, diags


def _attribute(f: dataclasses.Field[Any], hint: Any) -> pb.Attribute:
    if not _NAME.fullmatch(f.name):
        raise ValueError(f"the name {f.name!r} must be lower-case letters, digits and _")
    kind = _TYPES.get(hint)
    if kind is None:
        raise ValueError(f"the type {hint!r} cannot be a setting")
    about = f.metadata.get("securetag", {"default": _UNSET})
    a = pb.Attribute(
        name=f.name, type=kind, required=about.get("required", False), description=about.get("doc", ""),
        sensitive=about.get("sensitive", False), one_of=about.get("one_of", []),
        pattern=about.get("pattern", ""), deprecated=about.get("deprecated", ""),
    )  # fmt: skip
    if (a.one_of or a.pattern) and kind not in _TEXTS:
        raise ValueError("one_of and pattern are for strings and lists of them")
    if len(a.pattern.encode()) > 1 << 10:
        raise ValueError("pattern is longer than 1 KiB")
    re.compile(a.pattern)
    for bound in ("min", "max"):
        if about.get(bound) is not None:
            setattr(a, bound, _bound(kind, about[bound]))
    _default(a, f, about["default"])
    return a


def _bound(kind: pb.Attribute.Type, bound: Any) -> float:
    if kind not in _ORDERED:
        raise ValueError("min and max are for numbers, sizes and durations")
    if kind == pb.Attribute.TYPE_BYTES and isinstance(bound, str):
        bound = Bytes.parse(bound)
    if kind == pb.Attribute.TYPE_DURATION:
        bound = (parse_duration(bound) if isinstance(bound, str) else bound).total_seconds()
    return float(bound)


def _default(a: pb.Attribute, f: dataclasses.Field[Any], default: Any) -> None:
    """Turn the default into JSON and check it like a given value."""
    if default is _UNSET and "securetag" not in f.metadata:
        if f.default is not dataclasses.MISSING:
            default = f.default
        elif f.default_factory is not dataclasses.MISSING:
            default = f.default_factory()
    if default is _UNSET:
        return
    if a.required:
        raise ValueError("required and default exclude each other")
    if isinstance(default, timedelta):
        default = duration_text(default)
    if a.type == pb.Attribute.TYPE_BYTES and isinstance(default, str):
        default = Bytes.parse(default)
    a.default_json = json.dumps(default, separators=(",", ":"))
    _, problem = _value(a, json.loads(a.default_json))
    if problem:
        raise ValueError(f"default {default!r} {problem}")


def _object(raw: bytes) -> dict[str, Any] | None:
    """Read one JSON object; None when it is none."""
    if not raw.strip():
        return {}
    try:
        # NaN and Infinity are no JSON, and json would take them.
        value = json.loads(raw, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _zero(kind: pb.Attribute.Type) -> Any:
    for hint, k in _TYPES.items():
        if k == kind:
            return typing.get_origin(hint)() if typing.get_origin(hint) else hint()
    raise AssertionError(kind)


def _value(a: pb.Attribute, v: Any) -> tuple[Any, str]:
    """Check a JSON value against a; the text is what is wrong, after its name."""
    match a.type:
        case pb.Attribute.TYPE_STRING:
            return (v, _outside(a, v)) if isinstance(v, str) else (None, f"must be a string, {_got(v)}")
        case pb.Attribute.TYPE_BOOL:
            return (v, "") if isinstance(v, bool) else (None, f"must be true or false, {_got(v)}")
        case pb.Attribute.TYPE_INT | pb.Attribute.TYPE_BYTES:
            return _whole(a, v)
        case pb.Attribute.TYPE_FLOAT:
            if isinstance(v, bool) or not isinstance(v, (int, float)):
                return None, f"must be a number, {_got(v)}"
            return float(v), _out_of_range(a, float(v))
        case pb.Attribute.TYPE_DURATION:
            if not isinstance(v, str):
                return None, f'must be a duration such as "30s", {_got(v)}'
            try:
                d = parse_duration(v)
            except ValueError:
                return None, 'must be a duration such as "30s"'
            return d, _out_of_range(a, d.total_seconds())
        case pb.Attribute.TYPE_STRING_LIST:
            if not isinstance(v, list) or not all(isinstance(s, str) for s in v):
                return None, f"must be a list of strings, {_got(v)}"
            return v, next((p for p in (_outside(a, s) for s in v) if p), "")
        case _:
            if not isinstance(v, dict) or not all(isinstance(s, str) for s in v.values()):
                return None, f"must be an object of strings, {_got(v)}"
            return v, ""


def _whole(a: pb.Attribute, v: Any) -> tuple[Any, str]:
    size = a.type == pb.Attribute.TYPE_BYTES
    if size and isinstance(v, str):
        try:
            v = Bytes.parse(v)
        except ValueError:
            return None, 'must be a size such as "10MiB"'
    if isinstance(v, bool) or not isinstance(v, (int, float)):
        return None, f"must be {'a number of bytes' if size else 'a whole number'}, {_got(v)}"
    if not math.isfinite(v) or v != math.trunc(v) or not -(1 << 63) <= v < 1 << 63:
        want = "a number of bytes" if size else "a whole number"
        return None, f"must be {want}, got a fraction or a number out of reach"
    return (Bytes if size else int)(v), _out_of_range(a, float(v))


def _outside(a: pb.Attribute, s: str) -> str:
    if a.one_of and s not in a.one_of:
        return f"must be one of {', '.join(a.one_of)}"
    if a.pattern and not re.search(a.pattern, s):
        return f"must match {a.pattern}"
    return ""


def _out_of_range(a: pb.Attribute, n: float) -> str:
    def show(bound: float) -> str:
        match a.type:
            case pb.Attribute.TYPE_DURATION:
                return duration_text(timedelta(seconds=bound))
            case pb.Attribute.TYPE_BYTES:
                return str(Bytes(bound))
        return f"{bound:.15g}"

    if a.HasField("min") and n < a.min:
        return f"must be at least {show(a.min)}"
    if a.HasField("max") and n > a.max:
        return f"must be at most {show(a.max)}"
    return ""


def _got(v: Any) -> str:
    """Name the JSON type of v; never the value, which may be sensitive."""
    names = {str: "a string", dict: "an object", list: "a list", bool: "a bool", type(None): "null"}
    return f"got {names.get(type(v), 'a number')}"
