# docker build -t xcwado .
# docker run -p 8080:8080 -v ./config.toml:/etc/xcwado/config.toml:ro -v xcwado:/var/lib/xcwado xcwado

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
# The image contains no debug information.
ENV CARGO_PROFILE_RELEASE_DEBUG=false CARGO_PROFILE_RELEASE_STRIP=true
# Cargo.toml refers to benches; the crate's documentation includes docs.
COPY Cargo.toml Cargo.lock ./
COPY benches benches
COPY docs docs
COPY src src
RUN cargo build --release --locked --bin xcwado
# The image's settings unless you mount others: the defaults, but reachable from outside.
COPY config.toml .
RUN mkdir -p root/etc/xcwado root/var/lib/xcwado \
    && sed -e 's|^# \[listen\]$|[listen]|' \
           -e 's|^# address = "127.0.0.1:8080"$|address = "0.0.0.0:8080"|' \
           -e 's|^# data_directory = "var"$|data_directory = "/var/lib/xcwado"|' \
           config.toml > root/etc/xcwado/config.toml \
    && [ "$(grep -cE '^(\[listen\]|address = |data_directory = )' root/etc/xcwado/config.toml)" = 3 ]

FROM debian:bookworm-slim
# Certificate authorities for sources that use TLS.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /build/root/etc/xcwado /etc/xcwado
COPY --from=build --chown=65532:65532 /build/root/var/lib/xcwado /var/lib/xcwado
COPY --from=build /build/target/release/xcwado /usr/local/bin/xcwado
COPY LICENSE docs/NOTICE.md /usr/share/doc/xcwado/
USER 65532:65532
VOLUME /var/lib/xcwado
EXPOSE 8080
# The operator listener at its default address, reachable only inside the container.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD ["/bin/bash", "-c", \
    "exec 3<>/dev/tcp/127.0.0.1/9090 && printf 'GET /health/live HTTP/1.0\\r\\n\\r\\n' >&3 && read -r _ status _ <&3 && [ \"$status\" = 200 ]"]
ENTRYPOINT ["xcwado"]
CMD ["serve", "--config", "/etc/xcwado/config.toml", "--log", "json"]
