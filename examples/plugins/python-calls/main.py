#!/usr/bin/env python3
"""A useful scanner in Python: it finds calls that run code or commands from data."""

import ast
from dataclasses import dataclass

import securetag_sdk as sdk

CALLS = {"eval": 95, "exec": 95, "pickle.load": 502, "pickle.loads": 502, "marshal.loads": 502, "os.system": 78}


@dataclass
class Config:
    max_file_size: sdk.Bytes = sdk.setting("1MiB", min=1, doc="Larger files are left out.")


def scan(config: Config, target: sdk.Target, out: sdk.Out) -> None:
    for done, file in enumerate(target.files(), start=1):
        if not file.path.endswith(".py") or file.size > config.max_file_size:
            continue
        with file.open() as f:
            source = f.read(config.max_file_size)
        try:
            nodes = ast.walk(ast.parse(source))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            out.note("is not Python that this version can parse", path=file.path)
            continue
        for call in (n for n in nodes if isinstance(n, ast.Call)):
            if (name := ast.unparse(call.func) if isinstance(call.func, (ast.Name, ast.Attribute)) else "") in CALLS:
                at = sdk.Location(file.path, call.lineno, call.col_offset + 1, call.end_lineno or 0, (call.end_col_offset or -1) + 1)
                out.finding(name, f"{name}() runs what it is given", at=at, identity=[name])
        out.scanned(1, len(source))
        out.progress("parsing", done, unit="files")


rules = [sdk.Rule(n, title=f"Call of {n}", severity=sdk.Severity.MEDIUM, cwe=[cwe]) for n, cwe in CALLS.items()]
scanner = sdk.Scanner(
    name="python-calls", version="0.1.0", description="Finds calls in Python that run code or commands from data.",
    consumes=[sdk.Input.TREE], rules=rules, config=Config, scan=scan,
)  # fmt: skip

if __name__ == "__main__":
    sdk.main(scanner)
