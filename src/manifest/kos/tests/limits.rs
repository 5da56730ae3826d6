//! Limits, and documents that are damaged or hostile.

use super::*;

#[test]
fn survives_every_damage_of_one_byte() {
    let bytes = Document::mado()
        .with_content([library([group([
            uid_item("1.2.3.1"),
            reference("1.2.3.1.1", [text_item(dcm("113609"), "5")]),
        ])])])
        .bytes();
    let listed = |manifest: &Manifest| -> usize {
        let series = manifest.studies.iter().flat_map(|study| &study.series);
        series.map(|series| series.instances.len()).sum()
    };
    for at in 0..bytes.len() {
        for damage in [0x01, 0x80, 0xFF] {
            let mut damaged = bytes.clone();
            damaged[at] ^= damage;
            if let Ok(manifest) = read(&damaged) {
                assert!((1..=2).contains(&listed(&manifest)), "{at}");
            }
        }
        assert!(read(&bytes[..at]).map_or(0, |cut| listed(&cut)) <= 2);
    }
}

/// Writes a large document quickly.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn text(&mut self, tag: Tag, vr: &[u8; 2], text: &str) {
        let pad = text.len() % 2;
        self.tag(tag);
        self.0.extend(vr);
        if vr == b"UT" {
            self.0.extend([0, 0]);
            self.0.extend(((text.len() + pad) as u32).to_le_bytes());
        } else {
            self.0.extend(((text.len() + pad) as u16).to_le_bytes());
        }
        self.0.extend(text.as_bytes());
        self.0.extend(&[0][..pad]);
    }

    fn sequence(&mut self, tag: Tag, inside: impl FnOnce(&mut Self)) {
        self.tag(tag);
        self.0.extend(b"SQ\0\0\xFF\xFF\xFF\xFF");
        inside(self);
        self.tag(Tag(0xFFFE, 0xE0DD));
        self.0.extend([0; 4]);
    }

    fn item(&mut self, inside: impl FnOnce(&mut Self)) {
        self.tag(Tag(0xFFFE, 0xE000));
        self.0.extend([0xFF; 4]);
        inside(self);
        self.tag(Tag(0xFFFE, 0xE00D));
        self.0.extend([0; 4]);
    }

    fn tag(&mut self, tag: Tag) {
        self.0.extend(tag.group().to_le_bytes());
        self.0.extend(tag.element().to_le_bytes());
    }

    fn code(&mut self, tag: Tag, value: &str) {
        self.sequence(tag, |w| {
            w.item(|w| {
                w.text(tags::CODE_VALUE, b"SH", value);
                w.text(tags::CODING_SCHEME_DESIGNATOR, b"SH", "DCM");
                w.text(tags::CODE_MEANING, b"LO", "whatever");
            });
        });
    }

    fn content(
        &mut self,
        relation: &str,
        kind: &str,
        concept: &str,
        value: impl FnOnce(&mut Self),
    ) {
        self.item(|w| {
            w.text(tags::RELATIONSHIP_TYPE, b"CS", relation);
            w.text(tags::VALUE_TYPE, b"CS", kind);
            w.code(tags::CONCEPT_NAME_CODE_SEQUENCE, concept);
            value(w);
        });
    }

    fn instance(&mut self, uid: &str) {
        self.sequence(tags::REFERENCED_SOP_SEQUENCE, |w| {
            w.item(|w| w.instance_uids(uid));
        });
    }

    fn instance_uids(&mut self, uid: &str) {
        self.text(tags::REFERENCED_SOP_CLASS_UID, b"UI", CT);
        self.text(tags::REFERENCED_SOP_INSTANCE_UID, b"UI", uid);
    }

    /// A manifest of `series` series of `instances` instances each.
    fn manifest(series: usize, instances: usize, with_library: bool) -> Vec<u8> {
        let mut w = Self(vec![0; 128]);
        w.0.extend(b"DICM");
        w.text(tags::TRANSFER_SYNTAX_UID, b"UI", EXPLICIT);
        w.text(tags::SOP_CLASS_UID, b"UI", SOP_CLASS);
        w.text(tags::SOP_INSTANCE_UID, b"UI", "1.2.9");
        w.text(tags::STUDY_INSTANCE_UID, b"UI", STUDY);
        w.code(tags::CONCEPT_NAME_CODE_SEQUENCE, "131560");
        w.sequence(tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE, |w| {
            w.item(|w| w.evidence(series, instances));
        });
        if with_library {
            w.sequence(tags::CONTENT_SEQUENCE, |w| {
                w.content("CONTAINS", "CONTAINER", "111028", |w| {
                    w.sequence(tags::CONTENT_SEQUENCE, |w| {
                        (0..series).for_each(|s| w.group(s, instances));
                    });
                });
            });
        }
        w.0
    }

    fn evidence(&mut self, series: usize, instances: usize) {
        self.sequence(tags::REFERENCED_SERIES_SEQUENCE, |w| {
            for s in 0..series {
                w.item(|w| {
                    w.sequence(tags::REFERENCED_SOP_SEQUENCE, |w| {
                        for i in 0..instances {
                            w.item(|w| w.instance_uids(&format!("1.2.3.{s}.{i}")));
                        }
                    });
                    w.text(tags::SERIES_INSTANCE_UID, b"UI", &format!("1.2.3.{s}"));
                    w.text(tags::RETRIEVE_LOCATION_UID, b"UI", "1.2.40.1");
                });
            }
        });
        self.text(tags::STUDY_INSTANCE_UID, b"UI", STUDY);
    }

    fn group(&mut self, s: usize, instances: usize) {
        self.content("CONTAINS", "CONTAINER", "126200", |w| {
            w.sequence(tags::CONTENT_SEQUENCE, |w| {
                w.content("HAS ACQ CONTEXT", "UIDREF", "112002", |w| {
                    w.text(tags::UID, b"UI", &format!("1.2.3.{s}"));
                });
                for i in 0..instances {
                    w.content("CONTAINS", "IMAGE", "121112", |w| {
                        w.instance(&format!("1.2.3.{s}.{i}"));
                        w.sequence(tags::CONTENT_SEQUENCE, |w| {
                            w.content("HAS ACQ CONTEXT", "TEXT", "113609", |w| {
                                w.text(tags::TEXT_VALUE, b"UT", &i.to_string());
                            });
                        });
                    });
                }
            });
        });
    }
}

#[test]
fn reads_tens_of_thousands_of_instances() {
    let bytes = Writer::manifest(40, 1000, true);
    let manifest = read(&bytes).expect("a manifest");
    let study = only_study(&manifest);
    assert_eq!(study.series.len(), 40);
    for series in &study.series {
        let numbers = series.instances.iter().map(|instance| instance.number);
        assert!(numbers.eq((0..1000).map(Some)));
    }
    assert_eq!(manifest.warnings, []);
}

#[test]
fn refuses_more_series_and_instances_than_it_reads() {
    let refusal = |series, instances| {
        read(&Writer::manifest(series, instances, false)).map(|manifest| manifest.studies.len())
    };
    assert_eq!(refusal(MAX_SERIES, 1), Ok(1));
    assert!(matches!(
        refusal(1, MAX_INSTANCES + 1),
        Err(Error::TooLarge {
            what: "instances",
            ..
        })
    ));
    assert!(matches!(
        refusal(MAX_SERIES + 1, 1),
        Err(Error::TooLarge { what: "series", .. })
    ));
    assert!(matches!(
        read(&vec![0; part10::MAX_FILE + 1]),
        Err(Error::TooLarge { what: "bytes", .. })
    ));
}
