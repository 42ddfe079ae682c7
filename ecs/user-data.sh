#!/bin/bash
# Puts a Portolan agent on an ECS container instance, beside the ECS agent. For the ECS-optimised images of Amazon
# Linux 2 and 2023: cloud-init runs it as root at the first boot, when Docker is up and the ECS agent is not yet. It
# may run again at any time: what is as it should be stays untouched. What it says is in /var/log/cloud-init-output.log.
#
# Settings are variables, exported before this text (README.md shows how):
#
#   PORTOLAN_IMAGE       the image, from where this instance may pull it
#   PORTOLAN_JOIN        whom to join: a tag of the servers, or addresses; several stand in separate lines
#   PORTOLAN_NETWORK     host (default), or bridge: published ports, for clients only
#   PORTOLAN_ARGS        more flags of the agent, as "-datacenter=eu -server -bootstrap-expect=3"
#   PORTOLAN_OPEN_FILES  limit of open files; the engine must be allowed to set it
#   ECS_CLUSTER          the cluster this instance is for
#
# Files in /etc/portolan, if there are any, are read as configuration: certificates, keys and tokens belong there and
# not into user data, which everything on the instance can read.
set -euo pipefail

: "${PORTOLAN_IMAGE:=portolan}"
: "${PORTOLAN_JOIN:=provider=aws tag_key=portolan tag_value=server}"
: "${PORTOLAN_NETWORK:=host}"
: "${PORTOLAN_ARGS:=}"
: "${PORTOLAN_OPEN_FILES:=65536}"
: "${ECS_CLUSTER:=default}"
: "${DOCKER_SOCKET:=/var/run/docker.sock}"

readonly container=portolan
readonly metadata=http://169.254.169.254/latest
readonly docker_limit_s=120
readonly agent_limit_s=60

say() { echo "portolan: $*"; }
die() {
  say "$*" >&2
  exit 1
}

# Waits until a command succeeds: limit in seconds, what for, command.
await() {
  local limit=$1 what=$2
  shift 2
  for ((second = 0; second < limit; second++)); do
    if "$@" >/dev/null 2>&1; then return; fi
    sleep 1
  done
  say "$what: not within $limit s"
  return 1
}

# Sets KEY=VALUE in the ECS agent's configuration, in place of an earlier value.
ecs_setting() {
  local key=$1 line="$1=$2" file=/etc/ecs/ecs.config
  grep -qxF "$line" "$file" && return
  sed -i "/^$key=/d" "$file"
  echo "$line" >>"$file"
  say "$file: $line"
}

# The metadata service, version 2. The script is on the host, so the hop limit, often 1, does not stop the token.
ask() {
  curl -sSf --noproxy '*' --connect-timeout 2 --max-time 5 --retry 5 --retry-connrefused "$@"
}
instance() {
  ask -H "X-aws-ec2-metadata-token: $token" "$metadata/meta-data/$1"
}

case "$PORTOLAN_NETWORK $PORTOLAN_ARGS" in
  'bridge '*' -server'* | 'bridge -server'*) die 'a server needs PORTOLAN_NETWORK=host' ;;
  'host '* | 'bridge '*) ;;
  *) die "PORTOLAN_NETWORK=$PORTOLAN_NETWORK is not known; use host or bridge" ;;
esac

# 1. The ECS agent: no task may take the ports, and tasks may learn the address of their host and have roles.
mkdir -p /etc/ecs
touch /etc/ecs/ecs.config
ecs_setting ECS_CLUSTER "$ECS_CLUSTER"
ecs_setting ECS_ENABLE_CONTAINER_METADATA true
ecs_setting ECS_ENABLE_TASK_IAM_ROLE true
ecs_setting ECS_ENABLE_TASK_IAM_ROLE_NETWORK_HOST true
ecs_setting ECS_RESERVED_PORTS '[22,53,2375,2376,51678,51679,8300,8301,8302,8500,8600]'
ecs_setting ECS_RESERVED_PORTS_UDP '[53,8301,8302,8600]'

# 2. What the agent has to know of the outside.
token=$(ask -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' "$metadata/api/token") ||
  die 'no metadata service: this is no EC2 instance, or it is switched off (HttpEndpoint of the metadata options)'
address=$(instance local-ipv4)
region=$(instance placement/region)
name=$(instance instance-id)
await "$docker_limit_s" 'Docker answers' docker info || exit 1
gateway=$(docker network inspect bridge --format '{{(index .IPAM.Config 0).Gateway}}')

# 3. The container. Unprivileged but for the group of the socket; who may use the socket can do what root can.
run=(
  --name "$container" --restart unless-stopped --stop-timeout 30
  --read-only --cap-drop ALL --security-opt no-new-privileges --ulimit "nofile=$PORTOLAN_OPEN_FILES"
  --group-add "$(stat -c %g "$DOCKER_SOCKET")"
  -v "$DOCKER_SOCKET:/var/run/docker.sock" -v "$container:/portolan/data"
  -e "AWS_REGION=$region"
)
[ ! -d /etc/portolan ] || run+=(-v /etc/portolan:/portolan/config:ro)
agent=(-registrator -node "$name" -advertise "$address")
if [ "$PORTOLAN_NETWORK" = host ]; then
  run+=(--network host)
  # The gateway of the bridge is how containers reach their host: http://172.17.0.1:8500, DNS on port 8600.
  agent+=(-client "127.0.0.1 $gateway")
else
  # Gossip for all; HTTP and DNS for this instance and its containers only.
  run+=(
    -p 8301:8301 -p 8301:8301/udp
    -p 127.0.0.1:8500:8500 -p "$gateway:8500:8500"
    -p 127.0.0.1:8600:8600 -p 127.0.0.1:8600:8600/udp
    -p "$gateway:53:8600" -p "$gateway:53:8600/udp"
  )
  agent+=(-client 0.0.0.0)
fi
while IFS= read -r member; do
  [ -z "$member" ] || agent+=(-retry-join "$member")
done <<<"$PORTOLAN_JOIN"
read -r -a more <<<"$PORTOLAN_ARGS"
agent+=(${more[@]+"${more[@]}"})

# 4. Started anew only when something of this has changed.
settings=$(printf '%s\0' "${run[@]}" "$PORTOLAN_IMAGE" "${agent[@]}" | sha256sum | cut -d ' ' -f 1)
running=$(docker container inspect --format '{{index .Config.Labels "user-data.settings"}}' "$container" 2>/dev/null || true)
if [ "$running" = "$settings" ]; then
  say 'its settings are as they should be'
  docker start "$container" >/dev/null
else
  if docker container inspect "$container" >/dev/null 2>&1; then
    say 'its settings have changed; it leaves and starts anew'
    docker stop "$container" >/dev/null
    docker rm "$container" >/dev/null
  fi
  docker run -d --label "user-data.settings=$settings" "${run[@]}" "$PORTOLAN_IMAGE" agent "${agent[@]}" >/dev/null
fi
answers() { docker exec "$container" portolan info; }
# Or has ended so often that waiting longer is of no use.
settled() { answers || [ "$(docker container inspect --format '{{.RestartCount}}' "$container")" -gt 2 ]; }
if ! await "$agent_limit_s" 'the agent answers' settled || ! answers >/dev/null; then
  docker logs --tail 50 "$container" >&2
  exit 1
fi
say "$PORTOLAN_IMAGE runs as $name at $address, network $PORTOLAN_NETWORK"
