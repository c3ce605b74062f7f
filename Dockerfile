FROM python:3.13-slim
RUN pip install --no-cache-dir "uv>=0.9,<1" && useradd --create-home tapeline \
    && mkdir -p /data /keys/nats /keys/feed /keys/signals /keys/risk /keys/executor /keys/recorder /keys/operator /keys/subscriber \
    && chown -R tapeline /data /keys
WORKDIR /app
COPY . .
RUN uv sync --no-dev --compile-bytecode && chown -R tapeline /app
USER tapeline
ENV PATH="/app/.venv/bin:$PATH" XDG_CACHE_HOME=/tmp/cache
VOLUME /data
