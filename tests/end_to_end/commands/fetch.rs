//! `xcwado fetch`.

use std::fs;
use std::time::Duration;

use crate::commands::process::{Running, command, file, files, images, outcome, run_beside};
use crate::rig::Rig;
use crate::rig::origin::{Framing, Gate, Origin, honest};
use crate::rig::study::{Study, at};

#[tokio::test]
async fn a_fetch_that_was_killed_goes_on_where_it_stopped() {
    let study = Study::new(7).with(8, at(10));
    let (held, gate) = (study.instances(), Gate::new());
    let held_back = gate.clone();
    let origin = Origin::start(move |asked| {
        honest(&held, asked)
            .framed(Framing::Chunked)
            .held_at(18_000, &held_back)
    })
    .await;
    let rig = Rig::start(&origin.location(10));
    let directory = tempfile::tempdir().expect("a directory");
    let manifest = file(&directory, "manifest.dcm", study.kos());
    let output = directory.path().join("images");
    let gateway = format!("http://{}", rig.public);
    let arguments = [
        "fetch",
        &manifest,
        "-o",
        output.to_str().expect("text"),
        "--gateway",
        &gateway,
    ];

    let first = Running::on_stderr(command(arguments));
    while images(&output) < 4 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (code, _) = tokio::task::spawn_blocking(|| first.end("-KILL"))
        .await
        .expect("no panic");
    assert_eq!(code, None);
    let there = images(&output);
    assert!((4..8).contains(&there), "{there}");
    let marked = files(&output)
        .into_iter()
        .find(|path| path.extension().is_some_and(|e| e == "dcm"));
    let written = fs::metadata(marked.as_ref().expect("one"))
        .expect("there")
        .modified()
        .ok();

    gate.open();
    let (code, said, errors) = outcome(&run_beside(&arguments).await);
    assert_eq!(code, 0, "{errors}");
    assert!(said.contains("8 of 8 instances"), "{said}");
    assert_eq!(images(&output), 8);
    for instance in study.instances() {
        let path = output
            .join(&instance.study)
            .join(&instance.series)
            .join(format!("{}.dcm", instance.uid));
        assert_eq!(fs::read(path).expect("a file"), instance.bytes);
    }
    let again = fs::metadata(marked.expect("one"))
        .expect("there")
        .modified()
        .ok();
    assert_eq!(again, written, "what was there is not written again");
    let before = origin.asked().len();
    assert_eq!(outcome(&run_beside(&arguments).await).0, 0);
    assert_eq!(origin.asked().len(), before, "nothing was left to fetch");
}

#[tokio::test]
async fn a_fetch_that_does_not_get_everything_fails() {
    let study = Study::new(7).with(3, at(10));
    let held = study.instances();
    let origin = Origin::start(move |asked| honest(&held[..2], asked)).await;
    let rig = Rig::start(&origin.location(10));
    let directory = tempfile::tempdir().expect("a directory");
    let output = directory.path().join("images");
    let link = format!(
        "http://{}/manifests/{}",
        rig.public,
        rig.register(study.fhir()).await.id
    );
    let arguments = ["fetch", &link, "-o", output.to_str().expect("text")];
    let (code, said, errors) = outcome(&run_beside(&arguments).await);
    assert_eq!(code, 1, "{said} {errors}");
    assert!(said.contains("2 of 3 instances"), "{said}");
    assert!(errors.contains("1 instance"), "{errors}");
    assert_eq!(images(&output), 2);
    let other = [&arguments[..], &["--series", "1.2.3"]].concat();
    let (code, _, errors) = outcome(&run_beside(&other).await);
    assert!(code == 1 && errors.contains("1.2.3"), "{errors}");
}
