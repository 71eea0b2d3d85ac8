//! The shop, the gateway and the relay.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use kallback::clock::{Clock, UnixMillis};
use kallback::event::Family;
use kallback::token::{Guard, Key, Settings, Ticket};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::wire::Wire;
use super::{Outcome, relay};

/// Which process the load goes to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Door {
    Gateway,
    Relay,
}

/// Everything that runs, until it is dropped.
pub(crate) struct World {
    gateway: Process,
    relay: Process,
    tls: TlsConnector,
    guard: Guard,
    sessions: u64,
    known: Vec<Arc<[u8]>>,
    _folder: TempDir,
}

struct Process {
    child: Child,
    address: SocketAddr,
}

/// Prime, so that connections that begin at different places stay at different places.
const KNOWN: usize = 997;
const KEY: [u8; 32] = [7; 32];

impl World {
    pub(crate) async fn start() -> Outcome<Self> {
        // In the build's own folder: a ledger in a memory file system would promise a durability that costs nothing.
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
        let shop = start_shop().await?;
        write_config(folder.path(), shop)?;
        let gateway = start_gateway(folder.path())?;
        let relay = start_relay(folder.path(), shop)?;
        let guard = Guard::new(Settings {
            parameter: "kallback".into(),
            keys: vec![Key { id: 1, secret: KEY.to_vec().into() }],
            signing_keys: Vec::new(),
            sessions_per_token: 4,
        });
        Ok(Self {
            gateway,
            relay,
            tls: connector(folder.path())?,
            guard,
            sessions: 0,
            known: Vec::new(),
            _folder: folder,
        })
    }

    pub(crate) fn address(&self, door: Door) -> SocketAddr {
        self.process(door).address
    }

    pub(crate) fn tls(&self) -> TlsConnector {
        self.tls.clone()
    }

    /// CPU time of the process so far.
    pub(crate) fn cpu(&self, door: Door) -> Outcome<Duration> {
        let mut nanos = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.process(door).child.id()))? {
            // A thread may be gone by now.
            let Ok(times) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
            nanos += times.split(' ').next().unwrap_or_default().parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// An authorization callback that was not sent before, with a good token.
    pub(crate) fn callback(&mut self) -> Outcome<Vec<u8>> {
        self.sessions += 1;
        let session = format!("session-{:08}", self.sessions);
        let expires_at = Clock::system().now() + Duration::from_secs(96 * 3600);
        let expires_at = UnixMillis(expires_at.seconds() * 1000);
        let ticket = Ticket { family: Family::Payments, session: session.as_bytes(), expires_at };
        let token = self.guard.mint(&ticket).ok_or("there is no key")?;
        let body = format!(r#"{{"authorization_token":"{session}-token","session_id":"{session}"}}"#);
        let head = format!(
            "POST /wc-api/KP_WC_AUTHORIZATION?kallback={token} HTTP/1.1\r\nhost: localhost\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        Ok([head.into_bytes(), body.into_bytes()].concat())
    }

    /// Callbacks that are the same ones at every call.
    pub(crate) fn known_callbacks(&mut self) -> Outcome<Vec<Arc<[u8]>>> {
        while self.known.len() < KNOWN {
            let callback = self.callback()?;
            self.known.push(callback.into());
        }
        Ok(self.known.clone())
    }

    fn process(&self, door: Door) -> &Process {
        match door {
            Door::Gateway => &self.gateway,
            Door::Relay => &self.relay,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A TLS connection, ready for requests.
pub(crate) async fn connect(address: SocketAddr, tls: &TlsConnector) -> Outcome<Wire<TlsStream<TcpStream>>> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    Ok(Wire::new(tls.connect(ServerName::try_from("localhost")?, socket).await?))
}

fn connector(folder: &Path) -> Outcome<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("cert.pem"))?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13])?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    // Klarna's connections are new ones.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Replies to everything at once with 1 KiB.
async fn start_shop() -> Outcome<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let reply =
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 1024\r\n\r\n{}", "x".repeat(1024));
    let reply: Arc<[u8]> = Arc::from(reply.into_bytes());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let reply = Arc::clone(&reply);
            tokio::spawn(async move {
                let mut wire = Wire::new(socket);
                while let Ok(Some(_)) = wire.receive().await {
                    if wire.send(&reply).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(address)
}

/// Defaults, but for the limits that a load from one address would meet.
fn write_config(folder: &Path, shop: SocketAddr) -> Outcome<()> {
    let keys = folder.join("token.keys");
    let hex: String = KEY.iter().map(|byte| format!("{byte:02x}")).collect();
    fs::write(&keys, format!("1 {hex}\n"))?;
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o600))?;
    let config = format!(
        r#"
[server]
listen = ["127.0.0.1:0"]
[tls]
make_development_certificate = true
[[tls.certificates]]
certificate = "cert.pem"
key = "key.pem"
[shop]
url = "http://{shop}"
[callbacks]
presets = ["woocommerce"]
[token]
key_file = "token.keys"
[ledger]
file = "kallback.db"
[limits]
proven_per_second = 1000000
[admin]
listen = "off"
[log]
format = "text"
"#
    );
    Ok(fs::write(folder.join("kallback.toml"), config)?)
}

fn start_gateway(folder: &Path) -> Outcome<Process> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kallback"));
    command.arg("run").arg("--config").arg(folder.join("kallback.toml")).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let mut log = BufReader::new(child.stderr.take().ok_or("no log")?).lines();
    let address = loop {
        let line = log.next().ok_or("the gateway did not start")??;
        if let Some((_, rest)) = line.split_once("listening on https://") {
            break rest.split([',', ' ']).next().unwrap_or_default().trim().parse()?;
        }
    };
    // A log that nobody reads would fill its pipe.
    std::thread::spawn(move || log.for_each(drop));
    Ok(Process { child, address })
}

fn start_relay(folder: &Path, shop: SocketAddr) -> Outcome<Process> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(relay::ARGUMENT).arg(shop.to_string()).arg(folder.join("cert.pem")).arg(folder.join("key.pem"));
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut first = String::new();
    BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut first)?;
    Ok(Process { address: first.trim().parse()?, child })
}
