//! A fair semaphore: clients share units (bytes of memory, decoder seats) in turns, and each holds
//! and queues a bounded part.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{Client, Error};

/// The units. Later requests do not overtake a large request: while it waits for units, they wait
/// too; only requests of clients that hold their part already are skipped.
#[derive(Debug, Clone)]
pub struct Fair(Arc<Mutex<State>>);

/// The bounds of the units.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// All units.
    pub total: u64,
    /// Units of one client at most. A client without units may exceed this in one request.
    pub each: u64,
    /// The length of the queue.
    pub waiting: usize,
    /// Queued requests of one client.
    pub waiting_each: usize,
}

/// Units of a client, released on drop.
#[derive(Debug)]
pub struct Portion {
    fair: Fair,
    client: Client,
    units: u64,
}

#[derive(Debug)]
struct State {
    bounds: Bounds,
    free: u64,
    held: HashMap<Client, u64>,
    /// Queued requests by client, in the order of the clients' turns. No queue is empty.
    turns: VecDeque<(Client, VecDeque<Waiter>)>,
    waiting: usize,
    last_id: u64,
}

#[derive(Debug)]
struct Waiter {
    id: u64,
    units: u64,
    grant: oneshot::Sender<Portion>,
}

/// A queued request, removed on drop.
struct QueuedRequest<'a> {
    fair: &'a Fair,
    client: Client,
    id: u64,
    granted: oneshot::Receiver<Portion>,
}

/// A granted request, notified after the lock is released.
type Grant = (oneshot::Sender<Portion>, Client, u64);

