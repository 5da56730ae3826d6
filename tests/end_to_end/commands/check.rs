//! `xcwado check`: problems of the settings and of sources.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

use crate::commands::process::{PROGRAM, Running, file, outcome, run, run_beside};
use crate::rig::authority::Authority;
use crate::rig::origin::{Origin, Reply};
use crate::rig::study::{Study, at};

#[test]
fn every_problem_of_the_settings_is_told_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = file(
        &directory,
        "config.toml",
        "public_url = \"ftp://x/\"\ncolour = \"blue\"\n[listen]\naddress = \"nowhere\"\ndrain_seconds = \"soon\"\n\
         [[location]]\nretrieve_location_uid = 5\nfolder = \"x\"\nhttp.conect_seconds = 1\n",
    );
    for name in ["serve", "check"] {
        let (code, output, errors) = run(&[name, "--config", &config]);
        assert_eq!((code, output.as_str()), (1, ""));
        for expected in [
            "home_community_id",
            "public_url",
            "colour",
            "listen.address",
            "listen.drain_seconds",
            "location[0].retrieve_location_uid",
            "location[0].http.conect_seconds",
        ] {
            assert!(errors.contains(expected), "{expected} in {errors}");
        }
    }
    let config = file(
        &directory,
        "locations.toml",
        "home_community_id = \"1.2\"\ncolour = \"blue\"\n\
         [[location]]\nretrieve_location_uid = 5\n\
         [[location]]\nretrieve_location_uid = \"1.2.3\"\nfolder = \"missing\"\n\
         [[location]]\nretrieve_location_uid = \"1.2.3\"\nwado_rs_url = \"ftp://x/\"\n\
         [[location]]\nretrieve_location_uid = \"ACME\"\nwado_rs_url = \"http://127.0.0.1:1/\"\nhttp.authorities = \"missing.pem\"\n\
         [[location]]\n",
    );
    for name in ["serve", "check"] {
        let (code, _, errors) = run(&[name, "--config", &config]);
        assert_eq!(code, 1);
        for expected in [
            "colour",
            "location[0].retrieve_location_uid",
            "location[1].folder",
            "location[2].retrieve_location_uid",
            "location[2].wado_rs_url",
            "location[3].retrieve_location_uid",
            "location[3].http",
            "missing.pem",
            "location[4]",
        ] {
            assert!(errors.contains(expected), "{expected} in {errors}");
        }
    }
}

#[tokio::test]
async fn check_tries_every_source() {
    let study = Study::new(1).with(2, at(10));
    let directory = tempfile::tempdir().expect("a directory");
    let folder = directory.path().join("images");
    fs::create_dir(&folder).expect("created");
    study.write(0, &folder);
    let origin = Origin::of(&study).await;
    let head =
        "home_community_id = \"1.2.3\"\n[[location]]\nalias = \"archive\"\nfolder = \"images\"\n";
    let fine = file(
        &directory,
        "fine.toml",
        format!("{head}{}", origin.location(10)),
    );
    let (code, output, errors) = outcome(&run_beside(&["check", "--config", &fine]).await);
    assert_eq!((code, errors.as_str()), (0, ""));
    for expected in [
        "archive",
        "folder",
        "ok, 2 instances",
        "origin-10",
        "wado-rs",
        &origin.url(),
    ] {
        assert!(output.contains(expected), "{expected} in {output}");
    }
    let failing = Origin::start(|_asked| Reply::status(500)).await;
    let bad = file(
        &directory,
        "bad.toml",
        format!("{head}{}", failing.location(10)),
    );
    let (code, output, errors) = outcome(&run_beside(&["check", "--config", &bad]).await);
    assert_eq!(code, 1, "{output}");
    assert!(
        output.contains("500") && errors.contains('1'),
        "{output} {errors}"
    );
}

#[tokio::test]
async fn check_tries_every_address_of_a_source() {
    let study = Study::new(1).with(1, at(10));
    let (fine, failing) = (
        Origin::of(&study).await,
        Origin::start(|_asked| Reply::status(500)).await,
    );
    let more = format!("more_wado_rs_urls = [{:?}]\n[location.http]", failing.url());
    let location = fine.location(10).replace("[location.http]", &more);
    let directory = tempfile::tempdir().expect("a directory");
    let settings = format!("home_community_id = \"1.2.3\"\n{location}");
    let config = file(&directory, "config.toml", settings);
    let (code, output, errors) = outcome(&run_beside(&["check", "--config", &config]).await);
    assert_eq!(code, 1, "{output} {errors}");
    let row = |origin: &Origin| output.lines().find(|line| line.contains(&origin.url()));
    assert!(row(&fine).expect("a row").contains("ok"), "{output}");
    assert!(row(&failing).expect("a row").contains("500"), "{output}");
}

/// What runs in the place of [`in_the_place_of_this_program`]: words, separated by line ends.
const WORDS: &str = "SANDBOX_WORDS";

#[test]
fn check_and_the_log_tell_how_decoders_are_confined() {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = "home_community_id = \"1.2\"\n\
                    [listen]\naddress = \"127.0.0.1:0\"\noperator_address = \"127.0.0.1:0\"\n";
    let config = file(&directory, "config.toml", settings);
    let both = "decoders are confined by seccomp and Landlock\n";
    let (code, output, errors) = run(&["check", "--config", &config]);
    assert_eq!((code, errors.as_str()), (0, ""));
    assert!(output.contains(both), "{output}");

    // A kernel, or a container, without both: no reason not to serve.
    let neither =
        "decoders are NOT CONFINED but by limits of memory, time and open files: no seccomp: ";
    let words = [PROGRAM, "check", "--config", &config];
    let (code, output, errors) = outcome(&without_means(&words).output().expect("it runs"));
    assert_eq!((code, errors.as_str()), (0, ""), "{output}");
    assert!(
        output.contains(neither) && output.contains("no Landlock: "),
        "{output}"
    );
    let mut serve = without_means(&[PROGRAM, "serve", "--config", &config]);
    serve.stdout(Stdio::null());
    let mut gateway = Running::on_stderr(serve);
    let log = gateway.until(neither);
    assert!(log.contains("WARN"), "{log}");
    gateway.end("-TERM");
}

