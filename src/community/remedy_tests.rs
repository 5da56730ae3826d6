use serde::Deserialize;

use super::*;
use crate::community::{CommunitySettings, LocationSettings, Settings};

const HOME: &str = "1.3.6.1.4.1.99999.1";

/// Settings, and the community that a registration names.
#[derive(Clone)]
struct Situation {
    tables: String,
    initiating: bool,
    opaque: bool,
    url_alone: bool,
    community: Option<&'static str>,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    location: Vec<LocationSettings>,
    #[serde(default)]
    community: Vec<CommunitySettings>,
}

impl Situation {
    fn registry(&self) -> Registry {
        let file: File = toml::from_str(&self.tables).expect("settings");
        Registry::open(&Settings {
            home_community_id: &id(HOME),
            locations: &file.location,
            communities: &file.community,
            initiating: self.initiating,
            opaque_location_ids: self.opaque,
            retrieve_url_alone: self.url_alone,
        })
        .expect("a registry")
    }

    fn community(&self) -> Option<HomeCommunityId> {
        self.community.map(id)
    }

    /// The situation after a step.
    fn take(&mut self, step: &Step) {
        const THEIRS: &str = "1.2.99.9";
        let location = |key: &str, value: &str| {
            format!(
                "[[location]]\nalias = \"new\"\nwado_rs_url = \"http://127.0.0.1:7/rs/\"\n\
                 {key} = {value}\n"
            )
        };
        match step {
            Step::HomeCommunityId => self.community = Some(THEIRS),
            Step::Community(_) => {
                let theirs = self.community.unwrap_or(THEIRS);
                self.tables = gateway(theirs);
            }
            Step::GatewayUrl(theirs) => self.tables = gateway(theirs),
            Step::Initiating => self.initiating = true,
            Step::RetrieveUrlAlone => self.url_alone = true,
            Step::OpaqueLocationIds => self.opaque = true,
            Step::LocationUid(uid) => {
                self.tables += &location("retrieve_location_uid", &format!("{uid:?}"));
            }
            Step::RetrieveUrl(url) => {
                self.tables += &location("retrieve_urls", &format!("[{url:?}]"));
            }
            Step::AeTitle(title) => {
                self.tables += &location("retrieve_ae_titles", &format!("[{title:?}]"));
            }
        }
    }
}

fn id(text: &str) -> HomeCommunityId {
    HomeCommunityId::parse(text).expect("an OID")
}

fn gateway(id: &str) -> String {
    format!(
        "[[community]]\nalias = \"c{id}\"\nhome_community_id = \"{id}\"\n\
         gateway_url = \"http://127.0.0.1:8/wado-rs/\"\n"
    )
}

fn location(uid: &str, url: &str, title: &str) -> Location {
    let text = |text: &str| (!text.is_empty()).then(|| text.into());
    Location {
        retrieve_location_uid: RetrieveLocationUid::parse(uid).ok(),
        retrieve_url: text(url),
        retrieve_ae_title: text(title),
    }
}

fn situations() -> Vec<Situation> {
    let without_gateway = "[[community]]\nalias = \"bare\"\nhome_community_id = \"1.2.99.9\"\n";
    let tables = [String::new(), gateway("1.2.99.9"), without_gateway.into()];
    let mut all = Vec::new();
    for tables in tables {
        for switches in [0, 1, 7] {
            for community in [None, Some("1.2.99.9")] {
                all.push(Situation {
                    tables: tables.clone(),
                    initiating: switches & 1 > 0,
                    opaque: switches & 2 > 0,
                    url_alone: switches & 4 > 0,
                    community,
                });
            }
        }
    }
    all
}

#[test]
fn a_remedy_helps() {
    let mut helped = 0;
    for situation in situations() {
        let registry = situation.registry();
        for meant in [
            location("1.2.3", "", ""),
            location("ACME", "", ""),
            location("", "https://h.example/rs", ""),
            location("", "", "PACS"),
        ] {
            let meant = [meant];
            if registry
                .resolve(&meant, situation.community().as_ref())
                .is_some()
            {
                continue;
            }
            for remedy in registry.remedies(&meant, situation.community().as_ref()) {
                if remedy.owner == Owner::Nobody {
                    continue;
                }
                let mut after = situation.clone();
                remedy.steps.iter().for_each(|step| after.take(step));
                let found = after.registry().resolve(&meant, after.community().as_ref());
                assert!(
                    found.is_some(),
                    "{meant:?} {remedy:?}\n{}",
                    situation.tables
                );
                helped += 1;
            }
        }
    }
    assert!(helped > 40, "{helped}");
}

#[test]
fn without_a_location_only_the_sender_can_help() {
    for situation in situations() {
        let registry = situation.registry();
        for meant in [vec![], vec![location("", "http://user@h.example/", "")]] {
            let remedies = registry.remedies(&meant, situation.community().as_ref());
            let texts: Vec<_> = remedies.iter().map(ToString::to_string).collect();
            assert!(
                matches!(&texts[..], [text] if text.contains("in its manifest")),
                "{texts:?}"
            );
        }
    }
}

#[test]
fn only_the_detailed_text_has_values_of_the_manifest() {
    let situation = &situations()[1];
    let meant = [
        location("1.2.3", "", ""),
        location("", "https://h.example/rs", ""),
    ];
    let remedies = situation.registry().remedies(&meant, None);
    assert_eq!(remedies.len(), 4);
    let join = |text: fn(&Remedy) -> String| remedies.iter().map(text).collect::<String>();
    let (plain, detailed) = (join(Remedy::to_string), join(Remedy::detailed));
    assert!(
        !plain.contains("1.2.3") && !plain.contains("h.example"),
        "{plain}"
    );
    assert!(
        detailed.contains("retrieve_location_uid = \"1.2.3\""),
        "{detailed}"
    );
    assert!(detailed.contains("\"https://h.example/rs/\""), "{detailed}");
}
