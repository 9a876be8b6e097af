# The host and its built-in plugins. The steps are the Makefile's: `make build`.
FROM golang:1.26-alpine AS build
RUN apk add --no-cache make git
WORKDIR /src
# Modules first, so that a change of code does not fetch them again.
COPY go.mod go.sum ./
COPY plugins/secrets/go.mod plugins/secrets/go.sum plugins/secrets/
COPY plugins/dependencies/go.mod plugins/dependencies/go.sum plugins/dependencies/
COPY plugins/web/go.mod plugins/web/go.sum plugins/web/
COPY plugins/sarif/go.mod plugins/sarif/go.sum plugins/sarif/
COPY plugins/gosec/go.mod plugins/gosec/go.sum plugins/gosec/
COPY plugins/iac/go.mod plugins/iac/go.sum plugins/iac/
RUN go mod download \
 && (cd plugins/secrets && go mod download) \
 && (cd plugins/dependencies && go mod download) \
 && (cd plugins/web && go mod download) \
 && (cd plugins/sarif && go mod download) \
 && (cd plugins/gosec && go mod download) \
 && (cd plugins/iac && go mod download)
COPY . .
ARG VERSION=dev
RUN make build VERSION=$VERSION && mkdir -p /out/data && cp -r bin/. /out/

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/securetag /usr/local/bin/securetag
COPY --from=build /out/plugins /usr/local/bin/plugins
COPY --from=build --chown=nonroot:nonroot /out/data /var/lib/securetag
COPY securetag.hcl /etc/securetag/securetag.hcl
ENV SECURETAG_DATA_DIR=/var/lib/securetag SECURETAG_SERVER__LISTEN=0.0.0.0:8080
VOLUME /var/lib/securetag
EXPOSE 8080
USER nonroot
ENTRYPOINT ["securetag"]
CMD ["serve"]
