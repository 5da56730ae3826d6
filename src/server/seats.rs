//! Seats for connections: a total, a limit for each client, and some for this machine only. When
//! all are taken, the connection with the longest idle time is displaced, so that silent
//! connections lock out no client.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::activity::Activity;
use super::proof::Proof;
use crate::budget::Client;
use crate::gateway::Proxies;

/// A connection with less idle time may be about to send a request.
const ABOUT_TO_ASK: Duration = Duration::from_secs(1);

/// The limits of a listener.
#[derive(Debug, Clone, Default)]
pub(super) struct Numbers {
    pub(super) all: usize,
    /// 0: unlimited.
    pub(super) per_client: usize,
    /// Reserved for this machine, out of all.
    pub(super) for_this_machine: usize,
    /// Trusted proxies, each with many clients.
    pub(super) proxies: Proxies,
}

/// The seats of a listener.
#[derive(Debug)]
pub(super) struct Seats {
    numbers: Numbers,
    occupancy: Mutex<Occupancy>,
}

#[derive(Debug, Default)]
struct Occupancy {
    /// The number of the next connection.
    next: u64,
    by_number: HashMap<u64, Arc<Occupant>>,
    by_client: HashMap<Client, usize>,
    /// Connections from other machines.
    remote: usize,
}

/// A connection with a seat.
#[derive(Debug)]
pub(super) struct Occupant {
    client: Client,
    is_remote: bool,
    pub(super) activity: Arc<Activity>,
    /// Its client certificate, if one was requested.
    pub(super) proof: OnceLock<Proof>,
    reason: OnceLock<Reason>,
    leaves: CancellationToken,
}

/// Why a connection must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// Another connection needs its seat.
    Displaced,
    /// Its client certificate is no longer accepted.
    Certificate,
}

/// A seat, released on drop.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    number: u64,
    pub(super) occupant: Arc<Occupant>,
}

impl Seats {
    pub(super) fn new(numbers: Numbers) -> Self {
        Self {
            numbers,
            occupancy: Mutex::default(),
        }
    }

    /// A seat for a connection from `address`; `None` if all seats are taken by active connections.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Seat> {
        let numbers = &self.numbers;
        let address = address.to_canonical();
        let (client, is_remote) = (Client::at(address), !address.is_loopback());
        let mut occupancy = self.occupancy();
        let of_client = occupancy
            .by_client
            .get(&client)
            .copied()
            .unwrap_or_default();
        let is_limited = numbers.per_client > 0 && !numbers.proxies.have(address);
        if is_limited && of_client >= numbers.per_client {
            occupancy.displace(|occupant| occupant.client == client)?;
        }
        let for_remote = numbers.all.saturating_sub(numbers.for_this_machine);
        if is_remote && occupancy.remote >= for_remote {
            occupancy.displace(|occupant| occupant.is_remote)?;
        }
        if occupancy.by_number.len() >= numbers.all {
            occupancy.displace(|_anybody| true)?;
        }
        let occupant = Arc::new(Occupant {
            client,
            is_remote,
            activity: Arc::new(Activity::new()),
            proof: OnceLock::new(),
            reason: OnceLock::new(),
            leaves: CancellationToken::new(),
        });
        let number = occupancy.add(Arc::clone(&occupant));
        drop(occupancy);
        Some(Seat {
            seats: Arc::clone(self),
            number,
            occupant,
        })
    }

    /// Connections with a client certificate.
    pub(super) fn proven(&self) -> Vec<Arc<Occupant>> {
        let occupancy = self.occupancy();
        let occupants = occupancy.by_number.values();
        let proven = occupants.filter(|occupant| occupant.proof.get().is_some());
        proven.cloned().collect()
    }

    fn occupancy(&self) -> MutexGuard<'_, Occupancy> {
        self.occupancy
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Occupancy {
    fn add(&mut self, occupant: Arc<Occupant>) -> u64 {
        let number = self.next;
        self.next += 1;
        *self.by_client.entry(occupant.client).or_default() += 1;
        self.remote += usize::from(occupant.is_remote);
        self.by_number.insert(number, occupant);
        number
    }

    /// It may have been displaced already.
    fn remove(&mut self, number: u64) -> Option<Arc<Occupant>> {
        let occupant = self.by_number.remove(&number)?;
        self.remote -= usize::from(occupant.is_remote);
        if let Some(of_client) = self.by_client.get_mut(&occupant.client) {
            *of_client -= 1;
            if *of_client == 0 {
                self.by_client.remove(&occupant.client);
            }
        }
        Some(occupant)
    }

    /// Displaces the connection with the longest idle time; `None` if all are active.
    fn displace(&mut self, may: impl Fn(&Occupant) -> bool) -> Option<()> {
        let candidates = self.by_number.iter().filter(|(_, occupant)| may(occupant));
        let idle = candidates.filter_map(|(number, occupant)| {
            let idle = occupant.activity.idle_for()?;
            (idle >= ABOUT_TO_ASK).then_some((idle, *number))
        });
        let (_, number) = idle.max()?;
        self.remove(number)?.dismiss(Reason::Displaced);
        Some(())
    }
}

