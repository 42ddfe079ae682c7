#!/bin/sh
# Makes the root file systems of stand-ins for the base images that our Dockerfiles name, since the suites pull
# nothing: Node from its npm package with the libraries it links, tini from Debian's package, everything else busybox.
# Kept in the folder $1; a second run does nothing. Needs Debian, apt and npm.
set -eu
cache=$1
node_tar=$cache/node-24-bookworm-slim.tar
busybox_tar=$cache/busybox-1.36.tar
[ ! -e "$node_tar" ] || [ ! -e "$busybox_tar" ] || exit 0

case $(uname -m) in
  x86_64) arch=x64 ;;
  aarch64) arch=arm64 ;;
  *) echo "no Node package for $(uname -m)" >&2; exit 1 ;;
esac
mkdir -p "$cache"
work=$(mktemp -d "$cache/work.XXXXXX")
trap 'rm -rf "$work"' EXIT

# A root file system with a shell and its tools.
make_root() {
  mkdir -p "$1/bin" "$1/etc" "$1/dev" "$1/proc" "$1/sys" "$1/root" "$1/run" "$1/var" "$1/usr/bin" "$1/usr/local/bin"
  mkdir -m 1777 "$1/tmp"
  cp "$(command -v busybox)" "$1/bin/busybox"
  busybox --list | while read -r applet; do
    [ "$applet" = busybox ] || ln -s busybox "$1/bin/$applet"
  done
  echo 'root:x:0:0:root:/root:/bin/sh' >"$1/etc/passwd"
  echo 'root:x:0:' >"$1/etc/group"
}

make_root "$work/busybox"
tar -C "$work/busybox" -cf "$work/busybox.tar" .

make_root "$work/node"
(
  cd "$work"
  npm pack --silent "node-linux-$arch@24" >/dev/null
  tar -xzf "node-linux-$arch"-*.tgz package/bin/node
  apt-get -o APT::Sandbox::User=root download -q tini >/dev/null
  dpkg -x tini_*.deb tini
)
mv "$work/package/bin/node" "$work/node/usr/local/bin/node"
chmod 0755 "$work/node/usr/local/bin/node"
mv "$work/tini/usr/bin/tini" "$work/node/usr/bin/tini"
for program in usr/local/bin/node usr/bin/tini; do
  ldd "$work/node/$program" | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$work/node$(dirname "$library")"
    cp -L "$library" "$work/node$library"
  done
done
tar -C "$work/node" -cf "$work/node.tar" .

mv "$work/busybox.tar" "$busybox_tar"
mv "$work/node.tar" "$node_tar"
