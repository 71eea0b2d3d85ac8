//! Makes the scenes happen: turns the shop, sends the callbacks, and compares how it ended with how it should.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, LOCATION, SERVER};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::scenes::{Answerer, Expectation, Mood, Scene, What};
use super::shop::{SIGNATURE, SampleShop, Visits};
use super::traffic::Totals;
use super::{DemoError, Gateway, Mint};
use crate::clock::Clock;
use crate::klarna::letter::{Letter, Purchase};
use crate::klarna::{Caller, Client, Played, habits, places};
use crate::message::Reply;
use crate::probe::{Origin, Probe, Trust};

/// What a scene is still waited for once all is sent: a redelivery every 2 s, a cold start, and a slow machine.
const SETTLES_WITHIN: Duration = Duration::from_secs(15);

/// A page of metrics is not larger.
const METRICS_BYTES_MAX: usize = 4 << 20;

/// Everything that a scene needs.
pub(super) struct Theatre {
    pub(super) caller: Caller,
    pub(super) shop: Arc<SampleShop>,
    clock: Clock,
    mint: Mint,
    admin: SocketAddr,
}

/// What has happened so far, for the table.
#[derive(Clone, Debug)]
pub(super) struct Board(watch::Sender<Rows>);

/// One row for each scene, and the traffic after them.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    pub(super) scenes: Vec<Row>,
    pub(super) traffic: Totals,
}

/// How far a scene is.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) scene: &'static Scene,
    pub(super) progress: Progress,
    /// The answers to callbacks, in the order they came.
    pub(super) answers: Vec<Answer>,
    pub(super) pages: usize,
    pub(super) visits: Visits,
    /// What the scene's purchase is called in the shop.
    subject: String,
}

/// How far a scene is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    /// Not begun.
    Waiting,
    /// Under way since then, and the shop is like this.
    Playing(Instant, Mood),
    /// Over. What was not as it should be, as sentences.
    Ended(Vec<String>),
}

/// How one callback was answered.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) what: What,
    pub(super) outcome: Result<Arc<Reply>, String>,
    pub(super) took: Duration,
    pub(super) budget: Duration,
    pub(super) attempts: u32,
}

impl Theatre {
    /// Takes the shop and a way to the gateway.
    pub(super) fn open(gateway: Gateway, shop: SampleShop, clock: Clock) -> Result<Self, DemoError> {
        let probe = Probe {
            limits: habits::LIMITS,
            trust: Trust::only(gateway.authority)?,
            connect_to: Some(gateway.address),
            clock: clock.clone(),
        };
        let origin = Origin { is_tls: true, host: gateway.host, port: gateway.address.port() };
        let caller = Caller { probe, origin, client: Client::Whole };
        Ok(Self { caller, shop: Arc::new(shop), clock, mint: gateway.mint, admin: gateway.admin })
    }

    /// Plays all scenes, one after the other, and looks at all orders once more in the end: what came twice may
    /// have come late.
    pub(super) async fn play(&self, board: &Board) -> Result<(), DemoError> {
        let scenes: Vec<_> = board.rows().scenes.iter().map(|row| row.scene).collect();
        for (place, scene) in scenes.into_iter().enumerate() {
            self.perform(scene, |change| board.change(place, change)).await?;
        }
        for (place, row) in board.rows().scenes.into_iter().enumerate() {
            let visits = self.shop.visits(&row.subject);
            if visits.orders > row.visits.orders {
                let late = format!("{} orders came later", visits.orders - row.visits.orders);
                board.change(place, |row| row.end(visits, vec![late]));
            }
            self.shop.forget(&row.subject);
        }
        Ok(())
    }

