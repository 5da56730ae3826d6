//! Request loops between gateways.

use http::StatusCode;

use crate::rig::detour::Detour;
use crate::rig::origin::Origin;
use crate::rig::program::Program;
use crate::rig::study::{Study, at, location_uid};
use crate::rig::{AS_STORED, HERE, Rig, rad_160};

const THERE: &str = "1.3.6.1.4.1.99999.2";
/// A community that there is not.
const NOWHERE: &str = "1.3.6.1.4.1.99999.404";

fn community(id: &str, gateway: &str) -> String {
    format!(
        "[[community]]\nalias = \"of-{id}\"\nhome_community_id = \"{id}\"\ngateway_url = \"{gateway}/wado-rs/\"\n"
    )
}

#[tokio::test]
async fn a_gateway_that_leads_to_itself_says_so_at_once_and_once() {
    let detour = Detour::start().await;
    let url = format!("http://{}", detour.address);
    let mut program = Program::serve(&community(NOWHERE, &url)).await;
    detour.leads_to(program.public);
    let path = rad_160(NOWHERE, "1.2.3", "studies/1.2.3");
    let answer = program.get(&path, &[AS_STORED]).await;
    assert_eq!(answer.status, StatusCode::LOOP_DETECTED);
    answer.problem();
    assert_eq!(detour.heads().len(), 1);
    let events = "xcwado_security_events_total{event=\"loop\"}";
    assert_eq!(program.metric(events).await, 1.0);
    let is_event =
        |line: &serde_json::Value| line["target"] == "xcwado::security" && line["event"] == "loop";
    program.said(is_event).await;
    let events = program.log().into_iter().filter(is_event).count();
    assert_eq!(events, 1);
}

#[tokio::test]
async fn two_gateways_that_take_each_other_for_a_third_say_so_at_once_and_once() {
    let (to_a, to_b) = (Detour::start().await, Detour::start().await);
    let a = Rig::start(&community(NOWHERE, &format!("http://{}", to_b.address)));
    let b = Rig::start_as(
        THERE,
        &community(NOWHERE, &format!("http://{}", to_a.address)),
    );
    to_a.leads_to(a.public);
    to_b.leads_to(b.public);
    let path = rad_160(NOWHERE, "1.2.3", "studies/1.2.3");
    let answer = a.get(&path, &[AS_STORED]).await;
    assert_eq!(answer.status, StatusCode::LOOP_DETECTED);
    answer.problem();
    assert_eq!((to_a.heads().len(), to_b.heads().len()), (1, 1));
    let events = "xcwado_security_events_total{event=\"loop\"}";
    assert_eq!((a.metric(events).await, b.metric(events).await), (1.0, 0.0));
}

#[tokio::test]
async fn a_way_over_too_many_gateways_is_a_loop() {
    let study = Study::new(1).with(1, at(10));
    let source = Origin::of(&study).await;
    let rig = Rig::start(&source.location(10));
    let path = rad_160(HERE, &location_uid(10), &study.path());
    let way = |gateways: usize| {
        let names = (0..gateways).map(|at| format!("1.1 xcwado-{at:016x}"));
        names.collect::<Vec<_>>().join(", ")
    };
    let answer = rig.get(&path, &[AS_STORED, ("via", &way(8))]).await;
    assert_eq!(answer.status, StatusCode::LOOP_DETECTED);
    assert!(source.asked().is_empty());
    let answer = rig.get(&path, &[AS_STORED, ("via", &way(7))]).await;
    assert_eq!(answer.status, 200);
}
