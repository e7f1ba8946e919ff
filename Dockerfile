# The image of one node: `bus` with every messaging system, and the application of the demo.
#     docker build -t busdemo-node . && docker run --rm busdemo-node version
# Nothing of the build stage but the environment goes into the image: no pip cache, no sources, no compiler.

FROM python:3.11.14-slim-bookworm AS build
# On a machine without an index: put wheels into deploy/wheels and build with --build-arg PIP_NO_INDEX=1.
ARG PIP_NO_INDEX=""
ENV PIP_NO_INDEX=$PIP_NO_INDEX PIP_FIND_LINKS=/src/deploy/wheels PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/bus
WORKDIR /src
# Only what the wheel is made of: a change of the demo does not install everything anew.
COPY pyproject.toml README.md LICENSE ./
COPY deploy/wheels deploy/wheels
COPY backends backends
COPY bus bus
# An owner that is a number needs no line in /etc/passwd.
RUN /opt/bus/bin/python -m pip install '.[all]' \
    && install -d -m 0700 -o 10001 -g 10001 /made/state /made/secrets

FROM python:3.11.14-slim-bookworm
COPY --from=build /opt/bus /opt/bus
# New volumes take owner and mode from what is there in the image.
COPY --from=build --chown=10001:10001 /made/state /var/lib/bus
COPY --from=build --chown=10001:10001 /made/secrets /run/secrets
COPY demos /opt/app/demos
ENV PATH=/opt/bus/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /opt/app
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["bus"]
CMD ["run"]
