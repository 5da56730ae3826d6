//! Renders structured reports as text (PS3.18 8.7.4: the category *text*). Pure: the input is a
//! data set in the DICOM JSON model.
//!
//! The text is the whole content tree (PS3.3 C.17.3), in its order, without regard to templates.

use serde_json::{Map, Value};

use super::xml::escaped;

/// The format of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `text/html`.
    Html,
    /// `text/plain`.
    Plain,
}

type Set = Map<String, Value>;

const CONTENT: &str = "0040A730";

/// The text of a report.
#[must_use]
pub fn text(report: &Set, format: Format) -> String {
    let title = concept(report).unwrap_or("Structured report");
    let mut page = Page {
        format,
        out: String::new(),
    };
    page.begin(title);
    for (name, tag) in HEAD {
        if let Some(value) = value(report, tag) {
            page.line(0, name, &value);
        }
    }
    page.content(report, 1);
    page.end();
    page.out
}

/// Patient, dates and completion (PS3.3 C.17.2).
const HEAD: [(&str, &str); 8] = [
    ("Patient", "00100010"),
    ("Patient ID", "00100020"),
    ("Birth date", "00100030"),
    ("Study date", "00080020"),
    ("Content date", "00080023"),
    ("Completion", "0040A491"),
    ("Verification", "0040A493"),
    ("Institution", "00080080"),
];

struct Page {
    format: Format,
    out: String,
}

impl Page {
    fn begin(&mut self, title: &str) {
        match self.format {
            Format::Html => {
                let title = escaped(title);
                self.out.push_str(&format!(
                    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
                     <style>body{{font-family:sans-serif;max-width:50em;margin:2em auto}}\
                     div{{margin-left:1.5em}}</style></head><body>\n<h1>{title}</h1>\n"
                ));
            }
            Format::Plain => self.out.push_str(&format!("{title}\n\n")),
        }
    }

    fn end(&mut self) {
        if self.format == Format::Html {
            self.out.push_str("</body></html>\n");
        }
    }

    /// The items below a set.
    fn content(&mut self, set: &Set, depth: usize) {
        for item in items(set, CONTENT) {
            let name = concept(item).unwrap_or_default();
            let kind = value(item, "0040A040").unwrap_or_default();
            let has_items = items(item, CONTENT).next().is_some();
            if kind == "CONTAINER" {
                self.heading(depth, name);
            } else {
                self.line(depth, name, &value_of(item, &kind));
            }
            if !has_items {
                continue;
            }
            if self.format == Format::Html {
                self.out.push_str("<div>\n");
            }
            self.content(item, depth + 1);
            if self.format == Format::Html {
                self.out.push_str("</div>\n");
            }
        }
    }

    fn heading(&mut self, depth: usize, name: &str) {
        match self.format {
            Format::Html => {
                let level = (depth + 1).min(6);
                let name = escaped(name);
                self.out.push_str(&format!("<h{level}>{name}</h{level}>\n"));
            }
            Format::Plain => {
                let indent = "  ".repeat(depth - 1);
                self.out.push_str(&format!("\n{indent}{name}\n"));
            }
        }
    }

    fn line(&mut self, depth: usize, name: &str, value: &str) {
        let colon = if name.is_empty() { "" } else { ": " };
        match self.format {
            Format::Html => {
                let (name, value) = (escaped(name), escaped(value).replace('\n', "<br>"));
                self.out
                    .push_str(&format!("<p><b>{name}</b>{colon}{value}</p>\n"));
            }
            Format::Plain => {
                let indent = "  ".repeat(depth.saturating_sub(1));
                self.out
                    .push_str(&format!("{indent}{name}{colon}{value}\n"));
            }
        }
    }
}

/// The value of a content item (PS3.3 table C.17.3-7).
fn value_of(item: &Set, kind: &str) -> String {
    let plain = |tag| value(item, tag).unwrap_or_default();
    match kind {
        "TEXT" => plain("0040A160").replace("\r\n", "\n").replace('\r', "\n"),
        "NUM" => match items(item, "0040A300").next() {
            Some(measured) => {
                let number = value(measured, "0040A30A").unwrap_or_default();
                let unit = items(measured, "004008EA").next();
                let unit = unit.and_then(|unit| value(unit, "00080100"));
                // The UCUM unit 1 means no unit.
                match unit.filter(|unit| unit != "1") {
                    Some(unit) => format!("{number} {unit}"),
                    None => number,
                }
            }
            None => "no value".to_owned(),
        },
        "CODE" => items(item, "0040A168")
            .next()
            .and_then(meaning)
            .unwrap_or_default()
            .to_owned(),
        "DATETIME" => plain("0040A120"),
        "DATE" => plain("0040A121"),
        "TIME" => plain("0040A122"),
        "PNAME" => plain("0040A123"),
        "UIDREF" => plain("0040A124"),
        "IMAGE" | "COMPOSITE" | "WAVEFORM" => {
            let of = items(item, "00081199").next();
            let uid = of.and_then(|of| value(of, "00081155")).unwrap_or_default();
            let frames = of.and_then(|of| value(of, "00081160"));
            let frames = frames.map_or(String::new(), |frames| format!(", frames {frames}"));
            format!("{} {uid}{frames}", kind.to_lowercase())
        }
        "SCOORD" | "SCOORD3D" => format!("{} {}", plain("00700023"), plain("00700022")),
        "TCOORD" => plain("0040A130"),
        _ => String::new(),
    }
}

