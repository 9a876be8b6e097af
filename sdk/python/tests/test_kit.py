"""The kit by itself; internal/kits runs it in the real host."""

import io
import json
import os
import tempfile
import threading
import time
import unittest
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import securetag_sdk as sdk
from securetag_sdk import _hand, _log, _schema, _text, testing
from securetag_sdk import scanner_pb2 as pb


@dataclass
class Config:
    size: sdk.Bytes = sdk.setting("1MiB", min=1, max="2MiB", doc="A size.")
    wait: timedelta = sdk.setting("1m30s", min="1s")
    words: list[str] = sdk.setting(["A"], pattern="^[A-Z]+$")
    mode: str = sdk.setting(one_of=["fast", "slow"], default="fast")
    key: str = sdk.setting(required=True, sensitive=True)
    n: int = 3

    def validate(self) -> None:
        if self.n == 13:
            raise ValueError("13 is bad luck")


def scanner(scan: Any, **more: Any) -> sdk.Scanner[Any]:
    return sdk.Scanner(
        name="t", version="1.0.0", scan=scan, consumes=[sdk.Input.TREE],
        rules=[sdk.Rule("r", severity=sdk.Severity.LOW)], **more,
    )  # fmt: skip


class SettingsTest(unittest.TestCase):
    def test_schema(self) -> None:
        s = _schema.Schema(Config)
        self.assertEqual(s.mistakes, [])
        a = {a.name: a for a in s.attributes}
        self.assertEqual((a["size"].default_json, a["size"].min, a["size"].max), ("1048576", 1, 2 << 20))
        self.assertEqual((a["wait"].default_json, a["wait"].min), ('"1m30s"', 1))
        self.assertTrue(a["key"].required and a["key"].sensitive)
        self.assertEqual((a["n"].type, a["n"].default_json), (pb.Attribute.TYPE_INT, "3"))

    def test_decode(self) -> None:
        s = _schema.Schema(Config)
        got, diags = s.decode(b'{"key": "k", "size": "1KiB", "wait": "2s"}')
        self.assertEqual(list(diags), [])
        self.assertEqual(got, Config(sdk.Bytes(1024), timedelta(seconds=2), ["A"], "fast", "k", 3))

    def test_every_mistake(self) -> None:
        s = _schema.Schema(Config)
        raw = {"size": "3MiB", "wait": 7, "words": ["A", "b"], "mode": "x", "n": 1.5, "other": 1}
        _, diags = s.decode(json.dumps(raw).encode())
        self.assertEqual([d.summary for d in diags], [
            'there is no setting "other"', '"size" must be at most 2MiB', '"wait" must be a duration such as "30s", got a number',
            '"words" must match ^[A-Z]+$', '"mode" must be one of fast, slow', '"key" is required',
            '"n" must be a whole number, got a fraction or a number out of reach',
        ])  # fmt: skip
        self.assertEqual([list(d.attribute_path) for d in diags][:2], [["other"], ["size"]])

    def test_not_an_object(self) -> None:
        for raw in (b"[]", b"{", b'{"n": NaN}', b"[" * 100_000):
            self.assertEqual(_schema.Schema(Config).decode(raw)[1][0].summary, "the settings are not one JSON object")

    def test_validate(self) -> None:
        _, diags = _schema.Schema(Config).decode(b'{"key": "k", "n": 13}')
        self.assertEqual([d.summary for d in diags], ["13 is bad luck"])

    def test_text(self) -> None:
        self.assertEqual(_text.clean("a\0\udcffé", 100), "a\ufffd\ufffdé")
        self.assertEqual(_text.clean("é" * 10, 5), "éé")
        self.assertEqual(_text.one_line(" a\n b ", 10), "a b")
        self.assertEqual([sdk.redact("x" * 19), sdk.redact("AKIA" + "x" * 16)], ["****", "AKIA****"])
        for bad in ("", "x", "1 parsec", "1.5B", "9EB"):
            self.assertRaises(ValueError, sdk.Bytes.parse, bad)
        for bad in ("", "5", "s", "1s 2s"):
            self.assertRaises(ValueError, _text.parse_duration, bad)


