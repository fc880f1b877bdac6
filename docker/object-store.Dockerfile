# MinIO from its source: the project publishes no image any more.
FROM golang:1.26-bookworm AS build
ARG MINIO_VERSION=v0.0.0-20260212201848-7aac2a2c5b7c
ENV CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=-trimpath
# the module proxy's checksum database vouches for the source
RUN go install -ldflags "-s -w" "github.com/minio/minio@${MINIO_VERSION}"
RUN mkdir /data /events

FROM alpine:3.22
RUN adduser -D -u 10001 minio
COPY --from=build /go/bin/minio /usr/local/bin/minio
# a new named volume takes over the owner of the folder it covers
COPY --from=build --chown=minio:minio /data /data
COPY --from=build --chown=minio:minio /events /events
USER minio
ENV HOME=/tmp
VOLUME /data
EXPOSE 9000 9001
ENTRYPOINT ["minio"]
