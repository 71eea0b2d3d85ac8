//! The contract on a real PostgreSQL, and what only a shared ledger can promise.

#[allow(dead_code, unreachable_pub, reason = "the integration tests use the rest, and see it from elsewhere")]
#[path = "../../../tests/it/support/database.rs"]
mod database;

use tokio::time::timeout;

use self::database::{Database, Server};
use super::*;
use crate::clock::Clock;
use crate::event::{Fingerprint, Kind};
use crate::ledger::State;
use crate::ledger::contract::world::{HOUR, MINUTE, bare_notice, failure, notice, reply};
use crate::ledger::contract::{Place, contract};
use crate::ledger::flights::{Boarding, Flights};
use crate::metrics::Telemetry;

struct Shared(Database);

impl Shared {
    fn new() -> Self {
        Self(Server::shared().database())
    }

    fn address(&self) -> Address {
        Address::parse(&self.0.url()).unwrap()
    }
}

impl Place for Shared {
    fn open(&self, around: Surroundings, bytes_max: u64) -> Box<dyn Ledger> {
        Box::new(Postgres::open(&self.address(), Options { bytes_max, ..OPTIONS }, around).unwrap())
    }

    fn survives(&self) -> bool {
        true
    }

    fn misses_holders_after(&self) -> Duration {
        OPTIONS.lease
    }
}

const OPTIONS: Options = Options {
    connections: 2,
    queue_max: 1_024,
    bytes_max: 1 << 30,
    lease: Duration::from_secs(75),
    stalled_after: Duration::from_secs(5),
    takes_over_after: Duration::ZERO,
};

contract!(Shared::new());

/// One of several processes.
struct Replica {
    flights: Flights,
    ledger: Postgres,
}

impl Replica {
    fn of(place: &Shared, clock: &Clock) -> Self {
        Self::with(place, clock, OPTIONS)
    }

    fn with(place: &Shared, clock: &Clock, options: Options) -> Self {
        let flights = Flights::default();
        let telemetry = Telemetry::new().unwrap();
        let around = Surroundings { clock: clock.clone(), flights: flights.clone(), telemetry };
        Self { ledger: Postgres::open(&place.address(), options, around).unwrap(), flights }
    }

    fn board(&self, notice: &Notice) -> Flight {
        match self.flights.board(notice.identity.fingerprint, notice.identity.turn) {
            Boarding::First(flight) => flight,
            Boarding::Second(_) => panic!("it is in the air"),
        }
    }

    async fn try_admit(&self, notice: &Arc<Notice>) -> Result<Admission, LedgerError> {
        self.ledger.admit(notice.clone(), self.board(notice)).await.map_err(|(error, _)| error)
    }

    async fn fresh(&self, notice: &Arc<Notice>) -> Box<Claim> {
        match self.try_admit(notice).await.unwrap() {
            Admission::Fresh(claim) => claim,
            other => panic!("{other:?}"),
        }
    }

    async fn following(&self, notice: &Arc<Notice>) -> Joined {
        match self.try_admit(notice).await.unwrap() {
            Admission::InFlight(joined) => joined,
            other => panic!("{other:?}"),
        }
    }

    async fn settle(&self, claim: Box<Claim>) -> Result<(), LedgerError> {
        self.ledger.settle(claim, Arc::new(reply("done"))).await.map_err(|(error, _)| error)
    }

    async fn state(&self, id: NoticeId) -> (State, Option<String>) {
        let filter = Filter { before: Some(id + 1), limit: 1, ..Filter::default() };
        let record = self.ledger.list(filter).await.unwrap().remove(0);
        assert_eq!(record.id, id);
        (record.state, record.note)
    }
}

fn clock() -> Clock {
    Clock::simulated(UnixMillis(1_763_700_000_000))
}

/// Far more than a busy machine needs.
async fn soon<T>(work: impl Future<Output = T>) -> T {
    timeout(MINUTE, work).await.expect("it happens soon")
}

