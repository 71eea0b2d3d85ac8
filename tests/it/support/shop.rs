//! A shop that does what a test scripts and remembers everything it saw.
//!
//! It speaks HTTP/1.1 on raw sockets, so that it can also misbehave between two bytes. What it could not read as
//! HTTP fails the test that looks at what it saw.

mod serve;

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use kallback::upstream::Address;
use rustls::ServerConfig;
use socket2::{Domain, Type};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::authority::Authority;
use super::script::Act;
use super::time::patiently;
use super::wire::{self, Lines};

/// A running shop. It closes when it is dropped.
#[derive(Debug)]
pub struct Shop {
    place: Place,
    stage: Arc<Stage>,
    open: Option<JoinHandle<()>>,
    side_doors: Mutex<Vec<JoinHandle<()>>>,
}

/// Where the shop listens.
#[derive(Debug)]
enum Place {
    /// `keeper` is bound but does not listen: it keeps the port ours while the shop is down, and callers refused.
    Tcp {
        address: SocketAddr,
        keeper: socket2::Socket,
        tls: Option<Arc<ServerConfig>>,
    },
    Unix(PathBuf),
}

/// What shop and connections share: the script, and what has been seen.
#[derive(Debug)]
struct Stage {
    script: Mutex<Script>,
    book: watch::Sender<Book>,
}

#[derive(Debug)]
struct Script {
    next: VecDeque<Act>,
    next_for: Vec<(String, VecDeque<Act>)>,
    always_for: Vec<(String, Act)>,
    always: Act,
}

/// Everything the shop saw so far.
#[derive(Clone, Debug, Default)]
pub struct Book {
    pub requests: Vec<Seen>,
    /// Which of them the shop is not done with: an hour of load is too much to look through for every request.
    pub under_way: Vec<usize>,
    /// Connections that were accepted.
    pub connections: usize,
    /// What came and was no HTTP.
    pub faults: Vec<String>,
}

/// One request as the shop saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The head, byte for byte.
    pub head: Bytes,
    pub method: String,
    pub target: String,
    pub headers: Lines,
    /// The body as far as it has come.
    pub body: Vec<u8>,
    pub trailers: Lines,
    /// The whole body is there.
    pub whole: bool,
    /// Which connection it came on, from 0.
    pub connection: usize,
    /// The TCP port that it came to.
    pub door: Option<u16>,
    pub at: Instant,
    /// Requests in the shop when this one came, itself included.
    pub at_once: usize,
    /// The same, of those with its `idempotency-key`.
    pub at_once_with_its_key: usize,
    /// The caller hung up before it had its answer.
    pub caller_left: bool,
    /// The shop is done with it. Set just before the last byte of the reply is sent, because the caller may act on
    /// that byte before we can.
    pub done: bool,
    /// When that was.
    pub done_at: Option<Instant>,
    /// The status that was answered, once `done`; none if there was no answer.
    pub answered: Option<u16>,
}

impl Shop {
    /// A shop on a port of its own that says `200` to everything.
    pub async fn start() -> Self {
        Self::open_at(Place::any_port(None))
    }

    /// A shop that answers as WordPress with WooCommerce does: `200 -1` on every `wc-api` URL, a page elsewhere.
    pub async fn woocommerce() -> Self {
        let shop = Self::start().await;
        let page = Act::reply(200).header("content-type", "text/html; charset=UTF-8");
        shop.always(page.body("<!doctype html><title>A shop</title>"));
        shop.always_for("wc-api", Act::minus_one(200));
        shop
    }

    /// A shop behind TLS, with a certificate for `name`.
    pub async fn over_tls(authority: &Authority, name: &str) -> Self {
        Self::open_at(Place::any_port(Some(authority.server(&[name], &["http/1.1"]))))
    }

    /// A shop behind TLS as this config has it.
    pub async fn over_this_tls(tls: Arc<ServerConfig>) -> Self {
        Self::open_at(Place::any_port(Some(tls)))
    }

    /// A shop on a Unix socket in `folder`.
    pub async fn on_a_unix_socket(folder: &Path) -> Self {
        Self::open_at(Place::Unix(folder.join("shop.sock")))
    }

