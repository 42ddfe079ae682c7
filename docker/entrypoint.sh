#!/bin/sh
# Starts the agent with what container users set by environment. The names with CONSUL_ are those of Consul's own
# image, so that a task definition or compose file can change its image and nothing else.
#
#   PORTOLAN_LOCAL_CONFIG   JSON or HCL, applied after all files
#   PORTOLAN_BIND_INTERFACE, PORTOLAN_CLIENT_INTERFACE   names of interfaces to bind and serve on
set -eu

fail() {
  echo "==> $1" >&2
  exit 1
}

# The IPv4 address of an interface, by a sockaddr template that the agent itself expands.
interface_address() {
  [ -e "/sys/class/net/$1" ] || fail "Interface '$1' does not exist in this container. Interfaces: $(ls /sys/class/net | tr '\n' ' ')"
  printf '{{ GetInterfaceIPs "%s" }}' "$1"
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
  [ -z "$client" ] || set -- -client "$(interface_address "$client")" "$@"
  [ -z "$bind" ] || set -- -bind "$(interface_address "$bind")" "$@"
  [ -z "$local_config" ] || set -- "$@" -hcl "$local_config"
  set -- agent -config-file /portolan/defaults/image.json -config-dir /portolan/config -data-dir /portolan/data "$@"
fi
exec portolan "$@"
