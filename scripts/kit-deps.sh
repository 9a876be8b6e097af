#!/bin/sh
# Installs what a kit's lock file names, once for each lock file, and prints the
# directory: outside the repository, so that a second run and another clone cost
# nothing.
#
#   kit-deps.sh python sdk/python/requirements.txt  for PYTHONPATH
#   kit-deps.sh node sdk/node                       and links node_modules to it
set -eu
cd "$(dirname "$0")/.."

kind=$1 what=$2
case $kind in
python) lock=$what version=$(python3 -c 'import sys; print(*sys.version_info[:2], sys.platform, sep="-")') ;;
node) lock=$what/package-lock.json version=$(node -p 'process.versions.node.split(".")[0]') ;;
*) echo "kit-deps.sh: python or node, not $kind" >&2 && exit 2 ;;
esac
sum=$(cksum <"$lock" | tr ' ' -)
dir=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/securetag/$kind-$version-$sum
if [ ! -d "$dir" ]; then
  # Made aside and moved: two runs at once do not see half of it.
  mkdir -p "${dir%/*}"
  new=$(mktemp -d "${dir%/*}/new-XXXXXX")
  trap 'rm -rf "$new"' EXIT
  echo "installing $lock" >&2
  case $kind in
  python)
    python3 -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes --only-binary :all: --target "$new/all" -r "$lock" >&2
    python3 -m compileall -q "$new/all" >&2 || true # some files of packages are for other versions
    ;;
  node)
    mkdir "$new/all"
    cp "$what/package.json" "$lock" "$new/all"
    (cd "$new/all" && npm ci --silent --no-audit --no-fund --ignore-scripts) >&2
    ;;
  esac
  mv "$new/all" "$dir" 2>/dev/null || [ -d "$dir" ]
fi
# ES modules are found in node_modules alone. A link that is right is left alone:
# to make it anew takes it from tests that run meanwhile.
[ "$kind" = python ] || [ "$(readlink "$what/node_modules")" = "$dir/node_modules" ] || ln -sfn "$dir/node_modules" "$what/node_modules"
echo "$dir"
