//! A proxy that reads nothing: the cost of hyper alone.

use std::convert::Infallible;
use std::io::{self, Read};
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};

type Upstream = Client<HttpConnector, Empty<Bytes>>;

/// Serves until standard input ends, as it does when the benchmark does. Prints its address.
pub(crate) fn serve(upstream: &str) {
    let upstream: SocketAddr = upstream.parse().expect("an address");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.spawn(accept(upstream));
    let _ = io::stdin().read_to_end(&mut Vec::new());
    runtime.shutdown_background();
}

async fn accept(upstream: SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("{}", listener.local_addr().expect("an address"));
    let client: Upstream = Client::builder(TokioExecutor::new()).build_http();
    loop {
        let (stream, _peer) = listener.accept().await.expect("a connection");
        tokio::spawn(connection(stream, client.clone(), upstream));
    }
}

async fn connection(stream: TcpStream, client: Upstream, upstream: SocketAddr) {
    let service = service_fn(move |request| pass_on(client.clone(), upstream, request));
    // A client that leaves in the middle is nothing to report.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn pass_on(
    client: Upstream,
    upstream: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Incoming>, Infallible> {
    let uri = format!("http://{upstream}{}", request.uri().path());
    let response = client.get(uri.parse().expect("a path")).await;
    Ok(response.expect("the origin answers"))
}
