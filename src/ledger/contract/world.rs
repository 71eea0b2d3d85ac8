//! The world of a contract test: a ledger, a clock that the test moves, and notices.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use crate::clock::{Clock, UnixMillis};
use crate::event::{Fingerprint, Identity, Kind, TokenUse};
use crate::ledger::flights::{Boarding, Flight, Flights, Joined};
use crate::ledger::{
    Admission, Claim, Failure, Filter, GaveUp, Ledger, LedgerError, Notice, NoticeId, Record, Standing, Surroundings,
};
use crate::message::{Reply, ShopRequest};
use crate::metrics::Telemetry;

/// Somewhere a ledger can be opened, and perhaps opened again.
pub(crate) trait Place {
    /// Opens the ledger.
    fn open(&self, around: Surroundings, bytes_max: u64) -> Box<dyn Ledger>;
    /// Whether what was stored is there again after a stop.
    fn survives(&self) -> bool;
    /// How long after a process vanished another one finds what it held.
    fn misses_holders_after(&self) -> Duration {
        Duration::ZERO
    }
}

pub(crate) struct World<'p> {
    place: &'p dyn Place,
    pub(crate) clock: Clock,
    pub(crate) flights: Flights,
    pub(crate) ledger: Arc<dyn Ledger>,
}

/// Room for everything.
pub(crate) const BYTES_MAX: u64 = 1 << 30;

impl<'p> World<'p> {
    pub(crate) fn new(place: &'p dyn Place) -> Self {
        Self::with_room(place, BYTES_MAX)
    }

    pub(crate) fn with_room(place: &'p dyn Place, bytes_max: u64) -> Self {
        let clock = Clock::simulated(UnixMillis(1_763_700_000_000));
        let flights = Flights::default();
        let around =
            Surroundings { clock: clock.clone(), flights: flights.clone(), telemetry: Telemetry::new().unwrap() };
        let ledger = place.open(around, bytes_max).into();
        Self { place, clock, flights, ledger }
    }

    /// The same place with room for so many bytes.
    pub(crate) fn smaller(self, bytes_max: u64) -> Self {
        let place = self.place;
        drop(self);
        Self::with_room(place, bytes_max)
    }

    /// The process ends and another one starts: nothing is left but what the ledger kept.
    pub(crate) fn restart(self) -> Self {
        let (place, clock) = (self.place, self.clock.clone());
        drop(self);
        clock.jump(place.misses_holders_after().as_millis().try_into().unwrap());
        let flights = Flights::default();
        let around =
            Surroundings { clock: clock.clone(), flights: flights.clone(), telemetry: Telemetry::new().unwrap() };
        let ledger = place.open(around, BYTES_MAX).into();
        Self { place, clock, flights, ledger }
    }

    pub(crate) fn survives(&self) -> bool {
        self.place.survives()
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.clock.jump(time.as_millis().try_into().unwrap());
    }

    /// Takes the notice's place in the air; somebody must not have it.
    pub(crate) fn board(&self, notice: &Notice) -> Flight {
        match self.flights.board(notice.identity.fingerprint, notice.identity.turn) {
            Boarding::First(flight) => flight,
            Boarding::Second(_) => panic!("it is in the air"),
        }
    }

    pub(crate) fn join(&self, notice: &Notice) -> Joined {
        match self.flights.board(notice.identity.fingerprint, notice.identity.turn) {
            Boarding::Second(joined) => joined,
            Boarding::First(_) => panic!("it is not in the air"),
        }
    }

    pub(crate) async fn admit(&self, notice: &Arc<Notice>) -> Admission {
        self.try_admit(notice).await.unwrap()
    }

    pub(crate) async fn try_admit(&self, notice: &Arc<Notice>) -> Result<Admission, LedgerError> {
        let flight = self.board(notice);
        self.ledger.admit(notice.clone(), flight).await.map_err(|(error, _)| error)
    }

