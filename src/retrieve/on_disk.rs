//! Reading an instance from its file, and continuing from its source if the file is damaged.
//!
//! Each piece from the source is compared with the digest stored in the file: the reader gets the
//! original instance byte for byte, or its body is aborted.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::Retriever;
use super::crossing::Question;
use crate::body::{self, Body, Content, Elsewhere, Emitter, Wait};
use crate::cache::disk::{LEAF, Stored, StoredFile};
use crate::instance::Instance;
use crate::source;

/// Lookups of an instance that disappears between the lookup and its delivery.
const LOOKS: usize = 3;

/// An instance on disk, and the question to its source if the file is damaged.
struct OnDisk {
    stored: Arc<Stored>,
    opened: Arc<StoredFile>,
    retriever: Retriever,
    question: Question,
}

impl Retriever {
    /// The bytes of an instance on disk.
    pub(super) fn read_on_disk(
        &self,
        stored: &Arc<Stored>,
        opened: Arc<StoredFile>,
        question: &Question,
    ) -> Body {
        let length = opened.length();
        let content = OnDisk {
            question: Question {
                // With the same listing: it is the question of all others who lack the instance now.
                target: stored.identity().target(),
                had: None,
                ..question.clone()
            },
            stored: Arc::clone(stored),
            opened,
            retriever: self.clone(),
        };
        Body::file(Arc::new(content), 0, length)
    }
}

impl std::fmt::Debug for OnDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OnDisk").finish_non_exhaustive()
    }
}

impl Content for OnDisk {
    fn read(&self, at: u64, most: usize, wait: Wait) -> io::Result<Bytes> {
        self.opened.read(at, most as u64, wait)
    }

    fn elsewhere(self: Arc<Self>, at: u64) -> Elsewhere {
        Box::pin(async move {
            let alias = Arc::clone(&self.question.source.alias);
            let repairs = self.retriever.metrics.repairs.clone();
            let count = move |outcome| repairs.with_label_values(&[&*alias, outcome]).inc();
            match self.again().await {
                Ok(instance) if instance.identity == self.stored.identity() => {
                    count("repaired");
                    let opened = Arc::clone(&self.opened);
                    let verify = |out| verified(instance.body, opened, at, out);
                    Ok(Body::generate(None, verify))
                }
                Ok(_another) => {
                    count("changed");
                    Err(body::Error::Unreadable)
                }
                Err(error) => {
                    count("failed");
                    Err(error.late(body::Error::Unreadable))
                }
            }
        })
    }
}

impl OnDisk {
    /// Another copy of the instance.
    async fn again(&self) -> Result<Instance, source::Error> {
        self.retriever.cache.discard(&self.stored);
        let mut backoff = self.retriever.backoff();
        let mut looks = 0;
        loop {
            let mended = |flight: &_| self.retriever.mended(flight, &self.question);
            let error = match self.retriever.one(&self.question, mended).await {
                Ok(instance) => return Ok(instance),
                Err(error) => error,
            };
            looks += 1;
            let may_be_here = error == source::Error::NotFound && looks < LOOKS;
            if !may_be_here && !backoff.pause(&error).await {
                return Err(error);
            }
        }
    }
}

/// Emits the bytes from `at` on, each leaf after its digest has been verified.
async fn verified(
    mut body: Body,
    opened: Arc<StoredFile>,
    at: u64,
    out: Emitter,
) -> Result<(), body::Error> {
    let mut number = at / LEAF;
    let mut skipped = at - number * LEAF;
    let mut arrived = BytesMut::new();
    if !body.pass_over(number * LEAF) {
        body = body.slice(number * LEAF, opened.length() - number * LEAF);
    }
    loop {
        let size = usize::try_from(opened.leaf_size(number)).unwrap_or(0);
        if size == 0 {
            return Ok(());
        }
        while arrived.len() < size {
            let chunk = body.chunk().await?.ok_or(body::Error::Truncated)?;
            arrived.extend_from_slice(&chunk);
        }
        let leaf = arrived.split_to(size).freeze();
        if !opened.is_leaf(number, &leaf) {
            return Err(body::Error::Unreadable);
        }
        let skip = usize::try_from(skipped).unwrap_or(size).min(size);
        out.emit(leaf.slice(skip..)).await?;
        number += 1;
        skipped = 0;
    }
}
