//! The memory budget of buffered responses: a response that is decoded, rendered or serialised as a
//! whole takes its size from one budget first, and releases it after its last byte has been sent.
//!
//! ```text
//! limits.memory ─┬─ an eighth: shares of up to 1 MiB, so that small answers pass whatever large ones do
//!                ├─ a quarter: the reserve, for one share at a time that must grow and cannot elsewhere
//!                └─ the rest: large shares; one client holds half of it at most
//! ```
//!
//! There is no deadlock. A request takes the sum of its needs before it allocates, and holds
//! nothing while it waits. Only a share that grows during a read waits while it holds memory: for
//! the reserve, which is large enough for the rest and belongs to one share at a time.

mod client;
mod fair;
mod size;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prometheus::{IntCounter, IntGauge};
use serde::Deserialize;

pub use client::Client;
pub use fair::{Bounds, Fair, Portion};
pub use size::{ByteSize, NotASize};

/// The largest small share.
const SMALL: u64 = 1 << 20;
/// The smallest step of growth.
const STEP: u64 = 64 << 10;
/// The factor of the time-out for a response that has begun: an abort costs more than a delay.
const PATIENCE: u32 = 12;

/// `[limits]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Bytes for all buffered responses.
    pub memory: ByteSize,
    /// Seconds that a request waits for its share.
    pub memory_wait_seconds: u64,
    /// Requests in the queue for shares; half as many of one client.
    pub memory_queue: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            memory: ByteSize(1 << 30),
            memory_wait_seconds: 10,
            memory_queue: 256,
        }
    }
}

/// Why a share was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Other requests hold the memory, or are first in the queue.
    #[error("not enough memory is free at the moment")]
    Busy,
    /// It exceeds the limit of one request.
    #[error("it exceeds the memory limit of one request")]
    TooLarge,
}

/// The metrics of a budget.
#[derive(Debug, Clone)]
pub struct Meters {
    /// Bytes in use.
    pub held: IntGauge,
    /// Refused shares.
    pub refused: IntCounter,
}

/// The memory budget.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Pools>);

#[derive(Debug)]
struct Pools {
    small: Fair,
    large: Fair,
    reserve: Fair,
    reserve_bytes: u64,
    patience: Duration,
    meters: Meters,
}

/// The account of one client.
#[derive(Debug, Clone)]
pub struct Account {
    budget: Budget,
    client: Client,
    patience: Duration,
}

/// Memory for a request, released on drop.
#[derive(Debug)]
pub struct Share {
    account: Account,
    portions: Vec<Portion>,
    reserve: Option<Portion>,
    /// Bytes reported to the metrics.
    shown: i64,
}

impl Budget {
    /// A budget with all memory free.
    #[must_use]
    pub fn new(settings: &Settings, meters: Meters) -> Self {
        let all = settings.memory.0;
        let (small, reserve_bytes) = (all / 8, all / 4);
        let pool = |total: u64| {
            Fair::new(Bounds {
                total,
                each: total / 2,
                waiting: settings.memory_queue,
                waiting_each: settings.memory_queue.div_ceil(2),
            })
        };
        let reserve = Fair::new(Bounds {
            total: 1,
            each: 1,
            waiting: settings.memory_queue,
            waiting_each: settings.memory_queue.div_ceil(2),
        });
        Self(Arc::new(Pools {
            small: pool(small),
            large: pool(all - small - reserve_bytes),
            reserve,
            reserve_bytes,
            patience: Duration::from_secs(settings.memory_wait_seconds),
            meters,
        }))
    }

    /// The account of this client.
    #[must_use]
    pub fn account(&self, client: Client) -> Account {
        Account {
            patience: self.0.patience,
            budget: self.clone(),
            client,
        }
    }
}

