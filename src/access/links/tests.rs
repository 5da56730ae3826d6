use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::dicom::SeriesInstanceUid;
use crate::manifest::Owner;

const NOW: u64 = 1000;

fn terms() -> LinkTerms {
    LinkTerms {
        manifest: Id::from_random([7; 16]),
        series: vec![SeriesInstanceUid::parse("1.2").expect("a UID")],
        purpose: Some("TREAT".into()),
        made: NOW,
        expires: NOW + 60,
        uses: None,
        has_code: false,
        owner: Some(Owner([3; 16])),
    }
}

fn client(last: u8) -> Client {
    Client::at([192, 0, 2, last].into())
}

fn is_open(links: &Links, token: &str, who: u8, now: u64) -> bool {
    match links.enter(token, client(who), now) {
        Entry::First(grant) => {
            links.note(&grant);
            true
        }
        Entry::Open(_) => true,
        Entry::Locked | Entry::None => false,
    }
}

fn open(directory: &tempfile::TempDir) -> Links {
    Links::open(&directory.path().join("links"), NOW).expect("links")
}

#[test]
fn a_link_opens_until_it_expires_also_after_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let links = open(&directory);
    let link = links.make(terms(), NOW).expect("a link");
    assert_eq!(link.token.len(), 43);
    for links in [links, open(&directory)] {
        assert!(is_open(&links, &link.token, 1, NOW + 59));
        assert!(!is_open(&links, &link.token, 1, NOW + 60));
        let Entry::Open(grant) = links.enter(&link.token, client(1), NOW) else {
            panic!("it is open");
        };
        assert_eq!(grant.manifest, terms().manifest);
        assert_eq!((grant.series.len(), grant.owner), (1, terms().owner));
        assert_eq!(links.of_manifest(terms().manifest, NOW).len(), 1);
    }
}

#[test]
fn nothing_that_is_stored_opens_a_link() {
    let directory = tempfile::tempdir().expect("a directory");
    let links = open(&directory);
    let terms = LinkTerms {
        has_code: true,
        ..terms()
    };
    let link = links.make(terms, NOW).expect("a link");
    let folder = directory.path().join("links");
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for entry in fs::read_dir(&folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        assert_eq!(mode(&path), 0o600);
        let text = fs::read_to_string(&path).expect("text");
        assert!(!text.contains(&link.token));
        assert!(!text.contains(link.code.as_deref().expect("a code")));
    }
    let debug = format!("{link:?} {:?}", link.grant);
    assert!(!debug.contains(&link.token));
}

#[test]
fn other_texts_open_nothing() {
    let links = Links::default();
    let token = links.make(terms(), NOW).expect("a link").token;
    let mut other = token.clone().into_bytes();
    other[0] = if other[0] == b'A' { b'B' } else { b'A' };
    let other = String::from_utf8(other).expect("text");
    for wrong in [
        "",
        "A",
        &token[1..],
        &format!("{token}A"),
        &format!("{token}="),
        &other,
    ] {
        assert!(!is_open(&links, wrong, 1, NOW), "{wrong}");
    }
}

#[test]
fn as_many_clients_as_it_has_uses_may_use_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let links = open(&directory);
    let terms = LinkTerms {
        uses: Some(2),
        ..terms()
    };
    let token = links.make(terms, NOW).expect("a link").token;
    for (who, expected) in [(1, true), (1, true), (2, true), (3, false), (1, true)] {
        assert_eq!(is_open(&links, &token, who, NOW), expected, "{who}");
    }
    let again = open(&directory);
    for (who, expected) in [(3, false), (2, true), (1, true)] {
        assert_eq!(is_open(&again, &token, who, NOW), expected, "{who}");
    }
}

#[test]
fn a_code_unlocks_once_and_cannot_be_guessed() {
    let directory = tempfile::tempdir().expect("a directory");
    let links = open(&directory);
    let locked = || {
        let terms = LinkTerms {
            has_code: true,
            ..terms()
        };
        let link = links.make(terms, NOW).expect("a link");
        (link.token, link.code.expect("a code"))
    };
    let (token, code) = locked();
    assert!(matches!(links.enter(&token, client(1), NOW), Entry::Locked));
    assert_eq!(links.unlock(&token, "wrong", NOW), Unlocking::Refused);
    assert_eq!(links.unlock(&token, &code, NOW), Unlocking::Unlocked);
    assert!(is_open(&links, &token, 1, NOW) && is_open(&open(&directory), &token, 1, NOW));
    let (token, code) = locked();
    for _ in 0..4 {
        assert_eq!(links.unlock(&token, "00", NOW), Unlocking::Refused);
    }
    assert_eq!(links.unlock(&token, "00", NOW), Unlocking::Exhausted);
    assert_eq!(links.unlock(&token, &code, NOW), Unlocking::Refused);
    assert!(matches!(links.enter(&token, client(1), NOW), Entry::None));
    assert!(matches!(
        open(&directory).enter(&token, client(1), NOW),
        Entry::None
    ));
}

#[test]
fn a_revoked_link_is_gone_and_whoever_reads_by_it_learns_of_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let links = open(&directory);
    let (kept, gone) = (links.make(terms(), NOW), links.make(terms(), NOW));
    let (kept, gone) = (kept.expect("a link"), gone.expect("a link"));
    let manifest = terms().manifest;
    assert!(
        !links
            .revoke(Id::from_random([8; 16]), gone.grant.id)
            .expect("removed")
    );
    assert!(links.revoke(manifest, gone.grant.id).expect("removed"));
    assert!(!links.revoke(manifest, gone.grant.id).expect("removed"));
    assert!(gone.grant.revoked.is_cancelled() && !kept.grant.revoked.is_cancelled());
    links.note(&gone.grant);
    for links in [&links, &open(&directory)] {
        assert!(!is_open(links, &gone.token, 1, NOW));
        assert!(is_open(links, &kept.token, 1, NOW));
    }
    assert!(links.revoke_of_manifest(manifest).expect("removed"));
    assert!(!is_open(&open(&directory), &kept.token, 1, NOW));
}

#[test]
fn the_links_of_a_manifest_are_bounded_and_expired_ones_do_not_count() {
    let links = Links::default();
    for _ in 0..MOST_OF_MANIFEST {
        links.make(terms(), NOW).expect("a link");
    }
    assert!(matches!(links.make(terms(), NOW), Err(Error::TooMany)));
    assert!(links.make(terms(), NOW + 60).is_ok());
}

#[test]
fn a_damaged_file_opens_nothing_and_is_no_obstacle() {
    let directory = tempfile::tempdir().expect("a directory");
    let links = open(&directory);
    let link = links.make(terms(), NOW).expect("a link");
    let path = directory
        .path()
        .join("links")
        .join(format!("{}.link", link.grant.id));
    for damage in ["", "{}", "{\"manifest\": 1}"] {
        fs::write(&path, damage).expect("written");
        assert!(!is_open(&open(&directory), &link.token, 1, NOW), "{damage}");
    }
}
