#!/bin/sh
# Starts the agent with what container users set by environment. Each variable is also read under the name it has in
# Consul's own image, CONSUL_… instead of PORTOLAN_…, so that moving over takes few changes.
#
#   PORTOLAN_LOCAL_CONFIG       JSON or HCL, applied after all files and flags
#   PORTOLAN_BIND_INTERFACE     name of the interface to bind
#   PORTOLAN_CLIENT_INTERFACE   name of the interface to serve HTTP and DNS on, besides loopback
set -eu

# A template for the IPv4 address of an interface; the agent expands it.
interface_address() {
  [ -e "/sys/class/net/$1" ] || {
    echo "==> $2=$1: there is no such interface in this container. Use one of: $(ls -x /sys/class/net)" >&2
    exit 1
  }
  printf '{{ GetInterfaceIP "%s" }}' "$1"
}

# `docker run image -dev` means the agent.
case "${1:-agent}" in
  -*) set -- agent "$@" ;;
esac

if [ "${1:-}" = agent ]; then
  shift
  bind="${PORTOLAN_BIND_INTERFACE:-${CONSUL_BIND_INTERFACE:-}}"
  client="${PORTOLAN_CLIENT_INTERFACE:-${CONSUL_CLIENT_INTERFACE:-}}"
  local_config="${PORTOLAN_LOCAL_CONFIG:-${CONSUL_LOCAL_CONFIG:-}}"
  if [ -n "$client" ]; then
    address=$(interface_address "$client" PORTOLAN_CLIENT_INTERFACE)
    # Loopback for the command line inside the container, HEALTHCHECK above all.
    set -- -client "127.0.0.1 $address" "$@"
  fi
  if [ -n "$bind" ]; then
    address=$(interface_address "$bind" PORTOLAN_BIND_INTERFACE)
    set -- -bind "$address" "$@"
  fi
  [ -z "$local_config" ] || set -- "$@" -hcl "$local_config"
  # Where Consul's image has its configuration mounted.
  [ ! -d /consul/config ] || set -- -config-dir /consul/config "$@"
  set -- agent -config-file /portolan/defaults/image.json -config-dir /portolan/config -data-dir /portolan/data "$@"
fi
exec portolan "$@"
