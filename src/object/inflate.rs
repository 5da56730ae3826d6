//! Inflates a deflated data set (PS3.5 A.5) while it is read.

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};

use super::reader::Reader;
use crate::body::{self, Body};

const CHUNK: usize = 64 << 10;
/// The most bytes that one instance inflates to: a bound on processor time.
const MOST: u64 = 4 << 30;

/// The inflated bytes of the deflated stream at the position of `reader`.
pub(super) fn inflated(mut reader: Reader) -> Body {
    Body::generate(None, |out| async move {
        let mut inflater = Decompress::new(false);
        while let Some(deflated) = reader.next(CHUNK as u64).await? {
            if inflate(&mut inflater, &deflated, &out).await? == Status::StreamEnd {
                return Ok(());
            }
        }
        Err(body::Error::Truncated)
    })
}

async fn inflate(
    inflater: &mut Decompress,
    deflated: &[u8],
    out: &body::Emitter,
) -> Result<Status, body::Error> {
    let mut used = 0;
    loop {
        let mut inflated = Vec::with_capacity(CHUNK);
        let before = inflater.total_in();
        let status = inflater
            .decompress_vec(&deflated[used..], &mut inflated, FlushDecompress::None)
            .map_err(|_damaged| body::Error::Malformed("the deflated data set is damaged"))?;
        used += usize::try_from(inflater.total_in() - before).unwrap_or(usize::MAX);
        if inflater.total_out() > MOST {
            return Err(body::Error::Malformed(
                "the data set inflates to too many bytes",
            ));
        }
        let is_full = inflated.len() == CHUNK;
        if !inflated.is_empty() {
            out.emit(Bytes::from(inflated)).await?;
        }
        if status == Status::StreamEnd || (used >= deflated.len() && !is_full) {
            return Ok(status);
        }
    }
}
