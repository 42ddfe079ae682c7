#!/bin/sh
# Fetches the program that the gossip is tested against, Serf 0.9.4 as this machine's Debian ships it, without installing
# it: unpacked into .cache/peer. Prints the path of the binary. Does nothing when it is there, or when `serf` is installed.
set -eu

root=$(cd "$(dirname "$0")/../../.." && pwd)/.cache/peer
binary=$root/usr/bin/serf

# The build does not know its own version; the protocol tells the generation.
is_peer() { "$1" version 2>/dev/null | grep -q '^Agent Protocol: 5 '; }

if is_peer "$binary"; then echo "$binary"; exit 0; fi
installed=$(command -v serf || true)
if [ -n "$installed" ] && is_peer "$installed"; then echo "$installed"; exit 0; fi

command -v apt-get >/dev/null 2>&1 || { echo "serf: no apt-get here; install Serf 0.9 as \`serf\`" >&2; exit 1; }
mkdir -p "$root"
cd "$root"
# The lists of the machine may be missing, as in a container.
apt-get -q download serf >&2 || { apt-get -q update >&2 && apt-get -q download serf >&2; }
dpkg -x "$root"/serf_*.deb "$root"
rm -f "$root"/serf_*.deb
is_peer "$binary" || { echo "serf: the archive has another version: $("$binary" version | head -n 1)" >&2; exit 1; }
echo "$binary"
