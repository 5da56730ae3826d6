//! What a client has already, and which part of it it wants: preconditions (RFC 9110 §13) and ranges
//! (§14) of an answer that is one instance.

use http::header::{
    ACCEPT_RANGES, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use crate::body::Body;
use crate::cache::hex;

/// An entity tag: the SHA-256 of an instance, by which the same bytes are known everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EntityTag(String);

/// What a request wants of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    All,
    /// The client has it.
    Nothing,
    Part {
        first: u64,
        last: u64,
    },
    /// A part that does not exist.
    NotThere,
}

impl EntityTag {
    pub(super) fn new(sha256: [u8; 32]) -> Self {
        Self(hex(&sha256))
    }

    /// As it stands for bytes that are always the same.
    fn strong(&self) -> String {
        format!("\"{}\"", self.0)
    }

    /// As it stands for an answer whose boundaries are others each time.
    pub(super) fn weak(&self) -> String {
        format!("W/{}", self.strong())
    }

    /// Whether the client has it (§13.1.2, where weak tags count).
    pub(super) fn is_had(&self, headers: &HeaderMap) -> bool {
        let fields = headers.get_all(IF_NONE_MATCH).iter();
        let mut tags = fields.filter_map(|field| field.to_str().ok());
        tags.any(|tags| {
            let mut tags = tags.split(',').map(str::trim);
            tags.any(|tag| tag == "*" || tag.trim_start_matches("W/") == self.strong())
        })
    }
}

/// Makes of the answer with a whole instance what the client wants of it.
pub(super) fn answer(
    (method, headers): (&Method, &HeaderMap),
    tag: Option<&EntityTag>,
    whole: Response<Body>,
) -> Response<Body> {
    let length = whole.body().length();
    let wanted = Wanted::of((method, headers), tag, length);
    let (mut head, body) = whole.into_parts();
    if let Some(tag) = tag.and_then(|tag| HeaderValue::try_from(tag.strong()).ok()) {
        head.headers.insert(ETAG, tag);
    }
    if length.is_some() {
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
    let body = match wanted {
        Wanted::All => body,
        Wanted::Nothing => {
            head.status = StatusCode::NOT_MODIFIED;
            Body::empty()
        }
        Wanted::Part { first, last } => {
            let range = format!("bytes {first}-{last}/{whole_length}");
            ranged(StatusCode::PARTIAL_CONTENT, range);
            body.slice(first, last - first + 1)
        }
        Wanted::NotThere => {
            let range = format!("bytes */{whole_length}");
            ranged(StatusCode::RANGE_NOT_SATISFIABLE, range);
            head.headers.remove(CONTENT_TYPE);
            Body::empty()
        }
    };
    Response::from_parts(head, body)
}

impl Wanted {
    fn of(
        (method, headers): (&Method, &HeaderMap),
        tag: Option<&EntityTag>,
        length: Option<u64>,
    ) -> Self {
        if tag.is_some_and(|tag| tag.is_had(headers)) {
            return Self::Nothing;
        }
        let is_same = match headers.get(IF_RANGE) {
            // A date is no strong validator here, and so never matches.
            Some(field) => tag.is_some_and(|tag| field.as_bytes() == tag.strong().as_bytes()),
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

    /// What cannot be read, and what asks for several parts, asks for everything (§14.2 permits it).
    fn range(text: &str, length: u64) -> Self {
        let Some((first, last)) = text.strip_prefix("bytes=").and_then(|r| r.split_once('-'))
        else {
            return Self::All;
        };
        let number = |text: &str| match text.trim() {
            "" => Ok(None),
            text if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                // More than fits is more than there is.
                Ok(Some(text.parse::<u64>().unwrap_or(u64::MAX)))
            }
            _ => Err(()),
        };
        let (first, last) = match (number(first), number(last)) {
            (Ok(Some(first)), Ok(last)) if last.is_none_or(|last| first <= last) => {
                (first, last.unwrap_or(u64::MAX))
            }
            (Ok(None), Ok(Some(0))) => return Self::NotThere,
            (Ok(None), Ok(Some(suffix))) => (length.saturating_sub(suffix), u64::MAX),
            _ => return Self::All,
        };
        if first >= length {
            return Self::NotThere;
        }
        Self::Part {
            first,
            last: last.min(length - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag() -> EntityTag {
        EntityTag::new([0xab; 32])
    }

    fn wanted(fields: &[(&'static str, &str)]) -> Wanted {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).expect("a value"));
        }
        Wanted::of((&Method::GET, &headers), Some(&tag()), Some(100))
    }

    const fn part(first: u64, last: u64) -> Wanted {
        Wanted::Part { first, last }
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
            ("bytes=100-", Wanted::NotThere),
            ("bytes=99999999999999999999999-", Wanted::NotThere),
            ("bytes=-0", Wanted::NotThere),
            ("bytes=5-4", Wanted::All),
            ("bytes=0-1,5-6", Wanted::All),
            ("bytes=-", Wanted::All),
            ("bytes=a-b", Wanted::All),
            ("bytes=--1", Wanted::All),
            ("bytes=+1-2", Wanted::All),
            ("frames=1-2", Wanted::All),
            ("", Wanted::All),
        ] {
            assert_eq!(wanted(&[("range", range)]), expected, "{range:?}");
        }
        let headers = HeaderMap::from_iter([(RANGE, HeaderValue::from_static("bytes=0-0"))]);
        let empty = Wanted::of((&Method::GET, &headers), None, Some(0));
        assert_eq!(empty, Wanted::NotThere);
        for (method, length) in [(&Method::HEAD, Some(9)), (&Method::GET, None)] {
            assert_eq!(Wanted::of((method, &headers), None, length), Wanted::All);
        }
    }

    #[test]
    fn a_range_of_something_else_is_everything() {
        let strong = tag().strong();
        let range = ("range", "bytes=1-2");
        assert_eq!(wanted(&[range, ("if-range", &strong)]), part(1, 2));
        for other in [
            &*tag().weak(),
            "\"other\"",
            "Mon, 23 Nov 2026 00:00:00 GMT",
            "",
        ] {
            assert_eq!(wanted(&[range, ("if-range", other)]), Wanted::All);
        }
    }

    #[test]
    fn what_the_client_has_is_not_sent() {
        let (strong, weak) = (tag().strong(), tag().weak());
        let listed = format!("\"x\" , {weak},\"y\"");
        for had in [&*strong, &weak, &listed, "*"] {
            assert_eq!(wanted(&[("if-none-match", had)]), Wanted::Nothing, "{had}");
        }
        for other in ["\"x\"", "", "ab", "\"\""] {
            assert_eq!(wanted(&[("if-none-match", other)]), Wanted::All, "{other}");
        }
        let both = [("if-none-match", "\"x\""), ("if-none-match", &strong)];
        assert_eq!(wanted(&both), Wanted::Nothing);
    }
}
