use super::*;
use crate::ihe::HomeCommunityId;
use http::HeaderValue;

const FINGERPRINT: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn community(last: u32) -> CommunitySettings {
    let id = HomeCommunityId::parse(&format!("1.2.{last}")).expect("an OID");
    CommunitySettings {
        position: last as usize,
        ..CommunitySettings::new(id)
    }
}

fn named(last: u32, name: &str) -> CommunitySettings {
    CommunitySettings {
        certificate_names: vec![Name::parse(name).expect("a name")],
        ..community(last)
    }
}

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn peer(door: Door, names: &[&str]) -> Peer {
    let names = names.iter().map(|name| Name::parse(name).expect("a name"));
    let certificate = Certificate {
        fingerprint: Fingerprint::parse(FINGERPRINT).expect("a fingerprint"),
        names: names.collect(),
        not_before: 0,
        not_after: i64::MAX,
    };
    Peer {
        door,
        address: HERE,
        certificate: Some(Arc::new(certificate)),
        ours: None,
    }
}

fn who(access: &Access, peer: &Peer) -> Result<String, Error> {
    let caller = identify(access, peer, &HeaderMap::new())?;
    Ok(match caller {
        Caller::Member { with_certificate } => format!("member {with_certificate}"),
        Caller::Partner(partner) => partner.alias.clone(),
        Caller::Subject(_) | Caller::Link(_) => unreachable!("nobody sends a token"),
    })
}

fn identify(access: &Access, peer: &Peer, headers: &HeaderMap) -> Result<Caller, Error> {
    futures_util::FutureExt::now_or_never(access.identify(peer, headers)).expect("at once")
}

fn partners(communities: &[CommunitySettings]) -> Result<Access, Vec<Problem>> {
    Access::new(&Settings {
        communities,
        issuers: &[],
        login: None,
        rules: &[],
        public: None,
        gateways: None,
    })
}

#[test]
fn a_partner_is_known_by_an_exact_name() {
    let access = partners(&[named(0, "gateway.b.example")]).expect("partners");
    for door in [Door::Public, Door::Gateway] {
        let exact = who(&access, &peer(door, &["x.example", "gateway.b.example"]));
        assert_eq!(exact, Ok("community-1".into()));
    }
    for other in [
        "*.b.example",
        "a.gateway.b.example",
        "b.example",
        "gateway.b.example.evil.example",
        "urn:gateway.b.example",
    ] {
        let refused = who(&access, &peer(Door::Gateway, &[other]));
        assert_eq!(refused, Err(Error::NotListed), "{other}");
    }
}

#[test]
fn a_partner_is_known_by_its_fingerprint() {
    let listed = CommunitySettings {
        certificate_fingerprints: vec![Fingerprint::parse(FINGERPRINT).expect("a fingerprint")],
        ..community(0)
    };
    let access = partners(&[listed]).expect("partners");
    let known = who(&access, &peer(Door::Gateway, &[]));
    assert_eq!(known, Ok("community-1".into()));
}

#[test]
fn whoever_is_no_partner_is_a_member_on_the_public_listener_only() {
    let access = partners(&[named(0, "gateway.b.example")]).expect("partners");
    let certified = who(&access, &peer(Door::Public, &["viewer.example"]));
    assert_eq!(certified, Ok("member true".into()));
    let anonymous = |door| Peer {
        door,
        address: HERE,
        certificate: None,
        ours: None,
    };
    assert_eq!(
        who(&access, &anonymous(Door::Public)),
        Ok("member false".into())
    );
    assert_eq!(
        who(&access, &anonymous(Door::Gateway)),
        Err(Error::NotListed)
    );
}

#[test]
fn a_certificate_of_two_communities_is_nobodys() {
    let access = partners(&[named(0, "one.example"), named(1, "two.example")]);
    let access = access.expect("partners");
    let both = who(
        &access,
        &peer(Door::Gateway, &["one.example", "two.example"]),
    );
    assert_eq!(both, Err(Error::NotListed));
}

#[test]
fn what_is_listed_twice_is_a_problem() {
    let twice = partners(&[named(0, "one.example"), named(1, "ONE.example")]);
    let problems = twice.expect_err("a problem");
    assert_eq!(
        problems[0].to_string(),
        "community[1].certificate_names: one.example is listed twice"
    );
}

#[test]
fn a_partner_with_a_token_needs_both() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("token");
    std::fs::write(&file, "secret").expect("written");
    let settings = CommunitySettings {
        their_token: Some(crate::credentials::TokenSource::File(file)),
        ..named(0, "gateway.b.example")
    };
    let access = partners(&[settings]).expect("partners");
    let partner = peer(Door::Gateway, &["gateway.b.example"]);
    let with = |value: &'static str| {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(value))]);
        identify(&access, &partner, &headers).map(|_caller| ())
    };
    assert_eq!(with("Bearer secret"), Ok(()));
    assert_eq!(with("Bearer other"), Err(Error::Token));
    assert_eq!(who(&access, &partner), Err(Error::Token));
    let stranger = peer(Door::Gateway, &["x.example"]);
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer secret"));
    assert_eq!(
        identify(&access, &stranger, &headers).err(),
        Some(Error::NotListed)
    );
    // Two of them: which one counts would be anybody's guess.
    headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer secret"));
    assert_eq!(
        identify(&access, &partner, &headers).err(),
        Some(Error::Token)
    );
}
