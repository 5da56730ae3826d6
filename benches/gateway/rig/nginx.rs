//! nginx as an operator sets it up for images: the only nginx that the gateway is compared with.

use std::net::SocketAddr;
use std::path::Path;
use std::thread;

use crate::rig::authority::Issued;
use crate::rig::process::Server;

/// nginx in front of one server.
#[derive(Clone, Copy)]
pub(crate) struct Nginx<'a> {
    pub(crate) upstream: SocketAddr,
    /// Whether it is a `proxy_cache`, in memory, or only a `proxy_pass`.
    pub(crate) is_cache: bool,
    /// The certificate of its listener, which then speaks HTTP/2 too.
    pub(crate) shown: Option<&'a Issued>,
}

impl Nginx<'_> {
    /// Starts it; `None` if it is not installed.
    pub(crate) fn start(self) -> Option<Server> {
        let server = Server::nginx_with(|address, directory| self.settings(address, directory));
        if server.is_none() {
            assert!(std::env::var_os("CI").is_none(), "nginx is not installed");
            println!("  left out: nginx is not installed");
        }
        server
    }

    // With buffers of 16 x 64 KiB it takes up to 1.8 times the processor time, with its default
    // buffers four times.
    fn settings(self, address: SocketAddr, directory: &Path) -> String {
        let workers = thread::available_parallelism().map_or(1, usize::from);
        let (upstream, listen) = (self.upstream, self.listen());
        let [path, cache] = self.cache(&directory.join("kept"));
        format!(
            "daemon off;\nworker_processes {workers};\nworker_rlimit_nofile 19000;\npid nginx.pid;\n\
             events {{ worker_connections 16384; }}\n\
             http {{\n  access_log off;\n  sendfile on;\n  tcp_nopush on;\n  tcp_nodelay on;\n  \
             output_buffers 2 256k;\n  keepalive_timeout 300s;\n  keepalive_requests 10000000;\n  \
             client_body_temp_path body;\n  proxy_temp_path temp;\n  fastcgi_temp_path fastcgi;\n  \
             uwsgi_temp_path uwsgi;\n  scgi_temp_path scgi;\n  {path}\n  \
             upstream origin {{ server {upstream}; keepalive 128; keepalive_requests 10000000; }}\n  \
             server {{\n    listen {address}{listen}\n    location / {{\n      \
             proxy_pass http://origin;\n      proxy_http_version 1.1;\n      \
             proxy_set_header Connection \"\";\n      proxy_buffer_size 256k;\n      \
             proxy_buffers 8 256k;\n      proxy_busy_buffers_size 512k;\n      {cache}\n    }}\n  }}\n}}\n"
        )
    }

    fn listen(self) -> String {
        let Some(Issued {
            certificate,
            private_key,
        }) = self.shown
        else {
            return " reuseport backlog=4096;".to_owned();
        };
        format!(
            " ssl http2 reuseport backlog=4096;\n    ssl_certificate {certificate:?};\n    \
             ssl_certificate_key {private_key:?};\n    ssl_protocols TLSv1.2 TLSv1.3;\n    \
             ssl_session_cache shared:sessions:10m;\n    ssl_buffer_size 64k;\n    \
             http2_max_concurrent_streams 256;"
        )
    }

    /// What it says of all locations, and of this one.
    fn cache(self, kept: &Path) -> [String; 2] {
        if !self.is_cache {
            return ["", "proxy_max_temp_file_size 0;"].map(ToOwned::to_owned);
        }
        let path = format!(
            "proxy_cache_path {kept:?} levels=1:2 keys_zone=images:64m max_size=8g inactive=1d \
             use_temp_path=off;\n  open_file_cache max=20000 inactive=10m;\n  \
             open_file_cache_valid 60s;"
        );
        let cache = "proxy_cache images; proxy_cache_valid 200 1d; proxy_cache_key $request_uri; \
                     proxy_cache_lock on; proxy_cache_lock_timeout 60s; proxy_cache_lock_age 60s;";
        [path, cache.to_owned()]
    }
}
