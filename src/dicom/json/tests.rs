use serde_json::{Value, json};

use super::*;
use crate::dicom::Encoding;

fn element(tag: Tag, vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(tag.group().to_le_bytes());
    bytes.extend(tag.element().to_le_bytes());
    bytes.extend(vr);
    if [
        b"OB", b"OW", b"SQ", b"UN", b"UT", b"UC", b"OV", b"SV", b"UV",
    ]
    .contains(&vr)
    {
        bytes.extend([0, 0]);
        bytes.extend((value.len() as u32).to_le_bytes());
    } else {
        bytes.extend((value.len() as u16).to_le_bytes());
    }
    bytes.extend(value);
    bytes
}

fn written(bytes: &[u8], encoding: Encoding) -> Value {
    let mut out = String::new();
    write(
        &DataSet::new(bytes, encoding),
        Beside::default(),
        "root/",
        &mut out,
    )
    .expect("a data set");
    serde_json::from_str(&out).expect(&out)
}

fn value(vr: &[u8; 2], value: &[u8]) -> Value {
    let tag = Tag(0x0011, 0x1010);
    written(&element(tag, vr, value), Encoding::ExplicitLittle)["00111010"].clone()
}

#[test]
fn texts_and_names() {
    assert_eq!(
        value(b"LO", b"a\\ b \\\\c "),
        json!({"vr": "LO", "Value": ["a", "b", null, "c"]})
    );
    assert_eq!(
        value(b"LT", b" a\\b\r\n\x01 "),
        json!({"vr": "LT", "Value": [" a\\b\r\n\u{1}"]})
    );
    assert_eq!(
        value(b"UI", b"1.2.3\0"),
        json!({"vr": "UI", "Value": ["1.2.3"]})
    );
    assert_eq!(value(b"SH", b"  "), json!({"vr": "SH"}));
    assert_eq!(
        value(b"PN", b"A^B=\\C^D==E "),
        json!({"vr": "PN", "Value": [{"Alphabetic": "A^B"}, {"Alphabetic": "C^D", "Phonetic": "E"}]})
    );
}

#[test]
fn numbers_keep_their_digits() {
    let mut out = String::new();
    let bytes = element(
        Tag(0x0011, 0x1010),
        b"DS",
        b"1.2500\\-0\\+7\\.5\\1e3\\007\\x\\\\5. ",
    );
    let set = DataSet::new(&bytes, Encoding::ExplicitLittle);
    write(&set, Beside::default(), "", &mut out).expect("a data set");
    assert_eq!(
        out,
        r#"{"00111010":{"vr":"DS","Value":[1.2500,-0,7,0.5,1e3,7,"x",null,5.0]}}"#
    );
    assert_eq!(
        value(b"US", &[1, 0, 255, 255]),
        json!({"vr": "US", "Value": [1, 65535]})
    );
    assert_eq!(
        value(b"AT", &[8, 0, 0x18, 0]),
        json!({"vr": "AT", "Value": ["00080018"]})
    );
    assert_eq!(
        value(b"FL", &f32::NAN.to_le_bytes()),
        json!({"vr": "FL", "Value": ["NaN"]})
    );
    assert_eq!(
        value(b"FL", &0.1f32.to_le_bytes()),
        json!({"vr": "FL", "Value": [0.1]})
    );
    assert_eq!(
        value(b"UV", &u64::MAX.to_le_bytes()),
        json!({"vr": "UV", "Value": ["18446744073709551615"]})
    );
}

