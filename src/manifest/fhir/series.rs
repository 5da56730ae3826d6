//! The retrieval index of an ImagingStudy, R4 or R5: its series and instances.
//!
//! A fault here makes the manifest unusable, because an entry without a UID is not retrievable.
//! Reading stops at the first fault and at the limits, so that a hostile document cannot exhaust
//! memory.

use std::collections::{BTreeSet, HashSet};

use serde::Deserialize;
use serde::de::SeqAccess;

use super::concept::{Concept, Extension, Reference, find};
use super::member::{Integer, List, Member, Shape, objects, skip_seq};
use super::{MOST_INSTANCES, MOST_SERIES};
use crate::dicom::{SeriesInstanceUid, SopClassUid, SopInstanceUid, Uid};
use crate::manifest::{Instance, KeyObject};

// PS3.4 B.5: Key Object Selection Document Storage.
const KEY_OBJECT_SELECTION: &str = "1.2.840.10008.5.1.4.1.1.88.59";

const NUMBER_OF_FRAMES: &[&str] = &["numberofframes"];
const KEY_OBJECT_TITLE: &[&str] = &["keyobjectdocumenttitle", "kodocumenttitle"];
const INSTANCE_DESCRIPTION: &[&str] = &["instancedescription"];

/// A defect that makes a list of series or instances unusable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// A UID is missing or invalid.
    Uid { what: &'static str, path: String },
    /// A list member is not a list.
    List { path: String },
    /// A limit is exceeded.
    TooLarge { what: &'static str },
}

/// The series of a study, up to the first fault.
#[derive(Debug, Default)]
pub(super) struct SeriesList {
    pub(super) list: Vec<Series>,
    pub(super) instances: usize,
    pub(super) fault: Option<Fault>,
}

/// A series that has a UID.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) uid: SeriesInstanceUid,
    pub(super) members: SeriesMembers,
    pub(super) instances: Vec<Instance>,
    /// The malformed members of instances.
    pub(super) malformed: BTreeSet<&'static str>,
}

/// The descriptive members of a series, and its endpoints.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct SeriesMembers {
    uid: Member<Uid>,
    instance: Member<InstanceList>,
    pub(super) number: Member<Integer>,
    pub(super) modality: Member<Concept>,
    pub(super) description: Member<Box<str>>,
    pub(super) started: Member<Box<str>>,
    pub(super) body_site: Member<Concept>,
    pub(super) laterality: Member<Concept>,
    pub(super) number_of_instances: Member<Integer>,
    pub(super) endpoint: List<Reference>,
}

/// The instances of a series, up to the first fault.
#[derive(Debug, Default)]
struct InstanceList {
    list: Vec<Instance>,
    malformed: BTreeSet<&'static str>,
    // Thousands of instances have one SOP class: they share its text.
    sop_classes: HashSet<SopClassUid>,
    fault: Option<Fault>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct InstanceMembers {
    uid: Member<Uid>,
    sop_class: Member<Concept>,
    number: Member<Integer>,
    title: Member<Box<str>>,
    extension: List<Extension>,
}

objects!(SeriesMembers, InstanceMembers);

impl Fault {
    /// The same fault, with its path extended by the parent's.
    pub(super) fn within(self, parent: &str) -> Self {
        match self {
            Self::Uid { what, path } => Self::Uid {
                what,
                path: format!("{parent}{path}"),
            },
            Self::List { path } => Self::List {
                path: format!("{parent}{path}"),
            },
            Self::TooLarge { what } => Self::TooLarge { what },
        }
    }

