# The demo in a container, and any other command:
#
#   docker build -t jina-clip-evals .
#   docker run --rm jina-clip-evals
#   docker run --rm -v "$PWD/results:/home/evals/results" jina-clip-evals mrl-sweep --dims 64,128
#
# For a GPU: docker build --build-arg BASE=nvidia/cuda:12.8.1-runtime-ubuntu24.04 …, docker run --gpus all …
# More than the core: --build-arg EXTRAS="--extra mteb --extra rivals"

ARG BASE=python:3.11-slim

FROM ${BASE} AS python
# The images of CUDA bring no Python.
RUN command -v python3 || { \
        apt-get update \
        && apt-get install --yes --no-install-recommends python3 python3-venv \
        && rm -rf /var/lib/apt/lists/*; \
    }

FROM python AS build
# git is asked which commit the wheel is built from.
RUN command -v git || { \
        apt-get update \
        && apt-get install --yes --no-install-recommends git \
        && rm -rf /var/lib/apt/lists/*; \
    }
ARG EXTRAS=""
ENV UV_CACHE_DIR=/var/cache/uv PIP_CACHE_DIR=/var/cache/pip
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 VIRTUAL_ENV=/opt/venv PATH=/opt/venv/bin:$PATH
RUN --mount=type=cache,target=/var/cache/pip \
    python3 -m venv /opt/venv && python -m pip install --disable-pip-version-check uv
WORKDIR /src
COPY pyproject.toml requirements.lock ./
RUN --mount=type=cache,target=/var/cache/uv \
    uv pip install --constraints requirements.lock --requirements pyproject.toml ${EXTRAS}
COPY . .
RUN --mount=type=cache,target=/var/cache/uv \
    uv build --wheel --out-dir /opt/wheel . && uv pip install --no-deps /opt/wheel/*.whl

FROM python
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
RUN useradd --create-home evals
USER evals
WORKDIR /home/evals
ENTRYPOINT ["jina-clip-evals"]
CMD ["run", "scenes", "--model", "tiny"]
