//! Everything that a source has of a target, where no manifest says what that is: the retrieve of
//! a gateway between communities (RAD-160).
//!
//! It is complete when the source has ended its answer properly. What the client does not accept as
//! it is stored is asked for again at the end, one by one, in Explicit VR Little Endian.

use tokio::sync::oneshot;

use super::giving::{Giving, Stop, Tally};
use super::{Errand, Retriever};
use crate::body;
use crate::dicom::part10::Identity;
use crate::dicom::{TransferSyntax, TransferSyntaxes};
use crate::instance::Target;
use crate::source::{self, Arrival, Arrivals, Ask, Representation, Seat};

/// As many as a manifest may list.
const MOST_TO_DECODE: usize = 200_000;
/// How many the source may fail to decode before it is taken to decode none.
const TRIES: usize = 4;

/// How a relay began: whether it is known to be partial, or why there is nothing.
pub(super) type Opening = Result<bool, source::Error>;

/// Passes on what one source has.
pub(super) struct Relay {
    errand: Errand,
    accepted: TransferSyntaxes,
    retriever: Retriever,
    giving: Giving,
    tally: Tally,
    /// Its place among those whom the source serves at once.
    _seat: Seat,
    opened: Option<oneshot::Sender<Opening>>,
    /// Whether it is known that not everything comes.
    is_partial: bool,
    /// What is accepted in another transfer syntax only.
    to_decode: Vec<Target>,
    dropped: u64,
}

/// Why a relay stops before its time.
enum Halt {
    ClientLeft,
    Failed(source::Error),
}

impl Relay {
    pub(super) fn new(
        errand: Errand,
        accepted: TransferSyntaxes,
        retriever: &Retriever,
        giving: Giving,
        seat: Seat,
    ) -> Self {
        Self {
            tally: Tally::of(&errand.source, &retriever.metrics),
            errand,
            accepted,
            retriever: retriever.clone(),
            giving,
            _seat: seat,
            opened: None,
            is_partial: false,
            to_decode: Vec::new(),
            dropped: 0,
        }
    }

    /// Passes everything on. How it began is told once.
    pub(super) async fn run(mut self, opened: oneshot::Sender<Opening>) {
        self.opened = Some(opened);
        let giving = self.giving.clone();
        giving.while_taken(self.work()).await;
    }

    async fn work(&mut self) {
        let outcome = self.everything().await;
        self.report_dropped();
        let failed = match outcome {
            Err(Halt::ClientLeft) => return,
            Err(Halt::Failed(error)) => Some(error),
            Ok(()) => None,
        };
        // Whoever has left does not need to know anything.
        let _ = match (self.opened.take(), failed) {
            (Some(opened), error) => {
                let error = error.unwrap_or(source::Error::NotFound);
                opened.send(Err(error)).map_err(|_left| ())
            }
            (None, None) => self.giving.give(Ok(None)).await.map_err(|_left| ()),
            (None, Some(error)) => {
                let broken = self.giving.give(Err(late(error)));
                broken.await.map_err(|_left| ())
            }
        };
    }

    async fn everything(&mut self) -> Result<(), Halt> {
        let target = self.errand.target.clone();
        let mut arrivals = self.open(&target, Representation::AsStored).await?;
        self.is_partial = arrivals.is_partial();
        while let Some(arrival) = arrivals.next().await? {
            self.arrived(arrival, &mut arrivals).await?;
        }
        drop(arrivals);
        self.decode().await
    }

    async fn arrived(&mut self, arrival: Arrival, arrivals: &mut Arrivals) -> Result<(), Halt> {
        match arrival {
            Arrival::Instance(identity, length) if is_of(&identity, &self.errand.target) => {
                if self.accepted.permit(&identity.transfer_syntax) {
                    return self.give(identity, length, arrivals).await;
                }
                if self.to_decode.len() >= MOST_TO_DECODE {
                    let error = source::Error::Malformed("it holds too many instances");
                    return Err(Halt::Failed(error));
                }
                self.to_decode.push(identity.target());
            }
            Arrival::Instance(..) | Arrival::Unidentified(_) => self.dropped += 1,
        }
        Ok(())
    }