    fn uid(what: &'static str, path: &str) -> Self {
        Self::Uid {
            what,
            path: path.to_owned(),
        }
    }
}

impl Shape for SeriesList {
    fn from_seq<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<Member<Self>, A::Error> {
        let mut series = Self::default();
        while series.fault.is_none() {
            let Some(item) = seq.next_element()? else {
                return Ok(Member::Present(series));
            };
            if let Err(fault) = series.add(item) {
                series.fault = Some(fault);
            }
        }
        skip_seq(seq)?;
        Ok(Member::Present(series))
    }
}

impl SeriesList {
    /// Whether a member has a form that only R5 knows.
    pub(super) fn is_r5(&self) -> bool {
        let members = self.list.iter().map(|series| &series.members);
        members
            .flat_map(|members| [&members.modality, &members.body_site])
            .filter_map(Member::as_ref)
            .any(|code| code.is_codeable)
    }

    fn add(&mut self, item: Member<SeriesMembers>) -> Result<(), Fault> {
        let index = self.list.len();
        let members = item.present().unwrap_or_default();
        let series = Series::new(members).map_err(|fault| fault.within(&format!("[{index}]")))?;
        self.instances += series.instances.len();
        self.list.push(series);
        check(self.list.len(), self.instances)
    }
}

/// Checks the numbers of series and instances against the limits.
pub(super) fn check(series: usize, instances: usize) -> Result<(), Fault> {
    if series > MOST_SERIES {
        Err(Fault::TooLarge { what: "series" })
    } else if instances > MOST_INSTANCES {
        Err(Fault::TooLarge { what: "instances" })
    } else {
        Ok(())
    }
}

impl Series {
    fn new(mut members: SeriesMembers) -> Result<Self, Fault> {
        let uid = std::mem::take(&mut members.uid).present();
        let uid = uid.ok_or_else(|| Fault::uid("series instance uid", ".uid"))?;
        let instances = match std::mem::take(&mut members.instance) {
            Member::Absent => InstanceList::default(),
            Member::Malformed => {
                return Err(Fault::List {
                    path: ".instance".to_owned(),
                });
            }
            Member::Present(instances) => instances,
        };
        match instances.fault {
            Some(fault) => Err(fault.within(".instance")),
            None => Ok(Self {
                uid: uid.into(),
                members,
                instances: instances.list,
                malformed: instances.malformed,
            }),
        }
    }
}

impl Shape for InstanceList {
    fn from_seq<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<Member<Self>, A::Error> {
        let mut instances = Self::default();
        while instances.fault.is_none() {
            let Some(item) = seq.next_element()? else {
                return Ok(Member::Present(instances));
            };
            if let Err(fault) = instances.add(item) {
                instances.fault = Some(fault);
            }
        }
        skip_seq(seq)?;
        Ok(Member::Present(instances))
    }
}

impl InstanceList {
    fn add(&mut self, item: Member<InstanceMembers>) -> Result<(), Fault> {
        let index = self.list.len();
        let members = item.present().unwrap_or_default();
        let instance = self
            .instance(members)
            .map_err(|fault| fault.within(&format!("[{index}]")))?;
        self.list.push(instance);
        check(0, self.list.len())
    }

    fn instance(&mut self, members: InstanceMembers) -> Result<Instance, Fault> {
        let uid = members
            .uid
            .present()
            .ok_or_else(|| Fault::uid("sop instance uid", ".uid"))?;
        let sop_class = self.sop_class(members.sop_class)?;
        let number = self.read("instance number", members.number.and_then(Integer::fit));
        let frames = find(&members.extension, NUMBER_OF_FRAMES).map(frames);
        let frames = frames.and_then(|frames| self.read("number of frames", frames));
        let key_object = self.key_object(&sop_class, members.title, &members.extension);
        Ok(Instance {
            sop_class,
            uid: SopInstanceUid::from(uid),
            number,
            frames,
            key_object,
        })
    }

    fn sop_class(&mut self, member: Member<Concept>) -> Result<SopClassUid, Fault> {
        let code = member
            .present()
            .and_then(|class| class.code)
            .unwrap_or_default();
        let uid = Uid::from_text(&code).present();
        let uid = SopClassUid::from(uid.ok_or_else(|| Fault::uid("sop class uid", ".sopClass"))?);
        if let Some(known) = self.sop_classes.get(&uid) {
            return Ok(known.clone());
        }
        self.sop_classes.insert(uid.clone());
        Ok(uid)
    }

