//! The resources of a Bundle that manifests use. `resourceType` may come last in an object, so one
//! struct has the members of all types: the parser need not buffer an object to learn its type.

use serde::Deserialize;
use serde::de::{MapAccess, SeqAccess};

use super::concept::{Concept, Extension, Identifier, Reference};
use super::endpoint::{Element, Endpoint, EndpointMembers, Payload};
use super::member::{Integer, List, Member, Shape, objects, skip_seq};
use super::patient::{HumanName, PatientMembers};
use super::series::{Fault, SeriesList, check};
use super::{MOST_RESOURCES, MOST_STUDIES};

/// A Bundle, R4 or R5, of any type.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Bundle {
    pub(super) resource_type: Member<Box<str>>,
    pub(super) identifier: List<Identifier>,
    pub(super) entry: Member<Entries>,
    /// Whether the document is no Bundle, but its only study.
    #[serde(skip)]
    pub(super) is_lone_study: bool,
}

/// The entries of a Bundle by kind, up to the first fault, without resources of other types.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) studies: Vec<Entry<Box<ImagingStudy>>>,
    pub(super) endpoints: Vec<Entry<Endpoint>>,
    pub(super) patients: Vec<Entry<PatientMembers>>,
    pub(super) orders: Vec<Entry<Order>>,
    pub(super) practitioners: Vec<Entry<Practitioner>>,
    pub(super) fault: Option<Fault>,
    /// Whether some entries or resources are unreadable.
    pub(super) is_malformed: bool,
    series: usize,
    instances: usize,
}

/// A resource, with the names that references use for it.
#[derive(Debug)]
pub(super) struct Entry<T> {
    /// The index in the Bundle, from 0.
    pub(super) position: usize,
    pub(super) full_url: Option<Box<str>>,
    pub(super) id: Option<Box<str>>,
    pub(super) resource: T,
}

/// A resource of one of the types that manifests use.
#[derive(Debug)]
pub(super) struct Resource {
    id: Option<Box<str>>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    ImagingStudy(Box<ImagingStudy>),
    Endpoint(Endpoint),
    Patient(PatientMembers),
    Order(Order),
    Practitioner(Practitioner),
}

/// An ImagingStudy, with the members of R4 and of R5.
#[derive(Debug, Default)]
pub(super) struct ImagingStudy {
    pub(super) contained: Entries,
    pub(super) extension: List<Extension>,
    pub(super) identifier: List<Identifier>,
    pub(super) subject: Member<Reference>,
    pub(super) based_on: List<Reference>,
    pub(super) referrer: Member<Reference>,
    pub(super) endpoint: List<Reference>,
    pub(super) modality: List<Concept>,
    pub(super) started: Member<Box<str>>,
    pub(super) description: Member<Box<str>>,
    pub(super) procedure_code: List<Concept>,
    pub(super) procedure: List<Concept>,
    pub(super) number_of_series: Member<Integer>,
    pub(super) number_of_instances: Member<Integer>,
    pub(super) series: Member<SeriesList>,
}

/// A ServiceRequest.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) identifier: List<Identifier>,
}

