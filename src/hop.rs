//! Hop headers of a request, upstream and downstream: `Via` (RFC 9110 7.6.3), `traceparent` (W3C
//! Trace Context), `X-Request-Id`. Pure.
//!
//! Only these header fields of a client are forwarded, and only in forms that cannot carry other
//! data.

use std::fmt;

use data_encoding::HEXLOWER;
use http::header::{HeaderMap, HeaderName, HeaderValue, VIA};
use sha2::{Digest, Sha256};

use crate::ihe::HomeCommunityId;

/// `traceparent`.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// `X-Request-Id`.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A path of more gateways is a loop.
const MOST_GATEWAYS: usize = 8;
const LONGEST_REQUEST_ID: usize = 64;
const PREFIX: &str = "xcwado-";

/// The gateway's name in `Via`: the same for every process of a community, without a host name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pseudonym {
    name: Box<str>,
    /// `Via` of a request that has passed no other gateway.
    alone: HeaderValue,
}

/// The hop headers of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    via: HeaderValue,
    traceparent: TraceParent,
    /// The request's name in logs.
    pub request_id: RequestId,
}

/// The trace that a request belongs to. Only a request to a source needs its text.
#[derive(Debug, Clone, PartialEq, Eq)]
enum TraceParent {
    Carried(HeaderValue),
    New([u8; 32]),
}

/// The name of a request across hops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId {
    text: HeaderValue,
    /// Whether a gateway generated it, or it looks so: then it may be logged.
    is_random: bool,
}

/// The request has passed this gateway before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request has passed this gateway before")]
pub struct Loop;

impl Pseudonym {
    /// The pseudonym of a community's gateways.
    #[must_use]
    pub fn of(community: &HomeCommunityId) -> Self {
        let digest = Sha256::digest(community.as_str());
        let name = format!("{PREFIX}{}", HEXLOWER.encode(&digest[..8]));
        Self {
            alone: via_of(&[&name]),
            name: name.into(),
        }
    }
}

impl fmt::Display for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Hop {
    /// Parses the hop headers and adds this gateway. Missing or malformed fields are generated from
    /// `random`.
    ///
    /// # Errors
    /// [`Loop`] if the request has passed this gateway, or too many gateways.
    pub fn read(headers: &HeaderMap, here: &Pseudonym, random: [u8; 32]) -> Result<Self, Loop> {
        let trace = carried(headers, &TRACEPARENT, is_traceparent).cloned();
        let new_id = || RequestId::new(&random[16..]);
        Ok(Self {
            via: via(headers, here)?,
            traceparent: trace.map_or(TraceParent::New(random), TraceParent::Carried),
            request_id: RequestId::read(headers).unwrap_or_else(new_id),
        })
    }

    /// The header fields for the next hop.
    pub fn fields(&self) -> [(HeaderName, HeaderValue); 3] {
        [
            (VIA, self.via.clone()),
            (TRACEPARENT, self.traceparent.value()),
            (REQUEST_ID, self.request_id.value()),
        ]
    }
}

impl RequestId {
    fn read(headers: &HeaderMap) -> Option<Self> {
        let text = carried(headers, &REQUEST_ID, is_request_id)?;
        Some(Self {
            is_random: is_uuid(text.to_str().ok()?),
            text: text.clone(),
        })
    }

    fn new(random: &[u8]) -> Self {
        let mut digits = [0; 32];
        HEXLOWER.encode_mut(&random[..16], &mut digits);
        // RFC 9562 5.4: version 4, variant 1.
        digits[12] = b'4';
        digits[16] = b"89ab"[usize::from(random[8] & 3)];
        let mut text = [b'-'; 36];
        for (at, digits) in [
            (0, 0..8),
            (9, 8..12),
            (14, 12..16),
            (19, 16..20),
            (24, 20..32),
        ]
        .map(|(at, range)| (at, &digits[range]))
        {
            text[at..at + digits.len()].copy_from_slice(digits);
        }
        Self {
            text: HeaderValue::from_bytes(&text).expect("digits are visible"),
            is_random: true,
        }
    }

    /// Its header field.
    #[must_use]
    pub fn value(&self) -> HeaderValue {
        self.text.clone()
    }

    /// Its form for logs: an id chosen by the client could be a patient's name.
    #[must_use]
    pub fn for_log(&self) -> &str {
        let text = self.text.to_str().ok();
        text.filter(|_text| self.is_random).unwrap_or("-")
    }
}

/// The gateways on the path, and this one. Other names are dropped, because they reveal a network.
fn via(headers: &HeaderMap, here: &Pseudonym) -> Result<HeaderValue, Loop> {
    if !headers.contains_key(VIA) {
        return Ok(here.alone.clone());
    }
    let fields = headers.get_all(VIA).iter();
    let entries = fields
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    let mut passed: Vec<&str> = entries.filter_map(pseudonym).collect();
    if passed.contains(&&*here.name) || passed.len() >= MOST_GATEWAYS {
        return Err(Loop);
    }
    passed.push(&here.name);
    Ok(via_of(&passed))
}

fn via_of(passed: &[&str]) -> HeaderValue {
    let list: Vec<_> = passed.iter().map(|name| format!("1.1 {name}")).collect();
    HeaderValue::try_from(list.join(", ")).expect("pseudonyms have only visible characters")
}

