//! Documents as servers write them, what breaks the grammar, and what holds however they are cut.
//! serde_json is the oracle.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde::de::IgnoredAny;
use serde_json::Value;
use url::Url;

use super::*;

const CHUNK_SIZES: [usize; 4] = [1, 2, 7, 4096];

fn links() -> Links {
    let theirs = Url::parse("https://h.example/rs/").expect("a URL");
    let document = theirs.join("studies/1.2/metadata").expect("a URL");
    Links::new(vec![theirs], document, "https://ours/p")
}

fn rewrite_chunks<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, NotJson> {
    let mut json = JsonLinks::new(links());
    let mut rewritten = Vec::new();
    for chunk in chunks {
        rewritten.extend_from_slice(&json.push(chunk)?);
        assert!(json.held() <= LONGEST_LINK);
    }
    json.finish()?;
    Ok(rewritten)
}

/// The document rewritten, in the same way whatever the chunks.
fn rewrite(document: &[u8]) -> Result<Vec<u8>, NotJson> {
    let whole = rewrite_chunks([document]);
    for size in CHUNK_SIZES {
        assert_eq!(
            rewrite_chunks(document.chunks(size)),
            whole,
            "chunks of {size}"
        );
    }
    whole
}

fn rewrite_text(document: &str) -> Result<String, NotJson> {
    let rewritten = rewrite(document.as_bytes())?;
    Ok(String::from_utf8(rewritten).expect("text from text"))
}

