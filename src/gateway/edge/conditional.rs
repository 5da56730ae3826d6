//! Preconditions (RFC 9110 §13) and ranges (§14): a client may have the representation already, or
//! request a part of it.

use data_encoding::HEXLOWER;
use http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE,
    RANGE,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_range_header::parse_range_header;

use crate::body::Body;
use crate::cache::IN_PARTS;
use crate::digest::Blake3;

/// An entity tag. Each representation of a resource has its own (RFC 9110 8.8.3): a client that has
/// one of them does not have the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntityTag {
    opaque: String,
    is_weak: bool,
}

/// The portion of a representation that a client requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Portion {
    All,
    /// The client has the representation.
    NotModified,
    Range {
        first: u64,
        last: u64,
    },
    /// A range beyond the end.
    NotSatisfiable,
}

impl EntityTag {
    /// The tag of a stored instance: its BLAKE3, the same in every community.
    pub(crate) fn of_stored(blake3: Blake3) -> Self {
        Self {
            opaque: HEXLOWER.encode(&blake3),
            is_weak: false,
        }
    }

    /// The weak tag of the instance in a `multipart/related`: the boundary changes each time.
    pub(crate) fn in_parts(blake3: Blake3) -> Self {
        Self {
            opaque: HEXLOWER.encode(&blake3) + IN_PARTS,
            is_weak: true,
        }
    }

    /// The tag of any other representation derived from an instance with this digest. It depends on
    /// the version of the gateway, because a later one may derive other bytes.
    pub(crate) fn made(digest: [u8; 32], representation: &str) -> Self {
        let mut hash = blake3::Hasher::new();
        let version = env!("CARGO_PKG_VERSION").as_bytes();
        for part in [&digest, version, b"\0", representation.as_bytes()] {
            hash.update(part);
        }
        Self {
            opaque: HEXLOWER.encode(hash.finalize().as_bytes()),
            is_weak: true,
        }
    }

    /// The same for a representation whose bytes are always the same.
    #[must_use]
    pub(crate) fn strong(self) -> Self {
        Self {
            is_weak: false,
            ..self
        }
    }

    fn quoted(&self) -> String {
        format!("\"{}\"", self.opaque)
    }

    fn field(&self) -> String {
        let weak = if self.is_weak { "W/" } else { "" };
        [weak, "\"", &self.opaque, "\""].concat()
    }
}

/// Whether a request has conditions or asks for a range: its response needs the entity tag.
pub(crate) fn is_conditional(headers: &HeaderMap) -> bool {
    [IF_NONE_MATCH, IF_RANGE, RANGE]
        .iter()
        .any(|field| headers.contains_key(field))
}

/// Whether the client has the representation (RFC 9110 13.1.2, where weak tags count). `*` stands
/// for any representation.
pub(crate) fn is_had(headers: &HeaderMap, tag: Option<&EntityTag>) -> bool {
    if !headers.contains_key(IF_NONE_MATCH) {
        return false;
    }
    let fields = headers.get_all(IF_NONE_MATCH).iter();
    let mut tags = fields.filter_map(|field| field.to_str().ok());
    let quoted = tag.map(EntityTag::quoted);
    tags.any(|tags| {
        let mut tags = tags.split(',').map(str::trim);
        tags.any(|tag| tag == "*" || quoted.as_deref() == Some(tag.trim_start_matches("W/")))
    })
}

/// The response, or `304`; ranges are not supported.
pub(crate) fn whole(
    headers: &HeaderMap,
    tag: Option<&EntityTag>,
    mut whole: Response<Body>,
) -> Response<Body> {
    let field = tag.and_then(|tag| HeaderValue::try_from(tag.field()).ok());
    whole.headers_mut().extend(field.map(|field| (ETAG, field)));
    if is_had(headers, tag) {
        not_modified(whole)
    } else {
        whole
    }
}

/// Keeps the fields that caches need and drops those of the representation (RFC 9110 15.4.5).
fn not_modified(whole: Response<Body>) -> Response<Body> {
    let (mut head, _body) = whole.into_parts();
    head.status = StatusCode::NOT_MODIFIED;
    for field in [CONTENT_TYPE, CONTENT_ENCODING, ACCEPT_RANGES] {
        head.headers.remove(field);
    }
    Response::from_parts(head, Body::empty())
}

/// The response, a range of it, `304` or `416`.
pub(crate) fn answer(
    method: &Method,
    headers: &HeaderMap,
    tag: Option<&EntityTag>,
    whole: Response<Body>,
) -> Response<Body> {
    let length = whole.body().length();
    let portion = Portion::of(method, headers, tag, length);
    let whole = self::whole(headers, tag, whole);
    let (mut head, body) = whole.into_parts();
    if length.is_some() && portion != Portion::NotModified {
        let bytes = HeaderValue::from_static("bytes");
        head.headers.insert(ACCEPT_RANGES, bytes);
    }
    let whole_length = length.unwrap_or_default();
    let mut ranged = |status, range: String| {
        head.status = status;
        let range = HeaderValue::try_from(range).ok();
        head.headers
            .extend(range.map(|range| (CONTENT_RANGE, range)));
    };
    let body = match portion {
        Portion::All | Portion::NotModified => body,
        Portion::Range { first, last } => {
            let range = format!("bytes {first}-{last}/{whole_length}");
            ranged(StatusCode::PARTIAL_CONTENT, range);
            body.slice(first, last - first + 1)
        }
        Portion::NotSatisfiable => {
            let range = format!("bytes */{whole_length}");
            ranged(StatusCode::RANGE_NOT_SATISFIABLE, range);
            head.headers.remove(CONTENT_TYPE);
            Body::empty()
        }
    };
    Response::from_parts(head, body)
}

