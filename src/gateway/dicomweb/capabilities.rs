//! *Retrieve Capabilities* (PS3.18 8.9).

use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};

use crate::body::Body;
use crate::gateway::edge::exchange::Exchange;
use crate::gateway::edge::response::{allow, json_document};
use crate::gateway::{Error, Gateway};
use crate::present::capabilities;
use crate::request::{Root, accept};

impl Gateway {
    /// The capabilities of a DICOMweb root, for `OPTIONS` and, because people open the address of a
    /// root in a browser, for `GET`.
    pub(crate) async fn capabilities(
        &self,
        exchange: &Exchange<'_>,
        root: Root,
    ) -> Result<Response<Body>, Error> {
        if let Root::Manifest(id) = root {
            self.held_by(exchange, id).await?;
        }
        let base = exchange.base_url(root);
        let (text, media_type) = if accept::prefers_json(&exchange.accept()) {
            let json = capabilities::json(base.root());
            (format!("{json:#}\n"), "application/json")
        } else {
            (capabilities::wadl(base.root()), capabilities::WADL)
        };
        let mut response = json_document(text);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        allow(&mut response, "GET, HEAD, OPTIONS");
        Ok(response)
    }
}
