//! Callers who never stop: Klarna on fresh connections, customers on open ones, browsers over HTTP/2.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::support::authority::Authority;
use crate::support::callbacks::{Callback, Purchase};
use crate::support::klarna::{Klarna, Limits, Line, Silence, Unanswered};
use crate::support::site::signed;
use crate::support::world::HOST;

const EACH: usize = 3;
/// Between two requests of one caller.
const THINKS_FOR: Duration = Duration::from_millis(10);
/// More than Klarna's 2 s, because a busy machine may take longer to start an unoptimised binary; the slowest answer is
/// among the figures.
const PATIENCE: Duration = Duration::from_secs(15);

/// What callers met.
#[derive(Clone, Debug, Default)]
pub struct Met {
    pub answered: Vec<Instant>,
    pub refused: usize,
    pub failed: Vec<String>,
    pub slowest: Duration,
}

/// Everybody who calls, until [`Callers::end`].
pub struct Callers {
    crew: Crew,
    running: Vec<JoinHandle<()>>,
}

#[derive(Clone)]
struct Crew {
    klarna: Klarna,
    browser: Klarna,
    over: Arc<AtomicBool>,
    met: Arc<Mutex<Met>>,
}

impl Callers {
    /// They begin at once. `klarna` calls over HTTP/1.1.
    pub fn begin(klarna: Klarna, authority: &Authority) -> Self {
        let klarna = klarna.with_limits(Limits { connect: PATIENCE, read: PATIENCE, ..Limits::KLARNA });
        let (over, met) = (Arc::default(), Arc::default());
        let crew = Crew { browser: klarna.clone().over_http2(authority), klarna, over, met };
        let mut running = Vec::new();
        for _ in 0..EACH {
            running.push(tokio::spawn(crew.clone().call_back()));
            running.push(tokio::spawn(crew.clone().browse()));
            running.push(tokio::spawn(crew.clone().browse_over_http2()));
        }
        Self { crew, running }
    }

    pub fn answered(&self) -> usize {
        self.crew.met.lock().unwrap().answered.len()
    }

    /// Lets everybody finish what they asked.
    pub async fn end(self) -> Met {
        self.crew.over.store(true, Ordering::Relaxed);
        for caller in self.running {
            caller.await.unwrap();
        }
        self.crew.met.lock().unwrap().clone()
    }
}

impl Crew {
    /// Klarna: a new purchase and a new connection each time, one attempt.
    async fn call_back(self) {
        while self.goes_on().await {
            let purchase = Purchase::new();
            let callback = signed(Callback::authorization(&purchase), &purchase);
            let asked = Instant::now();
            match self.klarna.call(&callback).await {
                Ok(answered) => self.note(asked, answered.status, "callback"),
                Err(unanswered) => self.failed("callback", &unanswered),
            }
        }
    }

    /// A customer, on one connection for as long as it is not told to close it.
    async fn browse(self) {
        let page = Callback::page("/shelf").bytes(HOST);
        let mut open: Option<Line> = None;
        while self.goes_on().await {
            let asked = Instant::now();
            let mut line = match open.take() {
                Some(line) => line,
                None => match self.klarna.connect().await {
                    Ok(line) => line,
                    Err(unanswered) => {
                        self.failed("connection of a customer", &unanswered);
                        continue;
                    }
                },
            };
            line.write(&page).await;
            match line.reply_to("GET").await {
                Ok(answered) => {
                    self.note(asked, answered.status, "page");
                    open = (answered.header("connection") != Some("close")).then_some(line);
                }
                Err(unanswered) => self.failed("page", &unanswered),
            }
        }
    }

    async fn browse_over_http2(self) {
        let mut open: Option<SendRequest<Empty<Bytes>>> = None;
        while self.goes_on().await {
            let asked = Instant::now();
            let mut sender = match open.take() {
                Some(sender) => sender,
                None => match self.connect_http2().await {
                    Some(sender) => sender,
                    None => continue,
                },
            };
            let page = http::Request::get(format!("https://{HOST}/shelf")).body(Empty::new()).unwrap();
            let exchange = async {
                let reply = match sender.try_send_request(page).await {
                    Ok(reply) => reply,
                    Err(unsent) if unsent.message().is_some() => return Ok(None),
                    Err(fault) if is_goodbye(fault.error()) => return Ok(None),
                    Err(fault) => return Err(fault.into_error()),
                };
                let status = reply.status().as_u16();
                reply.into_body().collect().await?;
                Ok::<_, hyper::Error>(Some(status))
            };
            match timeout(PATIENCE, exchange).await {
                Ok(Ok(Some(status))) => {
                    self.note(asked, status, "page over HTTP/2");
                    open = Some(sender);
                }
                Ok(Ok(None)) => {}
                Ok(Err(why)) => self.failed("page over HTTP/2", &why),
                Err(late) => self.failed("page over HTTP/2", &late),
            }
        }
    }

    async fn connect_http2(&self) -> Option<SendRequest<Empty<Bytes>>> {
        let opened = self.browser.connect().await;
        let line = opened.map_err(|unanswered| self.failed("connection of a browser", &unanswered)).ok()?;
        let shaken = handshake(TokioExecutor::new(), TokioIo::new(line.into_socket())).await;
        let (sender, talk) = shaken.map_err(|why| self.failed("HTTP/2 connection", &why)).ok()?;
        tokio::spawn(talk);
        Some(sender)
    }

    async fn goes_on(&self) -> bool {
        sleep(THINKS_FOR).await;
        !self.over.load(Ordering::Relaxed)
    }

    fn note(&self, asked: Instant, status: u16, what: &str) {
        let mut met = self.met.lock().unwrap();
        met.slowest = met.slowest.max(asked.elapsed());
        met.answered.push(Instant::now());
        if !(200..300).contains(&status) {
            met.failed.push(format!("{what}: {status}"));
        }
    }

    fn failed(&self, what: &str, why: &(impl std::fmt::Debug + 'static)) {
        let mut met = self.met.lock().unwrap();
        let refused = (why as &dyn std::any::Any).downcast_ref::<Unanswered>().map(|one| &one.why);
        match refused {
            Some(Silence::Refused) => met.refused += 1,
            _ => met.failed.push(format!("{what}: {why:?}")),
        }
    }
}

/// GOAWAY without an error came before the request was sent, or names a last stream below the request's own: it was not
/// processed (RFC 9113, 6.8), and every client sends it again on another connection.
fn is_goodbye(fault: &hyper::Error) -> bool {
    let told = format!("{fault:?}");
    told.contains("GoAway") && told.contains("NO_ERROR") && told.contains("Remote")
}
