//! Addresses to which host names in settings may resolve. Resolution and refused ranges are tested
//! beside `source::resolver`, since a test has no host name of its own in an internal network.

use crate::rig::origin::Origin;
use crate::rig::program::check;
use crate::rig::study::{Study, at};
use crate::rig::{AS_STORED, Rig};

#[tokio::test]
async fn localhost_and_addresses_in_settings_are_meant_as_they_are() {
    let study = Study::new(1).with(2, at(10));
    let origin = Origin::of(&study).await;
    let by_address = origin.location(10);
    let by_name = by_address.replace("127.0.0.1", "localhost");
    for settings in [by_address, by_name] {
        let rig = Rig::start(&settings);
        let root = rig.register(study.fhir()).await.root;
        let answer = rig
            .get(&format!("{root}{}", study.path()), &[AS_STORED])
            .await;
        assert_eq!(answer.instances(), study.bytes());
    }
}

#[test]
fn networks_that_are_none_are_a_problem() {
    let location = "[[location]]\nwado_rs_url = \"http://127.0.0.1:9/rs/\"\n[location.http]\n";
    for (written, is_fine) in [
        (
            "allow_networks = [\"10.0.0.0/8\", \"fd00::/8\", \"192.168.1.2\"]",
            true,
        ),
        ("allow_networks = [\"10.0.0.0/33\"]", false),
        ("allow_networks = [\"pacs.example\"]", false),
    ] {
        let said = check(&format!("{location}{written}\n"));
        let is_told = said.contains("location[0].http.allow_networks");
        assert_eq!(is_told, !is_fine, "{said}");
    }
}

#[test]
fn a_token_in_clear_is_a_problem() {
    let said = check(
        "[[community]]\nhome_community_id = \"1.3.6.1.4.1.99999.2\"\n\
         gateway_url = \"http://127.0.0.1:9/wado-rs/\"\ntoken = { env = \"PATH\" }\n",
    );
    assert!(said.contains("community[0].token: "), "{said}");
    let said = check(
        "[[community]]\nhome_community_id = \"1.3.6.1.4.1.99999.2\"\n\
         their_token = { env = \"PATH\" }\n",
    );
    assert!(said.contains("community[0].their_token: "), "{said}");
}