impl Account {
    /// Its client.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client
    }

    /// The same account, for a response that has begun.
    #[must_use]
    pub fn patient(&self) -> Self {
        Self {
            patience: self.budget.0.patience * PATIENCE,
            ..self.clone()
        }
    }

    /// Takes a share. Take the sum of a step's needs at once, and hold no other share meanwhile.
    ///
    /// # Errors
    /// [`Error::Busy`] after a time-out, [`Error::TooLarge`] at once.
    pub async fn share(&self, bytes: u64) -> Result<Share, Error> {
        let mut share = Share {
            account: self.clone(),
            portions: Vec::new(),
            reserve: None,
            shown: 0,
        };
        if bytes > 0 {
            let portion = self.portion(bytes).await.map_err(|why| self.refused(why))?;
            share.portions.push(portion);
            share.show();
        }
        Ok(share)
    }

    async fn portion(&self, bytes: u64) -> Result<Portion, Error> {
        let pools = &self.budget.0;
        if bytes > SMALL {
            return pools.large.take(self.client, bytes, self.patience).await;
        }
        if let Some(portion) = pools.small.try_take(self.client, bytes) {
            return Ok(portion);
        }
        match pools.large.try_take(self.client, bytes) {
            Some(portion) => Ok(portion),
            None => pools.small.take(self.client, bytes, self.patience).await,
        }
    }

    fn refused(&self, why: Error) -> Error {
        self.budget.0.meters.refused.inc();
        why
    }
}

impl Share {
    /// Its pool.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Its size in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let reserve = self.reserve.as_ref();
        self.of_portions() + reserve.map_or(0, |_| self.account.budget.0.reserve_bytes)
    }

    /// Grows to at least this size. A request that learns its size while it reads calls this before
    /// it allocates more.
    ///
    /// # Errors
    /// As [`Account::share`].
    pub async fn grow(&mut self, bytes: u64) -> Result<(), Error> {
        if bytes <= self.bytes() {
            return Ok(());
        }
        let result = self.grown(bytes).await;
        self.show();
        result.map_err(|why| self.account.refused(why))
    }

    async fn grown(&mut self, bytes: u64) -> Result<(), Error> {
        let needed = bytes - self.bytes();
        let rounded = needed.max(STEP.min(self.bytes()));
        if self.try_grow(rounded) || self.try_grow(needed) {
            return Ok(());
        }
        let account = &self.account;
        let pools = &account.budget.0;
        if self.reserve.is_some() || bytes > self.of_portions() + pools.reserve_bytes {
            return Err(Error::TooLarge);
        }
        let taking = pools.reserve.take(account.client, 1, account.patience);
        self.reserve = Some(taking.await?);
        Ok(())
    }

    fn try_grow(&mut self, more: u64) -> bool {
        if let Some(last) = self.portions.last_mut() {
            let is_small = last.units() + more <= SMALL;
            if (is_small || last.units() > SMALL) && last.try_grow(more) {
                return true;
            }
        }
        let pools = &self.account.budget.0;
        let more = pools.large.try_take(self.account.client, more);
        let is_grown = more.is_some();
        self.portions.extend(more);
        is_grown
    }

    /// Shrinks to this size.
    pub fn shrink(&mut self, bytes: u64) {
        if bytes <= self.of_portions() || self.try_grow(bytes - self.of_portions()) {
            self.reserve = None;
        }
        let mut left = bytes;
        for portion in &mut self.portions {
            portion.shrink(left);
            left -= portion.units();
        }
        self.portions.retain(|portion| portion.units() > 0);
        self.show();
    }

    /// Keeps this many bytes, and splits off the rest as a share.
    #[must_use]
    pub fn split(&mut self, keep: u64) -> Self {
        let mut rest = Self {
            account: self.account.clone(),
            portions: Vec::new(),
            reserve: self.reserve.take(),
            shown: 0,
        };
        let mut left = keep;
        for portion in &mut self.portions {
            rest.portions.extend(portion.split(left));
            left -= portion.units();
        }
        self.portions.retain(|portion| portion.units() > 0);
        self.show();
        rest.show();
        rest
    }

    /// Binds the share to these bytes: it is released when the last reference to them is dropped,
    /// after they have been sent.
    #[must_use]
    pub fn hold(mut self, bytes: Bytes) -> Bytes {
        if bytes.is_empty() {
            return bytes;
        }
        self.shrink(bytes.len() as u64);
        Bytes::from_owner(Held {
            bytes,
            _share: self,
        })
    }

    fn of_portions(&self) -> u64 {
        self.portions.iter().map(Portion::units).sum()
    }

    /// Updates the metrics.
    fn show(&mut self) {
        let now = i64::try_from(self.bytes()).unwrap_or(i64::MAX);
        self.account.budget.0.meters.held.add(now - self.shown);
        self.shown = now;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.account.budget.0.meters.held.sub(self.shown);
    }
}