    /// Where kallback finds it.
    pub fn address(&self) -> Address {
        match &self.place {
            Place::Tcp { address, tls: None, .. } => {
                Address::Http { host: address.ip().to_string(), port: address.port() }
            }
            Place::Tcp { address, .. } => Address::Https { host: address.ip().to_string(), port: address.port() },
            Place::Unix(path) => Address::Unix(path.clone()),
        }
    }

    /// Its TCP address. Fails the test for a shop on a Unix socket.
    pub fn tcp(&self) -> SocketAddr {
        match &self.place {
            Place::Tcp { address, .. } => *address,
            Place::Unix(_) => panic!("this shop is on a Unix socket"),
        }
    }

    /// Another TCP address of the same shop, so that a test can tell callers apart by [`Seen::door`].
    pub fn side_door(&self) -> SocketAddr {
        let place = Place::any_port(None);
        self.side_doors.lock().unwrap().push(place.open(&self.stage));
        match place {
            Place::Tcp { address, .. } => address,
            Place::Unix(_) => unreachable!("it was opened on a port"),
        }
    }

    /// What it does with the next request that has no act yet; calls add up.
    pub fn next(&self, act: Act) {
        self.stage.script.lock().unwrap().next.push_back(act);
    }

    /// The same for the next request whose target contains `part`; these come before [`next`](Self::next).
    pub fn next_for(&self, part: &str, act: Act) {
        let mut script = self.stage.script.lock().unwrap();
        match script.next_for.iter_mut().find(|(known, _)| known == part) {
            Some((_, acts)) => acts.push_back(act),
            None => script.next_for.push((part.to_owned(), VecDeque::from([act]))),
        }
    }

    /// What it does with every request from now on for which nothing else was said.
    pub fn always(&self, act: Act) {
        self.stage.script.lock().unwrap().always = act;
    }

    /// The same for targets that contain `part`; the rule said last wins.
    pub fn always_for(&self, part: &str, act: Act) {
        self.stage.script.lock().unwrap().always_for.insert(0, (part.to_owned(), act));
    }

    /// The shop dies: callers are refused, connections are reset. Returns once that is so.
    pub async fn go_down(&mut self) {
        if let Some(open) = self.open.take() {
            open.abort();
            // Listener and connections live in that task; they are gone when it has ended.
            let _ = open.await;
        }
        if let Place::Unix(path) = &self.place {
            let _ = std::fs::remove_file(path);
        }
    }