    async fn perform(&self, scene: &'static Scene, note: impl Fn(&dyn Fn(&mut Row))) -> Result<(), DemoError> {
        let purchase = Purchase::made_up();
        let subject = scene.callback().map(|kind| purchase.subject(kind).to_owned()).unwrap_or_default();
        let start = self.clock.instant();
        let mut sent = self.send_all(scene, &purchase, start)?;
        note(&|row| {
            row.progress = Progress::Playing(start, Mood::Well);
            row.subject.clone_from(&subject);
        });
        let shop = async {
            for change in scene.shop {
                sleep_until(start + change.at).await;
                self.shop.turn(change.mood).await.map_err(DemoError::Shop)?;
                note(&|row| row.progress = Progress::Playing(start, change.mood));
            }
            Ok::<_, DemoError>(())
        };
        let answers = async {
            while let Some(answer) = sent.join_next().await {
                let Ok(answer) = answer else { continue };
                note(&|row| row.take(answer.clone(), self.shop.visits(&subject)));
            }
            Ok(())
        };
        tokio::try_join!(shop, answers)?;
        // What Klarna was told is done need not be done yet.
        let wanted = scene.orders();
        let settled = |visits: Visits| visits.orders >= wanted && visits.under_way == 0;
        let _ = timeout(SETTLES_WITHIN, self.shop.wait_until(&subject, settled)).await;
        self.shop.turn(Mood::Well).await.map_err(DemoError::Shop)?;
        let visits = self.shop.visits(&subject);
        let named = self.firewalls_named().await;
        note(&|row| row.end(visits, row.faults(visits, &named)));
        Ok(())
    }

    fn send_all(&self, scene: &Scene, purchase: &Purchase, start: Instant) -> Result<JoinSet<Answer>, DemoError> {
        let mut sent = JoinSet::new();
        for call in scene.calls {
            for _ in 0..call.copies {
                let (letter, caller) = (self.letter(call.what, purchase)?, self.caller.clone());
                let (at, what) = (start + call.at, call.what);
                sent.spawn(async move {
                    sleep_until(at).await;
                    let played = caller.insist(&letter, |_, _, _| ()).await;
                    Answer::new(what, &letter, played)
                });
            }
        }
        Ok(sent)
    }

    /// The request that `what` is for a purchase.
    pub(super) fn letter(&self, what: What, purchase: &Purchase) -> Result<Letter, DemoError> {
        let (kind, is_forged) = match what {
            What::Page => return Ok(Letter::page()),
            What::Callback(kind) => (kind, false),
            What::Forgery(kind) => (kind, true),
        };
        let place = places::place("woocommerce", kind).ok_or(DemoError::NoLetter(kind))?;
        let target = purchase.fill(place.target);
        if is_forged {
            return Ok(Letter { pauses: Vec::new(), ..purchase.callback(kind, &target)? });
        }
        let token = (self.mint)(place.family, &purchase.session).ok_or(DemoError::NoToken)?;
        let joint = if target.contains('?') { '&' } else { '?' };
        Ok(purchase.callback(kind, &format!("{target}{joint}kallback={token}"))?)
    }

    /// The lines of kallback's metrics that name a firewall. Nothing if the admin listener does not answer.
    async fn firewalls_named(&self) -> Vec<String> {
        let metrics = timeout(Duration::from_secs(2), read_metrics(self.admin)).await.ok().flatten();
        let lines = metrics.unwrap_or_default();
        lines.lines().filter(|line| line.starts_with("kallback_blocked_total{")).map(str::to_owned).collect()
    }
}

async fn read_metrics(admin: SocketAddr) -> Option<String> {
    let tcp = TcpStream::connect(admin).await.ok()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await.ok()?;
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let request = Request::get("/metrics").header(HOST, admin.to_string()).body(Empty::<Bytes>::new()).ok()?;
    let body = sender.send_request(request).await.ok()?.into_body();
    let body = Limited::new(body, METRICS_BYTES_MAX).collect().await.ok()?.to_bytes();
    String::from_utf8(body.to_vec()).ok()
}

impl Board {
    /// A board on which nothing has happened.
    pub(super) fn new(scenes: &'static [Scene]) -> Self {
        let row = |scene| Row {
            scene,
            progress: Progress::Waiting,
            answers: Vec::new(),
            pages: 0,
            visits: Visits::default(),
            subject: String::new(),
        };
        let rows = Rows { scenes: scenes.iter().map(row).collect(), traffic: Totals::default() };
        Self(watch::Sender::new(rows))
    }

    /// What has happened so far.
    pub(super) fn rows(&self) -> Rows {
        self.0.borrow().clone()
    }

    /// Wakes whenever something happens.
    pub(super) fn changes(&self) -> watch::Receiver<Rows> {
        self.0.subscribe()
    }

    /// Counts traffic.
    pub(super) fn count(&self, count: impl FnOnce(&mut Totals)) {
        self.0.send_modify(|rows| count(&mut rows.traffic));
    }

    fn change(&self, place: usize, change: impl FnOnce(&mut Row)) {
        self.0.send_modify(|rows| {
            if let Some(row) = rows.scenes.get_mut(place) {
                change(row);
            }
        });
    }
}

