//! A slow line between two gateways of our kind: what crosses it is what a viewer asks for. The
//! tests count requests and bytes, not times.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::rig::detour::Detour;
use crate::rig::origin::{Origin, Reply};
use crate::rig::pixels::{number, study};
use crate::rig::study::{EXPLICIT, Study, location_uid, long, text};
use crate::rig::{AS_STORED, Answer, HERE, Rig, rad_160};

const THERE: &str = "1.3.6.1.4.1.99999.2";
const SIDE: usize = 256;
const PIXELS: usize = SIDE * SIDE;
const JSON: (&str, &str) = ("accept", "application/dicom+json");
const JPEG: (&str, &str) = ("accept", "image/jpeg");
const FRAMES: (&str, &str) = (
    "accept",
    "multipart/related; type=\"application/octet-stream\"; transfer-syntax=*",
);

/// An image of 64 KiB.
fn image(grey: u8) -> Vec<u8> {
    let side = u16::try_from(SIDE).expect("16 bits");
    [
        number(0x0028_0002, 1),
        text(0x0028_0004, b"CS", "MONOCHROME2"),
        number(0x0028_0010, side),
        number(0x0028_0011, side),
        number(0x0028_0100, 8),
        number(0x0028_0101, 8),
        number(0x0028_0103, 0),
        long(0x0029_1001, b"OB", &[grey; 5000]),
        long(0x7FE0_0010, b"OW", &vec![grey; PIXELS]),
    ]
    .concat()
}

/// A viewer's gateway, and that of the community that has the images.
struct Border {
    here: Rig,
    there: Rig,
    line: Detour,
    origin: Origin,
    study: Study,
    root: String,
}

impl Border {
    async fn new(instances: u8) -> Self {
        let images: Vec<_> = (0..instances).map(|at| (EXPLICIT, image(at))).collect();
        Self::with("offers = \"auto\"", study(&images)).await
    }

    /// A border with these settings of the other community.
    async fn with(of_there: &str, study: Study) -> Self {
        let origin = Origin::of(&study).await;
        let there = Rig::start_as(THERE, &origin.location(10));
        let line = Detour::slow(Duration::from_millis(5)).await;
        line.leads_to(there.public);
        let here = Rig::start(&format!(
            "[[community]]\nhome_community_id = \"{THERE}\"\n\
             gateway_url = \"http://{}/wado-rs/\"\nretrieve_location_uids = [\"{}\"]\n{of_there}\n",
            line.address,
            location_uid(10),
        ));
        let root = here.register(study.fhir()).await.root;
        let border = Self {
            here,
            there,
            line,
            origin,
            study,
            root,
        };
        border.is_told().await;
        border
    }

    /// Waits for what the other gateway tells.
    async fn is_told(&self) {
        let told = async {
            while !self.asked().iter().any(|line| line.starts_with("OPTIONS")) {
                sleep(Duration::from_millis(5)).await;
            }
            sleep(Duration::from_millis(200)).await;
        };
        timeout(Duration::from_secs(30), told)
            .await
            .expect("it is asked");
    }

    async fn get(&self, path: &str, accept: (&str, &str)) -> Answer {
        let answer = self
            .here
            .get(&format!("{}{path}", self.root), &[accept])
            .await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert!(answer.is_whole(), "{path}");
        answer
    }

    /// Something of the instance with this number.
    async fn of(&self, number: usize, rest: &str, accept: (&str, &str)) -> Answer {
        let path = self.study.instances()[number].path();
        self.get(&format!("{path}/{rest}"), accept).await
    }

    /// The requests that crossed: method and path.
    fn asked(&self) -> Vec<String> {
        let heads = self.line.heads().into_iter();
        heads.map(|head| head.line).collect()
    }

    /// The same without questions for what is offered.
    fn retrieved(&self) -> Vec<String> {
        let mut asked = self.asked();
        asked.retain(|line| line.starts_with("GET"));
        asked
    }
}

