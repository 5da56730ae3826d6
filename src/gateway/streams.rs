//! How many answers one client has under way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::budget::Client;

/// Answers that are under way, by client.
#[derive(Debug, Clone)]
pub(super) struct Streams(Arc<Clients>);

#[derive(Debug)]
struct Clients {
    most: usize,
    under_way: Mutex<HashMap<Client, usize>>,
}

/// One answer, until it is dropped.
#[derive(Debug)]
pub(super) struct Stream {
    streams: Streams,
    client: Client,
}

impl Streams {
    /// So many for each client; 0: as many as they like.
    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(Clients {
            most: if most == 0 { usize::MAX } else { most },
            under_way: Mutex::default(),
        }))
    }

    /// One more answer; `None` if the client has too many.
    pub(super) fn begin(&self, client: Client) -> Option<Stream> {
        let mut all = self.all();
        let under_way = all.entry(client).or_default();
        if *under_way >= self.0.most {
            return None;
        }
        *under_way += 1;
        drop(all);
        Some(Stream {
            streams: self.clone(),
            client,
        })
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Client, usize>> {
        let under_way = &self.0.under_way;
        under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut all = self.streams.all();
        if let Some(under_way) = all.get_mut(&self.client) {
            *under_way -= 1;
            if *under_way == 0 {
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
        let streams = Streams::new(2);
        let (one, other) = (address("10.0.0.1"), address("10.0.0.2"));
        let held = [streams.begin(one), streams.begin(one)];
        assert!(held.iter().all(Option::is_some));
        assert!(streams.begin(one).is_none());
        assert!(streams.begin(address("::ffff:10.0.0.1")).is_none());
        assert!(streams.begin(other).is_some());
        drop(held);
        assert!(streams.begin(one).is_some());
        assert!(streams.all().is_empty());
    }

    #[test]
    fn zero_is_no_limit() {
        let unlimited = Streams::new(0);
        let held: Vec<_> = (0..99).map(|_| unlimited.begin(address("::1"))).collect();
        assert!(held.iter().all(Option::is_some));
    }
}
