"""What one scan looks at.

Its files are hostile: whoever uploaded them may have made them for this scanner.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Callable, Iterator

from ._text import Bytes
from .scanner import Cancelled

if TYPE_CHECKING:
    from ._out import Location, Out

_MAX_FILE = Bytes(1 << 20)
_MAX_LINE = Bytes(64 << 10)
_PROBE = 8000  # bytes looked at for a NUL, as git does


@dataclass(frozen=True)
class Line:
    """One line of a text file. Bytes that are not UTF-8 are lone surrogates."""

    path: str
    number: int  # 1-based
    text: str  # without its line end, LF or CRLF
    cut: bool = False  # the line was longer

    def at(self, start: int, end: int) -> Location:
        """Give the place of text[start:end]."""
        from ._out import Location

        before = len(self.text[:start].encode("utf-8", "surrogateescape"))
        inside = len(self.text[start:end].encode("utf-8", "surrogateescape"))
        return Location(self.path, self.number, before + 1, self.number, before + inside + 1)


@dataclass(frozen=True)
class File:
    """A regular file of the tree."""

    path: str  # relative to the root, slash-separated
    size: int
    _root: str

    def open(self) -> BinaryIO:
        """Open it for reading; OSError when it is no regular file any more."""
        return _open_beneath(self._root, self.path)


class Target:
    """What one scan looks at: a tree, or a URL."""

    def __init__(
        self, *, root: str = "", url: str = "", name: str = "", work_dir: str = "", attempt: int = 1,
        permitted_hosts: tuple[str, ...] = (), options: Any = None, stop: threading.Event | None = None, key: bytes = b"", out: Out,
    ) -> None:  # fmt: skip
        self.root = root  # absolute path of the read-only tree, "" for a URL; prefer files() and open()
        self.url = url  # "" for a tree
        self.permitted_hosts = permitted_hosts  # the only ones that the scan of a URL may call; (): the host does not say
        self.name = name  # what people call it; never a path to open
        self.work_dir = work_dir  # private, writable, empty, removed after the scan
        self.attempt = attempt  # 1 for the first try
        self.options = options  # an instance of Scanner.options
        self.cancelled = stop or threading.Event()  # set when the scan must stop
        self._key = key
        self._out = out

    def keyed(self, secret: str) -> str:
        """Give what stands for a secret in a finding's identity.

        It is a hash with a key that the host keeps, by which nobody can find out
        the secret. "" when the host compares no scans.
        """
        if not self._key:
            return ""
        return hmac.new(self._key, secret.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()

    def check(self) -> None:
        """Raise Cancelled when the scan must stop. Call it in loops of your own."""
        if self.cancelled.is_set():
            raise Cancelled

    def open(self, path: str) -> BinaryIO:
        """Open one regular file of the tree by its relative path."""
        if not self.root:
            raise OSError("the target is not a tree")
        return _open_beneath(self.root, path)

    def files(self, *, skip: Callable[[str], bool] | None = None) -> Iterator[File]:
        """Walk the regular files of the tree in the order of their paths.

        Follows no links, leaves out devices and pipes, and the directories for
        which skip is true. What cannot be read is noted, and makes the result
        partial. Raises Cancelled when the scan must stop.
        """
        if not self.root:
            raise OSError("the target is not a tree")
        return self._walk("", skip)

    def _walk(self, inside: str, skip: Callable[[str], bool] | None) -> Iterator[File]:
        # A stack of our own: a tree may be deeper than Python's.
        stack = [self._entries(inside)]
        while stack:
            self.check()
            entry = next(stack[-1], None)
            if entry is None:
                stack.pop()
                continue
            path, e = entry
            try:
                if e.is_dir(follow_symlinks=False):
                    if skip is None or not skip(path):
                        stack.append(self._entries(path))
                elif e.is_file(follow_symlinks=False):
                    yield File(path, e.stat(follow_symlinks=False).st_size, self.root)
            except OSError as err:
                self.unreadable(path, err)

    def _entries(self, inside: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        try:
            with os.scandir(os.path.join(self.root, inside)) as it:
                entries = sorted(it, key=lambda e: os.fsencode(e.name))
        except OSError as err:
            self.unreadable(inside or ".", err)
            return iter(())
        prefix = inside + "/" if inside else ""
        return ((prefix + e.name, e) for e in entries)

    def unreadable(self, path: str, err: OSError) -> None:
        """Note a file that could not be read; the result is then partial."""
        self._out.note(f"could not be read: {err.strerror or err}", path=path, warning=True)
        self._out.partial("some files could not be read")

    def lines(
        self,
        *,
        max_file_size: int = _MAX_FILE,
        max_line: int = _MAX_LINE,
        match: Callable[[str], bool] | None = None,
        skip: Callable[[str], bool] | None = None,
        binary: bool = False,
    ) -> Iterator[Line]:
        """Give every line of every text file of the tree, in order.

        Reports progress and what was scanned. Larger files are noted and left
        out, longer lines are cut. match chooses files by path, skip leaves out
        directories; binary takes files with a NUL in their first bytes as well.
        """
        done = 0
        for file in self.files(skip=skip):
            if match is not None and not match(file.path):
                continue
            if file.size > max_file_size:
                self._out.note(f"larger than {Bytes(max_file_size)}, not scanned", path=file.path, warning=True)
                continue
            try:
                with file.open() as f:
                    yield from self._file_lines(f, file.path, max_file_size, max_line, binary)
            except OSError as err:
                self.unreadable(file.path, err)
            done += 1
            self._out.progress("matching", done, unit="files")

    def _file_lines(self, f: BinaryIO, path: str, limit: int, max_line: int, binary: bool) -> Iterator[Line]:
        data = f.read(limit)  # it may grow under us
        if not binary and b"\0" in data[:_PROBE]:
            return
        at, number = 0, 0
        while at < len(data):
            self.check()
            end = data.find(b"\n", at)
            raw = data[at : end if end >= 0 else len(data)]
            at = end + 1 if end >= 0 else len(data)
            if end >= 0 and raw.endswith(b"\r"):
                raw = raw[:-1]
            number += 1
            text = raw[:max_line].decode("utf-8", "surrogateescape")
            yield Line(path, number, text, len(raw) > max_line)
        self._out.scanned(1, len(data))


def _open_beneath(root: str, path: str) -> BinaryIO:
    """Open a regular file without following links or waiting for a fifo."""
    parts = path.split("/")
    if not path or any(p in ("", ".", "..") for p in parts):
        raise OSError(f"{path!r} is not a path in the target")
    flags = os.O_RDONLY | os.O_CLOEXEC
    at = os.open(root, flags | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            inner = os.open(part, flags | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
            os.close(at)
            at = inner
        fd = os.open(parts[-1], flags | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=at)
    finally:
        os.close(at)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(f"{path!r} is not a regular file")
    return os.fdopen(fd, "rb")
