# docker build -t rtstyle .                       for a CPU
# docker build -t rtstyle:cuda --target cuda .    for an NVIDIA GPU: docker run --gpus all …
# docker run --rm -v "$PWD:/work" rtstyle render in.mp4 out.mp4 --style udnie
# docker run --rm -p 8765:8765 rtstyle serve --host 0.0.0.0

FROM python:3.13-slim AS wheel
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.13-slim AS installed
COPY constraints.txt /tmp/constraints.txt
RUN --mount=from=wheel,source=/wheels,target=/wheels \
    python -m venv /opt/rtstyle \
    && wheel="$(find /wheels -name '*.whl')" \
    && /opt/rtstyle/bin/pip install --no-cache-dir -c /tmp/constraints.txt "${wheel}[heic,live]"

# The driver comes with the NVIDIA container toolkit, CUDA's libraries with the packages.
FROM python:3.13-slim AS cuda
RUN --mount=from=wheel,source=/wheels,target=/wheels \
    python -m venv /opt/rtstyle \
    && wheel="$(find /wheels -name '*.whl')" \
    && /opt/rtstyle/bin/pip install --no-cache-dir "${wheel}[heic,live,tensorrt]" \
    && useradd --uid 1000 --create-home rtstyle
ENV PATH=/opt/rtstyle/bin:$PATH RTSTYLE_CACHE=/home/rtstyle/cache \
    NVIDIA_DRIVER_CAPABILITIES=compute,video,utility
USER 1000
WORKDIR /work
EXPOSE 8765
ENTRYPOINT ["rtstyle"]
CMD ["--help"]

FROM python:3.13-slim AS cpu
COPY --from=installed /opt/rtstyle /opt/rtstyle
RUN useradd --uid 1000 --create-home rtstyle
ENV PATH=/opt/rtstyle/bin:$PATH RTSTYLE_CACHE=/home/rtstyle/cache
USER 1000
WORKDIR /work
EXPOSE 8765
ENTRYPOINT ["rtstyle"]
CMD ["--help"]
