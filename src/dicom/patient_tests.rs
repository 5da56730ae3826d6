use super::super::part10::Identity;
use super::*;

/// Identifiers as `value@issuer`, separated by commas.
fn ids(text: &str) -> PatientIds {
    let ids = text.split(',').filter_map(|id| {
        let (value, issuer) = id.split_once('@').unwrap_or((id, ""));
        PatientId::new(value, Some(issuer))
    });
    ids.collect::<Vec<_>>().into()
}

#[test]
fn identifiers_are_compared_with_their_issuers() {
    use Comparison::{Different, Doubtful, Open, Same};
    for (one, other, expected) in [
        ("1@1.2.3", "1@1.2.3", Same),
        (" 1 @1.2.3", "1@urn:oid:1.2.3 ", Same),
        ("1@1.2.3", "2@1.2.3", Different),
        ("01@1.2.3", "1@1.2.3", Different),
        // The right number of another issuer.
        ("1@1.2.3", "1@1.2.4", Different),
        ("1@1.2.3", "2@1.2.4", Open),
        // One in common settles it.
        ("1@1.2.3,7@1.9", "2@1.2.3,7@1.9", Same),
        ("1@1.2.3,7@1.9", "2@1.2.3,8@1.9", Different),
        ("1@1.2.3,7@1.9", "7@1.2.4", Different),
        // An issuer by name.
        ("1@HOSPITAL", "1@hospital", Same),
        ("1@HOSPITAL", "2@HOSPITAL", Different),
        ("1@HOSPITAL", "1@OTHER", Different),
        ("1@HOSPITAL", "1@1.2.3", Open),
        ("1@HOSPITAL", "2@1.2.3", Open),
        // Without an issuer.
        ("1", "1", Open),
        ("1", " 1 ", Open),
        ("1", "2", Doubtful),
        ("1", "1@1.2.3", Open),
        ("1", "2@1.2.3", Doubtful),
        ("1", "1@1.2.3,2@1.2.3", Open),
        // An absent identifier contradicts nothing.
        ("", "1@1.2.3", Open),
        ("  ", "1", Open),
        ("", "", Open),
    ] {
        assert_eq!(ids(one).compare(&ids(other)), expected, "{one} / {other}");
        assert_eq!(ids(other).compare(&ids(one)), expected, "{other} / {one}");
    }
}

#[test]
fn debug_shows_no_identifier() {
    let shown = format!("{:?} {:?}", ids("SECRET@1.2"), ids("SECRET").all());
    assert!(!shown.contains("SECRET"), "{shown}");
}

fn element(tag: [u8; 4], vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
    let mut value = value.to_vec();
    if value.len() % 2 == 1 {
        value.push(b' ');
    }
    let length = u16::try_from(value.len()).expect("short").to_le_bytes();
    if vr == b"SQ" {
        return [&tag[..], b"SQ\0\0", &length, &[0, 0], &value].concat();
    }
    [&tag[..], vr, &length, &value].concat()
}

fn item(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("short").to_le_bytes();
    [&[0xFE, 0xFF, 0, 0xE0][..], &length, &[0, 0], content].concat()
}

fn qualifiers(universal: &[u8]) -> Vec<u8> {
    let entity = element([0x40, 0, 0x32, 0], b"UT", b"");
    let long = [
        &entity[..4],
        b"UT\0\0",
        &u32::try_from(universal.len()).expect("short").to_le_bytes(),
        universal,
    ];
    element([0x10, 0, 0x24, 0], b"SQ", &item(&long.concat()))
}

/// What an instance with these elements of its patient says.
fn read(patient: &[Vec<u8>]) -> PatientIds {
    let file = [
        vec![0; 128],
        b"DICM".to_vec(),
        element([2, 0, 0x10, 0], b"UI", b"1.2.840.10008.1.2.1\0"),
        element([8, 0, 5, 0], b"CS", b"ISO_IR 100"),
        element([8, 0, 0x16, 0], b"UI", b"1.2.3"),
        element([8, 0, 0x18, 0], b"UI", b"1.2.3.4\0"),
        patient.concat(),
        element([0x20, 0, 0x0D, 0], b"UI", b"1.2\0"),
        element([0x20, 0, 0x0E, 0], b"UI", b"1.2.5"),
    ];
    let read = Identity::read(&file.concat()).expect("an instance");
    read.expect("identified").patient
}

#[test]
fn the_identity_of_an_instance_holds_its_patient() {
    let id = |value: &[u8]| element([0x10, 0, 0x20, 0], b"LO", value);
    let label = |value: &[u8]| element([0x10, 0, 0x21, 0], b"LO", value);
    let other = [id(b"7"), qualifiers(b"1.9 ")].concat();
    let others = element([0x10, 0, 2, 0x10], b"SQ", &item(&other));
    assert_eq!(read(&[]), PatientIds::default());
    assert_eq!(read(&[id(b"  ")]), PatientIds::default());
    assert_eq!(read(&[id(b" 1 ")]), ids("1"));
    assert_eq!(read(&[id(b"1"), label(b"HOSP")]), ids("1@hosp"));
    assert_eq!(read(&[id(b"1"), qualifiers(b"1.2.34")]), ids("1@1.2.34"));
    assert_eq!(read(&[id(b"1"), others.clone()]), ids("1,7@1.9"));
    assert_eq!(read(&[id(b"M\xFCller")]), ids("Müller"));
    // Both names of one issuer.
    let both = read(&[id(b"1"), label(b"HOSP"), qualifiers(b"1.2.34")]);
    assert_eq!(both.compare(&ids("1@1.2.34")), Comparison::Same);
    assert_eq!(both.compare(&ids("1@HOSP")), Comparison::Same);
    assert_eq!(both.compare(&ids("1@1.2.35")), Comparison::Different);
}
