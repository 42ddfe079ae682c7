# syntax=docker/dockerfile:1
# Stage 1 makes the one-file bundle, stage 2 is the image: Node, an init, the bundle, and nothing else.
ARG NODE_IMAGE=node:24-bookworm-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /build
COPY . .
# Uses dist/portolan.js of the build context when it is newer than every source; else installs packages and builds.
RUN node scripts/setup.mjs --bundle

FROM ${NODE_IMAGE}
# As PID 1 the kernel drops every signal Node has no handler for, and Node does not reap orphans of script checks.
RUN command -v tini >/dev/null \
 || (apt-get update && apt-get install -y --no-install-recommends tini && rm -rf /var/lib/apt/lists/*)
COPY docker/passwd /etc/passwd
COPY docker/group /etc/group
COPY --from=build /build/dist/portolan.js /usr/local/lib/portolan/portolan.mjs
COPY --from=build /build/LICENSE /usr/local/lib/portolan/LICENSE
COPY docker/entrypoint.sh /usr/local/bin/portolan-entrypoint
COPY docker/portolan.sh /usr/local/bin/portolan
COPY docker/config.json /portolan/defaults/image.json
RUN chmod 0755 /usr/local/bin/portolan-entrypoint /usr/local/bin/portolan \
 && mkdir -p /portolan/data /portolan/config && chown 8500:8500 /portolan/data /portolan/config
# Non-root. For the Docker socket give the container the socket's group and nothing more:
#   --group-add "$(stat -c %g /var/run/docker.sock)"
USER 8500:8500
ENV NODE_ENV=production HOME=/tmp
VOLUME /portolan/data
# HTTP, DNS, gossip (both protocols), server RPC
EXPOSE 8500/tcp 8600/tcp 8600/udp 8300/tcp 8301/tcp 8301/udp 8302/tcp 8302/udp
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["portolan", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["tini", "--", "portolan-entrypoint"]
CMD ["agent", "-dev", "-client", "0.0.0.0"]
