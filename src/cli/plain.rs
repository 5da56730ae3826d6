//! Texts of others on a terminal.
//!
//! A manifest, a server or a file name may contain control characters, which a terminal obeys: they
//! recolour and overwrite lines, change its title, or reverse the direction of text.

use std::borrow::Cow;

/// The text with a visible escape for each character that a terminal obeys.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c.escape_unicode().to_string())
}

/// As [`plain`], of a text with several lines.
pub(super) fn lines(text: &str) -> String {
    let lines: Vec<_> = text.split('\n').map(plain).collect();
    lines.join("\n")
}

/// JSON text with each such character as an escape of JSON. Line feeds between members stay.
pub(super) fn json(text: &str) -> String {
    let lines = text.split('\n').map(|line| {
        // All of these characters are in the Basic Multilingual Plane.
        escaped(line, |c| format!("\\u{:04x}", u32::from(c)))
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn escaped(text: &str, escape: impl Fn(char) -> String) -> Cow<'_, str> {
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match is_obeyed(c) {
            true => safe.push_str(&escape(c)),
            false => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

/// Controls (C0, DEL, C1), line and paragraph separators, and marks that turn the direction of text
/// (Unicode UAX 9).
fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{061C}'
                | '\u{200E}'
                | '\u{200F}'
                | '\u{2028}'..='\u{202E}'
                | '\u{2066}'..='\u{2069}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_becomes_visible() {
        for (text, safe) in [
            ("Müller 山田 \"x\"", "Müller 山田 \"x\""),
            ("x\u{1b}[31m\u{7}", "x\\u{1b}[31m\\u{7}"),
            (
                "a\nb\tc\r\u{7f}\u{9b}31m",
                "a\\u{a}b\\u{9}c\\u{d}\\u{7f}\\u{9b}31m",
            ),
            ("\u{202E}fdp.exe\u{2066}", "\\u{202e}fdp.exe\\u{2066}"),
        ] {
            assert_eq!(plain(text), safe);
        }
    }

    #[test]
    fn json_stays_the_same_json() {
        let value = serde_json::json!({ "a": "\u{1b}\n\u{9b}\u{202E}\u{7f}", "b": ["ü"] });
        let text = json(&format!("{value:#}"));
        assert!(!text.replace('\n', "").contains(is_obeyed), "{text}");
        let read: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(read, value);
    }
}
