//! Load at a fixed rate: an open loop. Request number `n` is due at `n / rate`, whatever became of those before it, and
//! its time counts from then, so that a proxy which stands still for a second is charged with every request of that
//! second. A connection that is free takes the next request; where all are busy it waits, and that counts too.
//!
//!     fixed-rate ADDRESS CERTIFICATE REQUESTS_PER_SECOND SECONDS CONNECTIONS [SESSIONS]
//!
//! HTTP/1.1 over kept connections. Without `SESSIONS` each request is `GET /page`. With it, each is an authorization
//! callback of the next line of that file: a session, a blank, its token. The last line of output is JSON.

#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, OnceLock};
use std::thread;
use std::time::Duration;

use kallback::clock::Clock;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio::time::Instant;

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// A reply that takes longer is a failure.
const REPLY_WITHIN: Duration = Duration::from_secs(10);
/// What was not sent so long after it was due never is.
const LATE_MAX: Duration = Duration::from_secs(10);
const PAGE: &[u8] = b"GET /page HTTP/1.1\r\nhost: shop.test\r\nuser-agent: fixed-rate\r\naccept: */*\r\n\r\n";

fn main() -> Result<(), Fault> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (first, sessions) = arguments.split_at_checked(5).ok_or("too few arguments; see the head of fixed_rate.rs")?;
    let load = Load {
        address: first[0].parse()?,
        tls: client(Path::new(&first[1]))?,
        rate: first[2].parse()?,
        requests: first[2].parse::<usize>()? * first[3].parse::<usize>()?,
        letters: sessions.first().map_or_else(|| Ok(Vec::new()), |file| callbacks(Path::new(file)))?,
    };
    if !load.letters.is_empty() && load.letters.len() < load.requests {
        return Err("there are fewer sessions than requests".into());
    }
    let (times, took) = load.run(first[4].parse()?)?;
    report(load.requests, times, took);
    Ok(())
}

fn client(certificate: &Path) -> Result<Arc<ClientConfig>, Fault> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate)?)?;
    // The same key exchange with every proxy: those with Debian's OpenSSL know no newer one.
    let provider = CryptoProvider { kx_groups: vec![kx_group::X25519], ..aws_lc_rs::default_provider() };
    let builder = ClientConfig::builder_with_provider(Arc::new(provider)).with_safe_default_protocol_versions()?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

fn callbacks(sessions: &Path) -> Result<Vec<Vec<u8>>, Fault> {
    let text = std::fs::read_to_string(sessions)?;
    text.lines().map(|line| callback(line).ok_or_else(|| "a line without a token".into())).collect()
}

