# The agent's image.
#
#   docker build -t portolan .
#
# Stage 1 makes the one-file bundle; stage 2 is Node, an init and the bundle. Both of Docker's builders can build it.
ARG NODE_IMAGE=node:24-bookworm-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /build
COPY . .
# Takes dist/portolan.js as it comes when it is newer than every source; else installs packages and builds it.
RUN node .ci/setup.mjs --bundle

FROM ${NODE_IMAGE}
# As PID 1 the kernel drops every signal Node has no handler for, and Node does not reap orphans of script checks: an
# init does both. The package managers of the base image are of no use here, only a way in.
RUN set -e; \
    command -v tini >/dev/null || { \
      apt-get update; \
      apt-get install -y --no-install-recommends tini; \
      rm -rf /var/lib/apt/lists/*; \
    }; \
    rm -rf /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/corepack \
      /usr/local/bin/yarn /usr/local/bin/yarnpkg /opt/yarn-*
COPY docker/passwd docker/group /etc/
COPY --from=build /build/dist/portolan.js /usr/local/lib/portolan/portolan.mjs
COPY LICENSE /usr/local/lib/portolan/LICENSE
COPY docker/config.json /portolan/defaults/image.json
COPY docker/entrypoint.sh /usr/local/bin/portolan-entrypoint
COPY docker/portolan.sh /usr/local/bin/portolan
RUN chmod 0755 /usr/local/bin/portolan-entrypoint /usr/local/bin/portolan \
 && mkdir -p /portolan/data /portolan/config && chown 8500:8500 /portolan/data /portolan/config
# Non-root. For the Docker socket a container gets the socket's group and nothing more:
#   --group-add "$(stat -c %g /var/run/docker.sock)"
USER 8500:8500
ENV NODE_ENV=production HOME=/tmp
VOLUME /portolan/data
# HTTP and DNS.
EXPOSE 8500/tcp 8600/tcp 8600/udp
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["portolan", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["tini", "--", "portolan-entrypoint"]
CMD ["agent", "-dev", "-client", "0.0.0.0"]