class ScanTest(unittest.TestCase):
    def setUp(self) -> None:
        tmp = tempfile.TemporaryDirectory()
        self.addCleanup(tmp.cleanup)
        self.dir = tmp.name

    def write(self, path: str, data: bytes) -> None:
        os.makedirs(os.path.dirname(os.path.join(self.dir, path)), exist_ok=True)
        with open(os.path.join(self.dir, path), "wb") as f:
            f.write(data)

    def test_keyed(self) -> None:
        """As in every kit: the HMAC-SHA256 with the key of the request, in hex."""
        got: list[str] = []
        testing.scan(scanner(lambda _config, target, _out: got.append(target.keyed("a secret"))), self.dir)
        self.assertEqual(got, ["9666182164ee187d0ef25443d997a9543a01f69ef0c4155d06a5e2c7397ae91f"])

    def test_walk(self) -> None:
        self.write("b/c.txt", b"one\r\ntwo")
        self.write("a.bin", b"\0")
        self.write("big", b"x" * 100)
        os.symlink("/etc/passwd", os.path.join(self.dir, "link"))
        os.mkfifo(os.path.join(self.dir, "pipe"))
        seen: list[tuple[str, int, str]] = []

        def scan(_: Any, target: sdk.Target, out: sdk.Out) -> None:
            seen.extend((line.path, line.number, line.text) for line in target.lines(max_file_size=50))
            for path in ("link", "pipe", "../x", "/etc/passwd", "b"):
                with self.assertRaises(OSError):
                    target.open(path)

        result = testing.scan(scanner(scan), self.dir)
        self.assertEqual((result.status, result.completed.reason), ("succeeded", ""))
        self.assertEqual(seen, [("b/c.txt", 1, "one"), ("b/c.txt", 2, "two")])
        self.assertEqual([n.summary for n in result.notes], ["larger than 50B, not scanned"])

    def test_batches(self) -> None:
        def scan(_: Any, target: sdk.Target, out: sdk.Out) -> None:
            for i in range(120):
                out.finding("r", "x" * 9000, snippet=str(i))

        result = testing.scan(scanner(scan), self.dir)
        sizes = [len(ev.findings.findings) for ev in result.events if ev.HasField("findings")]
        self.assertEqual((sum(sizes), result.completed.findings), (120, 120))
        self.assertTrue(all(n <= 50 for n in sizes) and all(ev.ByteSize() < 1 << 20 for ev in result.events))

    def test_ends(self) -> None:
        def fail(e: BaseException) -> Any:
            def scan(*_: Any) -> None:
                raise e

            return scan

        for scan, status, reason in (
            (fail(ValueError("a\nb")), "failed", "the scanner raised ValueError: a b"),
            (fail(sdk.ScanError("no")), "failed", "no"),
            (fail(SystemExit(3)), "failed", "the scanner raised SystemExit: 3"),
            (lambda c, t, out: out.not_applicable("no Python"), "not_applicable", "no Python"),
            (lambda c, t, out: out.finding("q", ""), "failed", 'the scanner reported a finding by the rule "q", which it does not declare'),
        ):
            with self.assertLogs("t") if status == "failed" and "raised" in reason else self.subTest():
                result = testing.scan(scanner(scan), self.dir)
            self.assertEqual((result.status, result.completed.reason), (status, reason))
        with self.assertRaises(sdk.Refuse):
            testing.scan(scanner(fail(sdk.Refuse("never"))), self.dir)

    def test_by_hand(self) -> None:
        self.write("a.txt", b"x\x1b\n")

        def scan(_: Any, target: sdk.Target, out: sdk.Out) -> None:
            for line in target.lines():
                out.finding("r", "it is " + line.text, at=line.at(0, 1))

        out, err = io.StringIO(), io.StringIO()
        self.assertEqual(_hand.execute(scanner(scan), ["scan", self.dir], out, err), 1)
        self.assertEqual(out.getvalue(), "a.txt:1:1: low r: it is x?\n")
        self.assertEqual(_hand.execute(scanner(scan), ["describe"], out, err), 0)
        self.assertEqual(_hand.execute(scanner(scan), ["scan", "/nowhere"], out, err), 2)
        self.assertEqual(_hand.execute(scanner(scan, max_concurrent_scans=0), ["scan", self.dir], out, err), 2)

    def test_slow_host(self) -> None:
        """The author waits while nobody reads, and goes on when it is cancelled."""
        from securetag_sdk._run import Run
        import logging

        run = Run(_log.RunLog(logging.getLogger("t"), {}), frozenset(["r"]), pb.Limits())
        ended = threading.Event()

        def scan() -> None:
            for _ in range(1000):
                run.out.finding("r", "x")

        worker = threading.Thread(target=run.work, args=(scan, ended.set))
        worker.start()
        run.cancel("enough", 60)
        worker.join()
        events = list(run.events())
        self.assertEqual(events[-1].completed.reason, "cancelled: enough")
        self.assertLessEqual(events[-1].completed.findings, 100)


class LogTest(unittest.TestCase):
    def test_strings_only_and_short(self) -> None:
        import logging

        record = logging.LogRecord("t", logging.WARNING, "f", 1, "m%s", ("\n\u2028" * 5000,), None)
        record.fields = {"n": 1, "long": "é" * 5000}
        line = _log.Formatter().format(record)
        entry = json.loads(line)
        self.assertTrue(len(line) <= 2048 or len(entry) == 4)
        self.assertNotIn("\n", line)
        self.assertTrue(all(isinstance(v, str) for v in entry.values()))
        self.assertEqual(entry["@level"], "warn")
        self.assertTrue(time.strptime(entry["@timestamp"][:19], "%Y-%m-%dT%H:%M:%S"))


if __name__ == "__main__":
    unittest.main()
