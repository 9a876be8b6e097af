"""A plugin that does what the option "do" says, for the tests of the kit."""

import os
import sys
import time
from dataclasses import dataclass

import securetag_sdk as sdk

print("printed before main")


@dataclass
class Config:
    words: list[str] = sdk.setting(["TODO"], pattern="^[A-Z]+$", doc="What is looked for.")


@dataclass
class Options:
    do: str = ""


def scan(config: Config, target: sdk.Target, out: sdk.Out) -> None:
    print("printed in the scan")
    os.system("echo printed by a child")
    out.log.warning("a warning", extra={"fields": {"n": 1}})
    match target.options.do:
        case "many":
            for i in range(1234):
                out.finding("r", f"finding {i}", at=sdk.Location("a.txt", i + 1), snippet=str(i))
        case "wait":
            out.progress("waiting", 3, 7, "sheep")
            while True:
                target.check()
                time.sleep(0.01)
        case "ignore":
            out.progress("waiting")
            while True:
                time.sleep(0.01)
        case "crash":
            print("the disk is on fire", file=sys.stderr, flush=True)
            os._exit(7)
        case "raise":
            raise ValueError("no such\nluck")
        case "retry":
            raise sdk.ScanError("the server is busy", retryable=True)
        case "refuse":
            raise sdk.Refuse("cannot scan that")
        case "undeclared":
            out.finding("nobody", "x")
        case "partial":
            out.partial("one was unreadable")
        case "artifact":
            with open(os.path.join(target.work_dir, "out.json"), "w") as f:
                f.write("{}")
            out.artifact("out.json", "application/json", "out.json", content=b"{}")
        case _:
            for line in target.lines():
                for w in config.words:
                    if (i := line.text.find(w)) >= 0:
                        out.finding("r", f"found {w}", at=line.at(i, i + len(w)), snippet=line.text)


sdk.main(sdk.Scanner(
    name="probe", version="1.0.0", consumes=[sdk.Input.TREE], config=Config, options=Options, scan=scan,
    rules=[sdk.Rule("r", title="A rule", severity=sdk.Severity.HIGH)],
))  # fmt: skip
