//! How many connections there may be, in all and from one client.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limits::limit_key;

/// Counts connections. All listeners and workers share one.
#[derive(Debug)]
pub(super) struct ConnectionLimit {
    in_all_max: usize,
    per_client_max: usize,
    in_all: AtomicUsize,
    per_client: Mutex<HashMap<IpAddr, usize>>,
}

/// A place among all connections; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    limit: Arc<ConnectionLimit>,
    client: Option<IpAddr>,
}

/// There are as many connections as there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Full {
    /// In all.
    InAll,
    /// From this client.
    FromClient,
}

impl Full {
    /// Its name in metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::InAll => "too_many",
            Self::FromClient => "too_many_from_address",
        }
    }
}

impl ConnectionLimit {
    /// No connections yet.
    pub(super) fn new(in_all_max: usize, per_client_max: usize) -> Arc<Self> {
        Arc::new(Self { in_all_max, per_client_max, in_all: AtomicUsize::new(0), per_client: Mutex::default() })
    }

    /// A place for a connection whose client is not known yet.
    pub(super) fn take(self: &Arc<Self>) -> Result<Place, Full> {
        let taken = self
            .in_all
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| (taken < self.in_all_max).then_some(taken + 1));
        taken.map(|_| Place { limit: Arc::clone(self), client: None }).map_err(|_| Full::InAll)
    }

    /// Connections now.
    pub(super) fn in_all(&self) -> usize {
        self.in_all.load(Ordering::Relaxed)
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // The map is a set of counts, whole after every statement.
        self.per_client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Counts the place against its client. An IPv6 client is its /64. To be called once.
    pub(super) fn belongs_to(mut self, client: IpAddr) -> Result<Self, Full> {
        let key = limit_key(client);
        {
            let mut clients = self.limit.clients();
            let taken = clients.entry(key).or_insert(0);
            if *taken >= self.limit.per_client_max {
                return Err(Full::FromClient);
            }
            *taken += 1;
        }
        self.client = Some(key);
        Ok(self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.limit.in_all.fetch_sub(1, Ordering::Relaxed);
        let Some(client) = self.client else { return };
        let mut clients = self.limit.clients();
        if let Some(taken) = clients.get_mut(&client) {
            *taken -= 1;
            if *taken == 0 {
                clients.remove(&client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn places_are_bounded_in_all_and_come_back() {
        let limit = ConnectionLimit::new(2, 2);
        let one = limit.take().unwrap();
        let _two = limit.take().unwrap();
        assert_eq!(limit.take().unwrap_err(), Full::InAll);
        drop(one);
        assert!(limit.take().is_ok());
    }

    #[test]
    fn places_are_bounded_by_client_and_nothing_is_left_behind() {
        let limit = ConnectionLimit::new(9, 1);
        let one = limit.take().unwrap().belongs_to(address("2001:db8::1")).unwrap();
        assert_eq!(limit.take().unwrap().belongs_to(address("2001:db8::2")).unwrap_err(), Full::FromClient);
        let other = limit.take().unwrap().belongs_to(address("2001:db8:0:1::1")).unwrap();
        assert_eq!(limit.in_all(), 2, "a refused one gives its place back");
        drop(one);
        let again = limit.take().unwrap().belongs_to(address("2001:db8::2")).unwrap();
        drop((other, again));
        assert_eq!(limit.in_all(), 0);
        assert!(limit.clients().is_empty());
    }
}
