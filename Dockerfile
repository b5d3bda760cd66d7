# The service with its embedded server. Without authentication it listens on the loopback only, so run it
# with the host's network:  docker run --network host --volume inboxd:/var/lib/inboxd IMAGE
FROM python:3.13-slim AS build
RUN apt-get update -q && apt-get install -qy --no-install-recommends gcc libc6-dev
WORKDIR /opt/inboxd
COPY pyproject.toml LICENSE README.md ./
COPY service ./service
RUN HATCH_BUILD_HOOK_ENABLE_MYPYC=1 pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.13-slim
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir /wheels/*.whl \
 && rm -r /wheels \
 && useradd --system --create-home --home-dir /var/lib/inboxd inboxd

USER inboxd
WORKDIR /var/lib/inboxd
ENV INBOXD_DATA_DIR=/var/lib/inboxd/data PYTHONUNBUFFERED=1
VOLUME /var/lib/inboxd

HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["python", "-c", "\
import os, urllib.request; \
urllib.request.urlopen('http://127.0.0.1:' + os.environ.get('INBOXD_PORT', '8000') + '/readyz')"]

# It stops on SIGTERM, draining its workers: give it longer than INBOXD_DRAIN_TIMEOUT.
ENTRYPOINT ["inboxd"]
CMD ["serve"]