    /// The shop is back, at the same address and with the same script.
    pub async fn come_back(&mut self) {
        assert!(self.open.is_none(), "the shop is not down");
        self.open = Some(self.place.open(&self.stage));
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Seen> {
        self.book().requests
    }

    /// The only request so far. Fails the test if there are more or none.
    pub fn request(&self) -> Seen {
        self.saw(1);
        self.requests().remove(0)
    }

    /// Requests so far for targets that contain `part`.
    pub fn requests_for(&self, part: &str) -> Vec<Seen> {
        self.requests().into_iter().filter(|seen| seen.target.contains(part)).collect()
    }

    /// Requests so far with that `idempotency-key`.
    pub fn requests_with_key(&self, key: &str) -> Vec<Seen> {
        self.requests().into_iter().filter(|seen| seen.key() == Some(key)).collect()
    }

    pub fn connections(&self) -> usize {
        self.book().connections
    }

    /// Fails the test unless exactly `number` requests came so far.
    #[track_caller]
    pub fn saw(&self, number: usize) {
        let requests = self.requests();
        let targets: Vec<_> = requests.iter().map(|seen| &seen.target).collect();
        assert_eq!(requests.len(), number, "the shop saw {targets:?}");
    }

    /// The most requests that were in the shop at once.
    pub fn most_at_once(&self) -> usize {
        self.requests().iter().map(|seen| seen.at_once).max().unwrap_or(0)
    }

    /// The most requests of one `idempotency-key` that were in the shop at once.
    pub fn most_at_once_of_one_key(&self) -> usize {
        self.requests().iter().map(|seen| seen.at_once_with_its_key).max().unwrap_or(0)
    }

    /// Waits until `number` requests have come, whole.
    pub async fn wait_for_requests(&self, number: usize) -> Vec<Seen> {
        let what = format!("{number} requests at the shop");
        self.wait_until(&what, |book| book.requests.iter().filter(|seen| seen.whole).count() >= number).await.requests
    }

    /// Waits until the shop is done with `number` requests.
    pub async fn wait_until_done_with(&self, number: usize) -> Vec<Seen> {
        let what = format!("{number} requests that the shop is done with");
        self.wait_until(&what, |book| book.requests.iter().filter(|seen| seen.done).count() >= number).await.requests
    }

    /// Waits until what the shop saw is as it should be.
    pub async fn wait_until(&self, what: &str, is_so: impl Fn(&Book) -> bool) -> Book {
        let mut pages = self.stage.book.subscribe();
        let book = patiently(what, pages.wait_for(|book| is_so(book))).await.unwrap().clone();
        assert_eq!(book.faults, Vec::<String>::new(), "the shop was sent something that is no HTTP");
        book
    }

    /// What came and was no HTTP, for the tests that expect it.
    pub fn faults(&self) -> Vec<String> {
        self.stage.book.borrow().faults.clone()
    }

    fn book(&self) -> Book {
        let book = self.stage.book.borrow().clone();
        assert_eq!(book.faults, Vec::<String>::new(), "the shop was sent something that is no HTTP");
        book
    }

    fn open_at(place: Place) -> Self {
        let script =
            Script { next: VecDeque::new(), next_for: Vec::new(), always_for: Vec::new(), always: Act::reply(200) };
        let stage = Arc::new(Stage { script: Mutex::new(script), book: watch::Sender::new(Book::default()) });
        let open = Some(place.open(&stage));
        Self { place, stage, open, side_doors: Mutex::default() }
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let side_doors = self.side_doors.get_mut().unwrap();
        self.open.iter().chain(side_doors.iter()).for_each(JoinHandle::abort);
    }
}

impl Seen {
    /// A header's only value, as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        wire::value(&self.headers, name)
    }

    /// All values of a header.
    pub fn header_values(&self, name: &str) -> Vec<&[u8]> {
        wire::values(&self.headers, name)
    }

    /// The fingerprint that kallback says.
    pub fn key(&self) -> Option<&str> {
        self.header("idempotency-key")
    }

    /// Which attempt kallback says this is.
    pub fn attempt(&self) -> Option<u32> {
        self.header("kallback-attempt").map(|number| number.parse().expect("kallback-attempt is a number"))
    }

    /// Whether kallback says that the sender did not call for it.
    pub fn is_redelivery(&self) -> bool {
        self.header("kallback-redelivery") == Some("true")
    }
}

impl Script {
    fn act_for(&mut self, target: &str) -> Act {
        let queued = self.next_for.iter_mut().find(|(part, acts)| target.contains(part.as_str()) && !acts.is_empty());
        if let Some(act) = queued.and_then(|(_, acts)| acts.pop_front()).or_else(|| self.next.pop_front()) {
            return act;
        }
        let rule = self.always_for.iter().find(|(part, _)| target.contains(part.as_str()));
        rule.map_or_else(|| self.always.clone(), |(_, act)| act.clone())
    }
}

impl Place {
    fn any_port(tls: Option<Arc<ServerConfig>>) -> Self {
        let keeper = reusable_socket(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let address = keeper.local_addr().unwrap().as_socket().unwrap();
        Self::Tcp { address, keeper, tls }
    }

    fn open(&self, stage: &Arc<Stage>) -> JoinHandle<()> {
        match self {
            Self::Tcp { address, tls, .. } => {
                let socket = reusable_socket(*address);
                socket.listen(1024).unwrap();
                let listener = TcpListener::from_std(socket.into()).unwrap();
                tokio::spawn(serve::tcp(listener, tls.clone(), stage.clone()))
            }
            Self::Unix(path) => tokio::spawn(serve::unix(UnixListener::bind(path).unwrap(), stage.clone())),
        }
    }
}

/// Several sockets may be bound to the port; callers only reach one that listens.
pub fn reusable_socket(address: SocketAddr) -> socket2::Socket {
    let socket = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket
}