#[test]
fn numbers_that_no_double_holds_are_texts() {
    for text in [
        "1e400",
        "-1E+999",
        "1e-400",
        "99999999999999999999",
        "1.2.3",
        "1,5",
        "--1",
        "inf",
        "NaN",
        "0x10",
        "1e",
        "12 34",
    ] {
        for vr in [b"DS", b"IS"] {
            let expected =
                json!({"vr": std::str::from_utf8(vr).expect("ascii"), "Value": [text, 1]});
            let bytes = format!("{text}\\1");
            assert_eq!(value(vr, bytes.as_bytes()), expected, "{text}");
        }
    }
    for (text, number) in [
        ("1e308", 1e308),
        ("-0", -0.0),
        ("0e999", 0.0),
        ("5e-324", 5e-324),
    ] {
        assert_eq!(
            value(b"DS", text.as_bytes())["Value"],
            json!([number]),
            "{text}"
        );
    }
}

#[test]
fn large_values_become_links_also_in_items() {
    let large = element(Tag(0x5400, 0x1010), b"OW", &[7; 2000]);
    let mut item = vec![0xFE, 0xFF, 0, 0xE0];
    item.extend((large.len() as u32).to_le_bytes());
    item.extend(&large);
    let mut bytes = element(Tag(0x5400, 0x0100), b"SQ", &item);
    bytes.extend(element(Tag(0x7000, 0x0010), b"OB", &[1, 2]));
    let set = DataSet::new(&bytes, Encoding::ExplicitLittle);
    let linked = Linked {
        tag: Tag(0x6000, 0x3000),
        vr: Some(VR::OW),
    };
    let mut out = String::new();
    let beside = Beside {
        linked: &[linked],
        available: Some("1.2.840.10008.1.2.4.50"),
    };
    write(&set, beside, "root/", &mut out).expect("a data set");
    let read: Value = serde_json::from_str(&out).expect(&out);
    assert_eq!(
        read["54000100"]["Value"][0]["54001010"]["BulkDataURI"],
        "root/54000100/1/54001010"
    );
    assert_eq!(
        read["60003000"],
        json!({"vr": "OW", "BulkDataURI": "root/60003000"})
    );
    assert_eq!(read["70000010"]["InlineBinary"], "AQI=");
    let syntax = json!({"vr": "UI", "Value": ["1.2.840.10008.1.2.4.50"]});
    assert_eq!(read["00083002"], syntax);
    // What a data set itself says of it does not count.
    let lying = element(Tag(0x0008, 0x3002), b"UI", b"1.2.3\0");
    let set = DataSet::new(&lying, Encoding::ExplicitLittle);
    let mut out = String::new();
    write(&set, beside, "root/", &mut out).expect("a data set");
    let read: Value = serde_json::from_str(&out).expect(&out);
    assert_eq!(read["00083002"], syntax);
    assert_eq!(out.matches("00083002").count(), 1, "{out}");
}

#[test]
fn implicit_value_representations_come_from_the_dictionary() {
    let mut bytes = vec![0x28, 0, 0x03, 0x01, 2, 0, 0, 0, 1, 0];
    bytes.extend([0x28, 0, 0x06, 0x01, 2, 0, 0, 0, 0xFE, 0xFF]);
    bytes.extend([0x29, 0, 0x10, 0, 2, 0, 0, 0, b'M', b'E']);
    bytes.extend([0x29, 0, 0x01, 0x10, 2, 0, 0, 0, 1, 2]);
    let read = written(&bytes, Encoding::ImplicitLittle);
    assert_eq!(read["00280106"], json!({"vr": "SS", "Value": [-2]}));
    assert_eq!(read["00290010"], json!({"vr": "LO", "Value": ["ME"]}));
    assert_eq!(
        read["00291001"],
        json!({"vr": "UN", "InlineBinary": "AQI="})
    );
}

#[test]
fn big_endian_values_are_turned_round() {
    let mut bytes = vec![0, 0x28, 0x01, 0x06, b'U', b'S', 0, 2, 1, 2];
    bytes.extend([0x70, 0, 0, 0x10, b'O', b'W', 0, 0, 0, 0, 0, 2, 3, 4]);
    let read = written(&bytes, Encoding::ExplicitBig);
    assert_eq!(read["00280106"]["Value"], json!([258]));
    assert_eq!(read["70000010"]["InlineBinary"], "BAM=");
}