/// A Practitioner.
#[derive(Debug)]
pub(super) struct Practitioner {
    pub(super) identifier: List<Identifier>,
    pub(super) name: List<HumanName>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct EntryMembers {
    full_url: Member<Box<str>>,
    resource: Member<Resource>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ResourceMembers {
    resource_type: Member<Box<str>>,
    id: Member<Box<str>>,
    contained: Member<ContainedResources>,
    identifier: List<Identifier>,
    extension: List<Extension>,
    // ImagingStudy
    subject: Member<Reference>,
    based_on: List<Reference>,
    referrer: Member<Reference>,
    endpoint: List<Reference>,
    modality: List<Concept>,
    started: Member<Box<str>>,
    description: Member<Box<str>>,
    procedure_code: List<Concept>,
    procedure: List<Concept>,
    number_of_series: Member<Integer>,
    number_of_instances: Member<Integer>,
    series: Member<SeriesList>,
    // Endpoint
    connection_type: List<Concept>,
    payload: List<Payload>,
    payload_mime_type: List<Box<str>>,
    address: Member<Box<str>>,
    #[serde(rename = "_address")]
    address_element: Member<Element>,
    // Patient
    name: List<HumanName>,
    gender: Member<Box<str>>,
    birth_date: Member<Box<str>>,
}

objects!(Bundle, EntryMembers, ResourceMembers);

impl Shape for Entries {
    fn from_seq<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<Member<Self>, A::Error> {
        let (mut entries, mut position) = (Self::default(), 0);
        while entries.fault.is_none() {
            let Some(item) = seq.next_element()? else {
                return Ok(Member::Present(entries));
            };
            if let Err(fault) = entries.read(item, position) {
                entries.fault = Some(fault);
            }
            position += 1;
        }
        skip_seq(seq)?;
        Ok(Member::Present(entries))
    }
}

/// The resources contained in another one, except studies, which do not belong there.
struct ContainedResources(Entries);

impl Shape for ContainedResources {
    fn from_seq<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<Member<Self>, A::Error> {
        let mut entries = Entries::default();
        while let Some(item) = seq.next_element::<Member<Resource>>()? {
            if let Some(resource) = item.present().filter(Resource::is_containable)
                && entries.check().is_ok()
            {
                entries.add(resource, None, 0);
            }
        }
        Ok(Member::Present(Self(entries)))
    }
}

impl Bundle {
    /// A Bundle of one study, which came without one.
    pub(super) fn of_study(study: Resource) -> Self {
        let mut entries = Entries::default();
        entries.fault = entries.count(&study).err();
        entries.add(study, None, 0);
        Self {
            entry: Member::Present(entries),
            is_lone_study: true,
            ..Self::default()
        }
    }
}

impl Resource {
    fn is_containable(&self) -> bool {
        match self.kind {
            Kind::ImagingStudy(_) => false,
            Kind::Endpoint(_) | Kind::Patient(_) | Kind::Order(_) | Kind::Practitioner(_) => true,
        }
    }
}

impl Entries {
    fn read(&mut self, item: Member<EntryMembers>, position: usize) -> Result<(), Fault> {
        self.is_malformed |= item.is_malformed();
        let EntryMembers { full_url, resource } = item.present().unwrap_or_default();
        self.is_malformed |= resource.is_malformed();
        if let Some(resource) = resource.present() {
            self.count(&resource)?;
            self.add(resource, full_url.present(), position);
        }
        self.check()
    }

    fn count(&mut self, resource: &Resource) -> Result<(), Fault> {
        if let Kind::ImagingStudy(study) = &resource.kind {
            let (series, instances) = study.size();
            self.series += series;
            self.instances += instances;
        }
        check(self.series, self.instances)
    }

    fn add(&mut self, resource: Resource, full_url: Option<Box<str>>, position: usize) {
        let Resource { id, kind } = resource;
        match kind {
            Kind::ImagingStudy(resource) => self.studies.push(Entry {
                position,
                full_url,
                id,
                resource,
            }),
            Kind::Endpoint(resource) => self.endpoints.push(Entry {
                position,
                full_url,
                id,
                resource,
            }),
            Kind::Patient(resource) => self.patients.push(Entry {
                position,
                full_url,
                id,
                resource,
            }),
            Kind::Order(resource) => self.orders.push(Entry {
                position,
                full_url,
                id,
                resource,
            }),
            Kind::Practitioner(resource) => self.practitioners.push(Entry {
                position,
                full_url,
                id,
                resource,
            }),
        }
    }

    fn check(&self) -> Result<(), Fault> {
        let people = self.patients.len() + self.practitioners.len();
        if self.studies.len() > MOST_STUDIES {
            Err(Fault::TooLarge { what: "studies" })
        } else if self.endpoints.len() + people + self.orders.len() > MOST_RESOURCES {
            Err(Fault::TooLarge { what: "resources" })
        } else {
            Ok(())
        }
    }
}

impl ImagingStudy {
    /// The numbers of listed series and instances.
    pub(super) fn size(&self) -> (usize, usize) {
        self.series
            .as_ref()
            .map_or((0, 0), |series| (series.list.len(), series.instances))
    }

    /// Whether a member has a form that only R5 knows.
    pub(super) fn is_r5(&self) -> bool {
        let series = self.series.as_ref();
        self.modality.items.iter().any(|code| code.is_codeable)
            || series.is_some_and(SeriesList::is_r5)
            || !self.procedure.items.is_empty()
    }
}

impl Shape for Resource {
    fn from_map<'de, A: MapAccess<'de>>(map: A) -> Result<Member<Self>, A::Error> {
        Ok(ResourceMembers::from_map(map)?.and_then(ResourceMembers::resource))
    }
}

impl ResourceMembers {
    fn resource(mut self) -> Member<Resource> {
        let Some(resource_type) = std::mem::take(&mut self.resource_type).present() else {
            return Member::Malformed;
        };
        let id = std::mem::take(&mut self.id).present();
        let kind = match &*resource_type {
            "ImagingStudy" => Kind::ImagingStudy(Box::new(self.imaging_study())),
            "Endpoint" => Kind::Endpoint(self.endpoint()),
            "Patient" => Kind::Patient(self.patient()),
            "ServiceRequest" => Kind::Order(Order {
                identifier: self.identifier,
            }),
            "Practitioner" => Kind::Practitioner(Practitioner {
                identifier: self.identifier,
                name: self.name,
            }),
            _ => return Member::Absent,
        };
        Member::Present(Resource { id, kind })
    }

    fn imaging_study(self) -> ImagingStudy {
        ImagingStudy {
            contained: self
                .contained
                .present()
                .map_or_else(Entries::default, |contained| contained.0),
            extension: self.extension,
            identifier: self.identifier,
            subject: self.subject,
            based_on: self.based_on,
            referrer: self.referrer,
            endpoint: self.endpoint,
            modality: self.modality,
            started: self.started,
            description: self.description,
            procedure_code: self.procedure_code,
            procedure: self.procedure,
            number_of_series: self.number_of_series,
            number_of_instances: self.number_of_instances,
            series: self.series,
        }
    }

    fn endpoint(self) -> Endpoint {
        Endpoint::from(EndpointMembers {
            identifier: self.identifier,
            extension: self.extension,
            connection_type: self.connection_type,
            payload: self.payload,
            payload_mime_type: self.payload_mime_type,
            address: self.address,
            address_element: self.address_element,
        })
    }

    fn patient(self) -> PatientMembers {
        PatientMembers {
            identifier: self.identifier,
            name: self.name,
            gender: self.gender,
            birth_date: self.birth_date,
        }
    }
}
