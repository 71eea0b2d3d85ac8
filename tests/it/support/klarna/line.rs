//! One HTTP/1.1 connection of Klarna's, in a test's hand.

use std::io;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout};

use super::{Answered, Silence, Unanswered};
use crate::support::socket::Socket;
use crate::support::time::patiently;
use crate::support::wire::{Told, Wire};

/// An open connection. Dropping it hangs up.
#[derive(Debug)]
pub struct Line {
    wire: Wire,
    read_within: Duration,
    asked_at: Instant,
}

impl Line {
    pub(super) fn new(wire: Wire, read_within: Duration) -> Self {
        Self { wire, read_within, asked_at: Instant::now() }
    }

    /// Sends bytes. That the other side does not take them shows when its reply is read.
    pub async fn write(&mut self, bytes: &[u8]) {
        self.asked_at = Instant::now();
        let _ = self.wire.write(bytes).await;
    }

    /// Sends no more, but still listens.
    pub async fn half_close(&mut self) {
        let _ = self.wire.socket.shutdown().await;
    }

    /// Ends the connection with RST.
    pub fn reset(self) {
        self.wire.socket.reset();
    }

    /// The reply to a request with that method, with the informational ones before it.
    pub async fn reply_to(&mut self, method: &str) -> Result<Answered, Unanswered> {
        let start = self.asked_at;
        let failed = |why| Unanswered { why, took: start.elapsed(), attempts: 1 };
        match timeout(self.read_within, read(&mut self.wire, method)).await {
            Ok(Ok(answered)) => Ok(Answered { took: start.elapsed(), ..answered }),
            Ok(Err(why)) => Err(failed(Silence::HungUp(why.to_string()))),
            Err(_) => Err(failed(Silence::ReadTimeout)),
        }
    }

    /// Waits for exactly `number` bytes of whatever comes.
    pub async fn read_exactly(&mut self, number: usize) -> Vec<u8> {
        while self.wire.ahead.len() < number {
            let more = patiently("more bytes on the line", self.wire.fill()).await.unwrap();
            assert!(more, "the line ended early: {:?}", self.wire.ahead);
        }
        self.wire.ahead.split_to(number).to_vec()
    }

    /// Everything until the other side hangs up; an error if it resets the connection.
    pub async fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        while patiently("the end of the line", self.wire.fill()).await? {}
        Ok(self.wire.ahead.split().to_vec())
    }

    /// The certificate that the other side showed.
    pub fn certificate(&self) -> CertificateDer<'static> {
        let Socket::Tls(tls) = &self.wire.socket else { panic!("this line has no TLS") };
        let shown = tls.get_ref().1.peer_certificates().expect("the handshake is over");
        shown[0].clone().into_owned()
    }

    pub fn into_socket(self) -> Socket {
        self.wire.socket
    }
}

async fn read(wire: &mut Wire, method: &str) -> io::Result<Answered> {
    let mut informational = Vec::new();
    loop {
        let head = wire.head().await?.ok_or_else(|| io::Error::other("hung up without a reply"))?;
        let told = Told::read(&head)?;
        if told.status < 200 && told.status != 101 {
            informational.push(told.status);
            continue;
        }
        let mut body = Vec::new();
        let trailers = wire.body(told.framing(method)?, |piece| body.extend_from_slice(piece)).await?;
        return Ok(Answered {
            status: told.status,
            reason: told.reason,
            headers: told.lines,
            body,
            trailers,
            informational,
            took: Duration::ZERO,
            attempts: 1,
        });
    }
}
