//! *Retrieve Capabilities* (PS3.18 8.9).

use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::request::Parts;

use crate::body::Body;
use crate::gateway::{Asking, Error, Gateway, accept_fields, allow};
use crate::present::capabilities;
use crate::request::{Root, accept};

impl Gateway {
    pub(crate) async fn capabilities(
        &self,
        head: &Parts,
        asking: &Asking,
        root: Root,
    ) -> Result<Response<Body>, Error> {
        if let Root::Manifest(id) = root {
            self.held_by(id).await?;
        }
        let place = asking.root_place(root);
        let wants_json = accept::prefers_json(&accept_fields(head));
        let (text, media_type) = if wants_json {
            let json = capabilities::json(place.root());
            (format!("{json:#}\n"), "application/json")
        } else {
            (capabilities::wadl(place.root()), capabilities::WADL)
        };
        let mut response = Response::new(Body::full(text));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        allow(&mut response, "OPTIONS");
        Ok(response)
    }
}
