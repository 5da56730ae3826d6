//! What a manifest selects: one model for every format it comes in.

mod model;

pub use model::{
    Accession, Code, Format, Generation, Instance, KeyObject, Location, Manifest, Patient,
    PatientId, Series, Study, Warning,
};
