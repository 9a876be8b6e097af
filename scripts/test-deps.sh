#!/bin/sh
# What `make test` needs beyond Go, make and git: a C compiler for -race, curl
# for the commands in the docs, Python with pip and Node.js with npm for the
# plugin kits and the tools that the plugin sarif is tested with (whose packages
# scripts/kit-deps.sh installs), flawfinder, which is another of these, Chromium
# to open the reports with (an 80 MB download, which internal/browser drives), and
# PostgreSQL and Redis binaries, of which the tests start private instances.
# Missing ones are installed from Debian's packages when that is possible.
set -eu

missing=""
command -v curl >/dev/null 2>&1 || missing="$missing curl"
command -v flawfinder >/dev/null 2>&1 || missing="$missing flawfinder"
{ command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null 2>&1 || missing="$missing chromium"
command -v cc >/dev/null 2>&1 || missing="$missing gcc libc6-dev"
command -v redis-server >/dev/null 2>&1 || missing="$missing redis-server"
command -v initdb >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
python3 -m pip --version >/dev/null 2>&1 || missing="$missing python3 python3-pip"
{ command -v node && command -v npm; } >/dev/null 2>&1 || missing="$missing nodejs npm"
[ -z "$missing" ] && exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
  echo "make test needs:$missing - install them (Debian: sudo apt-get install$missing) and run it again" >&2
  exit 1
fi
echo "installing$missing"
export DEBIAN_FRONTEND=noninteractive
# RUNLEVEL=1 keeps the packages from starting servers: the tests start their own.
apt-get update -qq
# shellcheck disable=SC2086 # one word a package
RUNLEVEL=1 apt-get install -y -qq --no-install-recommends $missing >/dev/null
