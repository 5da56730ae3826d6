use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::*;

fn end_of(body: Body, chunks: usize) -> (u64, End) {
    let (tell, told) = std::sync::mpsc::channel();
    let mut body = body.watched(
        |_| {},
        move |read, end| tell.send((read, end)).expect("heard"),
    );
    for _ in 0..chunks {
        let _ = futures_util::FutureExt::now_or_never(body.chunk());
    }
    drop(body);
    let first = told.try_recv().expect("told once");
    assert!(told.try_recv().is_err(), "told twice");
    first
}

#[test]
fn a_watch_is_told_of_the_end_once() {
    assert_eq!(end_of(Body::full("abc"), 2), (3, End::Complete));
    assert_eq!(end_of(Body::full("abc"), 1), (3, End::Complete));
    assert_eq!(end_of(Body::full("abc"), 0), (0, End::ReaderLeft));
    let fails = Body::generate(None, |_out| async { Err(Error::Silent) });
    assert_eq!(end_of(fails, 2), (0, End::Failed(Error::Silent)));
}

#[tokio::test]
async fn a_slice_is_what_it_says_of_whatever_it_is_cut_from() {
    let file = Arc::new(tempfile::tempfile().expect("a file"));
    file.write_all_at(b"--abcdefgh", 0).expect("written");
    for skipped in 0..=8_u64 {
        for length in 0..=8 - skipped {
            let bytes = || Bytes::from("abcdefgh");
            let generated = Body::generate(Some(8), |out| async move {
                for at in 0..4 {
                    out.emit(bytes().slice(2 * at..2 * at + 2)).await?;
                }
                Ok(())
            });
            let file = Body::file(file.clone(), 2, 8);
            for body in [Body::full(bytes()), file, generated] {
                let slice = body.slice(skipped, length);
                assert_eq!(slice.length(), Some(length));
                let (from, to) = (skipped as usize, (skipped + length) as usize);
                assert_eq!(read(slice).await, Ok(bytes()[from..to].to_vec()));
            }
        }
    }
    let short = Body::full("abc").slice(1, 3);
    assert_eq!(read(short).await, Err(Error::Truncated));
}

#[test]
fn every_watch_is_told() {
    let (tell, told) = std::sync::mpsc::channel();
    let other = tell.clone();
    let body = Body::full("abc").watched(|_| {}, move |_, _| tell.send(1).expect("heard"));
    drop(body.watched(|_| {}, move |_, _| other.send(2).expect("heard")));
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [1, 2]);
}

async fn read(mut body: Body) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    while let Some(chunk) = body.chunk().await? {
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

/// Chunks that a task of its own emits, which then vanishes unless it `ends_well`.
fn from_a_task(chunks: &'static [&'static str], ends_well: bool) -> Body {
    Body::generate(None, move |out| async move {
        let (end, ended) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            for chunk in chunks {
                out.emit(Bytes::from_static(chunk.as_bytes()))
                    .await
                    .expect("a reader");
            }
            if ends_well {
                end.send(()).expect("a reader");
            }
        });
        ended.await.map_err(|_vanished| Error::Abandoned)
    })
}

#[tokio::test]
async fn a_task_that_ends_well_makes_a_whole_body() {
    let reader = tokio::spawn(read(from_a_task(&["ab", "c"], true)));
    assert_eq!(reader.await.expect("no panic"), Ok(b"abc".to_vec()));
}

#[tokio::test]
async fn a_producer_that_vanishes_is_a_failure() {
    let body = from_a_task(&["ab"], false);
    assert_eq!(read(body).await, Err(Error::Abandoned));
}

#[tokio::test]
async fn a_generated_body_gives_everything_before_its_end() {
    let body = Body::generate(None, |out| async move {
        for chunk in ["a", "b", "c"] {
            out.emit(Bytes::from(chunk)).await?;
        }
        Ok(())
    });
    assert_eq!(read(body).await, Ok(b"abc".to_vec()));
}

#[tokio::test]
async fn a_generated_body_gives_everything_before_its_failure() {
    let mut body = Body::generate(None, |out| async move {
        out.emit(Bytes::from("a")).await?;
        Err(Error::Silent)
    });
    assert_eq!(body.chunk().await, Ok(Some(Bytes::from("a"))));
    assert_eq!(body.chunk().await, Err(Error::Silent));
    assert_eq!(body.chunk().await, Ok(None));
}
