#!/bin/sh
# Installs what the engine suites need, on Debian and as root: a Docker engine, a static busybox to make images of, the
# tools that give each test engine a network namespace of its own, and what stands for a host in containers (curl,
# systemd). Does nothing when all is there.
set -eu

missing=''
command -v dockerd >/dev/null 2>&1 || missing="$missing docker.io"
command -v docker >/dev/null 2>&1 || missing="$missing docker-cli"
command -v iptables >/dev/null 2>&1 || missing="$missing iptables"
command -v ip >/dev/null 2>&1 || missing="$missing iproute2"
command -v nft >/dev/null 2>&1 || missing="$missing nftables"
command -v curl >/dev/null 2>&1 || missing="$missing curl"
[ -x /usr/lib/systemd/systemd ] || missing="$missing systemd"
if ! command -v busybox >/dev/null 2>&1 || ldd "$(command -v busybox)" >/dev/null 2>&1; then
  missing="$missing busybox-static"
fi
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
  echo "engine tests: missing$missing; run $0 as root" >&2
  exit 1
fi
apt-get update -q
# Debian before 13 ships the client inside docker.io.
apt-cache show docker-cli >/dev/null 2>&1 || missing=$(echo "$missing" | sed 's/ docker-cli/ docker.io/')
# A policy of 101 keeps the package from starting a daemon of its own: the suites start theirs.
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod +x /usr/sbin/policy-rc.d
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $missing
rm -f /usr/sbin/policy-rc.d
