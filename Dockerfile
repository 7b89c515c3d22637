# One image for every process of Signpost: the command says which. docs/containers.md has more.
#
#   docker build -t signpost .                             web, redirect, api, clicks, worker, release
#   docker build -t signpost-gateway --target gateway .    the same with the nginx before them

# The packages, where there is a compiler for the one of them that is published as source.
FROM python:3.11-slim-bookworm AS packages
# Debian keeps no old versions of its packages: pinned ones would soon not be found.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY requirements.txt ./
COPY requirements requirements/
# requirements.txt is a little smaller, and cannot export traces.
ARG REQUIREMENTS=requirements/tracing.txt
RUN python -m venv /opt/signpost \
    && /opt/signpost/bin/pip install --quiet --no-cache-dir --no-deps --require-hashes \
        --only-binary :all: -r requirements/build.txt \
    && /opt/signpost/bin/pip install --quiet --no-cache-dir --no-deps --require-hashes \
        --only-binary :all: --no-binary gunicorn-h1c,geoip2fast --no-build-isolation -r "$REQUIREMENTS" \
    && /opt/signpost/bin/pip uninstall --quiet --yes setuptools wheel pip

# The code with its bytecode, as nobody can write it later. It belongs to root.
FROM python:3.11-slim-bookworm AS code
WORKDIR /srv/signpost
COPY LICENSE Procfile requirements.txt wsgi.py ./
COPY api api/
COPY config config/
COPY deploy/containers deploy/containers/
COPY deploy/gateway deploy/gateway/
COPY requirements requirements/
COPY scripts scripts/
RUN python -m compileall -q --invalidation-mode unchecked-hash api config scripts wsgi.py \
    && chmod -R u=rwX,go=rX .

FROM python:3.11-slim-bookworm AS runtime
RUN groupadd --gid 10001 signpost \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/signpost \
        --shell /usr/sbin/nologin signpost \
    && install --directory --owner=signpost --group=signpost --mode=0750 /var/lib/signpost
COPY --from=packages /opt/signpost /opt/signpost
COPY --from=code /srv/signpost /srv/signpost
ENV PATH=/opt/signpost/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SIGNPOST_HOME=/var/lib/signpost \
    HOST=0.0.0.0 \
    PORT=8000 \
    LOG_FORMAT=json
WORKDIR /srv/signpost
# All that is ever written, but for /tmp and /dev/shm.
VOLUME /var/lib/signpost
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["/srv/signpost/deploy/containers/healthy"]
ENTRYPOINT ["/srv/signpost/deploy/containers/entry"]

FROM runtime AS gateway
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends nginx \
    && rm -rf /var/lib/apt/lists/*
USER 10001:10001
EXPOSE 80 443
CMD ["gateway"]

FROM runtime AS signpost
USER 10001:10001
EXPOSE 8000
CMD ["web"]