/// A command in a process for which the kernel has neither seccomp nor Landlock.
fn without_means(words: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command
        .args(["--exact", "commands::check::in_the_place_of_this_program"])
        .arg("--nocapture")
        .env(WORDS, words.join("\n"))
        .env_remove("RUST_LOG");
    command
}

/// In a process that [`without_means`] starts; otherwise there is nothing to do.
#[test]
fn in_the_place_of_this_program() {
    let Ok(words) = std::env::var(WORDS) else {
        return;
    };
    let processor = std::env::consts::ARCH.try_into().expect("a processor");
    let calls = [libc::SYS_seccomp, libc::SYS_landlock_create_ruleset];
    let rules = calls.map(|call| (call, Vec::new())).into();
    let missing = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, missing, processor);
    let filter: BpfProgram = filter.and_then(TryInto::try_into).expect("a filter");
    apply_filter(&filter).expect("the test needs seccomp");
    let mut words = words.lines();
    let error = Command::new(words.next().expect("a program"))
        .args(words)
        .exec();
    panic!("{error}");
}

#[tokio::test]
async fn check_tells_the_age_of_revocation_lists() {
    let authority = Authority::new();
    let directory = tempfile::tempdir().expect("a directory");
    let listen = authority.issue("127.0.0.1").gateway_listen(&authority);
    let settings =
        format!("home_community_id = \"1.2.3\"\n{listen}revocation_lists = [\"partners.crl\"]\n");
    let config = file(&directory, "config.toml", settings);
    let revoked = authority.issue("b.example");
    for (days, code, valid) in [(30, 0, "until 20"), (-1, 1, "EXPIRED 20")] {
        file(
            &directory,
            "partners.crl",
            authority.revoke(&[&revoked], days),
        );
        let (found, output, errors) = outcome(&run_beside(&["check", "--config", &config]).await);
        assert_eq!(found, code, "{output} {errors}");
        let row = output.lines().find(|line| line.contains("partners.crl"));
        let row = row.expect("a row");
        for expected in ["gateway_listen", "5 days", valid] {
            assert!(row.contains(expected), "{expected} in {row}");
        }
    }
    file(&directory, "partners.crl", "rubbish");
    let (code, _output, errors) = outcome(&run_beside(&["check", "--config", &config]).await);
    assert_eq!(code, 1);
    assert!(errors.contains("partners.crl"), "{errors}");
}

#[tokio::test]
async fn check_tells_the_age_of_a_stapled_response() {
    let authority = Authority::new();
    let directory = tempfile::tempdir().expect("a directory");
    let issued = authority.issue("127.0.0.1");
    let listen = issued.gateway_listen(&authority);
    let settings =
        format!("home_community_id = \"1.2.3\"\n{listen}ocsp_response = \"gateway.ocsp\"\n");
    let config = file(&directory, "config.toml", settings);
    let other = authority.issue("127.0.0.1");
    for (response, code, expected) in [
        (authority.respond(&issued, false, 5), 0, "until 20"),
        (authority.respond(&issued, true, 5), 1, "REVOKED"),
        (
            authority.respond(&issued, false, -1),
            1,
            "NOT STAPLED: it has expired",
        ),
        (
            authority.respond(&other, false, 5),
            1,
            "it is about another certificate",
        ),
    ] {
        file(&directory, "gateway.ocsp", response);
        let (found, output, errors) = outcome(&run_beside(&["check", "--config", &config]).await);
        assert_eq!(found, code, "{output} {errors}");
        let mut lines = output.lines();
        lines.find(|line| line.contains("Stapled OCSP responses"));
        let row = lines.find(|line| line.contains("gateway.ocsp"));
        let row = row.expect("a row");
        assert!(row.contains("gateway_listen"), "{row}");
        assert!(row.contains(expected), "{expected} in {row}");
        let is_read = !expected.contains("another");
        assert_eq!(row.contains("5 hours"), is_read, "{row}");
    }
    file(&directory, "gateway.ocsp", "rubbish");
    let (code, _output, errors) = outcome(&run_beside(&["check", "--config", &config]).await);
    assert_eq!(code, 1);
    assert!(errors.contains("gateway.ocsp"), "{errors}");
}

#[test]
fn check_warns_of_a_secret_that_others_may_read() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a directory");
    let token = file(&directory, "token", "abc-secret-def");
    let config = file(
        &directory,
        "config.toml",
        format!(
            "home_community_id = \"1.2\"\n[[community]]\nhome_community_id = \"1.3\"\n\
             gateway_url = \"https://127.0.0.1:1/wado-rs/\"\ntoken = {{ file = \"{token}\" }}\n"
        ),
    );
    for (mode, is_told) in [(0o644, true), (0o604, true), (0o640, false), (0o600, false)] {
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(directory.path().join("token"), permissions).expect("set");
        let (_, output, errors) = run(&["check", "--config", &config]);
        let told = format!("{mode:o}: {output} {errors}");
        assert_eq!(
            output.contains("can be read or changed by others"),
            is_told,
            "{told}"
        );
        assert!(!told.contains("abc-secret-def"), "{told}");
    }
}
