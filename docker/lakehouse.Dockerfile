# One image for the code location, the webserver, the daemon and the bucket set-up.
FROM python:3.11-slim-bookworm AS environment
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 UV_NO_CACHE=1 VIRTUAL_ENV=/opt/venv PATH=/opt/venv/bin:/opt/uv/bin:$PATH
WORKDIR /src
COPY requirements.lock pyproject.toml README.md LICENSE /src/
# uv is no part of the environment that it makes; the lock has the hashes of both
RUN python -m venv /opt/uv && python -m venv --without-pip /opt/venv \
    && awk '/^uv==/ {on=1} on {print} on && !/\\$/ {exit}' requirements.lock >/tmp/uv.lock \
    && /opt/uv/bin/pip install --require-hashes --no-deps -r /tmp/uv.lock
# of the lock what runs, and none of the tools for development
RUN uv pip install --require-hashes --constraints requirements.lock \
    --requirements pyproject.toml --extra engine --extra dagster --extra report
COPY lakehouse /src/lakehouse
COPY pyspark_cloudfiles /src/pyspark_cloudfiles
RUN uv build --wheel --build-constraints requirements.lock --require-hashes --out-dir /tmp/wheel . \
    && uv pip install --no-deps --no-index /tmp/wheel/*.whl
# Spark's jars, checked against their lock: a container downloads nothing when it starts
RUN XDG_CACHE_HOME=/opt/cache python -c "from lakehouse.engine.jars import ensure_jars; ensure_jars(print)"

FROM python:3.11-slim-bookworm
RUN useradd --uid 10001 --no-create-home lakehouse \
    && install -d -o lakehouse -g lakehouse /var/lib/lakehouse /var/lib/dagster /var/lib/events /var/lib/scratch
COPY --from=environment /opt/venv /opt/venv
COPY --from=environment /opt/cache /opt/cache
COPY assets /opt/lakehouse/assets
COPY resources /opt/lakehouse/resources
COPY lakehouse.yaml /opt/lakehouse/
COPY contracts /opt/lakehouse/contracts
COPY docker/make_buckets.py /opt/lakehouse/docker/
COPY docker/dagster.yaml docker/workspace.yaml /opt/dagster/
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/lakehouse \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/var/lib/lakehouse \
    XDG_CACHE_HOME=/opt/cache \
    LAKEHOUSE_HOME=/var/lib/lakehouse \
    DAGSTER_HOME=/opt/dagster \
    DAGSTER_STORAGE=/var/lib/dagster
WORKDIR /opt/lakehouse
USER lakehouse
