# The server. `docker compose up` runs it together with its PostgreSQL; see docker-compose.yml.

FROM python:3.13-slim AS build
WORKDIR /source
COPY requirements.txt requirements-build.txt ./
RUN python -m venv /opt/sealdesk \
    && /opt/sealdesk/bin/pip install --no-cache-dir --no-deps --require-hashes --requirement requirements.txt \
    && python -m pip install --no-cache-dir --no-deps --require-hashes --requirement requirements-build.txt
COPY pyproject.toml README.md LICENSE ./
COPY backend backend
COPY client_lib client_lib
COPY crypto crypto
COPY migrations migrations
COPY protocol protocol
COPY sealdesk_cli sealdesk_cli
# The wheel is built with pinned packages only, and hatchling stays behind in this stage.
RUN python -m pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/sealdesk/bin/pip install --no-cache-dir --no-deps --no-index /wheels/*.whl

FROM python:3.13-slim
RUN groupadd --system --gid 10001 sealdesk \
    && useradd --system --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin sealdesk \
    && install --directory --owner=sealdesk --group=sealdesk --mode=0700 /data
COPY --from=build /opt/sealdesk /opt/sealdesk
ENV PATH=/opt/sealdesk/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SEALDESK_DATA=/data \
    SEALDESK_HOST=0.0.0.0 \
    SEALDESK_PORT=8440
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8440
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"SEALDESK_PORT\"]}/health/ready', timeout=4)"]
CMD ["sealdesk", "serve"]
