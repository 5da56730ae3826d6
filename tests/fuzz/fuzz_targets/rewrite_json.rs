//! However a document is cut into chunks, it is rewritten to the same, and no link leads to anybody
//! else. What is given is JSON wherever what came was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use url::Url;
use xcwado::rewrite::{JsonLinks, Links, NotJson};

fuzz_target!(|input: &[u8]| {
    let Some((&first, document)) = input.split_first() else {
        return;
    };
    let chunk_size = usize::from(first).max(1);
    let whole = rewrite(document, document.len().max(1));
    assert_eq!(rewrite(document, chunk_size), whole);
    match (serde_json::from_slice::<Value>(document), whole) {
        (Ok(_), Ok(rewritten)) => {
            let rewritten = serde_json::from_slice(&rewritten).expect("JSON from JSON");
            check(&rewritten, false, false);
        }
        (Ok(_), Err(error)) => assert_eq!(error, NotJson::TooDeep),
        // Passing on what a stricter reader refuses does no harm.
        (Err(_), _) => {}
    }
});

fn rewrite(document: &[u8], chunk_size: usize) -> Result<Vec<u8>, NotJson> {
    let theirs = Url::parse("https://h.example/rs/").expect("a URL");
    let address = theirs.join("studies/1.2/metadata").expect("a URL");
    let mut json = JsonLinks::new(Links::new(vec![theirs], address, "ours:/"));
    let mut rewritten = Vec::new();
    for chunk in document.chunks(chunk_size) {
        rewritten.extend_from_slice(&json.push(chunk)?);
    }
    json.finish()?;
    Ok(rewritten)
}

fn check(value: &Value, is_link: bool, is_retrieve_url: bool) {
    match value {
        Value::String(link) => {
            let is_ours = link == "about:blank" || link.starts_with("ours:");
            assert!(is_ours || !is_link, "{link}");
        }
        Value::Array(values) => values.iter().for_each(|v| check(v, is_link, false)),
        Value::Object(members) => members.iter().for_each(|(key, member)| {
            let of_retrieve_url = is_retrieve_url && key == "Value";
            let is_link = is_link || of_retrieve_url || key == "BulkDataURI";
            check(member, is_link, key == "00081190");
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
