//! Counts the units of a resource that each client holds, and bounds them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::budget::Client;

/// The units of a resource that each client holds.
#[derive(Debug, Clone)]
pub(crate) struct PerClient(Arc<Clients>);

#[derive(Debug)]
struct Clients {
    most: usize,
    taken: Mutex<HashMap<Client, usize>>,
}

/// Units that one client holds until the value is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    of: PerClient,
    client: Client,
    amount: usize,
}

impl PerClient {
    /// A bound of `most` units for each client; 0: unbounded.
    pub(crate) fn new(most: usize) -> Self {
        Self(Arc::new(Clients {
            most: if most == 0 { usize::MAX } else { most },
            taken: Mutex::default(),
        }))
    }

    /// Reserves units for a client; `None` if the client would exceed its bound.
    pub(crate) fn take(&self, client: Client, amount: usize) -> Option<Share> {
        let mut share = Share {
            of: self.clone(),
            client,
            amount: 0,
        };
        share.grow(amount).then_some(share)
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Client, usize>> {
        let taken = &self.0.taken;
        taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Adds units; `false`, without a change, if the client would exceed its bound.
    pub(crate) fn grow(&mut self, amount: usize) -> bool {
        let mut all = self.of.all();
        let taken = all.get(&self.client).copied().unwrap_or_default();
        let Some(sum) = taken
            .checked_add(amount)
            .filter(|sum| *sum <= self.of.0.most)
        else {
            return false;
        };
        all.insert(self.client, sum);
        self.amount += amount;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut all = self.of.all();
        if let Some(taken) = all.get_mut(&self.client) {
            *taken -= self.amount;
            if *taken == 0 {
                all.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Client {
        Client::at(text.parse().expect("an address"))
    }

    #[test]
    fn each_client_has_its_own_number_and_leaves_nothing_behind() {
        let streams = PerClient::new(2);
        let (one, other) = (address("10.0.0.1"), address("10.0.0.2"));
        let held = [streams.take(one, 1), streams.take(one, 1)];
        assert!(held.iter().all(Option::is_some));
        assert!(streams.take(one, 1).is_none());
        assert!(streams.take(address("::ffff:10.0.0.1"), 1).is_none());
        assert!(streams.take(other, 1).is_some());
        drop(held);
        assert!(streams.take(one, 1).is_some());
        assert!(streams.all().is_empty());
    }

    #[test]
    fn a_share_grows_as_far_as_it_may() {
        let room = PerClient::new(10);
        let client = address("10.0.0.1");
        let mut share = room.take(client, 4).expect("a share");
        assert!(share.grow(6) && !share.grow(1));
        drop(share);
        assert!(room.all().is_empty());
    }

    #[test]
    fn a_network_of_ipv6_is_one_client_and_0_is_no_limit() {
        let streams = PerClient::new(1);
        let _held = streams.take(address("2001:db8::1"), 1);
        assert!(streams.take(address("2001:db8::2"), 1).is_none());
        assert!(streams.take(address("2001:db8:0:1::1"), 1).is_some());
        let unlimited = PerClient::new(0);
        let held: Vec<_> = (0..99).map(|_| unlimited.take(address("::1"), 1)).collect();
        assert!(held.iter().all(Option::is_some));
    }
}
