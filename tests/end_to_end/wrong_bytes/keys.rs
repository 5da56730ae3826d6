//! Cache keys name the source itself, not its position or alias in the settings.

use std::path::Path;

use bytes::Bytes;

use crate::rig::origin::Origin;
use crate::rig::study::{EXPLICIT, Study, at, location_uid};
use crate::rig::{AS_STORED, Registered, Rig, rad_160, sorted};

const THERE: &str = "1.3.6.1.4.1.99999.2";

/// A study, and the same UIDs with other pixels.
fn twins(last: u32) -> (Study, Study) {
    let one = Study::new(1).with_series(at(last), vec![(EXPLICIT, 5000); 3]);
    let mut other = one.clone();
    for instance in &mut other.series[0].instances {
        let mut bytes = instance.bytes.to_vec();
        let length = bytes.len();
        bytes[length - 4000..]
            .iter_mut()
            .for_each(|byte| *byte ^= 0x55);
        instance.bytes = bytes.into();
    }
    (one, other)
}

fn location(alias: &str, last: u32, origin: &Origin) -> String {
    let uid = location_uid(last);
    format!(
        "[[location]]\nalias = {alias:?}\nretrieve_location_uid = {uid:?}\nwado_rs_url = {:?}\n",
        origin.url()
    )
}

/// What a gateway with these settings gives of a study, once it has been written to disk.
async fn given(directory: &Path, settings: &str, study: &Study) -> Vec<Bytes> {
    let rig = Rig::start_in(directory, settings);
    // One study at two places is a conflict, which does not matter below a manifest's own root.
    let registering = rig.post("/manifests?conflict=keep_first", &[], study.fhir());
    let root = Registered::of(&registering.await).root;
    let path = format!("{root}{}", study.path());
    let given = sorted(rig.get(&path, &[AS_STORED]).await.instances());
    settle(&rig, 3).await;
    rig.stopped().await;
    given
}

async fn settle(rig: &Rig, least: u32) {
    let entries = r#"xcwado_cache_entries{tier="disk"}"#;
    while rig.metric(entries).await < f64::from(least) {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn tables_that_change_places_do_not_change_what_is_given() {
    let (here, there) = (twins(10).0, twins(11).1);
    let (one, other) = (Origin::of(&here).await, Origin::of(&there).await);
    let directory = tempfile::tempdir().expect("a directory");
    let both = [location("a", 10, &one), location("b", 11, &other)];
    for settings in [both.concat(), [&*both[1], &*both[0]].concat()] {
        assert!(given(directory.path(), &settings, &here).await == sorted(here.bytes()));
        assert!(given(directory.path(), &settings, &there).await == sorted(there.bytes()));
    }
    // And what is kept stays kept.
    assert_eq!((one.asked().len(), other.asked().len()), (1, 1));
}

#[tokio::test]
async fn a_name_that_is_pointed_at_another_server_gives_what_that_has() {
    let (before, after) = twins(10);
    let (one, other) = (Origin::of(&before).await, Origin::of(&after).await);
    let directory = tempfile::tempdir().expect("a directory");
    let at_one = location("pacs", 10, &one);
    assert!(given(directory.path(), &at_one, &before).await == sorted(before.bytes()));
    let at_other = location("pacs", 10, &other);
    assert!(given(directory.path(), &at_other, &after).await == sorted(after.bytes()));
    assert_eq!(other.asked().len(), 1);
    // What had come from the first one was forgotten.
    assert!(given(directory.path(), &at_one, &before).await == sorted(before.bytes()));
    assert_eq!(one.asked().len(), 2);
}

#[tokio::test]
async fn another_name_or_another_way_to_the_same_server_forgets_nothing() {
    let study = twins(10).0;
    let origin = Origin::of(&study).await;
    let directory = tempfile::tempdir().expect("a directory");
    let plain = location("pacs", 10, &origin);
    let renamed = location("archive", 10, &origin);
    let more = format!("{plain}more_wado_rs_urls = [\"http://127.0.0.1:9/rs/\"]\n");
    for settings in [plain, renamed, more] {
        assert!(given(directory.path(), &settings, &study).await == sorted(study.bytes()));
    }
    assert_eq!(origin.asked().len(), 1);
}

#[tokio::test]
async fn what_a_community_gave_is_forgotten_when_its_gateway_is_another_one() {
    let (before, after) = twins(10);
    let directory = tempfile::tempdir().expect("a directory");
    let held = |study: &Study| {
        let held = study.instances();
        Origin::start(move |asked| {
            let root = rad_160(THERE, &location_uid(10), "");
            crate::rig::origin::honest_below(&root, &held, asked)
        })
    };
    let (one, other) = (held(&before).await, held(&after).await);
    for (origin, study) in [(&one, &before), (&other, &after)] {
        let settings = format!(
            "[[community]]\nalias = \"b\"\nhome_community_id = \"{THERE}\"\n\
             gateway_url = \"http://{}/wado-rs/\"\nretrieve_location_uids = [{:?}]\n",
            origin.address,
            location_uid(10)
        );
        assert!(given(directory.path(), &settings, study).await == sorted(study.bytes()));
    }
}