impl Rows {
    /// Every scene was played and ended as it should.
    pub(super) fn all_well(&self) -> bool {
        self.scenes.iter().all(|row| row.progress == Progress::Ended(Vec::new()))
    }
}

impl Row {
    fn take(&mut self, answer: Answer, visits: Visits) {
        self.visits = visits;
        match answer.what {
            What::Page => self.pages += 1,
            _ => self.answers.push(answer),
        }
    }

    fn end(&mut self, visits: Visits, faults: Vec<String>) {
        self.visits = visits;
        let mut all = match std::mem::replace(&mut self.progress, Progress::Waiting) {
            Progress::Ended(earlier) => earlier,
            _ => Vec::new(),
        };
        all.extend(faults);
        self.progress = Progress::Ended(all);
    }

    fn faults(&self, visits: Visits, named: &[String]) -> Vec<String> {
        self.scene.expects.iter().filter_map(|expected| self.fault(*expected, visits, named)).collect()
    }

    /// How an expectation was disappointed, if it was.
    fn fault(&self, expected: Expectation, visits: Visits, named: &[String]) -> Option<String> {
        match expected {
            Expectation::InTime(status) => {
                let late = self.answers.iter().find(|answer| !answer.is(status))?;
                Some(format!("a callback was answered {late}, and not {} at once", status.as_u16()))
            }
            Expectation::By(whom, number) => {
                let count = self.answers.iter().filter(|answer| answer.by() == Some(whom)).count();
                (count != number).then(|| format!("{count} answers came {}, and not {number}", whom.text()))
            }
            Expectation::SentTo(place) => {
                let same =
                    |reply: &Reply| reply.headers.get(LOCATION).is_some_and(|to| to.as_bytes() == place.as_bytes());
                let all = self.answers.iter().all(|answer| answer.outcome.as_ref().is_ok_and(|reply| same(reply)));
                (!all).then(|| format!("the customer was not sent to {place}"))
            }
            Expectation::Orders(number) => {
                (visits.orders != number).then(|| format!("the shop made {} orders, and not {number}", visits.orders))
            }
            Expectation::ShopAsked(number) => {
                (visits.asked != number).then(|| format!("the shop was asked {} times, and not {number}", visits.asked))
            }
            Expectation::Named(firewall) => {
                let label = format!("by=\"{firewall}");
                let is_named = named.iter().any(|line| line.contains(&label));
                (!is_named).then(|| format!("the metrics do not name {firewall}"))
            }
        }
    }
}

impl Answer {
    fn new(what: What, letter: &Letter, played: Played) -> Self {
        Self {
            what,
            outcome: played.outcome.map(|answered| Arc::new(answered.reply)).map_err(|why| why.to_string()),
            took: played.took,
            budget: letter.read_within,
            attempts: played.attempts,
        }
    }

    /// Who it comes from; nobody if there is none.
    pub(super) fn by(&self) -> Option<Answerer> {
        let says = |headers: &HeaderMap, name: &str, value: &[u8]| headers.get(name).is_some_and(|is| is == value);
        let headers = &self.outcome.as_ref().ok()?.headers;
        Some(if says(headers, "kallback-replayed", b"true") {
            Answerer::Replay
        } else if says(headers, SERVER.as_str(), SIGNATURE.as_bytes()) {
            Answerer::Shop
        } else {
            Answerer::Kallback
        })
    }

    fn is(&self, status: http::StatusCode) -> bool {
        self.attempts == 1 && self.outcome.as_ref().is_ok_and(|reply| reply.status == status)
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.outcome {
            Ok(reply) => write!(f, "{} in {} ms", reply.status.as_u16(), self.took.as_millis())?,
            Err(why) => write!(f, "by nobody ({why})")?,
        }
        if self.attempts > 1 {
            write!(f, " at attempt {}", self.attempts)?;
        }
        Ok(())
    }
}

impl Scene {
    /// The kind of the callback that the scene is about.
    fn callback(&self) -> Option<crate::event::Kind> {
        self.calls.iter().find_map(|call| match call.what {
            What::Callback(kind) | What::Forgery(kind) => Some(kind),
            What::Page => None,
        })
    }

    /// The orders that there must be in the end.
    fn orders(&self) -> u32 {
        let orders = |expected: &Expectation| match expected {
            Expectation::Orders(number) => Some(*number),
            _ => None,
        };
        self.expects.iter().find_map(orders).unwrap_or(0)
    }
}