    // MADO defines `title` for key object selections only; for others FHIR allows any label.
    fn key_object(
        &mut self,
        sop_class: &SopClassUid,
        title: Member<Box<str>>,
        extensions: &List<Extension>,
    ) -> Option<Box<KeyObject>> {
        let document_title = find(extensions, KEY_OBJECT_TITLE);
        if sop_class.as_str() != KEY_OBJECT_SELECTION && document_title.is_none() {
            return None;
        }
        let other =
            find(extensions, INSTANCE_DESCRIPTION).and_then(|extension| extension.value.as_ref());
        let description = self.read("key object description", title);
        let description = description.or_else(|| other.and_then(|value| value.code.clone()));
        let title = document_title.and_then(|extension| extension.value.as_ref().cloned()?.code());
        if document_title.is_some() && title.is_none() {
            self.malformed.insert("key object title");
        }
        (title.is_some() || description.is_some()).then(|| {
            Box::new(KeyObject {
                title,
                description,
                flagged: Vec::new(),
            })
        })
    }

    fn read<T>(&mut self, what: &'static str, member: Member<T>) -> Option<T> {
        if member.is_malformed() {
            self.malformed.insert(what);
        }
        member.present()
    }
}

// An extension without a value is malformed, not absent.
fn frames(extension: &Extension) -> Member<u32> {
    extension
        .value
        .as_ref()
        .map_or(Member::Malformed, Concept::number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(json: &str) -> SeriesList {
        let series: Member<SeriesList> = serde_json::from_str(json).expect("any JSON value");
        series.present().expect("a list")
    }

    #[test]
    fn an_instance_stays_small() {
        // The list of instances dominates a manifest: each instance costs this much, the
        // text of its UID with its counters (at most 80 bytes), and twice that while the list
        // grows.
        assert!(size_of::<Instance>() <= 56, "{}", size_of::<Instance>());
    }

    #[test]
    fn instances_share_the_text_of_their_sop_class() {
        let list = series(
            r#"[{"uid":"1.2","instance":[{"uid":"1.3","sopClass":{"code":"1.4"}},{"uid":"1.5","sopClass":"urn:oid:1.4"}]}]"#,
        );
        let classes: Vec<_> = list.list[0]
            .instances
            .iter()
            .map(|instance| instance.sop_class.as_str().as_ptr())
            .collect();
        assert_eq!(classes[0], classes[1]);
    }

    #[test]
    fn stops_at_the_first_fault_and_says_where() {
        for (json, what, path) in [
            (
                r#"[{"uid":"1.2"},{"uid":"1..2"},{"uid":"1.4"}]"#,
                "series instance uid",
                "[1].uid",
            ),
            (r#"[{}]"#, "series instance uid", "[0].uid"),
            (r#"[7]"#, "series instance uid", "[0].uid"),
            (
                r#"[{"uid":"1.2","instance":[{}]}]"#,
                "sop instance uid",
                "[0].instance[0].uid",
            ),
            (
                r#"[{"uid":"1.2","instance":[{"uid":"1.3"}]}]"#,
                "sop class uid",
                "[0].instance[0].sopClass",
            ),
        ] {
            assert_eq!(series(json).fault, Some(Fault::uid(what, path)), "{json}");
        }
    }

    #[test]
    fn refuses_more_series_and_instances_than_the_limits() {
        let many = vec![r#"{"uid":"1.2"}"#; MOST_SERIES + 1].join(",");
        let list = series(&format!("[{many}]"));
        assert_eq!(list.fault, Some(Fault::TooLarge { what: "series" }));
        let many = vec![r#"{"uid":"1.2","sopClass":"1.2"}"#; MOST_INSTANCES / 2 + 1].join(",");
        let half = format!(r#"{{"uid":"1.2","instance":[{many}]}}"#);
        let list = series(&format!("[{half},{half}]"));
        assert_eq!(list.fault, Some(Fault::TooLarge { what: "instances" }));
    }
}