    async fn decode(&mut self) -> Result<(), Halt> {
        let to_decode = std::mem::take(&mut self.to_decode);
        let explicit = TransferSyntax::explicit_vr_little_endian();
        if !to_decode.is_empty() && !self.accepted.permit(&explicit) {
            return Err(Halt::Failed(source::Error::NotAcceptable));
        }
        let mut last = None;
        let mut in_vain = 0;
        for target in &to_decode {
            match self.decoded(target).await {
                Ok(()) => in_vain = 0,
                // It can still be said that it does not come.
                Err(Halt::Failed(error)) if self.opened.is_some() && in_vain < TRIES => {
                    self.is_partial = true;
                    in_vain += 1;
                    last = Some(error);
                }
                Err(halt) => return Err(halt),
            }
        }
        match (last, &self.opened) {
            (Some(error), Some(_)) => Err(Halt::Failed(error)),
            (Some(_) | None, _) => Ok(()),
        }
    }

    async fn decoded(&mut self, target: &Target) -> Result<(), Halt> {
        let form = Representation::ExplicitVrLittleEndian;
        let mut arrivals = self.open(target, form).await?;
        while let Some(arrival) = arrivals.next().await? {
            match arrival {
                Arrival::Instance(identity, length)
                    if is_of(&identity, target)
                        && self.accepted.permit(&identity.transfer_syntax) =>
                {
                    return self.give(identity, length, &mut arrivals).await;
                }
                Arrival::Instance(..) | Arrival::Unidentified(_) => self.dropped += 1,
            }
        }
        Err(Halt::Failed(source::Error::NotAcceptable))
    }

    async fn give(
        &mut self,
        identity: Identity,
        length: Option<u64>,
        arrivals: &mut Arrivals,
    ) -> Result<(), Halt> {
        if let Some(opened) = self.opened.take() {
            opened
                .send(Ok(self.is_partial))
                .map_err(|_client_left| Halt::ClientLeft)?;
        }
        let giving = self.giving.clone();
        let given = giving.instance(identity, length, arrivals, &self.tally);
        Ok(given.await?)
    }

    async fn open(&self, target: &Target, form: Representation) -> Result<Arrivals, Halt> {
        let ask = Ask {
            target,
            representation: form,
            hop: Some(&self.errand.hop),
        };
        let opening = self.retriever.open(&self.errand.source, &ask);
        opening.await.map_err(Halt::Failed)
    }

    fn report_dropped(&self) {
        let location = &*self.errand.source.alias;
        if self.dropped > 0 {
            let metric = &self.retriever.metrics.dropped_instances;
            metric
                .with_label_values(&[location, "not_selected"])
                .inc_by(self.dropped);
            tracing::warn!(
                location,
                not_selected = self.dropped,
                "a source sent something that was not passed on"
            );
        }
    }
}

impl From<Stop> for Halt {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::ClientLeft => Self::ClientLeft,
            Stop::Broken(error) => Self::from(error),
        }
    }
}

impl From<body::Error> for Halt {
    fn from(error: body::Error) -> Self {
        Self::Failed(source::Error::BrokeOff(error))
    }
}

/// Why the answer breaks off, when it is too late to say so at its head.
fn late(error: source::Error) -> body::Error {
    match error {
        source::Error::BrokeOff(error) => error,
        source::Error::NotFound
        | source::Error::Gone
        | source::Error::BadRequest
        | source::Error::NotAcceptable
        | source::Error::Forbidden
        | source::Error::Overloaded { .. }
        | source::Error::Resting { .. }
        | source::Error::Status(_)
        | source::Error::Malformed(_)
        | source::Error::Unreachable
        | source::Error::TimedOut => body::Error::Missing(1),
    }
}

/// Whether an instance is what was asked for, by its own bytes.
fn is_of(identity: &Identity, target: &Target) -> bool {
    match target {
        Target::Study(study) => identity.study == *study,
        Target::Series(study, series) => identity.study == *study && identity.series == *series,
        Target::Instance(..) => identity.target() == *target,
    }
}