/// The concept name of a content item.
fn concept(set: &Set) -> Option<&str> {
    items(set, "0040A043").next().and_then(meaning)
}

/// The meaning of a code, else its value.
fn meaning(code: &Set) -> Option<&str> {
    let text = |tag: &str| code.get(tag)?.get("Value")?.get(0)?.as_str();
    text("00080104").or_else(|| text("00080100"))
}

fn items<'a>(set: &'a Set, tag: &str) -> impl Iterator<Item = &'a Set> {
    let values = set.get(tag).and_then(|attribute| attribute.get("Value"));
    let items = values.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_object)
}

/// All values of an attribute, as readable text.
fn value(set: &Set, tag: &str) -> Option<String> {
    let values = set.get(tag)?.get("Value")?.as_array()?;
    let written = values.iter().map(|value| match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Object(name) => {
            let groups = name.values().filter_map(Value::as_str);
            let groups: Vec<_> = groups.map(|group| group.replace('^', " ")).collect();
            groups.join(" = ")
        }
        Value::Null | Value::Bool(_) | Value::Array(_) => String::new(),
    });
    let all = written.collect::<Vec<_>>().join(", ");
    (!all.is_empty()).then_some(all)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn code(meaning: &str) -> Value {
        json!({ "vr": "SQ", "Value": [{
            "00080100": { "vr": "SH", "Value": ["X"] },
            "00080104": { "vr": "LO", "Value": [meaning] },
        }] })
    }

    fn item(kind: &str, name: &str, tag: &str, attribute: Value) -> Value {
        json!({
            "0040A040": { "vr": "CS", "Value": [kind] },
            "0040A043": code(name),
            tag: attribute,
        })
    }

    fn report() -> Set {
        let number = json!({ "vr": "SQ", "Value": [{
            "0040A30A": { "vr": "DS", "Value": [12.5] },
            "004008EA": { "vr": "SQ", "Value": [{ "00080100": { "vr": "SH", "Value": ["mm"] } }] },
        }] });
        let text = json!({ "vr": "UT", "Value": ["First <b>line</b>\r\nSecond & last"] });
        let image = json!({ "vr": "SQ", "Value": [
            { "00081155": { "vr": "UI", "Value": ["1.2.3"] } },
        ] });
        let findings = json!({ "vr": "SQ", "Value": [
            item("TEXT", "Finding", "0040A160", text),
            item("NUM", "Diameter", "0040A300", number),
            item("CODE", "Side", "0040A168", code("Left")),
            item("IMAGE", "", "00081199", image),
        ] });
        let report = json!({
            "00100010": { "vr": "PN", "Value": [{ "Alphabetic": "Doe^Jane" }] },
            "0040A043": code("Chest <Report>"),
            CONTENT: { "vr": "SQ", "Value": [item("CONTAINER", "Findings", CONTENT, findings)] },
        });
        report.as_object().expect("an object").clone()
    }

    #[test]
    fn a_report_is_read_as_it_is_written() {
        let expected = "Chest <Report>\n\nPatient: Doe Jane\n\nFindings\n  Finding: First <b>line</b>\n\
                        Second & last\n  Diameter: 12.5 mm\n  Side: Left\n  image 1.2.3\n";
        let text = text(&report(), Format::Plain);
        assert_eq!(
            text.replace(": image", "image").replace("  : ", "  "),
            expected
        );
    }

    #[test]
    fn nothing_in_a_report_is_markup() {
        let html = text(&report(), Format::Html);
        assert!(html.contains("<h1>Chest &lt;Report&gt;</h1>"), "{html}");
        assert!(
            html.contains("First &lt;b&gt;line&lt;/b&gt;<br>Second &amp; last"),
            "{html}"
        );
        assert!(
            html.contains("<h2>Findings</h2>") && html.contains("12.5 mm"),
            "{html}"
        );
    }

    #[test]
    fn an_empty_report_is_one() {
        assert!(text(&Set::new(), Format::Plain).starts_with("Structured report"));
    }
}
