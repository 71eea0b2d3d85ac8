//! The shop's side of one connection.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use rustls::ServerConfig;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::{Book, Seen, Stage};
use crate::support::script::{Act, Deed, Ending, Reply, Wait};
use crate::support::socket::Socket;
use crate::support::wire::{self, Asked, Framing, Wire};

/// Accepts and serves until the task is aborted; the connections end with it.
pub(super) async fn tcp(listener: TcpListener, tls: Option<Arc<ServerConfig>>, stage: Arc<Stage>) {
    let mut connections = JoinSet::new();
    let door = listener.local_addr().ok().map(|address| address.port());
    while let Ok((tcp, _)) = listener.accept().await {
        let _ = tcp.set_nodelay(true);
        let (stage, tls) = (stage.clone(), tls.clone());
        connections.spawn(async move {
            let origin = Origin { connection: stage.another_connection(), door };
            let socket = match tls {
                None => Socket::Tcp(tcp),
                Some(config) => match TlsAcceptor::from(config).accept(tcp).await {
                    Ok(tls) => Socket::Tls(Box::new(tls.into())),
                    Err(_) => return,
                },
            };
            connection(&stage, Wire::new(socket), origin).await;
        });
    }
}

/// The same on a Unix socket.
pub(super) async fn unix(listener: UnixListener, stage: Arc<Stage>) {
    let mut connections = JoinSet::new();
    while let Ok((unix, _)) = listener.accept().await {
        let stage = stage.clone();
        connections.spawn(async move {
            let origin = Origin { connection: stage.another_connection(), door: None };
            connection(&stage, Wire::new(Socket::Unix(unix)), origin).await;
        });
    }
}

/// Where a request came in.
#[derive(Clone, Copy)]
struct Origin {
    connection: usize,
    door: Option<u16>,
}

async fn connection(stage: &Arc<Stage>, mut wire: Wire, origin: Origin) {
    loop {
        if wire.ahead.is_empty() && !matches!(wire.socket.something_came().await, Ok(true)) {
            return;
        }
        if stage.resets_the_next_unread() {
            return wire.socket.reset();
        }
        let head = match wire.head().await {
            Ok(Some(head)) => head,
            Ok(None) => return,
            Err(why) => return stage.fault(&why),
        };
        let (mut visit, act, framing) = match Visit::begin(stage, head, origin) {
            Ok(begun) => begun,
            Err(why) => return stage.fault(&why),
        };
        match perform(&mut visit, &mut wire, &act, framing).await {
            Ok(Ending::KeepAlive) => {}
            Ok(Ending::Reset) => return wire.socket.reset(),
            Ok(Ending::HalfClose) => {
                let _ = wire.socket.shutdown().await;
                while matches!(wire.fill().await, Ok(true)) {}
                return;
            }
            Ok(Ending::Close) => {
                let _ = wire.socket.shutdown().await;
                return;
            }
            Err(why) => {
                stage.fault(&why);
                return visit.note(|seen| seen.caller_left = true);
            }
        }
    }
}

async fn perform(visit: &mut Visit, wire: &mut Wire, act: &Act, framing: Framing) -> io::Result<Ending> {
    for (status, headers) in &act.informational {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        wire.write(format!("HTTP/1.1 {status} \r\n{headers}\r\n").as_bytes()).await?;
    }
    if act.early {
        if matches!(act.deed, Deed::EchoBody) {
            return echo_body(visit, wire, framing).await;
        }
        patient(visit, wire, &act.wait, framing).await;
        let ending = do_it(visit, wire, &act.deed).await?;
        if ending == Ending::KeepAlive {
            read_body(visit, wire, framing).await?;
        }
        return Ok(ending);
    }
    read_body(visit, wire, framing).await?;
    patient(visit, wire, &act.wait, Framing::Nothing).await;
    do_it(visit, wire, &act.deed).await
}

async fn do_it(visit: &mut Visit, wire: &mut Wire, deed: &Deed) -> io::Result<Ending> {
    match deed {
        Deed::Reply(reply) => send(visit, wire, reply).await,
        Deed::Raw(bytes) => {
            visit.done(None);
            wire.write(bytes).await?;
            Ok(Ending::Close)
        }
        Deed::Close => {
            visit.done(None);
            Ok(Ending::Close)
        }
        Deed::Reset | Deed::ResetUnread => {
            visit.done(None);
            Ok(Ending::Reset)
        }
        Deed::Hang => {
            patient(visit, wire, &Wait::Until(crate::support::gate::Gate::closed()), Framing::Nothing).await;
            Ok(Ending::Close)
        }
        Deed::EchoTunnel => {
            let upgrade = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
            wire.write(upgrade).await?;
            loop {
                let bytes = wire.ahead.split();
                wire.write(&bytes).await?;
                if !wire.fill().await? {
                    visit.done(Some(101));
                    return Ok(Ending::Close);
                }
            }
        }
        Deed::EchoBody => unreachable!("an echo is performed while the body is read"),
    }
}

