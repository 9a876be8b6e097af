#!/bin/sh
# The main job on the embedded default: plant secrets and weak code in a small
# project, scan it with every engine, read the findings. The secrets are put
# together here from halves, so that none stands in this repository.
set -eu
cd "$(dirname "$0")/.."

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir -p "$dir/app/src" "$dir/app/deploy"

cat > "$dir/app/src/billing.py" <<PY
import stripe

stripe.api_key = "sk_live_$(printf '4eC39HqLyjWDarjtT1zdp7dc')ZX81Qw0b"


def charge(amount):
    return stripe.Charge.create(amount=amount, currency="eur")
PY

cat > "$dir/app/deploy/prod.env" <<ENV
AWS_REGION=eu-central-1
AWS_ACCESS_KEY_ID=AKIA$(printf 'Q3EGRIZ7')WT5KHJMN
GITHUB_TOKEN=ghp_$(printf '0Zk9mQ4rT8xW2vB7')nL5cY1hD6sF3jG0pK9aE
ENV

{
  printf -- '-----BEGIN %s PRIVATE KEY-----\n' RSA
  head -c 480 /dev/urandom | base64 | tr -d '\n' | fold -w 64
  printf -- '\n-----END %s PRIVATE KEY-----\n' RSA
} > "$dir/app/deploy/server.pem"

cat > "$dir/app/go.mod" <<GO
module example.com/app

go 1.24
GO

cat > "$dir/app/src/receipt.go" <<GO
package src

import "os"

const stripeToken = "sk_live_$(printf '9dK2mQx7RbTw4LzP')vN8sHc3J"

// Receipt reads one.
func Receipt(name string) ([]byte, error) { return os.ReadFile(name) }
GO

cat > "$dir/app/package-lock.json" <<JSON
{"name": "app", "lockfileVersion": 3, "packages": {"": {"name": "app"}, "node_modules/left-pad": {"version": "1.3.0"}}}
JSON

cat > "$dir/app/Dockerfile" <<DOCKER
FROM debian:12
ADD src /srv/src
USER root
CMD ["/srv/app"]
DOCKER

# Go need not be where the engine for Go looks for it.
go=$(go env GOROOT)
export SECURETAG_PLUGIN__GOSEC__READ="$go" SECURETAG_PLUGIN__GOSEC__CONFIG="{\"go\": \"$go/bin/go\"}"

echo "$ securetag scan app"
status=0
# Here, also for somebody who is logged in to a server.
(cd "$dir" && "$OLDPWD/bin/securetag" scan --local app) || status=$?
if [ "$status" != 1 ]; then # 1: there are findings, which is what a demo with planted secrets must end with
  echo "the demo expected findings (exit code 1) and got exit code $status" >&2
  exit 1
fi