#[test]
#[rustfmt::skip]
fn links_become_ours_and_nothing_else_changes() {
    for (document, expected) in [
        (r#"[{"00081190":{"vr":"UR","Value":["https://h.example/rs/studies/1.2"]},"7FE00010":{"vr":"OW","BulkDataURI":"bulkdata/1"}}]"#,
         r#"[{"00081190":{"vr":"UR","Value":["https://ours/p/studies/1.2"]},"7FE00010":{"vr":"OW","BulkDataURI":"https://ours/p/studies/1.2/bulkdata/1"}}]"#),
        ("{ \"BulkDataURI\"\t:\r\n \"/rs/b\" , \"x\": 1.50 }", "{ \"BulkDataURI\"\t:\r\n \"https://ours/p/b\" , \"x\": 1.50 }"),
        (r#"{"BulkDataURI":"http://evil.example/x"}"#, r#"{"BulkDataURI":"about:blank"}"#),
        (r#"{"BulkDataURI":""}"#, r#"{"BulkDataURI":"about:blank"}"#),
        // Sequences in sequences.
        (r#"{"00081115":{"vr":"SQ","Value":[{"00081199":{"vr":"SQ","Value":[{"00081190":{"vr":"UR","Value":["/rs/a","/rs/b","/x"]}}]}}]}}"#,
         r#"{"00081115":{"vr":"SQ","Value":[{"00081199":{"vr":"SQ","Value":[{"00081190":{"vr":"UR","Value":["https://ours/p/a","https://ours/p/b","about:blank"]}}]}}]}}"#),
        // However it is spelt.
        (r#"{"\u0042ulkData\u0055RI":"\/rs\/\u0061"}"#, r#"{"\u0042ulkData\u0055RI":"https://ours/p/a"}"#),
        (r#"{"0008119\u0030":{"V\u0061lue":["\/rs\/a"]}}"#, r#"{"0008119\u0030":{"V\u0061lue":["https://ours/p/a"]}}"#),
        (r#"{"BulkDataURI":"/rs/\u00e4\ud83d\ude00ä?a=\"\\"}"#, r#"{"BulkDataURI":"https://ours/p/%C3%A4%F0%9F%98%80%C3%A4?a=%22\\"}"#),
        // Wherever a reader might look for it.
        (r#"{"BulkDataURI":["/rs/a",{"x":"/rs/b"},1,null],"00081190":{"Value":"/rs/c","BulkDataURI":"/rs/d"}}"#,
         r#"{"BulkDataURI":["https://ours/p/a",{"x":"https://ours/p/b"},1,null],"00081190":{"Value":"https://ours/p/c","BulkDataURI":"https://ours/p/d"}}"#),
        (r#"{"00081190":{"Value":[]},"Value":["/rs/a"]}"#, r#"{"00081190":{"Value":[]},"Value":["/rs/a"]}"#),
        (r#"{"BulkDataURI":"/rs/\ud800"}"#, r#"{"BulkDataURI":"about:blank"}"#),
        (r#"{"BulkDataURI":"/rs/\udc00a"}"#, r#"{"BulkDataURI":"about:blank"}"#),
        (r#"{"BulkDataURI":"/rs/\ud800a\udc00"}"#, r#"{"BulkDataURI":"about:blank"}"#),
        (r#"{"BulkDataURI":"/rs/\ud800\ud800\udc00"}"#, r#"{"BulkDataURI":"about:blank"}"#),
    ] {
        assert_eq!(rewrite_text(document).as_deref(), Ok(expected), "{document}");
    }
}

#[test]
#[rustfmt::skip]
fn the_representation_of_an_unknown_attribute_tells_whether_it_is_an_address() {
    for (document, expected) in [
        (r#"{"00091001":{"vr":"UR","Value":["https://h.example/rs/a","http://inner/x"]}}"#,
         r#"{"00091001":{"vr":"UR","Value":["https://ours/p/a","about:blank"]}}"#),
        (r#"{"00091001":{"v\u0072":"U\u0052","Value":["http://inner/x"]}}"#,
         r#"{"00091001":{"v\u0072":"U\u0052","Value":["about:blank"]}}"#),
        // A text is no address, whatever stands in it.
        (r#"{"00091001":{"vr":"LO","Value":["http://inner/x"]}}"#, r#"{"00091001":{"vr":"LO","Value":["http://inner/x"]}}"#),
        (r#"{"0008010E":{"vr":"UR","Value":["http://loinc.org"]}}"#, r#"{"0008010E":{"vr":"UR","Value":["http://loinc.org"]}}"#),
        // The representation comes too late, or not at all.
        (r#"{"00091001":{"Value":["http://inner/x","urn:oid:1.2","MR 1:2"],"vr":"UR"}}"#,
         r#"{"00091001":{"Value":["about:blank","urn:oid:1.2","MR 1:2"],"vr":"UR"}}"#),
        (r#"{"00091001":{"Value":["/rs/x","file:///etc/x"]}}"#, r#"{"00091001":{"Value":["/rs/x","about:blank"]}}"#),
        // Sequences of private attributes.
        (r#"{"00091001":{"vr":"SQ","Value":[{"00111002":{"vr":"UR","Value":["http://inner/x"]},"00081190":{"Value":["/rs/a"]}}]}}"#,
         r#"{"00091001":{"vr":"SQ","Value":[{"00111002":{"vr":"UR","Value":["about:blank"]},"00081190":{"Value":["https://ours/p/a"]}}]}}"#),
        (r#"{"00091001":{"Value":[{"00111002":{"vr":"LO","Value":["a"]}}],"vr":"SQ"}}"#,
         r#"{"00091001":{"Value":[{"00111002":{"vr":"LO","Value":["a"]}}],"vr":"SQ"}}"#),
        // A new public attribute, which the dictionary does not know.
        (r#"{"00081FFE":{"vr":"UR","Value":["http://inner/x"]}}"#, r#"{"00081FFE":{"vr":"UR","Value":["about:blank"]}}"#),
    ] {
        assert_eq!(rewrite_text(document).as_deref(), Ok(expected), "{document}");
    }
}

#[test]
#[rustfmt::skip]
fn what_has_no_links_passes_byte_for_byte() {
    for document in [
        "[]", " {\r\n} ", "null", "\"\"", " -0.10e+05 ", "12", "0", "true", "false",
        r#"[{"00100010":{"vr":"PN","Value":[{"Alphabetic":"\u00c4\ud83d\ude00\/\b\f\n\r\t\\\""}]}},-1,0,1.0E-2,1e400,[[],{}]]"#,
        r#"{"vr":"UR","Value":["https://h.example/rs/a"],"0008119":{"Value":["/rs/a"]},"000811900":{"Value":["/rs/a"]}}"#,
        r#"{"00081190":{"vr":"/rs/a","value":["/rs/b"]},"bulkdatauri":"/rs/a","BulkDataURI ":"/rs/a","BulkDataURI\u0000":"/rs/a"}"#,
        r#"{"00081190":"/rs/a","x":["BulkDataURI","/rs/a"],"y":"BulkDataURI"}"#,
        r#"{"lone \ud800 half":"\udc00\ud800"}"#,
    ] {
        assert_eq!(rewrite_text(document).as_deref(), Ok(document));
    }
    let latin_1 = b"{\"00100010\":{\"Value\":[{\"Alphabetic\":\"M\xfcller\"}],\"k\xfc\":1}}";
    assert_eq!(rewrite(latin_1).as_deref(), Ok(latin_1.as_slice()));
}

#[test]
fn a_link_that_is_not_unicode_is_foreign() {
    let rewritten = rewrite(b"{\"BulkDataURI\":\"/rs/\xfc\"}");
    assert_eq!(
        rewritten.as_deref(),
        Ok(b"{\"BulkDataURI\":\"about:blank\"}".as_slice())
    );
}

#[test]
#[rustfmt::skip]
fn what_breaks_the_grammar_is_refused() {
    for document in [
        "}", "]", ",", ":", "x", "[,]", "[1,]", "[1 2]", "[1}", "{]", "{,}", "{1:2}", "{\"a\"}", "{\"a\",1}", "{\"a\":}",
        "{\"a\":1,}", "{\"a\":1]", "{\"a\":1 \"b\":2}", "{\"a\"::1}", "{\"a\":1:2}", "[] []", "1 2", "[]]", "\"\"\"",
        "tru e", "nul]", "truefalse", "True", "NaN", "-]", "+1", "01", "-01", ".5", "1.e1", "[1.]", "0x1", "1_0",
        "\"\\x\"", "\"\\u12g4\"", "\"\\u\"", "\"\\U0041\"", "\"\n\"", "\"\0\"", "\"\t\"", "'a'", "/**/[]", "\u{feff}[]", "\u{a0}[]", "\0",
        "<html>", "[\u{c}]",
    ] {
        assert_eq!(rewrite_text(document), Err(NotJson::Malformed), "{document:?}");
    }
}

#[test]
fn what_is_cut_off_is_not_whole() {
    let document =
        r#"[{"00081190":{"vr":"UR","Value":["/rs/\u00e4","/x"]},"a":[true,null,-1.5e3]}]"#;
    for end in 0..document.len() {
        let cut = &document.as_bytes()[..end];
        assert_eq!(rewrite(cut), Err(NotJson::Truncated), "{end} bytes");
    }
    assert!(rewrite_text(document).is_ok());
    for number in ["-", "1.", "1e", "1e+", " "] {
        assert_eq!(rewrite_text(number), Err(NotJson::Truncated), "{number}");
    }
}

#[test]
fn nesting_has_a_bound() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let nested = |depth| format!("{}1{}", open.repeat(depth), close.repeat(depth));
        assert_eq!(rewrite_text(&nested(64)), Ok(nested(64)));
        assert_eq!(rewrite_text(&nested(65)), Err(NotJson::TooDeep));
    }
    let wide = format!("[{}[]]", "[],{},".repeat(1000));
    assert_eq!(rewrite_text(&wide).as_deref(), Ok(wide.as_str()));
}

#[test]
fn a_link_has_a_bound_and_other_strings_have_none() {
    let link = |length: usize| format!("/rs/{}", "x".repeat(length - "/rs/".len()));
    let document = |link: &str| format!("{{\"BulkDataURI\":\"{link}\"}}");
    let longest = link(8192);
    let ours = document(&longest.replace("/rs/", "https://ours/p/"));
    assert_eq!(rewrite_text(&document(&longest)), Ok(ours));
    let foreign = document("about:blank");
    assert_eq!(rewrite_text(&document(&link(8193))), Ok(foreign.clone()));
    assert_eq!(
        rewrite_text(&document(&"\\u00e4".repeat(5000))),
        Ok(foreign)
    );
    let long = "y".repeat(1 << 20);
    let others = format!("{{\"{long}\":\"{long}\"}}");
    assert_eq!(rewrite_text(&others), Ok(others));
}

#[test]
fn stays_with_its_first_error() {
    let mut json = JsonLinks::new(links());
    assert_eq!(json.push(b"[x"), Err(NotJson::Malformed));
    assert_eq!(json.push(b"[]"), Err(NotJson::Malformed));
    assert_eq!(json.finish(), Err(NotJson::Malformed));
}

#[test]
fn gives_at_once_what_no_link_is() {
    let mut json = JsonLinks::new(links());
    let mut after = |chunk: &str| json.push(chunk.as_bytes()).map(|out| out.to_vec());
    assert_eq!(after("{\"Bulk"), Ok(b"{\"Bulk".to_vec()));
    assert_eq!(after("DataURI\": \"/r"), Ok(b"DataURI\": ".to_vec()));
    assert_eq!(after("s/"), Ok(Vec::new()));
    assert_eq!(after("a\", \"b"), Ok(b"\"https://ours/p/a\", \"b".to_vec()));
    assert_eq!(after("\":\"begun"), Ok(b"\":\"begun".to_vec()));
}

/// The same on a parsed document.
fn rewrite_value(value: &mut Value, is_link: bool, is_retrieve_url: bool) {
    match value {
        Value::String(link) if is_link => {
            *link = links().rewrite(link).unwrap_or("about:blank".into());
        }
        Value::Array(elements) => {
            for element in elements {
                rewrite_value(element, is_link, false);
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                let of_retrieve_url = is_retrieve_url && key == "Value";
                let is_link = is_link || of_retrieve_url || key == "BulkDataURI";
                rewrite_value(member, is_link, key == "00081190");
            }
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn blank() -> impl Strategy<Value = &'static str> {
    select(vec!["", "", "", " ", "\r\n\t"])
}

fn string() -> impl Strategy<Value = String> {
    let links = [
        "/rs/a",
        "https://h.example/rs/studies/1.2?x=%20",
        "https:\\/\\/h.example\\/rs\\/b",
        "b\\u0075lkdata/1",
        "http://evil.example/rs/",
        "",
    ];
    let pieces = vec![
        "a",
        "/rs/",
        "\\u0042",
        "\\n",
        "\\\"",
        "\\\\",
        "\\/",
        "é",
        "\\ud83d\\ude00",
        "😀",
        "\\u0000",
    ];
    let pieces = vec(select(pieces), 0..5).prop_map(|pieces| pieces.concat());
    let link = select(links.to_vec()).prop_map(str::to_owned);
    prop_oneof![link, pieces].prop_map(|text| format!("\"{text}\""))
}

fn key() -> impl Strategy<Value = String> {
    let known = [
        "\"BulkDataURI\"",
        "\"\\u0042ulkDataURI\"",
        "\"00081190\"",
        "\"0008119\\u0030\"",
        "\"Value\"",
        "\"\\u0056alue\"",
        "\"vr\"",
    ];
    let known = select(known.to_vec()).prop_map(str::to_owned);
    prop_oneof![3 => known, 1 => string()]
}

/// The text of a document, in all the ways in which one can be written.
fn document() -> impl Strategy<Value = String> {
    let scalars = [
        "null", "true", "false", "0", "-1", "12", "1.50", "-0e+1", "2E-3",
    ];
    let scalar = select(scalars.to_vec()).prop_map(str::to_owned);
    let leaf = prop_oneof![1 => scalar, 2 => string()];
    leaf.prop_recursive(6, 60, 5, |value| {
        let spaced = (blank(), value, blank());
        let spaced = spaced
            .prop_map(|(a, value, b)| format!("{a}{value}{b}"))
            .boxed();
        let member = (blank(), key(), blank(), spaced.clone())
            .prop_map(|(a, key, b, value)| format!("{a}{key}{b}:{value}"));
        let array = vec(spaced, 0..5).prop_map(|values| format!("[{}]", values.join(",")));
        let object = vec(member, 0..5).prop_map(|members| format!("{{{}}}", members.join(",")));
        prop_oneof![2 => array, 3 => object]
    })
}

/// Nearly a document.
fn broken() -> impl Strategy<Value = Vec<u8>> {
    let bytes = b"{}[]:,\"\\ tnu0-.eE1x\xc3".to_vec();
    (
        document(),
        any::<Index>(),
        vec(select(bytes), 0..3),
        0..3usize,
    )
        .prop_map(|(document, at, inserted, removed)| {
            let mut document = document.into_bytes();
            let start = at.index(document.len());
            let end = document.len().min(start + removed);
            document.splice(start..end, inserted);
            document
        })
}

fn cut<'a>(document: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut ends: Vec<_> = cuts
        .iter()
        .map(|cut| cut.index(document.len() + 1))
        .collect();
    ends.push(document.len());
    ends.sort_unstable();
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let ranges = starts.zip(&ends);
    ranges.map(|(start, &end)| &document[start..end]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rewrites_what_a_parser_would_have_found(document in document(), cuts in vec(any::<Index>(), 0..20)) {
        let mut expected: Value = serde_json::from_str(&document).expect("JSON");
        rewrite_value(&mut expected, false, false);
        let rewritten = rewrite_chunks(cut(document.as_bytes(), &cuts)).expect("JSON");
        let rewritten: Value = serde_json::from_slice(&rewritten).expect("JSON");
        prop_assert_eq!(rewritten, expected);
    }

    #[test]
    fn is_json_where_the_grammar_says_so(document in broken(), cuts in vec(any::<Index>(), 0..20)) {
        let is_json = serde_json::from_slice::<IgnoredAny>(&document).is_ok();
        let rewritten = rewrite_chunks(cut(&document, &cuts));
        prop_assert_eq!(rewritten.is_ok(), is_json);
        prop_assert_eq!(rewritten, rewrite_chunks([document.as_slice()]));
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..200)) {
        let is_json = serde_json::from_slice::<IgnoredAny>(&bytes).is_ok();
        prop_assert_eq!(rewrite(&bytes).is_ok(), is_json);
    }
}