    /// Admits a notice that is new.
    pub(crate) async fn fresh(&self, notice: &Arc<Notice>) -> Box<Claim> {
        match self.admit(notice).await {
            Admission::Fresh(claim) => claim,
            other => panic!("expected a claim, got {other:?}"),
        }
    }

    /// Admits a notice that the shop accepted a while ago.
    pub(crate) async fn replayed(&self, notice: &Arc<Notice>) -> Arc<Reply> {
        match self.admit(notice).await {
            Admission::Settled(reply) => reply,
            other => panic!("expected a replay, got {other:?}"),
        }
    }

    /// Admits a notice that is pending.
    pub(crate) async fn waiting(&self, notice: &Arc<Notice>) {
        match self.admit(notice).await {
            Admission::InFlight(mut joined) => {
                assert!(matches!(joined.standing().await, Some(Standing::WillRedeliver)));
            }
            other => panic!("expected to join, got {other:?}"),
        }
    }

    pub(crate) async fn settle(&self, claim: Box<Claim>) {
        self.ledger.settle(claim, Arc::new(reply("done"))).await.unwrap();
    }

    pub(crate) async fn postpone(&self, claim: Box<Claim>, by: Duration) {
        self.ledger.postpone(claim, self.clock.now() + by, failure()).await.unwrap();
    }

    pub(crate) async fn lease(&self, limit: usize) -> Vec<Box<Claim>> {
        self.ledger.lease_due(limit).await.unwrap()
    }

    /// Leases what must be the only due claim.
    pub(crate) async fn lease_one(&self) -> Box<Claim> {
        let mut claims = self.lease(9).await;
        assert_eq!(claims.len(), 1, "{claims:?}");
        claims.remove(0)
    }

    pub(crate) async fn record(&self, id: NoticeId) -> Option<Record> {
        let filter = Filter { before: Some(id + 1), limit: 1, ..Filter::default() };
        self.ledger.list(filter).await.unwrap().into_iter().find(|record| record.id == id)
    }
}

/// A notice of a kind; `number` makes it the same as others or not, and is its turn, too.
pub(crate) fn notice(kind: Kind, number: u8) -> Arc<Notice> {
    Arc::new(bare_notice(kind, number))
}

pub(crate) fn bare_notice(kind: Kind, number: u8) -> Notice {
    let mut headers = HeaderMap::new();
    headers.append("content-type", HeaderValue::from_static("application/json"));
    headers.append("x-twice", HeaderValue::from_static("one"));
    headers.append("x-twice", HeaderValue::from_bytes(b"tw\xf6").unwrap());
    Notice {
        observes: false,
        kind,
        route: format!("woocommerce {kind}"),
        policy: kind.defaults(),
        identity: Identity {
            fingerprint: Fingerprint([number; 32]),
            subject: Some(format!("order-{number}")),
            turn: Fingerprint([number ^ 0x80; 32]),
        },
        token: None,
        failure_texts: vec!["failure \"quoted\"".to_owned()],
        request: ShopRequest {
            method: Method::POST,
            target: format!("/wc-api/KCO_WC_Push/?kco-action=push&n={number}&x=%2F"),
            headers,
            body: Bytes::from_static(b"{\"order_id\":\"\xc3\xa9\"}\0\xff"),
        },
    }
}

/// The same notice with a token.
pub(crate) fn with_token(mut notice: Notice, nonce: u8, sessions_max: u32) -> Arc<Notice> {
    notice.token = Some(TokenUse { nonce: [nonce; 10], sessions_max });
    Arc::new(notice)
}

pub(crate) fn reply(body: &'static str) -> Reply {
    Reply { status: StatusCode::OK, reason: None, headers: HeaderMap::new(), body: Bytes::from_static(body.as_bytes()) }
}

pub(crate) fn failure() -> Failure {
    Failure {
        why: GaveUp::NoReply,
        reply: Some(Arc::new(Reply { status: StatusCode::BAD_GATEWAY, ..reply("") })),
        note: "connection refused".to_owned(),
    }
}

pub(crate) const MILLISECOND: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);
