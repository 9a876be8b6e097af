"""The kit as a process, over the wire: Health, Drain, and the death of its host."""

import os
import select
import signal
import subprocess
import sys
import tempfile
import textwrap
import unittest
from typing import Any

import grpc

from securetag_sdk import _early
from securetag_sdk import scanner_pb2 as pb

PLUGIN = textwrap.dedent("""
    import os, securetag_sdk as sdk

    def scan(_, target, out):
        out.progress("started", 1)
        while not os.path.exists(os.path.join(target.work_dir, "end")):
            target.check()

    sdk.main(sdk.Scanner(name="t", version="1.0.0", consumes=[sdk.Input.TREE], max_concurrent_scans=2, scan=scan))
""")
SECONDS = 60  # for what must come, on a machine that has much to do


class ProcessTest(unittest.TestCase):
    def setUp(self) -> None:
        tmp = tempfile.TemporaryDirectory()
        self.addCleanup(tmp.cleanup)
        self.dir = tmp.name
        plugin = os.path.join(self.dir, "plugin.py")
        with open(plugin, "w") as f:
            f.write(PLUGIN)
        # A shell is the host, so that it can be killed. What it starts has the
        # pipe too: it ends when the last of them has ended.
        self.host = subprocess.Popen(
            ["/bin/sh", "-c", '"$0" -B "$1" & wait', sys.executable, plugin],
            env={**os.environ, _early.COOKIE_KEY: _early.COOKIE_VALUE, "PLUGIN_UNIX_SOCKET_DIR": self.dir},
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self.addCleanup(self.end)
        assert self.host.stdout is not None
        self.pipe = self.host.stdout
        line = self.pipe.readline().decode()
        self.assertRegex(line, r"^1\|1\|unix\|.*\|grpc$")
        self.channel = grpc.insecure_channel("unix:" + line.split("|")[3])
        self.addCleanup(self.channel.close)

    def end(self) -> None:
        try:
            os.killpg(self.host.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.host.wait()
        self.pipe.close()

    def call(self, name: str, req: Any, answer: Any) -> Any:
        method = self.channel.unary_unary(f"/securetag.plugin.v1.Scanner/{name}", type(req).SerializeToString, answer.FromString)
        return method(req, timeout=SECONDS)

    def stream(self, name: str, req: Any, answer: Any) -> Any:
        method = self.channel.unary_stream(f"/securetag.plugin.v1.Scanner/{name}", type(req).SerializeToString, answer.FromString)
        return method(req, timeout=SECONDS)

    def scan(self, run: str) -> Any:
        """Begin a scan and wait until it runs."""
        target = pb.Target(root=self.dir, display_name="t")
        events = self.stream("Scan", pb.ScanRequest(run_id=run, target=target, work_dir=self.dir), pb.ScanEvent)
        next(events)
        return events

    def test_drain_and_health(self) -> None:
        req = pb.HealthRequest()
        req.interval.FromSeconds(3600)  # what comes sooner is a change
        health = self.stream("Health", req, pb.HealthUpdate)

        def state() -> tuple[int, int]:
            u = next(health)
            return u.state, u.active_scans

        healthy, draining = pb.HealthUpdate.STATE_HEALTHY, pb.HealthUpdate.STATE_DEGRADED
        self.assertEqual(state(), (healthy, 0))
        self.call("Configure", pb.ConfigureRequest(config_json=b"{}"), pb.ConfigureResponse)
        events = self.scan("one")
        self.assertEqual(state(), (healthy, 1))
        self.assertEqual(self.call("Drain", pb.DrainRequest(), pb.DrainResponse).active_scans, 1)
        self.assertEqual(state(), (draining, 1))
        with self.assertRaises(grpc.RpcError) as refused:
            self.scan("two")
        self.assertEqual(refused.exception.code(), grpc.StatusCode.UNAVAILABLE)

        # The scan that runs goes on to its own end, and Drain waits for it.
        more = pb.DrainRequest()
        more.grace.FromSeconds(SECONDS)
        method = self.channel.unary_unary("/securetag.plugin.v1.Scanner/Drain", type(more).SerializeToString, pb.DrainResponse.FromString)
        waiting = method.future(more, timeout=SECONDS)
        open(os.path.join(self.dir, "end"), "w").close()
        self.assertEqual(list(events)[-1].completed.status, pb.Completed.STATUS_SUCCEEDED)
        self.assertEqual(waiting.result().active_scans, 0)
        self.assertEqual(state(), (draining, 0))

    def test_host_killed(self) -> None:
        self.call("Configure", pb.ConfigureRequest(config_json=b"{}"), pb.ConfigureResponse)
        self.scan("one")
        self.host.kill()
        self.assertTrue(select.select([self.pipe], [], [], SECONDS)[0], "the plugin has outlived its host")
        self.assertEqual(self.pipe.read(), b"")


if __name__ == "__main__":
    unittest.main()
