#!/bin/sh
# Fetches the program that the bench compares with, Consul 1.8.7 as Debian 11 ships it, without installing it: apt with
# lists of its own, unpacked into .cache/peer. Prints the path of the binary. The archive is the one this machine's apt
# uses. Does nothing when it is there, or when `consul` is installed in this version.
set -eu

version=1.8.7
suite=bullseye
root=$(cd "$(dirname "$0")/../../.." && pwd)/.cache/peer
binary=$root/usr/bin/consul

is_peer() { "$1" version 2>/dev/null | head -n 1 | grep -q "v$version"; }

if is_peer "$binary"; then echo "$binary"; exit 0; fi
installed=$(command -v consul || true)
if [ -n "$installed" ] && is_peer "$installed"; then echo "$installed"; exit 0; fi

command -v apt-get >/dev/null 2>&1 || { echo "peer: no apt-get here; install Consul $version as \`consul\`" >&2; exit 1; }
# Both formats of sources, the first archive whose path ends in /debian.
archive=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
  grep -v '^ *#' | grep -oE '[a-z+]+://[^] ]+/debian/?( |$)' | head -n 1 | tr -d ' ')
[ -n "$archive" ] || { echo "peer: no Debian archive among apt's sources; install Consul $version as \`consul\`" >&2; exit 1; }

mkdir -p "$root/apt/lists/partial" "$root/apt/cache/archives/partial"
echo "deb $archive $suite main" >"$root/apt/sources.list"
apt() {
  apt-get -q -o Dir::Etc::SourceList="$root/apt/sources.list" -o Dir::Etc::SourceParts=- \
    -o Dir::State::Lists="$root/apt/lists" -o Dir::Cache="$root/apt/cache" \
    -o APT::Sandbox::User=root -o Acquire::Languages=none "$@" >&2
}
apt update
cd "$root"
apt download consul
dpkg -x "$root"/consul_*.deb "$root"
rm -rf "$root/apt" "$root"/consul_*.deb
is_peer "$binary" || { echo "peer: the archive has another version: $("$binary" version | head -n 1)" >&2; exit 1; }
echo "$binary"