/// `received-protocol received-by [comment]`.
fn pseudonym(entry: &str) -> Option<&str> {
    let name = entry.split_whitespace().nth(1)?;
    let digits = name.strip_prefix(PREFIX)?;
    (digits.len() == 16 && is_hexadecimal(digits)).then_some(name)
}

fn carried<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    is_valid: fn(&str) -> bool,
) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    (values.next().is_none() && is_valid(value.to_str().ok()?)).then_some(value)
}

/// `version-trace_id-parent_id-flags`, version 00.
fn is_traceparent(text: &str) -> bool {
    let fields: Vec<&str> = text.split('-').collect();
    let [version, trace_id, parent_id, flags] = fields.as_slice() else {
        return false;
    };
    let is_id = |id: &str, length| {
        id.len() == length && is_hexadecimal(id) && id.bytes().any(|digit| digit != b'0')
    };
    *version == "00"
        && is_id(trace_id, 32)
        && is_id(parent_id, 16)
        && flags.len() == 2
        && is_hexadecimal(flags)
}

impl TraceParent {
    fn value(&self) -> HeaderValue {
        match self {
            Self::Carried(value) => value.clone(),
            Self::New(random) => new_traceparent(random),
        }
    }
}

fn new_traceparent(random: &[u8; 32]) -> HeaderValue {
    let (trace, parent) = random.split_at(16);
    // Not sampled: no collector exists.
    let text = format!(
        "00-{}-{}-00",
        HEXLOWER.encode(trace),
        HEXLOWER.encode(&parent[..8])
    );
    HeaderValue::try_from(text).expect("digits are visible")
}

fn is_request_id(text: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=:".contains(&b);
    (1..=LONGEST_REQUEST_ID).contains(&text.len()) && text.bytes().all(is_allowed)
}

fn is_uuid(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

fn is_hexadecimal(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn here() -> Pseudonym {
        Pseudonym::of(&HomeCommunityId::parse("1.2.3").expect("an OID"))
    }

    fn headers(fields: &[(&HeaderName, &str)]) -> HeaderMap {
        let fields = fields.iter().map(|(name, value)| {
            let value = HeaderValue::from_str(value).expect("a value");
            ((*name).clone(), value)
        });
        fields.collect()
    }

    fn sent(fields: &[(&HeaderName, &str)]) -> Vec<String> {
        let hop = Hop::read(&headers(fields), &here(), [7; 32]).expect("no loop");
        let fields = hop.fields();
        fields
            .iter()
            .map(|(_, value)| value.to_str().expect("text").to_owned())
            .collect()
    }

    #[test]
    fn carries_what_is_in_its_form() {
        let [via, trace, id] = <[_; 3]>::try_from(sent(&[
            (&TRACEPARENT, TRACE),
            (&REQUEST_ID, "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"),
        ]))
        .expect("three fields");
        assert_eq!(via, format!("1.1 {}", here()));
        assert_eq!(trace, TRACE);
        assert_eq!(id, "f81d4fae-7dec-11d0-a765-00a0c91e6bf6");
    }

    #[test]
    fn makes_what_is_missing_or_is_not_in_its_form() {
        let made = sent(&[]);
        assert!(is_traceparent(&made[1]), "{made:?}");
        assert!(is_uuid(&made[2]), "{made:?}");
        let long = "x".repeat(65);
        for (name, value) in [
            (&TRACEPARENT, "00-0-0-0"),
            (
                &TRACEPARENT,
                "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            ),
            (
                &TRACEPARENT,
                "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            ),
            (&REQUEST_ID, "Doe^John"),
            (&REQUEST_ID, "a b"),
            (&REQUEST_ID, ""),
            (&REQUEST_ID, long.as_str()),
        ] {
            assert_eq!(sent(&[(name, value)]), made, "{value:?}");
        }
        let twice = [(&REQUEST_ID, "one"), (&REQUEST_ID, "two")];
        assert_eq!(sent(&twice), made);
    }

    #[test]
    fn only_a_random_request_id_is_logged() {
        let log = |id: &str| {
            let hop = Hop::read(&headers(&[(&REQUEST_ID, id)]), &here(), [7; 32]);
            hop.expect("no loop").request_id.for_log().to_owned()
        };
        assert_eq!(log("PID-4711"), "-");
        assert_eq!(log("1.2.840.113619.2.207"), "-");
        assert_eq!(
            log("f81d4fae-7dec-11d0-a765-00a0c91e6bf6"),
            "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"
        );
    }

    #[test]
    fn keeps_gateways_and_drops_every_other_name_of_the_way() {
        let other = Pseudonym::of(&HomeCommunityId::parse("1.2.4").expect("an OID"));
        let way = format!("1.0 fred (Apache), 2 {other}, HTTP/1.1 pacs.intranet.example:8080");
        let sent = sent(&[(&VIA, &way)]);
        assert_eq!(sent[0], format!("1.1 {other}, 1.1 {}", here()));
    }

    #[test]
    fn a_request_that_was_here_is_a_loop() {
        let read = |via: &str| Hop::read(&headers(&[(&VIA, via)]), &here(), [7; 32]);
        assert_eq!(read(&format!("1.1 other, 1.1 {} (x)", here())), Err(Loop));
        let many: Vec<_> = (0..MOST_GATEWAYS)
            .map(|at| format!("1.1 xcwado-{at:016x}"))
            .collect();
        assert_eq!(read(&many.join(",")), Err(Loop));
        assert!(read(&many[1..].join(",")).is_ok());
    }
}
