//! How often callers may try.
//!
//! The order matters: a token is looked at first, and only what the look says is counted. If refusals closed the
//! door before the look, then strangers behind the same address as Klarna (a load balancer, a content network that
//! hides its clients) could keep the real callbacks out. A look is one HMAC and no I/O, so looking is cheaper than
//! being wrong; what a flood of refusals loses is only the distinction between `403` and `429`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use governor::clock::Clock as GovernorClock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::direct::NotKeyed;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::state::{InMemoryState, StateStore};
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

use super::{Settings, limit_key};
use crate::clock::Clock;

/// The rates of callers, shared by all workers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Rates(Arc<Limiters>);

#[derive(Debug)]
struct Limiters {
    refused: ByAddress,
    unproven: ByAddress,
    proven: RateLimiter<NotKeyed, InMemoryState, Ticks, NoOpMiddleware<Nanos>>,
}

type ByAddress = RateLimiter<IpAddr, Addresses, Ticks, NoOpMiddleware<Nanos>>;

impl Rates {
    /// Full allowances for everybody.
    pub fn new(settings: &Settings, clock: &Clock) -> Self {
        let ticks = Ticks { origin: clock.instant(), clock: clock.clone() };
        let by_address =
            |quota: Quota| RateLimiter::new(quota, Addresses::at_most(settings.addresses_max), ticks.clone());
        Self(Arc::new(Limiters {
            refused: by_address(Quota::per_minute(at_least_one(settings.refused_per_minute))),
            unproven: by_address(Quota::per_second(at_least_one(settings.unproven_per_second))),
            proven: RateLimiter::new(
                Quota::per_second(at_least_one(settings.proven_per_second)),
                InMemoryState::default(),
                ticks,
            ),
        }))
    }

    /// Counts a call whose token was refused. True once the address used up its allowance: then it gets `429`,
    /// not `403`. It never keeps a valid token out.
    pub fn too_many_refused(&self, client: IpAddr) -> bool {
        self.0.refused.check_key(&limit_key(client)).is_err()
    }

    /// Whether a call that cannot prove itself, on a route that lets such calls pass (it observes, or is off), may
    /// go on; `429` otherwise.
    pub fn admits_unproven(&self, client: IpAddr) -> bool {
        self.0.unproven.check_key(&limit_key(client)).is_ok()
    }

    /// Whether one more call with a valid token may go on; `429` otherwise. Only calls that proved themselves are
    /// counted, so nobody else can use this allowance up.
    pub fn admits_proven(&self) -> bool {
        self.0.proven.check().is_ok()
    }

    /// Forgets addresses that were quiet for long enough to have their full allowance again. Call it every minute.
    pub fn tidy(&self) {
        for limiter in [&self.0.refused, &self.0.unproven] {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }

    /// Client addresses remembered now, over both kinds of limit.
    pub fn addresses(&self) -> usize {
        self.0.refused.len() + self.0.unproven.len()
    }
}

fn at_least_one(rate: u32) -> NonZeroU32 {
    NonZeroU32::new(rate).unwrap_or(NonZeroU32::MIN)
}

/// The clock that governor asks: ours, so that tests can move it.
#[derive(Clone, Debug)]
struct Ticks {
    clock: Clock,
    origin: Instant,
}

impl GovernorClock for Ticks {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.clock.instant().saturating_duration_since(self.origin).into()
    }
}

/// The addresses' states, at most so many. governor's own maps grow without bound, and an attacker with an IPv6
/// network has addresses without bound. Strangers that find no place share one state.
#[derive(Debug)]
struct Addresses {
    known: Mutex<HashMap<IpAddr, InMemoryState>>,
    strangers: InMemoryState,
    known_max: usize,
}

