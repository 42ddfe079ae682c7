#!/bin/sh
# Fetches the clients of the interop suite, without installing them: HAProxy and dnsmasq as this Debian ships them and
# Prometheus as Debian 11 does, unpacked beside the system into .cache/clients/root, and the npm package `consul` into
# .cache/clients/npm. Real Consul comes with test/bench/support/peer.sh. Does nothing when all is there.
set -eu

# The newest that runs on Node.js 20.
npm_consul=2.0.1
clients=$(cd "$(dirname "$0")/../../.." && pwd)/.cache/clients
root=$clients/root
sbin=$root/usr/sbin
bin=$root/usr/bin

debian_is_there() { [ -x "$sbin/haproxy" ] && [ -x "$bin/prometheus" ] && [ -x "$sbin/dnsmasq" ]; }
npm_is_there() { grep -q "\"version\": \"$npm_consul\"" "$clients/npm/node_modules/consul/package.json" 2>/dev/null; }

if ! npm_is_there; then
  mkdir -p "$clients/npm"
  echo '{"private":true}' >"$clients/npm/package.json"
  (cd "$clients/npm" && npm install --ignore-scripts --no-audit --no-fund --no-save --loglevel=error "consul@$npm_consul") >&2
fi

if ! debian_is_there; then
  command -v apt-get >/dev/null 2>&1 || { echo "interop: no apt-get here to fetch haproxy, prometheus and dnsmasq-base" >&2; exit 1; }
  archives=$clients/archives
  lists=$clients/lists
  mkdir -p "$archives/partial" "$lists/partial" "$root"
  # No lock of the system is needed where it is not touched.
  apt() { apt-get -qy -o Debug::NoLocking=1 -o APT::Sandbox::User=root -o Dir::Cache::archives="$archives" "$@" >&2; }
  # Only what this system lacks, with the libraries.
  download() { apt --no-install-recommends --download-only install haproxy dnsmasq-base; }
  download || { apt-get -q update >&2 && download; }
  # Debian 12 builds Prometheus without consul_sd_configs; Debian 11 with. The first archive whose path ends in /debian.
  archive=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
    grep -v '^ *#' | grep -oE '[a-z+]+://[^] ]+/debian/?( |$)' | head -n 1 | tr -d ' ')
  [ -n "$archive" ] || { echo "interop: no Debian archive among apt's sources to fetch prometheus from" >&2; exit 1; }
  echo "deb $archive bullseye main" >"$clients/sources.list"
  apt_old() {
    apt -o Dir::Etc::SourceList="$clients/sources.list" -o Dir::Etc::SourceParts=- -o Dir::State::Lists="$lists" \
      -o Dir::Cache="$clients" -o Acquire::Languages=none "$@"
  }
  apt_old update
  (cd "$archives" && apt_old download prometheus)
  for package in "$archives"/*.deb; do dpkg -x "$package" "$root"; done
  rm -rf "$archives" "$lists" "$clients/sources.list" "$clients"/*.bin
fi
debian_is_there || { echo "interop: the packages hold no haproxy, prometheus or dnsmasq" >&2; exit 1; }
echo "$clients"
