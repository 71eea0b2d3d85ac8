//! HTTP/2 by hand: frames that no library would send (RFC 9113) and header blocks without compression (RFC 7541).

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::{Fortress, PATIENCE};
use crate::support::socket::Socket;

pub(super) const DATA: u8 = 0x0;
pub(super) const HEADERS: u8 = 0x1;
pub(super) const PRIORITY: u8 = 0x2;
pub(super) const RST_STREAM: u8 = 0x3;
pub(super) const SETTINGS: u8 = 0x4;
pub(super) const PUSH_PROMISE: u8 = 0x5;
pub(super) const PING: u8 = 0x6;
pub(super) const GOAWAY: u8 = 0x7;
pub(super) const WINDOW_UPDATE: u8 = 0x8;
pub(super) const CONTINUATION: u8 = 0x9;

pub(super) const ACK: u8 = 0x1;
pub(super) const END_STREAM: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;
pub(super) const PADDED: u8 = 0x8;

/// The first bytes of a reply's header block that say `200`: the indexed field 8.
const STATUS_200: u8 = 0x88;

/// How long the other side may leave our bytes lying before that counts as held back.
const TAKEN_WITHIN: Duration = Duration::from_secs(3);

/// A connection that speaks HTTP/2 badly.
pub(super) struct Attacker {
    socket: Socket,
}

/// One frame.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

/// How a stream ended for its caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// A reply that says `200`.
    Taken,
    /// Another reply, a reset of the stream, or the end of the connection.
    Refused,
    /// Nothing until [`PATIENCE`] was over.
    Silence,
}

impl Frame {
    pub(super) fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self { kind, flags, stream, payload: payload.into() }
    }

    /// A whole request head.
    pub(super) fn head(stream: u32, fields: &[(&[u8], &[u8])]) -> Self {
        Self::new(HEADERS, END_HEADERS | END_STREAM, stream, block(fields))
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).unwrap().to_be_bytes();
        let stream = self.stream.to_be_bytes();
        [&length[1..], &[self.kind, self.flags], &stream[..], &self.payload].concat()
    }
}

impl Attacker {
    /// Connects and says the preface with these settings.
    pub(super) async fn connect(fortress: &Fortress, settings: &[(u16, u32)]) -> Self {
        let caller = fortress.caller().over_http2(fortress.authority());
        let mut socket = caller.connect().await.unwrap().into_socket();
        let payload: Vec<u8> = settings.iter().flat_map(|(id, value)| setting(*id, *value)).collect();
        let hello = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &Frame::new(SETTINGS, 0, 0, payload).bytes()];
        socket.write_all(&hello.concat()).await.unwrap();
        socket.flush().await.unwrap();
        Self { socket }
    }

    /// Sends bytes. `false`: the other side hung up, or did not take them for seconds.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> bool {
        let sent = async {
            self.socket.write_all(bytes).await?;
            self.socket.flush().await
        };
        matches!(timeout(TAKEN_WITHIN, sent).await, Ok(Ok(())))
    }

    pub(super) async fn send_frames(&mut self, frames: &[Frame]) -> bool {
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
        self.send(&bytes).await
    }

    /// The next frame; an error when the connection ended. Pings are answered, so that nobody takes us for dead.
    pub(super) async fn next(&mut self) -> io::Result<Frame> {
        let mut head = [0; 9];
        self.socket.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.socket.read_exact(&mut payload).await?;
        if head[3] == PING && head[4] & ACK == 0 {
            self.send_frames(&[Frame::new(PING, ACK, 0, payload.clone())]).await;
        }
        Ok(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// How that stream ends.
    pub(super) async fn end_of(&mut self, stream: u32) -> End {
        let end = async {
            loop {
                match self.next().await {
                    Ok(frame) if frame.kind == HEADERS && frame.stream == stream => {
                        return if frame.payload.contains(&STATUS_200) { End::Taken } else { End::Refused };
                    }
                    Ok(frame) if frame.kind == RST_STREAM && frame.stream == stream => return End::Refused,
                    Ok(frame) if frame.kind == GOAWAY => return End::Refused,
                    Ok(_) => {}
                    Err(_) => return End::Refused,
                }
            }
        };
        timeout(PATIENCE, end).await.unwrap_or(End::Silence)
    }

    /// Reads until the other side hangs up. `false`: it did not.
    pub(super) async fn is_hung_up_on(&mut self) -> bool {
        let end = async { while self.next().await.is_ok() {} };
        timeout(PATIENCE, end).await.is_ok()
    }
}

/// The fields of an ordinary request.
pub(super) fn request<'a>(method: &'a [u8], path: &'a [u8]) -> Vec<(&'a [u8], &'a [u8])> {
    vec![(b":method", method), (b":scheme", b"https"), (b":authority", b"shop.example"), (b":path", path)]
}

/// A header block: every field as a literal that is not kept (RFC 7541, 6.2.2).
pub(super) fn block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| [vec![0x00], text(name), text(value)].concat()).collect()
}

/// One field as a literal that goes into the dynamic table (RFC 7541, 6.2.1).
pub(super) fn kept_field(name: &[u8], value: &[u8]) -> Vec<u8> {
    [vec![0x40], text(name), text(value)].concat()
}

/// The field that went into the dynamic table last (RFC 7541, 6.1): index 62.
pub(super) const LAST_KEPT_FIELD: u8 = 0x80 | 62;

pub(super) fn setting(id: u16, value: u32) -> Vec<u8> {
    [id.to_be_bytes().as_slice(), &value.to_be_bytes()].concat()
}

/// A text without Huffman coding; its length is a number with a prefix of 7 bits (RFC 7541, 5.1).
fn text(text: &[u8]) -> Vec<u8> {
    let mut coded = Vec::new();
    match u8::try_from(text.len()) {
        Ok(length) if length < 127 => coded.push(length),
        _ => {
            coded.push(127);
            let mut rest = text.len() - 127;
            while rest >= 128 {
                coded.push(u8::try_from(rest % 128).unwrap() | 0x80);
                rest /= 128;
            }
            coded.push(u8::try_from(rest).unwrap());
        }
    }
    coded.extend_from_slice(text);
    coded
}