impl Addresses {
    fn at_most(known_max: usize) -> Self {
        Self { known: Mutex::default(), strangers: InMemoryState::default(), known_max }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, InMemoryState>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateStore for Addresses {
    type Key = IpAddr;

    fn measure_and_replace<T, F, E>(&self, address: &IpAddr, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut known = self.lock();
        let room = known.len() < self.known_max;
        if let Some(state) = known.get(address) {
            return state.measure_and_replace(&NotKeyed::NonKey, measure);
        }
        if !room {
            return self.strangers.measure_and_replace(&NotKeyed::NonKey, measure);
        }
        known.entry(*address).or_default().measure_and_replace(&NotKeyed::NonKey, measure)
    }
}

impl ShrinkableKeyedStateStore<IpAddr> for Addresses {
    fn retain_recent(&self, drop_below: Nanos) {
        self.lock().retain(|_, state| last_of(state).is_some_and(|last| last > drop_below));
    }

    fn shrink_to_fit(&self) {
        self.lock().shrink_to_fit();
    }

    fn len(&self) -> usize {
        self.lock().len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Reads a state: a measurement that refuses changes nothing.
fn last_of(state: &InMemoryState) -> Option<Nanos> {
    match state.measure_and_replace(&NotKeyed::NonKey, Err::<((), Nanos), _>) {
        Ok(()) => None,
        Err(last) => last,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::UnixMillis;
    use crate::limits::SeatSettings;

    fn rates(addresses_max: usize) -> Rates {
        let settings = Settings {
            callback_body_bytes_max: 0,
            traffic_body_bytes_max: 0,
            callback_body_within: Duration::ZERO,
            refused_per_minute: 3,
            unproven_per_second: 2,
            proven_per_second: 5,
            addresses_max,
            seats: SeatSettings {
                max_in_flight: 1,
                reserved_for_callbacks: 0,
                waiting_traffic_max: 0,
                traffic_waits_at_most: Duration::ZERO,
            },
        };
        Rates::new(&settings, &Clock::simulated(UnixMillis(0)))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_are_counted_by_address_and_forgiven_with_time() {
        let rates = rates(10);
        let (noisy, other) = (ip("192.0.2.1"), ip("192.0.2.2"));
        assert_eq!([(); 5].map(|()| rates.too_many_refused(noisy)), [false, false, false, true, true]);
        assert!(!rates.too_many_refused(other));
        tokio::time::advance(Duration::from_secs(21)).await;
        assert_eq!([(); 2].map(|()| rates.too_many_refused(noisy)), [false, true]);
    }

    #[tokio::test(start_paused = true)]
    async fn noise_from_the_same_address_keeps_no_valid_token_out() {
        let rates = rates(10);
        for _ in 0..1_000 {
            rates.too_many_refused(ip("192.0.2.1"));
            rates.admits_unproven(ip("192.0.2.1"));
        }
        assert_eq!([(); 6].map(|()| rates.admits_proven()), [true, true, true, true, true, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_ipv6_network_is_one_client_and_a_mapped_ipv4_address_is_itself() {
        let rates = rates(10);
        assert!(rates.admits_unproven(ip("2001:db8::1")));
        assert!(rates.admits_unproven(ip("2001:db8::ffff:1")));
        assert!(!rates.admits_unproven(ip("2001:db8:0:0:8000::")));
        assert!(rates.admits_unproven(ip("2001:db8:0:1::")));
        assert!(rates.admits_unproven(ip("::ffff:192.0.2.7")));
        assert!(rates.admits_unproven(ip("192.0.2.7")));
        assert!(!rates.admits_unproven(ip("::ffff:192.0.2.7")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_memory_makes_strangers_share_and_spares_the_known() {
        let rates = rates(2);
        let _ = (rates.admits_unproven(ip("192.0.2.1")), rates.admits_unproven(ip("192.0.2.2")));
        let strangers: Vec<bool> =
            (10..14).map(|last| rates.admits_unproven(IpAddr::from([192, 0, 2, last]))).collect();
        assert_eq!(strangers, [true, true, false, false]);
        assert!(rates.admits_unproven(ip("192.0.2.1")));
        assert_eq!(rates.addresses(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn tidying_forgets_the_quiet_and_keeps_the_noisy() {
        let rates = rates(100);
        for last in 0..50 {
            rates.too_many_refused(IpAddr::from([192, 0, 2, last]));
        }
        tokio::time::advance(Duration::from_secs(59)).await;
        for _ in 0..4 {
            rates.too_many_refused(ip("198.51.100.1"));
        }
        tokio::time::advance(Duration::from_secs(15)).await;
        rates.tidy();
        assert_eq!(rates.addresses(), 1);
        assert!(rates.too_many_refused(ip("198.51.100.1")));
    }
}