/// The metadata of a series, by SOP Instance UID, without the addresses of their gateway.
fn by_uid(answer: &Answer, root: &str) -> Vec<Value> {
    let text = answer.text().replace(root, "");
    let all: Vec<Value> = serde_json::from_str(&text).expect("an array");
    let mut all = all;
    all.sort_by_key(|one| one["00080018"]["Value"][0].to_string());
    all
}

#[tokio::test]
async fn metadata_of_a_series_cross_without_its_pixels() {
    let border = Border::new(50).await;
    let path = format!("{}/metadata", border.study.series_path(0));
    let before = border.line.crossed();
    let answer = border.get(&path, JSON).await;
    let crossed = border.line.crossed() - before;
    assert!(crossed < PIXELS as u64 * 2, "{crossed} bytes");
    assert_eq!(border.retrieved().len(), 1, "{:?}", border.asked());
    // They are what they would be if they were made here.
    let alone = Rig::start(&border.origin.location(10));
    let root = alone.register(border.study.fhir()).await.root;
    let derived = alone.get(&format!("{root}{path}"), &[JSON]).await;
    let ours = |rig: &Rig, root: &str| format!("http://{}{root}", rig.public);
    assert_eq!(
        by_uid(&answer, &ours(&border.here, &border.root)),
        by_uid(&derived, &ours(&alone, &root))
    );
    // A link in them leads to the value, which crosses alone.
    let before = border.line.crossed();
    let value = border.of(7, "bulkdata/00291001", ("accept", "*/*")).await;
    assert_eq!(value.body, vec![7; 5000]);
    let crossed = border.line.crossed() - before;
    assert!(crossed < 10_000, "{crossed} bytes");
}

#[tokio::test]
async fn the_first_picture_of_a_cold_series_crosses_as_one_picture() {
    for rest in [
        "rendered",
        "thumbnail",
        "frames/1/rendered",
        "rendered?viewport=32,32",
    ] {
        let border = Border::new(20).await;
        let before = border.line.crossed();
        let picture = border.of(3, rest, JPEG).await;
        assert_eq!(picture.field("content-type"), "image/jpeg", "{rest}");
        let crossed = border.line.crossed() - before;
        let most = picture.body.len() as u64 + 2000;
        assert!(crossed < most, "{rest}: {crossed} bytes");
        assert_eq!(border.retrieved().len(), 1, "{rest} {:?}", border.asked());
        // Another one is made of the instance, which is fetched, once.
        for _ in 0..2 {
            border.of(3, "rendered?window=1,2,linear", JPEG).await;
        }
        assert_eq!(border.retrieved().len(), 2, "{rest} {:?}", border.asked());
    }
}

#[tokio::test]
async fn the_thumbnail_of_a_series_and_a_frame_cross_alone() {
    let border = Border::new(20).await;
    let before = border.line.crossed();
    let path = format!("{}/thumbnail", border.study.series_path(0));
    let picture = border.get(&path, JPEG).await;
    let crossed = border.line.crossed() - before;
    assert!(
        crossed < picture.body.len() as u64 + 2000,
        "{crossed} bytes"
    );
    let frame = border.of(4, "frames/1", FRAMES).await;
    assert_eq!(frame.parts()[0].bytes, vec![4; PIXELS]);
    assert_eq!(border.retrieved().len(), 2, "{:?}", border.asked());
}

/// The settings of the other gateway or of this one can forbid it: then instances cross.
#[tokio::test]
async fn a_list_of_instances_only_is_obeyed() {
    let images = study(&vec![(EXPLICIT, image(1)); 4]);
    let origin = Origin::of(&images).await;
    let there = Rig::start_as(THERE, &origin.location(10));
    let here = Rig::start(&format!(
        "[[community]]\nhome_community_id = \"{THERE}\"\n\
         gateway_url = \"http://{}/wado-rs/\"\nretrieve_location_uids = [\"{}\"]\n",
        there.public,
        location_uid(10),
    ));
    let root = here.register(images.fhir()).await.root;
    let path = format!("{root}{}/metadata", images.series_path(0));
    let answer = here.get(&path, &[JSON]).await;
    assert_eq!(answer.json().as_array().map(Vec::len), Some(4));
    let is_of_instances = |path: &String| !path.contains("/metadata");
    assert!(origin.paths().iter().all(is_of_instances));
}