impl Occupant {
    /// Tells it to end.
    pub(super) fn dismiss(&self, reason: Reason) {
        // The first reason counts.
        let _first = self.reason.set(reason);
        self.leaves.cancel();
    }

    /// Waits until it must end.
    pub(super) async fn dismissed(&self) -> Reason {
        self.leaves.cancelled().await;
        self.reason.get().copied().unwrap_or(Reason::Displaced)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.occupancy().remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "127.0.0.1";
    const FAR: &str = "203.0.113.9";
    const FARTHER: &str = "203.0.113.10";

    fn seats(all: usize, per_client: usize, for_this_machine: usize) -> Arc<Seats> {
        Arc::new(Seats::new(Numbers {
            all,
            per_client,
            for_this_machine,
            proxies: Proxies::default(),
        }))
    }

    fn take(seats: &Arc<Seats>, address: &str) -> Option<Seat> {
        seats.take(address.parse().expect("an address"))
    }

    async fn pass(millis: u64) {
        tokio::time::advance(Duration::from_millis(millis)).await;
    }

    fn is_dismissed(seat: &Seat) -> bool {
        seat.occupant.leaves.is_cancelled()
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_connection_of_a_client_gives_its_seat_up() {
        let seats = seats(10, 2, 0);
        let first = take(&seats, FAR).expect("a seat");
        pass(10).await;
        let second = take(&seats, FAR).expect("a seat");
        // Both may be about to send a request.
        assert!(take(&seats, FAR).is_none());
        assert!(take(&seats, FARTHER).is_some());
        pass(1000).await;
        let third = take(&seats, FAR).expect("a seat");
        assert!(is_dismissed(&first) && !is_dismissed(&second));
        assert_eq!(first.occupant.dismissed().await, Reason::Displaced);
        // An active connection keeps its seat.
        let in_use = [
            second.occupant.activity.begin(),
            third.occupant.activity.begin(),
        ];
        pass(5000).await;
        assert!(take(&seats, FAR).is_none());
        drop((first, in_use, second, third));
        assert!(seats.occupancy().by_number.is_empty() && seats.occupancy().by_client.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn some_seats_are_for_this_machine() {
        let seats = seats(4, 0, 2);
        let far: Vec<_> = [FAR, FARTHER].map(|at| take(&seats, at)).into();
        assert!(far.iter().all(Option::is_some));
        assert!(take(&seats, FAR).is_none());
        let here = [take(&seats, HERE), take(&seats, HERE)];
        assert!(here.iter().all(Option::is_some));
        assert!(take(&seats, HERE).is_none());
        drop(far);
        assert!(take(&seats, HERE).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_clients_of_a_proxy_are_not_one() {
        let proxy: crate::network::Network = FAR.to_owned().try_into().expect("a network");
        let seats = Arc::new(Seats::new(Numbers {
            all: 8,
            per_client: 1,
            for_this_machine: 0,
            proxies: Proxies::from_iter([proxy]),
        }));
        let held: Vec<_> = (0..4).map(|_| take(&seats, FAR)).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(take(&seats, FARTHER).is_some());
    }
}
