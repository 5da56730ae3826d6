//! A study of one series behind the gateway, from a source that serves instances only.

use bytes::Bytes;
use http::StatusCode;

use crate::rig::origin::Origin;
use crate::rig::pixels::study;
use crate::rig::study::Study;
use crate::rig::{Answer, Rig};

pub(super) const ANY_FRAME: (&str, &str) = (
    "accept",
    "multipart/related; type=application/octet-stream; transfer-syntax=*",
);

pub(super) struct Case {
    pub(super) rig: Rig,
    pub(super) origin: Origin,
    pub(super) study: Study,
    pub(super) root: String,
}

impl Case {
    pub(super) async fn of(instances: &[(&str, Vec<u8>)]) -> Self {
        let study = study(instances);
        let origin = Origin::of(&study).await;
        let rig = Rig::start(&origin.location(10));
        let root = rig.register(study.fhir()).await.root;
        Self {
            rig,
            origin,
            study,
            root,
        }
    }

    pub(super) async fn get(&self, instance: usize, rest: &str, fields: &[(&str, &str)]) -> Answer {
        let path = self.study.instances()[instance].path();
        self.rig
            .get(&format!("{}{path}/{rest}", self.root), fields)
            .await
    }

    /// Checks that the gateway refuses the request with this status and a problem document.
    pub(super) async fn is_refused(&self, instance: usize, rest: &str, status: u16) {
        let answer = self.get(instance, rest, &[]).await;
        assert_eq!(
            answer.status.as_u16(),
            status,
            "{instance} {rest}: {answer:?}"
        );
        assert!(!answer.problem().is_empty(), "{rest}");
    }

    /// The frames of an answer.
    pub(super) async fn frames(&self, instance: usize, list: &str) -> Vec<Bytes> {
        let answer = self
            .get(instance, &format!("frames/{list}"), &[ANY_FRAME])
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{list}: {answer:?}");
        let parts = answer.parts();
        parts.into_iter().map(|part| part.bytes).collect()
    }
}

pub(super) const OCTETS: (&str, &str) = (
    "accept",
    "multipart/related; type=\"application/octet-stream\"",
);

/// Width and height of a PNG.
pub(super) fn png_size(png: &[u8]) -> (u32, u32) {
    assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().expect("four bytes"));
    (number(16), number(20))
}

pub(super) const PNG: (&str, &str) = ("accept", "image/png");