#[tokio::test]
async fn a_gateway_tells_what_it_offers_of_its_own_locations() {
    let border = Border::new(2).await;
    let ask = async |rig: &Rig, path: &str| rig.ask(Method::OPTIONS, path, &[], Bytes::new()).await;
    let series = border.study.series_path(0);
    let answer = ask(&border.there, &rad_160(THERE, &location_uid(10), &series)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.field("allow"), "GET, HEAD, OPTIONS");
    let told = answer.json();
    let offers = ["instances", "metadata", "frames", "rendered", "bulkdata"];
    assert_eq!(told["offers"], serde_json::json!(offers));
    let resources = told["resources"].as_array().expect("resources");
    // Each of them is there.
    let one = &border.study.instances()[1];
    for resource in resources {
        let path = resource["path"].as_str().expect("a path");
        let path = path
            .replace("{study}", &one.study)
            .replace("{series}", &one.series)
            .replace("{instance}", &one.uid)
            .replace("{frames}", "1")
            .replace("{path}", "00291001");
        let path = rad_160(THERE, &location_uid(10), &path);
        let answer = border.there.get(&path, &[]).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    }
    for (community, location, status) in [(THERE, 77, 404), (HERE, 10, 204)] {
        let path = rad_160(community, &location_uid(location), &series);
        assert_eq!(ask(&border.there, &path).await.status, status);
    }
}

/// A gateway of another kind tells nothing, and refuses everything but instances.
#[tokio::test]
async fn a_gateway_of_another_kind_costs_one_try() {
    let images = study(&vec![(EXPLICIT, image(1)); 4]);
    let held = images.instances();
    let below = format!(
        "/wado-rs/homeCommunityId/{THERE}/RetrieveLocationUID/{}/",
        location_uid(10)
    );
    let root = below.clone();
    let other = Origin::start(move |asked| match asked.method.as_str() {
        "OPTIONS" => Reply::status(405),
        _ if asked.path.contains("/metadata") => Reply::status(501),
        _ => crate::rig::origin::honest_below(&root, &held, asked),
    })
    .await;
    let here = Rig::start(&format!(
        "[[community]]\nhome_community_id = \"{THERE}\"\noffers = \"auto\"\n\
         gateway_url = \"http://{}/wado-rs/\"\nretrieve_location_uids = [\"{}\"]\n",
        other.address,
        location_uid(10),
    ));
    let root = here.register(images.fhir()).await.root;
    for one in images.instances() {
        let path = format!("{root}{}/metadata", one.path());
        assert_eq!(here.get(&path, &[JSON]).await.status, 200);
    }
    let count = |part: &str| {
        let paths = other.paths().into_iter();
        paths.filter(|path| path.contains(part)).count()
    };
    assert_eq!(count("/metadata"), 1, "{:?}", other.paths());
    let series = format!("{root}{}", images.series_path(0));
    assert_eq!(here.get(&series, &[AS_STORED]).await.status, 200);
}

/// What a viewer asks for in vain costs nothing that others have.
#[tokio::test]
async fn a_partner_that_offers_something_may_refuse_an_object() {
    let border = Border::new(6).await;
    let path = border.study.instances()[0].path();
    let path = format!("{}{path}/frames/9", border.root);
    assert_eq!(border.here.get(&path, &[FRAMES]).await.status, 404);
    let before = border.line.crossed();
    let picture = border.of(3, "rendered", JPEG).await;
    let frame = border.of(4, "frames/1", FRAMES).await;
    assert_eq!(frame.parts()[0].bytes, vec![4; PIXELS]);
    let crossed = border.line.crossed() - before;
    let most = (picture.body.len() + PIXELS) as u64 + 3000;
    assert!(crossed < most, "{crossed} bytes");
    let asked = border.retrieved();
    assert!(asked[asked.len() - 1].contains("/frames/1"), "{asked:?}");
}
