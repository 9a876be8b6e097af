#!/bin/sh
# Regenerates scanner_pb2 from the contract, with the generator that
# requirements-generate.txt pins. No service stubs: _serve.py registers six
# methods by name.
set -eu
cd "$(dirname "$0")"
tools=$(sh ../../scripts/kit-deps.sh python sdk/python/requirements-generate.txt)
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
PYTHONPATH="$tools" python3 -m grpc_tools.protoc -I ../proto --python_out="$out" --pyi_out="$out" securetag/plugin/v1/scanner.proto
cp "$out"/securetag/plugin/v1/scanner_pb2.py "$out"/securetag/plugin/v1/scanner_pb2.pyi src/securetag_sdk/