/// Again and again until it is so.
async fn eventually(mut is_so: impl AsyncFnMut() -> bool) {
    soon(async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_call_at_another_process_waits_for_the_outcome_and_gets_the_reply() {
    let (place, clock) = (Shared::new(), clock());
    let (one, two) = (Replica::of(&place, &clock), Replica::of(&place, &clock));
    let sent = notice(Kind::Authorization, 1);
    let claim = one.fresh(&sent).await;
    let mut joined = two.following(&sent).await;
    let Boarding::Second(mut third) = two.flights.board(sent.identity.fingerprint, sent.identity.turn) else {
        panic!("further calls join there")
    };
    assert!(timeout(Duration::from_millis(300), joined.standing()).await.is_err(), "the shop has not answered yet");
    assert!(joined.answer_for_the_shop() && third.answer_for_the_shop(), "it is on disk");
    one.settle(claim).await.unwrap();
    for joined in [&mut joined, &mut third] {
        assert!(matches!(soon(joined.standing()).await, Some(Standing::Settled(reply)) if reply.body == "done"));
    }
    eventually(async || two.flights.is_empty()).await;
    assert!(matches!(two.try_admit(&sent).await.unwrap(), Admission::Settled(_)));
}

#[tokio::test]
async fn an_outcome_that_nobody_told_is_found_all_the_same() {
    let (place, clock) = (Shared::new(), clock());
    let (one, two) = (Replica::of(&place, &clock), Replica::of(&place, &clock));
    let sent = notice(Kind::Authorization, 1);
    let claim = one.fresh(&sent).await;
    let mut joined = two.following(&sent).await;
    place.0.sql("update kallback_notice set held = false, free_at = 0");
    assert!(matches!(soon(joined.standing()).await, Some(Standing::WillRedeliver)));
    claim.forget();
}

#[tokio::test]
async fn a_lease_that_ran_out_is_taken_over_and_its_old_holder_can_record_nothing() {
    let (place, clock) = (Shared::new(), clock());
    let (one, two) = (Replica::of(&place, &clock), Replica::of(&place, &clock));
    let slow = one.fresh(&notice(Kind::Authorization, 1)).await;
    assert!(two.ledger.lease_due(9).await.unwrap().is_empty(), "it is held");
    clock.jump(74_000);
    assert!(two.ledger.lease_due(9).await.unwrap().is_empty(), "it is held until the lease runs out");
    clock.jump(2_000);
    let taken = two.ledger.lease_due(9).await.unwrap().remove(0);
    assert_eq!((taken.attempt, taken.interrupted), (2, true));
    assert!(matches!(one.ledger.hold(&slow, HOUR).await, Err(LedgerError::Lost(1))));
    assert!(matches!(one.settle(slow).await, Err(LedgerError::Lost(1))));
    assert!(!one.flights.has_abandoned(), "its loss is not to be noticed");
    two.settle(taken).await.unwrap();
    let counts = one.ledger.counts().await.unwrap();
    assert_eq!((counts.accepted, counts.settled, counts.pending), (1, 1, 0));
}

#[tokio::test]
async fn a_held_claim_can_be_kept_for_longer() {
    let (place, clock) = (Shared::new(), clock());
    let (one, two) = (Replica::of(&place, &clock), Replica::of(&place, &clock));
    let claim = one.fresh(&notice(Kind::Authorization, 1)).await;
    one.ledger.hold(&claim, HOUR).await.unwrap();
    clock.jump(3_600_000);
    assert!(two.ledger.lease_due(9).await.unwrap().is_empty());
    one.settle(claim).await.unwrap();
}

#[tokio::test]
async fn who_was_cut_off_may_record_what_it_knows_before_others_take_over() {
    let (place, clock) = (Shared::new(), clock());
    let one = Replica::of(&place, &clock);
    let claim = one.fresh(&notice(Kind::Authorization, 1)).await;
    clock.jump(200_000);
    let cautious = Replica::with(&place, &clock, Options { takes_over_after: HOUR, ..OPTIONS });
    assert!(cautious.ledger.lease_due(9).await.unwrap().is_empty());
    one.settle(claim).await.unwrap();
}

#[tokio::test]
async fn each_due_record_is_leased_by_one_process() {
    let (place, clock) = (Shared::new(), clock());
    let replicas: Vec<_> = (0..4).map(|_| Replica::of(&place, &clock)).collect();
    for number in 0..40 {
        let claim = replicas[0].fresh(&notice(Kind::Authorization, number)).await;
        replicas[0].ledger.postpone(claim, clock.now(), failure()).await.unwrap();
    }
    clock.jump(1_000);
    for replica in &replicas {
        soon(replica.ledger.first_contact()).await.unwrap();
    }
    let mut leases = replicas.iter().map(async |replica| {
        let mut ids = Vec::new();
        for _ in 0..40 {
            for claim in replica.ledger.lease_due(3).await.unwrap() {
                ids.push(claim.id);
                claim.forget();
            }
        }
        ids
    });
    let (one, two, three, four) =
        (leases.next().unwrap(), leases.next().unwrap(), leases.next().unwrap(), leases.next().unwrap());
    let (one, two, three, four) = tokio::join!(one, two, three, four);
    let mut ids = [one, two, three, four].concat();
    ids.sort_unstable();
    assert_eq!(ids, (1..=40).collect::<Vec<_>>());
}

#[tokio::test]
async fn notices_of_one_turn_go_to_the_shop_one_after_the_other_at_different_processes_too() {
    let (place, clock) = (Shared::new(), clock());
    let (one, two) = (Replica::of(&place, &clock), Replica::of(&place, &clock));
    let of_one_turn = |number| {
        let mut notice = bare_notice(Kind::Authorization, number);
        notice.identity.turn = Fingerprint([77; 32]);
        Arc::new(notice)
    };
    let first = one.fresh(&of_one_turn(1)).await;
    let second = two.fresh(&of_one_turn(2)).await;
    one.ledger.hold(&first, MINUTE).await.unwrap();
    assert!(timeout(Duration::from_millis(600), two.ledger.hold(&second, MINUTE)).await.is_err(), "not at once");
    one.settle(first).await.unwrap();
    soon(two.ledger.hold(&second, MINUTE)).await.unwrap();
    let waits = one.fresh(&of_one_turn(3)).await;
    one.ledger.postpone(waits, clock.now(), failure()).await.unwrap();
    clock.jump(1_000);
    assert!(one.ledger.lease_due(9).await.unwrap().is_empty());
    assert_eq!(one.ledger.next_due().await.unwrap(), None, "it is held up");
    two.settle(second).await.unwrap();
    assert_eq!(one.ledger.lease_due(9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_a_sender_elsewhere_may_have_been_promised_does_not_end_as_left() {
    let (place, clock) = (Shared::new(), clock());
    let (one, two) = (Replica::of(&place, &clock), Replica::of(&place, &clock));
    for (id, kind, end, state) in [(1, Kind::Webhook, End::Dead, State::Dead), (2, Kind::Push, End::Left, State::Left)]
    {
        let sent = notice(kind, u8::try_from(id).unwrap());
        let claim = one.fresh(&sent).await;
        let mut joined = two.following(&sent).await;
        let ended = one.ledger.close(claim, End::Left, failure()).await.unwrap();
        assert_eq!(ended, end, "what the log and the alarm say");
        let standing = soon(joined.standing()).await;
        assert!(matches!(standing, Some(Standing::GivenUp(Some(reply), _)) if reply.status.as_u16() == 502));
        assert_eq!(one.state(id).await.0, state);
    }
}

#[tokio::test]
async fn a_call_that_gave_up_leaves_no_pending_record() {
    let (place, clock) = (Shared::new(), clock());
    let replica = Replica::of(&place, &clock);
    replica.ledger.first_contact().await.unwrap();
    let sent = notice(Kind::Authorization, 1);
    // Long enough that the statement is on its way, and too short for the answer.
    place.0.sql(
        "create function slow() returns trigger language plpgsql as 'begin perform pg_sleep(0.5); return new; end';
        create trigger slow before insert on kallback_notice for each row execute function slow();",
    );
    let admission = replica.ledger.admit(sent.clone(), replica.board(&sent));
    assert!(timeout(Duration::from_millis(100), admission).await.is_err());
    eventually(async || replica.ledger.counts().await.unwrap().left == 1).await;
    assert_eq!(replica.state(1).await, (State::Left, Some(rules::WITHDRAWN.to_owned())));
    assert_eq!(replica.fresh(&sent).await.id, 2);
}

#[tokio::test]
async fn a_token_takes_no_more_sessions_because_they_come_to_different_processes() {
    let (place, clock) = (Shared::new(), clock());
    let replicas: Vec<_> = (0..3).map(|_| Arc::new(Replica::of(&place, &clock))).collect();
    for replica in &replicas {
        let another = TokenUse { nonce: [8; 10], sessions_max: 1 };
        assert!(replica.ledger.bind(another, "warm".to_owned()).await.unwrap());
    }
    let token = TokenUse { nonce: [7; 10], sessions_max: 4 };
    let calls: Vec<_> = (0..60)
        .map(|number| {
            let replica = replicas[number % 3].clone();
            tokio::spawn(async move { replica.ledger.bind(token, format!("session-{number}")).await.unwrap() })
        })
        .collect();
    let mut allowed = 0;
    for call in calls {
        allowed += usize::from(call.await.unwrap());
    }
    assert_eq!(place.0.sql("select count(*) from kallback_binding"), "5");
    assert_eq!(allowed, 4);
}

#[tokio::test]
async fn many_that_start_at_once_make_the_tables_once() {
    let (place, clock) = (Shared::new(), clock());
    let replicas: Vec<_> = (0..12).map(|_| Replica::of(&place, &clock)).collect();
    for (number, replica) in (0..).zip(&replicas) {
        soon(replica.ledger.first_contact()).await.unwrap();
        let claim = replica.fresh(&notice(Kind::Push, number)).await;
        replica.settle(claim).await.unwrap();
    }
    assert_eq!(place.0.sql("select version from kallback_format"), schema::STEPS.len().to_string());
    assert_eq!(replicas[0].ledger.counts().await.unwrap().settled, 12);
}

#[tokio::test]
async fn tables_of_a_newer_version_are_refused_with_both_numbers() {
    let (place, clock) = (Shared::new(), clock());
    Replica::of(&place, &clock).ledger.first_contact().await.unwrap();
    place.0.sql("update kallback_format set version = 99");
    let refused = soon(Replica::of(&place, &clock).ledger.first_contact()).await.unwrap_err();
    assert!(refused.is_lasting() && refused.to_string().contains("format 99"), "{refused}");
    assert!(refused.to_string().contains("formats up to 1"));
    assert_eq!(place.0.sql("select version from kallback_format"), "99");
}

#[tokio::test]
async fn an_older_database_keeps_its_rows_and_gets_the_newer_tables() {
    let place = Shared::new();
    let (client, connection) = place.address().config().connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    const ONE: &str = "create table kallback_format (version bigint); insert into kallback_format values (0);
        create table a (x bigint); insert into a values (7)";
    const BROKEN: &str = "update a set x = 9; insert into nowhere values (1)";
    const TWO: &str = "alter table a add column y bigint; update a set y = x + 1";
    schema::bring_up_to_date(&client, &[ONE]).await.unwrap();
    assert!(schema::bring_up_to_date(&client, &[ONE, BROKEN]).await.is_err());
    assert_eq!(place.0.sql("select x, version from a, kallback_format"), "7|1", "the old version is whole");
    schema::bring_up_to_date(&client, &[ONE, TWO]).await.unwrap();
    schema::bring_up_to_date(&client, &[ONE, TWO]).await.unwrap();
    assert_eq!(place.0.sql("select x, y, version from a, kallback_format"), "7|8|2");
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_a_fault_for_a_person() {
    let nowhere = Shared(Server::shared().called("nowhere"));
    let refused = soon(Replica::of(&nowhere, &clock()).ledger.first_contact()).await.unwrap_err();
    assert!(refused.is_lasting() && refused.to_string().contains("\"nowhere\" does not exist"), "{refused}");
}

#[tokio::test]
async fn an_id_with_a_nul_is_stored_all_the_same() {
    let (place, clock) = (Shared::new(), clock());
    let replica = Replica::of(&place, &clock);
    let mut odd = bare_notice(Kind::Push, 1);
    odd.identity.subject = Some("order\0-1".to_owned());
    let claim = replica.fresh(&Arc::new(odd)).await;
    replica.settle(claim).await.unwrap();
    assert_eq!(replica.ledger.acknowledge("order\0-1".to_owned()).await.unwrap(), 1);
}

#[tokio::test]
async fn the_way_is_encrypted_and_the_certificate_checked() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let server = Server::with_tls(&made.cert.pem(), &made.signing_key.serialize_pem());
    let database = server.database();
    database.sql("alter role kallback password 'geheim'");
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, made.cert.pem()).unwrap();
    let url = format!("postgres://kallback@localhost:{}/{}", server.port(), database.name);
    let address = Address::parse(&url).unwrap();
    let around = || Surroundings { clock: clock(), flights: Flights::default(), telemetry: Telemetry::new().unwrap() };
    let contact = async |address: &Address| {
        let ledger = Postgres::open(address, OPTIONS, around()).unwrap();
        soon(ledger.first_contact()).await.map_err(|why| (why.is_lasting(), why.to_string()))
    };
    let trusting = address.clone().trusting(Some(ca_file));
    let encrypted = Postgres::open(&trusting.clone().with_password("geheim"), OPTIONS, around()).unwrap();
    soon(encrypted.first_contact()).await.unwrap();
    assert_ne!(database.sql("select count(*) from pg_stat_ssl where ssl"), "0");
    let (is_lasting, why) = contact(&trusting.with_password("falsch")).await.unwrap_err();
    assert!(is_lasting && why.contains("password authentication failed") && !why.contains("falsch"), "{why}");
    let (_, why) = contact(&address.with_password("geheim")).await.unwrap_err();
    assert!(why.contains("certificate"), "{why}");
}

/// Claims a notice that nobody has seen, as soon as the ledger takes any.
async fn until_it_claims_again(replica: &Replica) {
    let mut number = 100_u8;
    eventually(async || {
        number = 100 + (number + 1) % 100;
        replica.try_admit(&notice(Kind::Push, number)).await.is_ok()
    })
    .await;
}

/// Tries again as a delivery does.
async fn until_it_settles(replica: &Replica, claim: Box<Claim>) {
    let mut claim = Some(claim);
    eventually(async || match replica.ledger.settle(claim.take().unwrap(), Arc::new(reply("done"))).await {
        Ok(()) => true,
        Err((LedgerError::Unavailable(_), back)) => {
            claim = Some(back);
            false
        }
        Err((fault, _)) => panic!("{fault}"),
    })
    .await;
}

const HASTY: Options = Options { stalled_after: Duration::from_millis(500), ..OPTIONS };

#[tokio::test]
async fn a_database_that_hangs_costs_few_calls_their_share_and_the_others_nothing() {
    let place = Shared(Server::own(&[]).database());
    let replica = Replica::with(&place, &Clock::system(), HASTY);
    let kept = replica.fresh(&notice(Kind::Push, 1)).await;
    place.0.server().freeze(true);
    let (mut waited, mut at_once) = (0, 0);
    for number in 10..40 {
        let began = replica.ledger.around.clock.instant();
        let outcome = timeout(Duration::from_millis(600), replica.try_admit(&notice(Kind::Push, number))).await;
        assert!(!matches!(outcome, Ok(Ok(_))), "nobody is there to say so");
        let took = replica.ledger.around.clock.instant() - began;
        *(if took > Duration::from_millis(300) { &mut waited } else { &mut at_once }) += 1;
    }
    place.0.server().freeze(false);
    assert!(waited <= 10 && at_once >= 20, "{waited} calls waited");
    eventually(async || replica.ledger.counts().await.is_ok()).await;
    until_it_claims_again(&replica).await;
    until_it_settles(&replica, kept).await;
}

#[tokio::test]
async fn after_a_restart_of_the_database_everything_goes_on_by_itself() {
    let place = Shared(Server::own(&[]).database());
    let replica = Replica::with(&place, &Clock::system(), HASTY);
    let kept = replica.fresh(&notice(Kind::Push, 1)).await;
    place.0.server().stop();
    eventually(async || replica.try_admit(&notice(Kind::Push, 2)).await.is_err()).await;
    let (fault, kept) = replica.ledger.settle(kept, Arc::new(reply("done"))).await.unwrap_err();
    assert!(matches!(fault, LedgerError::Unavailable(_)), "{fault}");
    place.0.server().go_on();
    until_it_claims_again(&replica).await;
    until_it_settles(&replica, kept).await;
}

#[tokio::test]
async fn a_database_that_only_reads_takes_no_claims_until_it_writes_again() {
    let place = Shared(Server::own(&[]).database());
    let replica = Replica::with(&place, &Clock::system(), HASTY);
    replica.ledger.first_contact().await.unwrap();
    let read_only = |is_so: &str| {
        place.0.sql(&format!("alter system set default_transaction_read_only = {is_so}"));
        place.0.sql("select pg_reload_conf()");
    };
    read_only("on");
    eventually(async || {
        let fault = replica.try_admit(&notice(Kind::Push, 1)).await.err();
        fault.is_some_and(|fault| fault.to_string().contains("writes"))
    })
    .await;
    read_only("off");
    until_it_claims_again(&replica).await;
}

#[tokio::test]
async fn a_database_without_a_free_connection_is_waited_for() {
    let place = Shared(Server::own(&["superuser_reserved_connections=0", "max_connections=3"]).database());
    place.0.sql("create role guest login superuser");
    let first = Replica::with(&place, &Clock::system(), HASTY);
    first.ledger.first_contact().await.unwrap();
    let mut refused = None;
    // The first one takes the places one after the other.
    eventually(async || {
        let second = Replica::with(&place, &Clock::system(), HASTY);
        let contact = soon(second.ledger.first_contact()).await;
        refused = contact.err().map(|why| (second, why));
        refused.is_some()
    })
    .await;
    let (second, why) = refused.unwrap();
    assert!(!why.is_lasting() && why.to_string().contains("53300"), "{why}");
    drop(first);
    until_it_claims_again(&second).await;
}