fn callback(line: &str) -> Option<Vec<u8>> {
    let (session, token) = line.split_once(' ')?;
    let body = format!(r#"{{"authorization_token":"{session}-token","session_id":"{session}"}}"#);
    let length = body.len();
    Some(
        format!(
            "POST /wc-api/KP_WC_AUTHORIZATION?kallback={token} HTTP/1.1\r\nhost: shop.test\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .into_bytes(),
    )
}

struct Load {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    rate: f64,
    requests: usize,
    /// What is sent, in this order; the page when empty.
    letters: Vec<Vec<u8>>,
}

impl Load {
    /// Times of the requests that went well, and of all of it. A thread for each connection: sleeping threads wake
    /// closer to the time than timers of a runtime do, which count in milliseconds.
    fn run(&self, connections: usize) -> Result<(Vec<Duration>, Duration), Fault> {
        let (clock, next, start) = (Clock::system(), AtomicUsize::new(0), OnceLock::new());
        // Nobody sends before everybody is connected.
        let all_connected = Barrier::new(connections);
        let send = || -> Result<Vec<Duration>, Fault> {
            let connected = self.connect();
            all_connected.wait();
            let start = *start.get_or_init(|| clock.instant());
            self.send(connected?, &next, |number| start + Duration::from_secs_f64(number as f64 / self.rate), &clock)
        };
        let times = thread::scope(|scope| {
            let threads: Vec<_> = (0..connections).map(|_| scope.spawn(send)).collect();
            threads.into_iter().map(|one| one.join().map_err(|_| Fault::from("a thread panicked"))?).collect::<Vec<_>>()
        });
        let times = times.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
        Ok((times, start.get().map_or(Duration::ZERO, |start| clock.instant() - *start)))
    }

    fn send(
        &self,
        mut wire: Wire,
        next: &AtomicUsize,
        due: impl Fn(usize) -> Instant,
        clock: &Clock,
    ) -> Result<Vec<Duration>, Fault> {
        let mut times = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= self.requests {
                return Ok(times);
            }
            let (due, now) = (due(number), clock.instant());
            if now > due + LATE_MAX {
                continue;
            }
            thread::sleep(due.saturating_duration_since(now));
            match wire.ask(self.letters.get(number).map_or(PAGE, Vec::as_slice)) {
                Ok(200..=299) => times.push(clock.instant() - due),
                // Counted as failed, because its time is missing.
                Ok(_) => {}
                Err(_) => wire = self.connect()?,
            }
        }
    }

    fn connect(&self) -> Result<Wire, Fault> {
        let plain = TcpStream::connect_timeout(&self.address, REPLY_WITHIN)?;
        plain.set_nodelay(true)?;
        plain.set_read_timeout(Some(REPLY_WITHIN))?;
        plain.set_write_timeout(Some(REPLY_WITHIN))?;
        let session = ClientConnection::new(Arc::clone(&self.tls), ServerName::try_from("shop.test")?)?;
        let mut stream = StreamOwned::new(session, plain);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Wire { stream, buffer: Vec::with_capacity(16 * 1024) })
    }
}

/// One connection, just enough HTTP/1.1 for replies with a `Content-Length`.
struct Wire {
    stream: StreamOwned<ClientConnection, TcpStream>,
    buffer: Vec<u8>,
}

impl Wire {
    /// The status of the reply.
    fn ask(&mut self, letter: &[u8]) -> io::Result<u16> {
        self.stream.write_all(letter)?;
        self.stream.flush()?;
        self.buffer.clear();
        let (head_end, status, length) = loop {
            if let Some(end) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head = std::str::from_utf8(&self.buffer[..end]).map_err(|_| io::ErrorKind::InvalidData)?;
                let (status, length) = read_head(head).ok_or(io::ErrorKind::InvalidData)?;
                break (end + 4, status, length);
            }
            self.more()?;
        };
        while self.buffer.len() < head_end + length {
            self.more()?;
        }
        Ok(status)
    }

    fn more(&mut self) -> io::Result<()> {
        let mut chunk = [0; 8 * 1024];
        match self.stream.read(&mut chunk)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.buffer.extend_from_slice(&chunk[..read]);
                Ok(())
            }
        }
    }
}

/// Status and length of the body. Nothing where the length is said in a way that is not read here.
fn read_head(head: &str) -> Option<(u16, usize)> {
    let mut lines = head.lines();
    let status: u16 = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    match (status, length) {
        (_, Some(length)) => Some((status, length)),
        (204, None) => Some((status, 0)),
        _ => None,
    }
}

fn report(requests: usize, mut times: Vec<Duration>, took: Duration) {
    times.sort_unstable();
    let at = |permille: usize| {
        let place = (times.len() * permille / 1_000).min(times.len().saturating_sub(1));
        times.get(place).copied().unwrap_or_default().as_secs_f64() * 1_000.0
    };
    let failed = requests - times.len();
    println!(
        r#"{{"requests":{requests},"failed":{failed},"seconds":{:.3},"p50_ms":{:.3},"p99_ms":{:.3},"p99.9_ms":{:.3}}}"#,
        took.as_secs_f64(),
        at(500),
        at(990),
        at(999),
    );
}