impl Fair {
    /// All units, free.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self(Arc::new(Mutex::new(State {
            bounds,
            free: bounds.total,
            held: HashMap::new(),
            turns: VecDeque::new(),
            waiting: 0,
            last_id: 0,
        })))
    }

    /// Takes units, if they are free and no other request is first.
    #[must_use]
    pub fn try_take(&self, client: Client, units: u64) -> Option<Portion> {
        let mut state = self.state();
        state.is_free_for(client, units).then(|| {
            state.grant(client, units);
            drop(state);
            self.portion(client, units)
        })
    }

    /// Takes units, after a wait of at most `patience`.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if the request exceeds the total, [`Error::Busy`] if the queue is full
    /// or the wait times out.
    pub async fn take(
        &self,
        client: Client,
        units: u64,
        patience: Duration,
    ) -> Result<Portion, Error> {
        let mut waiting = {
            let mut state = self.state();
            if units > state.bounds.total {
                return Err(Error::TooLarge);
            }
            if state.is_free_for(client, units) {
                state.grant(client, units);
                drop(state);
                return Ok(self.portion(client, units));
            }
            let (id, granted) = state.enter(client, units).ok_or(Error::Busy)?;
            QueuedRequest {
                fair: self,
                client,
                id,
                granted,
            }
        };
        // The next request may need fewer units.
        self.serve();
        match timeout(patience, &mut waiting.granted).await {
            Ok(Ok(portion)) => Ok(portion),
            Ok(Err(_)) | Err(_) => Err(Error::Busy),
        }
    }

    fn portion(&self, client: Client, units: u64) -> Portion {
        Portion {
            fair: self.clone(),
            client,
            units,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Grants free units to queued requests.
    fn serve(&self) {
        let grants = self.state().serve();
        for (grant, client, units) in grants {
            // A cancelled request releases its units on drop.
            let _ = grant.send(self.portion(client, units));
        }
    }
}

impl State {
    /// Whether a request may take its units before all queued ones.
    fn is_free_for(&self, client: Client, units: u64) -> bool {
        let mut turns = self.turns.iter();
        let is_first = turns.all(|(other, queue)| {
            let units = queue.front().map_or(0, |waiter| waiter.units);
            *other != client && !self.may_hold(*other, units)
        });
        is_first && units <= self.free && self.may_hold(client, units)
    }

    fn may_hold(&self, client: Client, more: u64) -> bool {
        let held = self.held.get(&client).copied().unwrap_or(0);
        held == 0 || held + more <= self.bounds.each
    }

    fn grant(&mut self, client: Client, units: u64) {
        self.free -= units;
        *self.held.entry(client).or_default() += units;
    }

    fn give_back(&mut self, client: Client, units: u64) {
        self.free += units;
        if let Some(held) = self.held.get_mut(&client) {
            *held -= units;
            if *held == 0 {
                self.held.remove(&client);
            }
        }
    }

    fn enter(&mut self, client: Client, units: u64) -> Option<(u64, oneshot::Receiver<Portion>)> {
        let at = self.turns.iter().position(|(other, _)| *other == client);
        let of_client = at.map_or(0, |at| self.turns[at].1.len());
        if self.waiting >= self.bounds.waiting || of_client >= self.bounds.waiting_each {
            return None;
        }
        let (grant, granted) = oneshot::channel();
        self.waiting += 1;
        self.last_id += 1;
        let id = self.last_id;
        let waiter = Waiter { id, units, grant };
        match at {
            Some(at) => self.turns[at].1.push_back(waiter),
            None => self.turns.push_back((client, VecDeque::from([waiter]))),
        }
        Some((id, granted))
    }

    fn leave(&mut self, client: Client, id: u64) {
        let Some(at) = self.turns.iter().position(|(other, _)| *other == client) else {
            return;
        };
        let queue = &mut self.turns[at].1;
        let before = queue.len();
        queue.retain(|waiter| waiter.id != id);
        self.waiting -= before - queue.len();
        if queue.is_empty() {
            self.turns.remove(at);
        }
    }

    fn serve(&mut self) -> Vec<Grant> {
        let mut grants = Vec::new();
        let mut at = 0;
        while let Some((client, queue)) = self.turns.get(at) {
            let client = *client;
            let units = queue.front().map_or(0, |waiter| waiter.units);
            if !self.may_hold(client, units) {
                at += 1;
                continue;
            }
            if units > self.free {
                break;
            }
            let Some((_, mut queue)) = self.turns.remove(at) else {
                break;
            };
            if let Some(waiter) = queue.pop_front() {
                self.waiting -= 1;
                self.grant(client, units);
                grants.push((waiter.grant, client, units));
            }
            // The client's next request follows one of each other client.
            if !queue.is_empty() {
                self.turns.push_back((client, queue));
            }
        }
        grants
    }
}

impl Portion {
    /// The number of its units.
    #[must_use]
    pub fn units(&self) -> u64 {
        self.units
    }

    /// Takes more units if they are free; returns whether they were. A running request has priority
    /// over the queue: the sooner it ends, the sooner its units are free.
    #[must_use]
    pub fn try_grow(&mut self, more: u64) -> bool {
        let mut state = self.fair.state();
        let held = state.held.get(&self.client).copied().unwrap_or(0);
        let is_free = more <= state.free && held + more <= state.bounds.each;
        if is_free {
            state.grant(self.client, more);
            self.units += more;
        }
        is_free
    }

    /// Keeps this many units, and splits off the others, if any.
    #[must_use]
    pub fn split(&mut self, keep: u64) -> Option<Self> {
        let rest = self.units.saturating_sub(keep);
        self.units -= rest;
        (rest > 0).then(|| self.fair.portion(self.client, rest))
    }

    /// Releases all units except this many.
    pub fn shrink(&mut self, units: u64) {
        let less = self.units.saturating_sub(units);
        if less > 0 {
            self.units -= less;
            self.fair.state().give_back(self.client, less);
            self.fair.serve();
        }
    }
}

impl Drop for Portion {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

impl Drop for QueuedRequest<'_> {
    fn drop(&mut self) {
        self.fair.state().leave(self.client, self.id);
        self.fair.serve();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(20);
    const LATE: Duration = Duration::from_secs(60);

    fn client(last: u8) -> Client {
        Client::at([10, 0, 0, last].into())
    }

    fn fair(total: u64, each: u64) -> Fair {
        Fair::new(Bounds {
            total,
            each,
            waiting: 8,
            waiting_each: 4,
        })
    }

    /// A queued request in a task of its own.
    async fn begun(fair: &Fair, of: u8, units: u64) -> tokio::task::JoinHandle<Portion> {
        let before = fair.state().waiting;
        let asking = fair.clone();
        let task = tokio::spawn(async move {
            let taken = asking.take(client(of), units, LATE).await;
            taken.expect("it comes")
        });
        while fair.state().waiting == before {
            tokio::task::yield_now().await;
        }
        task
    }

    #[tokio::test]
    async fn a_client_holds_its_part_and_others_get_in() {
        let fair = fair(10, 5);
        let _held = fair.take(client(1), 5, SOON).await.expect("its part");
        assert_eq!(fair.take(client(1), 1, SOON).await.err(), Some(Error::Busy));
        let other = fair.take(client(2), 4, SOON).await;
        assert!(other.is_ok());
        drop(other);
        // A client without units may exceed its part, if enough are free.
        let large = fair.take(client(3), 6, SOON).await;
        assert_eq!(large.err(), Some(Error::Busy));
        let never = fair.take(client(3), 11, LATE).await;
        assert_eq!(never.err(), Some(Error::TooLarge));
    }

    #[tokio::test]
    async fn clients_take_turns_however_many_requests_one_has() {
        let fair = fair(1, 1);
        let held = fair.take(client(1), 1, SOON).await.expect("the only one");
        let greedy = [
            begun(&fair, 1, 1).await,
            begun(&fair, 1, 1).await,
            begun(&fair, 1, 1).await,
        ];
        let modest = begun(&fair, 2, 1).await;
        drop(held);
        let [first, second, third] = greedy;
        // A request of the greedy client was first; then the other client has its turn.
        drop(first.await.expect("granted"));
        let modest = modest.await.expect("granted");
        assert!(!second.is_finished() && !third.is_finished());
        drop(modest);
        drop(second.await.expect("granted"));
        drop(third.await.expect("granted"));
        assert!(fair.state().held.is_empty() && fair.state().turns.is_empty());
    }

    #[tokio::test]
    async fn a_large_request_is_not_overtaken() {
        let fair = fair(10, 10);
        let held = fair.take(client(1), 6, SOON).await.expect("free");
        let large = begun(&fair, 2, 8).await;
        assert!(fair.try_take(client(3), 1).is_none());
        let small = begun(&fair, 3, 3).await;
        drop(held);
        let large = large.await.expect("granted");
        assert!(!small.is_finished());
        drop(large);
        drop(small.await.expect("granted"));
    }

    #[tokio::test]
    async fn few_wait_and_each_client_for_a_part_of_the_queue() {
        let fair = fair(1, 1);
        let held = fair.take(client(1), 1, SOON).await.expect("free");
        let mut tasks = Vec::new();
        for _ in 0..4 {
            tasks.push(begun(&fair, 1, 1).await);
        }
        assert_eq!(fair.take(client(1), 1, LATE).await.err(), Some(Error::Busy));
        for of in [2, 3, 4, 5] {
            tasks.push(begun(&fair, of, 1).await);
        }
        assert_eq!(fair.take(client(9), 1, LATE).await.err(), Some(Error::Busy));
        drop(held);
        let dropped = tasks
            .into_iter()
            .map(async |task| drop(task.await.expect("granted")));
        futures_util::future::join_all(dropped).await;
        assert!(fair.state().held.is_empty());
    }

    #[tokio::test]
    async fn a_request_that_gives_up_lets_those_behind_it_pass() {
        let fair = fair(10, 10);
        let _held = fair.take(client(1), 6, SOON).await.expect("free");
        let large = fair.take(client(2), 8, Duration::from_millis(200));
        let (gave_up, small) = tokio::join!(large, fair.take(client(3), 3, LATE));
        assert_eq!(gave_up.err(), Some(Error::Busy));
        assert!(small.is_ok());
    }

    #[tokio::test]
    async fn portions_grow_and_shrink() {
        let fair = fair(10, 8);
        let mut portion = fair.take(client(1), 2, SOON).await.expect("free");
        assert!(portion.try_grow(6));
        assert!(!portion.try_grow(1), "that is more than its part");
        portion.shrink(1);
        assert_eq!(portion.units(), 1);
        assert_eq!(fair.state().free, 9);
        drop(portion);
        assert_eq!(fair.state().free, 10);
    }
}