async fn send(visit: &mut Visit, wire: &mut Wire, reply: &Reply) -> io::Result<Ending> {
    let pieces = reply.bytes();
    let last = pieces.len().saturating_sub(1);
    for (place, (wait, bytes)) in pieces.iter().enumerate() {
        patient(visit, wire, wait, Framing::Nothing).await;
        if place == last {
            visit.done(Some(reply.status));
        }
        wire.write(bytes).await?;
    }
    Ok(reply.ending)
}

async fn echo_body(visit: &mut Visit, wire: &mut Wire, framing: Framing) -> io::Result<Ending> {
    let Framing::Length(length) = framing else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "an echo needs a length"));
    };
    wire.write(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").as_bytes()).await?;
    let mut left = length;
    while left > 0 {
        if wire.ahead.is_empty() && !wire.fill().await? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let piece = wire.ahead.split_to(left.min(wire.ahead.len()));
        left -= piece.len();
        visit.note(|seen| {
            seen.body.extend_from_slice(&piece);
            seen.whole = left == 0;
        });
        if left == 0 {
            visit.done(Some(200));
        }
        wire.write(&piece).await?;
    }
    Ok(Ending::KeepAlive)
}

async fn read_body(visit: &mut Visit, wire: &mut Wire, framing: Framing) -> io::Result<()> {
    let trailers = wire.body(framing, |piece| visit.note(|seen| seen.body.extend_from_slice(piece))).await?;
    visit.note(|seen| {
        seen.trailers = trailers;
        seen.whole = true;
    });
    Ok(())
}

/// Waits, and notices if the caller hangs up meanwhile; like PHP, the shop goes on all the same. While a body is
/// still unread nothing is read here, so that a hang-up is not noticed then.
async fn patient(visit: &mut Visit, wire: &mut Wire, wait: &Wait, unread: Framing) {
    if matches!(wait, Wait::Nothing) {
        return;
    }
    let mut over = std::pin::pin!(wait.over());
    if unread == Framing::Nothing {
        loop {
            tokio::select! {
                () = &mut over => return,
                more = wire.fill() => if !matches!(more, Ok(true)) { break },
            }
        }
        visit.note(|seen| seen.caller_left = true);
    }
    over.await;
}

/// A request in the shop, from its head to the last byte of its reply. It ends when this is dropped.
struct Visit {
    stage: Arc<Stage>,
    place: usize,
}

impl Visit {
    fn begin(stage: &Arc<Stage>, head: Bytes, origin: Origin) -> io::Result<(Self, Act, Framing)> {
        let asked = Asked::read(&head)?;
        let framing = asked.framing()?;
        let act = stage.script.lock().unwrap().act_for(&asked.target);
        let mut seen = Seen {
            head,
            method: asked.method,
            target: asked.target,
            headers: asked.lines,
            body: Vec::new(),
            trailers: Vec::new(),
            whole: false,
            connection: origin.connection,
            door: origin.door,
            at: Instant::now(),
            at_once: 0,
            at_once_with_its_key: 0,
            caller_left: false,
            done: false,
            done_at: None,
            answered: None,
        };
        let mut place = 0;
        stage.book.send_modify(|book| {
            place = book.requests.len();
            let here = || book.under_way.iter().map(|place| &book.requests[*place]);
            seen.at_once = here().count() + 1;
            let keys = |seen: &Seen| wire::values(&seen.headers, "idempotency-key").concat();
            let key = keys(&seen);
            let same_key = here().filter(|other| !key.is_empty() && keys(other) == key).count();
            seen.at_once_with_its_key = same_key + usize::from(!key.is_empty());
            book.requests.push(seen);
            book.under_way.push(place);
        });
        Ok((Self { stage: stage.clone(), place }, act, framing))
    }

    fn note(&self, change: impl FnOnce(&mut Seen)) {
        self.stage.book.send_modify(|book| change(&mut book.requests[self.place]));
    }

    fn done(&self, answered: Option<u16>) {
        self.note(|seen| (seen.done_at, seen.answered) = (Some(Instant::now()), answered));
        self.end();
    }

    fn end(&self) {
        self.stage.book.send_modify(|book| {
            let seen = &mut book.requests[self.place];
            seen.done = true;
            seen.done_at.get_or_insert_with(Instant::now);
            book.under_way.retain(|place| *place != self.place);
        });
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.end();
    }
}

impl Stage {
    fn another_connection(&self) -> usize {
        let mut number = 0;
        self.book.send_modify(|Book { connections, .. }| {
            number = *connections;
            *connections += 1;
        });
        number
    }

    /// Remembers nonsense. That a caller is gone in the middle of something is none.
    fn fault(&self, why: &io::Error) {
        if why.kind() == io::ErrorKind::InvalidData {
            self.book.send_modify(|book| book.faults.push(why.to_string()));
        }
    }

    fn resets_the_next_unread(&self) -> bool {
        let mut script = self.script.lock().unwrap();
        let resets = matches!(script.next.front(), Some(Act { deed: Deed::ResetUnread, .. }));
        if resets {
            script.next.pop_front();
        }
        resets
    }
}
