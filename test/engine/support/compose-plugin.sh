#!/bin/sh
# Puts the docker command line's plugins compose and buildx into $1/cli-plugins, for use as DOCKER_CONFIG, unless the
# command line has them. Debian 12 has neither, so they come from the next release of the machine's own archive and are
# unpacked beside the system, not installed. A second run does nothing. Needs Debian and apt.
set -eu
folder=$1
suite=trixie
[ ! -x "$folder/cli-plugins/docker-compose" ] || [ ! -x "$folder/cli-plugins/docker-buildx" ] || exit 0
if docker compose version >/dev/null 2>&1 && docker buildx version >/dev/null 2>&1; then exit 0; fi

mkdir -p "$folder"
folder=$(realpath "$folder")
work=$(mktemp -d "$folder/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial"

# The first archive the machine uses, in either form of apt's lists.
uri=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list 2>/dev/null |
  sed -n -e 's/^URIs: *\([^ ]*\).*/\1/p' -e 's/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\) .*/\2/p' |
  grep -v -- -security | head -n 1)
[ -n "$uri" ] || { echo "no archive in /etc/apt/sources.list*" >&2; exit 1; }
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$keyring] $uri $suite main" >"$work/archive.list"
apt() {
  apt-get -q -o "Dir::Etc::sourcelist=$work/archive.list" -o Dir::Etc::sourceparts=/dev/null \
    -o "Dir::State::lists=$work/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
    -o APT::Sandbox::User=root "$@" >/dev/null
}
apt update
(cd "$work" && apt download docker-compose docker-buildx)
for package in "$work"/*.deb; do dpkg -x "$package" "$work/root"; done
mkdir -p "$folder/cli-plugins"
mv "$work"/root/usr/libexec/docker/cli-plugins/docker-compose "$work"/root/usr/libexec/docker/cli-plugins/docker-buildx \
  "$folder/cli-plugins/"
