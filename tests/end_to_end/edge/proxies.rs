//! Trusted and other proxies in front of the gateway.

use crate::rig::origin::Origin;
use crate::rig::study::{Study, at};
use crate::rig::{Answer, Rig};

const FIELDS: [(&str, &str); 1] = [(
    "forwarded",
    "for=1.1.1.1;host=evil.example, for=203.0.113.9;proto=https;host=pacs.example",
)];

async fn asked(settings: &str, fields: &[(&str, &str)]) -> [Answer; 3] {
    let study = Study::new(1).with(2, at(10));
    let origin = Origin::of(&study).await;
    let rig = Rig::start(&format!("{}{settings}", origin.location(10)));
    let manifest = rig.register(study.fhir()).await;
    let root = &manifest.root;
    let summary = root.trim_end_matches("/dicomweb/");
    [
        rig.get(&format!("{root}studies"), fields).await,
        rig.get(&format!("{root}{}/metadata", study.path()), fields)
            .await,
        rig.get(summary, fields).await,
    ]
}

#[tokio::test]
async fn links_are_what_a_trusted_proxy_says_that_clients_see() {
    for answer in asked("[listen]\nproxies = [\"127.0.0.0/8\"]\n", &FIELDS).await {
        let text = answer.text();
        assert!(text.contains("https://pacs.example/manifests/"), "{text}");
        assert!(
            !text.contains("127.0.0.1") && !text.contains("evil"),
            "{text}"
        );
    }
    let older = [
        ("x-forwarded-proto", "https"),
        ("x-forwarded-prefix", "/imaging"),
    ];
    for answer in asked("[listen]\nproxies = [\"127.0.0.1\"]\n", &older).await {
        assert!(answer.text().contains("https://127.0.0.1:"), "{answer:?}");
        assert!(answer.text().contains("/imaging/manifests/"), "{answer:?}");
    }
}

#[tokio::test]
async fn nobody_else_is_believed() {
    for settings in ["", "[listen]\nproxies = [\"192.0.2.0/24\"]\n"] {
        for answer in asked(settings, &FIELDS).await {
            let text = answer.text();
            assert!(text.contains("http://127.0.0.1:"), "{text}");
            assert!(!text.contains("example/manifests"), "{text}");
        }
    }
}
