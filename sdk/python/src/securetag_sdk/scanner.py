"""What an author says a scanner is."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable, Generic, Sequence, TypeVar

from . import scanner_pb2 as pb
from ._text import MAX_MESSAGE, MAX_TITLE, Bytes, clean

if TYPE_CHECKING:
    from ._out import Out
    from ._target import Target

VERSION = "0.1.0"  # of this kit, as plugins report it; pyproject.toml has the same

_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_SEMVER = re.compile(r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)([-+][0-9A-Za-z.+-]+)?")
_MAX_RULES = 10_000
_MAX_RULE_ID = 256

C = TypeVar("C")


class Input(enum.IntEnum):
    """A kind of target."""

    TREE = pb.INPUT_TREE  # a directory tree, read-only
    URL = pb.INPUT_URL  # an http or https URL


class Severity(enum.IntEnum):
    """Orders findings."""

    INFO = pb.SEVERITY_INFO
    LOW = pb.SEVERITY_LOW
    MEDIUM = pb.SEVERITY_MEDIUM
    HIGH = pb.SEVERITY_HIGH
    CRITICAL = pb.SEVERITY_CRITICAL


class Confidence(enum.IntEnum):
    """How sure the scanner is of a finding."""

    LOW = pb.Finding.CONFIDENCE_LOW
    MEDIUM = pb.Finding.CONFIDENCE_MEDIUM
    HIGH = pb.Finding.CONFIDENCE_HIGH


@dataclass(frozen=True)
class Rule:
    """One kind of problem that the plugin can find."""

    id: str  # unique, stable across versions, at most 256 bytes
    title: str = ""  # one line
    severity: Severity | None = None  # of a finding that gives none
    description: str = ""
    recommendation: str = ""
    help_url: str = ""  # https
    cwe: Sequence[int] = ()
    tags: Sequence[str] = ()


@dataclass(frozen=True)
class Needs:
    """What the plugin needs of the machine.

    The host gives nothing that is not asked for, and may refuse.
    """

    network: bool = False  # outgoing connections
    spawns_processes: bool = False
    memory: Bytes | int = 0  # 0: the host's default


class ScanError(Exception):
    """Ends a scan without a result. Its text is the reason, for people.

    With retryable, trying again may help: a server did not answer, a lock was held.
    """

    def __init__(self, reason: str, *, retryable: bool = False) -> None:
        super().__init__(reason)
        self.retryable = retryable


class Refuse(Exception):
    """Refuses a scan whose request is wrong. The host does not try again."""


class Cancelled(BaseException):
    """Raised in a scan that was cancelled, by what waits or walks.

    Let it pass. It is no Exception, so that `except Exception` does not hold it.
    """


class Mistake(ValueError):
    """Says what the author of a plugin got wrong, all of it."""


@dataclass
class Scanner(Generic[C]):
    """A plugin: what it is called, what it takes, and how it scans.

    config and options are dataclasses: what the operator may set, and what one
    request may say. Their fields are str, bool, int, float, Bytes, timedelta,
    list[str] or dict[str, str]; setting() says more about one. A method
    validate() of theirs is called after the checks and raises ValueError.

    scan gets an instance of config, the target and where to report. It runs in
    a thread of its own, concurrently with itself up to max_concurrent_scans.
    """

    name: str  # ^[a-z][a-z0-9-]{0,62}$
    version: str  # of the plugin: MAJOR.MINOR.PATCH
    scan: Callable[[C, Target, Out], None]
    consumes: Sequence[Input]
    rules: Sequence[Rule] = ()
    config: type[C] | None = None
    options: type | None = None
    description: str = ""
    vendor: str = ""
    license: str = ""  # SPDX expression
    needs: Needs = field(default_factory=Needs)
    max_concurrent_scans: int = 1

    def mistakes(self) -> list[str]:
        """Find what the author got wrong, less the settings."""
        bad: list[str] = []
        if not _NAME.fullmatch(self.name):
            bad.append(f"name {self.name!r} must be lower-case letters, digits and dashes, and start with a letter")
        if not _SEMVER.fullmatch(self.version):
            bad.append(f"version {self.version!r} must be a semantic version such as 1.2.3")
        if not self.consumes:
            bad.append("consumes is empty: name what is scanned, for example Input.TREE")
        if self.max_concurrent_scans < 1:
            bad.append(f"max_concurrent_scans is {self.max_concurrent_scans}")
        if len(self.rules) > _MAX_RULES:
            bad.append(f"{len(self.rules)} rules; at most {_MAX_RULES}")
        seen: set[str] = set()
        for r in self.rules:
            if not 0 < len(r.id.encode()) <= _MAX_RULE_ID:
                bad.append(f"rule id {r.id[:40]!r} must have 1 to {_MAX_RULE_ID} bytes")
            elif r.id in seen:
                bad.append(f"rule {r.id!r} is declared twice")
            seen.add(r.id)
        return bad

    def describe(self) -> pb.DescribeResponse:
        """Give the answer to Describe, less the schemas."""
        needs = pb.Requirements(
            network=pb.Requirements.NETWORK_EGRESS if self.needs.network else pb.Requirements.NETWORK_NONE,
            spawns_processes=self.needs.spawns_processes,
            memory_bytes=max(int(self.needs.memory), 0),
        )
        return pb.DescribeResponse(
            name=self.name, version=self.version, description=clean(self.description, MAX_MESSAGE),
            vendor=self.vendor, license=self.license, sdk=f"python/{VERSION}", api_versions=[1],
            consumes=[int(i) for i in self.consumes], rules=[_rule(r) for r in self.rules],
            requirements=needs, max_concurrent_scans=self.max_concurrent_scans,
        )  # fmt: skip


def _rule(r: Rule) -> pb.Rule:
    severity: Any = int(r.severity) if r.severity is not None else 0
    return pb.Rule(
        id=r.id, title=clean(r.title, MAX_TITLE), description=clean(r.description, MAX_MESSAGE),
        recommendation=clean(r.recommendation, MAX_MESSAGE), severity=severity,
        help_uri=r.help_url, cwe=list(r.cwe), tags=list(r.tags),
    )  # fmt: skip
