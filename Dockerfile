# syntax=docker/dockerfile:1
# One node of Weir, for compose.yaml, deploy/fly.toml and the chart in deploy/helm/weir.
#
#   docker build --tag weir .
#   docker build --tag weir --build-arg REVISION="$(git rev-parse HEAD)" .
#
# Base images are named by tag: whoever hands the result out pins them by the digest that was tested, by the arguments below
# (BASE=gcr.io/distroless/cc-debian12:nonroot@sha256:…). Both are Debian 12, so that the C library of the build is there later.
ARG BUILDER=rust:1.95-bookworm
ARG BASE=gcr.io/distroless/cc-debian12:nonroot

FROM ${BUILDER} AS build
WORKDIR /weir
COPY . .
# What cargo fetched and built stays in the builder's cache, so a change of Weir builds Weir alone. The folders are the volume and
# the home of the final stage, which has no shell to make them with.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/weir/target,sharing=locked \
    cargo build --locked --profile shipping --package weir \
    && install -D --strip target/shipping/weir /out/usr/bin/weir \
    && cargo xtask bill /out/usr/share/doc/weir \
    && install -d -m 0700 /out/data /out/home/weir

FROM ${BASE}
# Its user, of its group.
ARG UID=65532
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Weir" \
      org.opencontainers.image.description="A rate limiting service that needs no other server" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /out/usr/bin/weir /usr/bin/weir
# What it is made of, and the notices that go with that.
COPY --from=build /out/usr/share/doc/weir /usr/share/doc/weir
COPY --from=build --chown=${UID}:${UID} /out/data /data
COPY --from=build --chown=${UID}:${UID} /out/home/weir /home/weir
# The root may be read-only: a node writes to /data, to /tmp, and to its home where it was given no cookie.
ENV HOME=/home/weir \
    XDG_RUNTIME_DIR=/tmp \
    WEIR_DATA_DIR=/data \
    WEIR_DRAIN_WAIT=5s
USER ${UID}:${UID}
WORKDIR /data
VOLUME ["/data"]
EXPOSE 4000 4100
# Drains: /ready says 503 at once, the front closes after WEIR_DRAIN_WAIT, shards are handed over. Give it a minute.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 CMD ["weir", "health"]
ENTRYPOINT ["weir"]
# Refused without a token (WEIR_API_TOKEN_FILE) or a [service] in the file of --config: it is open to other machines.
CMD ["node", "--http", "0.0.0.0:4000"]