struct Held {
    bytes: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn budget(mebibytes: u64) -> Budget {
        let settings = Settings {
            memory: ByteSize(mebibytes * MIB),
            memory_wait_seconds: 0,
            memory_queue: 4,
        };
        let meters = Meters {
            held: IntGauge::new("held", "held").expect("a name"),
            refused: IntCounter::new("refused", "refused").expect("a name"),
        };
        Budget::new(&settings, meters)
    }

    fn account(budget: &Budget, last: u8) -> Account {
        budget.account(Client::at([10, 0, 0, last].into()))
    }

    async fn is_given(account: &Account, bytes: u64) -> bool {
        account.share(bytes).await.is_ok()
    }

    #[tokio::test]
    async fn large_shares_leave_room_for_small_ones_and_one_client_for_others() {
        // 8 for small shares, 40 for large ones, 16 in reserve.
        let budget = budget(64);
        let (one, other, third) = (
            account(&budget, 1),
            account(&budget, 2),
            account(&budget, 3),
        );
        let _held = one.share(20 * MIB).await.expect("half");
        assert!(!is_given(&one, 2 * MIB).await);
        let _held = other.share(20 * MIB).await.expect("the other half");
        assert!(!is_given(&third, 2 * MIB).await);
        for account in [&one, &other, &third] {
            assert!(is_given(account, MIB).await);
        }
        assert_eq!(budget.0.meters.held.get(), 40 * MIB as i64);
        assert_eq!(budget.0.meters.refused.get(), 2);
        let never = third.share(41 * MIB).await;
        assert_eq!(never.err(), Some(Error::TooLarge));
    }

    #[tokio::test]
    async fn a_share_is_given_back_with_the_last_of_its_bytes() {
        let budget = budget(64);
        let one = account(&budget, 1);
        let share = one.share(20 * MIB).await.expect("half");
        let bytes = share.hold(Bytes::from(vec![7; 5 << 20]));
        assert_eq!(budget.0.meters.held.get(), 5 * MIB as i64);
        let part = bytes.slice(10..20);
        drop(bytes);
        assert_eq!(budget.0.meters.held.get(), 5 * MIB as i64);
        assert_eq!(&part[..], &[7; 10]);
        drop(part);
        assert_eq!(budget.0.meters.held.get(), 0);
        assert!(is_given(&one, 20 * MIB).await);
    }

    #[tokio::test]
    async fn a_share_is_split() {
        let budget = budget(64);
        let mut share = account(&budget, 1).share(100).await.expect("a small one");
        share.grow(10 * MIB).await.expect("a large one");
        let all = share.bytes();
        let rest = share.split(40);
        assert_eq!((share.bytes(), rest.bytes()), (40, all - 40));
        assert_eq!(budget.0.meters.held.get(), all as i64);
        drop(rest);
        assert_eq!(budget.0.meters.held.get(), 40);
    }

    #[tokio::test]
    async fn shares_that_grow_do_not_wait_for_each_other_for_ever() {
        let budget = budget(64);
        let accounts = [1, 2, 3, 4].map(|last| account(&budget, last));
        let mut shares = Vec::new();
        for account in &accounts {
            let mut share = account.share(MIB).await.expect("a small one");
            share.grow(10 * MIB).await.expect("a quarter");
            shares.push(share);
        }
        // All memory is taken, and each share must grow: they take turns.
        let mut first = shares.remove(0);
        first.grow(20 * MIB).await.expect("out of the reserve");
        let refused = shares[0].grow(20 * MIB).await;
        assert_eq!(refused, Err(Error::Busy));
        let too_much = first.grow(60 * MIB).await;
        assert_eq!(too_much, Err(Error::TooLarge));
        drop(first);
        for share in &mut shares {
            share
                .grow(19 * MIB)
                .await
                .expect("out of the reserve, or free");
            share.shrink(0);
        }
        drop(shares);
        assert_eq!(budget.0.meters.held.get(), 0);
    }
}