impl Portion {
    fn of(
        method: &Method,
        headers: &HeaderMap,
        tag: Option<&EntityTag>,
        length: Option<u64>,
    ) -> Self {
        if is_had(headers, tag) {
            return Self::NotModified;
        }
        let is_same = match headers.get(IF_RANGE) {
            // §13.1.5: only a strong validator matches; the gateway has no dates.
            Some(field) => {
                tag.is_some_and(|tag| !tag.is_weak && field.as_bytes() == tag.quoted().as_bytes())
            }
            None => true,
        };
        match (headers.get(RANGE), length) {
            // §14.2: ranges are defined for GET only.
            (Some(range), Some(length)) if is_same && *method == Method::GET => {
                range.to_str().map_or(Self::All, |r| Self::range(r, length))
            }
            _ => Self::All,
        }
    }

    /// A malformed field, and one with several ranges, asks for everything (§14.2 permits it).
    fn range(text: &str, length: u64) -> Self {
        let is_one = !text.contains(',');
        let Some(range) = parse_range_header(text).ok().filter(|_range| is_one) else {
            return Self::All;
        };
        match range.validate(length).as_deref() {
            Ok([range]) => Self::Range {
                first: *range.start(),
                last: *range.end(),
            },
            Ok(_) | Err(_) => Self::NotSatisfiable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag() -> EntityTag {
        EntityTag::of_stored([0xab; 32])
    }

    fn wanted(fields: &[(&'static str, &str)]) -> Portion {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).expect("a value"));
        }
        Portion::of(&Method::GET, &headers, Some(&tag()), Some(100))
    }

    const fn part(first: u64, last: u64) -> Portion {
        Portion::Range { first, last }
    }

    #[test]
    fn a_range_is_read_as_rfc_9110_has_it() {
        for (range, expected) in [
            ("bytes=0-0", part(0, 0)),
            ("bytes=0-", part(0, 99)),
            ("bytes=10-19", part(10, 19)),
            ("bytes=90-1000", part(90, 99)),
            ("bytes=99-99999999999999999999999", part(99, 99)),
            ("bytes=-1", part(99, 99)),
            ("bytes=-100", part(0, 99)),
            ("bytes=-1000", part(0, 99)),
            ("bytes=100-", Portion::NotSatisfiable),
            ("bytes=99999999999999999999999-", Portion::NotSatisfiable),
            ("bytes=-0", Portion::NotSatisfiable),
            ("bytes=5-4", Portion::All),
            ("bytes=0-1,5-6", Portion::All),
            ("bytes=-", Portion::All),
            ("bytes=a-b", Portion::All),
            ("bytes=--1", Portion::All),
            ("bytes=+1-2", Portion::All),
            ("frames=1-2", Portion::All),
            ("", Portion::All),
        ] {
            assert_eq!(wanted(&[("range", range)]), expected, "{range:?}");
        }
        let headers = HeaderMap::from_iter([(RANGE, HeaderValue::from_static("bytes=0-0"))]);
        let empty = Portion::of(&Method::GET, &headers, None, Some(0));
        assert_eq!(empty, Portion::NotSatisfiable);
        for (method, length) in [(&Method::HEAD, Some(9)), (&Method::GET, None)] {
            assert_eq!(Portion::of(method, &headers, None, length), Portion::All);
        }
    }

    #[test]
    fn a_range_of_something_else_is_everything() {
        let strong = tag().quoted();
        let range = ("range", "bytes=1-2");
        assert_eq!(wanted(&[range, ("if-range", &strong)]), part(1, 2));
        for other in [
            &*format!("W/{strong}"),
            "\"other\"",
            "Mon, 23 Nov 2026 00:00:00 GMT",
            "",
        ] {
            assert_eq!(wanted(&[range, ("if-range", other)]), Portion::All);
        }
    }

    #[test]
    fn each_representation_has_a_tag_of_its_own() {
        let digest = [7; 32];
        let tags = [
            EntityTag::of_stored(digest),
            EntityTag::in_parts(digest),
            EntityTag::made(digest, "a"),
            EntityTag::made(digest, "b"),
            EntityTag::made([8; 32], "a"),
        ];
        for (at, tag) in tags.iter().enumerate() {
            for (of, other) in tags.iter().enumerate() {
                let field = HeaderValue::try_from(other.field()).expect("a tag");
                let headers = HeaderMap::from_iter([(IF_NONE_MATCH, field)]);
                assert_eq!(is_had(&headers, Some(tag)), at == of, "{tag:?} {other:?}");
            }
        }
    }

    #[test]
    fn a_weak_tag_permits_no_range() {
        let tag = EntityTag::in_parts([7; 32]);
        for field in [tag.field(), tag.quoted()] {
            let field = HeaderValue::try_from(field).expect("a tag");
            let range = HeaderValue::from_static("bytes=1-2");
            let headers = HeaderMap::from_iter([(RANGE, range), (IF_RANGE, field)]);
            let portion = Portion::of(&Method::GET, &headers, Some(&tag), Some(9));
            assert_eq!(portion, Portion::All);
        }
    }

    #[test]
    fn what_the_client_has_is_not_sent() {
        let strong = tag().quoted();
        let weak = format!("W/{strong}");
        let listed = format!("\"x\" , {weak},\"y\"");
        for had in [&*strong, &weak, &listed, "*"] {
            assert_eq!(
                wanted(&[("if-none-match", had)]),
                Portion::NotModified,
                "{had}"
            );
        }
        for other in ["\"x\"", "", "ab", "\"\""] {
            assert_eq!(wanted(&[("if-none-match", other)]), Portion::All, "{other}");
        }
        let both = [("if-none-match", "\"x\""), ("if-none-match", &strong)];
        assert_eq!(wanted(&both), Portion::NotModified);
    }
}
