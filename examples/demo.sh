#!/bin/sh
# The main job on the embedded default: plant secrets in a small project, scan
# it, read the findings. The secrets are put together here from halves, so that
# none stands in this repository.
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

echo "$ securetag scan app"
status=0
# Here, also for somebody who is logged in to a server.
(cd "$dir" && "$OLDPWD/bin/securetag" scan --local app) || status=$?
if [ "$status" != 1 ]; then # 1: there are findings, which is what a demo with planted secrets must end with
  echo "the demo expected findings (exit code 1) and got exit code $status" >&2
  exit 1
fi
