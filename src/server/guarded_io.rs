//! The socket as hyper sees it: only what the framing guard let through, and with interim replies in between.
//!
//! A head is held back until it is whole and sound. In the place of a refused head hyper gets a request of our own,
//! which [`service`](super::service) answers with the refusal; so the refusal comes after the replies to the requests
//! before it, and hyper closes as it closes after any last request. Nothing behind a refused head is read as HTTP.

use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::conversation::Conversation;
use super::doorbell::Doorbell;
use super::framing::{Fault, Framing, HeadLimits, Step};

/// How much is read at once: one TLS record.
const READ_BYTES: usize = 16 * 1024;
/// What hyper gets to see in the place of a refused head.
const OWN_REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: refused.invalid\r\nconnection: close\r\n\r\n";
/// After the last reply the caller may go on sending for this long, and this much, before it is cut off.
const LINGER_FOR: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 256 * 1024;

/// One connection's plaintext, guarded.
#[derive(Debug)]
pub(super) struct GuardedIo<S> {
    stream: S,
    conversation: Conversation,
    inbound: Inbound,
    /// Bytes that came and did not go on; the first `passed` of them may.
    held: BytesMut,
    passed: usize,
    /// When the last of `held` came.
    came_at: Instant,
    stream_ended: bool,
    /// Rings when there is more to read.
    more: Doorbell,
    /// An interim reply of which a part is written.
    interim: Bytes,
    lingering: Option<Pin<Box<Sleep>>>,
    lingered_bytes: usize,
}

/// How inbound bytes are judged.
#[derive(Debug)]
enum Inbound {
    /// HTTP/1.1.
    Framed { framing: Framing, head_bytes_max: usize, last_asks_for_upgrade: bool },
    /// HTTP/2, of which only the first bytes are watched for.
    Preface { bytes_left: usize },
    /// Not judged: HTTP/2, or the protocol after an upgrade.
    Open,
    /// Nothing goes on any more.
    Shut,
}

/// What is to be done before more can go on.
enum Next {
    Deliver,
    Read,
    /// Read, but hand nothing on: what follows may not be HTTP.
    Hold,
    /// All is said.
    Nothing,
}

impl<S> GuardedIo<S> {
    /// For HTTP/1.1.
    pub(super) fn framed(stream: S, conversation: Conversation, limits: HeadLimits) -> Self {
        let framing = Framing::new(limits);
        let inbound = Inbound::Framed { framing, head_bytes_max: limits.bytes_max, last_asks_for_upgrade: false };
        Self::new(stream, conversation, inbound)
    }

    /// For HTTP/2, whose framing has one reading only. The client's preface is 24 bytes (RFC 9113 section 3.4).
    pub(super) fn http2(stream: S, conversation: Conversation) -> Self {
        Self::new(stream, conversation, Inbound::Preface { bytes_left: 24 })
    }

    fn new(stream: S, conversation: Conversation, inbound: Inbound) -> Self {
        Self {
            came_at: conversation.now(),
            stream,
            conversation,
            inbound,
            held: BytesMut::new(),
            passed: 0,
            stream_ended: false,
            more: Doorbell::new(),
            interim: Bytes::new(),
            lingering: None,
            lingered_bytes: 0,
        }
    }

    /// Moves the guard on over what is held.
    fn judge(&mut self, cx: &Context<'_>) -> io::Result<Next> {
        let Inbound::Framed { framing, last_asks_for_upgrade, .. } = &mut self.inbound else {
            return Ok(self.pass_unjudged());
        };
        if *last_asks_for_upgrade && framing.is_between_bodies() {
            if self.conversation.is_upgraded() {
                self.inbound = Inbound::Open;
                return Ok(self.pass_unjudged());
            }
            if !self.conversation.is_quiet(cx) {
                return Ok(Next::Hold);
            }
            *last_asks_for_upgrade = false;
        }
        let in_head = framing.is_between_bodies();
        match framing.step(&self.held) {
            Ok(Step::NeedMore) if in_head && !self.held.is_empty() => {
                self.conversation.head_began(self.came_at);
                if self.conversation.head_is_given_up() { Ok(self.refuse(Fault::SlowHead)) } else { Ok(Next::Read) }
            }
            Ok(Step::NeedMore) => Ok(Next::Read),
            Ok(Step::Skip(bytes)) => {
                self.held.advance(bytes);
                self.judge(cx)
            }
            Ok(Step::Head(head)) => {
                *last_asks_for_upgrade = head.asks_for_upgrade;
                self.passed = head.bytes;
                self.conversation.head_began(self.came_at);
                self.conversation.head_goes_on(None);
                Ok(Next::Deliver)
            }
            Ok(Step::Body(bytes)) => {
                self.passed = bytes;
                Ok(Next::Deliver)
            }
            Err(fault) if in_head => Ok(self.refuse(fault)),
            // The request is on its way; whoever reads its body learns that it is broken.
            Err(fault) => Err(io::Error::new(io::ErrorKind::InvalidData, fault)),
        }
    }

    fn pass_unjudged(&mut self) -> Next {
        if let Inbound::Preface { bytes_left } = &mut self.inbound {
            *bytes_left = bytes_left.saturating_sub(self.held.len());
            if *bytes_left == 0 {
                self.inbound = Inbound::Open;
                self.conversation.note(|activity, _| activity.preface_came());
            }
        }
        self.passed = self.held.len();
        match self.inbound {
            Inbound::Shut => Next::Nothing,
            _ if self.passed > 0 => Next::Deliver,
            _ => Next::Read,
        }
    }

    fn refuse(&mut self, fault: Fault) -> Next {
        self.conversation.head_goes_on(Some(fault));
        self.inbound = Inbound::Shut;
        self.held = OWN_REQUEST.into();
        self.passed = self.held.len();
        Next::Deliver
    }

    fn is_full(&self) -> bool {
        match self.inbound {
            Inbound::Framed { head_bytes_max, .. } => self.held.len() > head_bytes_max,
            _ => false,
        }
    }

    /// Whether the caller may still be sending. Closing a socket with unread bytes resets the connection, and the reset
    /// can overtake our last reply.
    fn may_be_sending(&self) -> bool {
        let mid_request = match &self.inbound {
            Inbound::Framed { framing, .. } => !self.held.is_empty() || !framing.is_between_bodies(),
            Inbound::Shut => true,
            Inbound::Preface { .. } | Inbound::Open => false,
        };
        mid_request && !self.stream_ended
    }
}

impl<S: AsyncRead + Unpin> GuardedIo<S> {
    /// Reads more; `false` when there is no more.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        // On the stack: most looks find nothing, since hyper looks for the caller's end while a request is served, and
        // room on the heap would be taken and given back for each of them.
        if !self.more.rang(cx) {
            return Poll::Pending;
        }
        let mut space = [const { MaybeUninit::uninit() }; READ_BYTES];
        let mut read = ReadBuf::uninit(&mut space);
        match Pin::new(&mut self.stream).poll_read(&mut Context::from_waker(self.more.waker()), &mut read) {
            Poll::Ready(outcome) => {
                self.more.look_again();
                self.came_at = self.conversation.now();
                let came = read.filled();
                self.held.extend_from_slice(came);
                self.stream_ended |= came.is_empty();
                Poll::Ready(outcome.map(|()| !came.is_empty()))
            }
            Poll::Pending => {
                if self.held.is_empty() {
                    // An idle connection keeps no buffer.
                    self.held = BytesMut::new();
                }
                Poll::Pending
            }
        }
    }

    /// Reads what nobody judges.
    fn poll_unjudged(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.more.rang(cx) {
            return Poll::Pending;
        }
        let outcome = Pin::new(&mut self.stream).poll_read(&mut Context::from_waker(self.more.waker()), into);
        if outcome.is_ready() {
            self.more.look_again();
        }
        outcome
    }

    /// Lets the caller finish sending, within bounds.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let deadline = self.lingering.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER_FOR)));
            if deadline.as_mut().poll(cx).is_ready() || self.lingered_bytes > LINGER_BYTES_MAX {
                return Poll::Ready(());
            }
            self.held.clear();
            match ready!(self.poll_more(cx)) {
                Ok(true) => self.lingered_bytes += self.held.len(),
                Ok(false) | Err(_) => return Poll::Ready(()),
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for GuardedIo<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Inbound::Open = this.inbound
            && this.held.is_empty()
        {
            return this.poll_unjudged(cx, into);
        }
        while this.passed == 0 {
            match this.judge(cx)? {
                Next::Deliver => {}
                Next::Read => {
                    if !ready!(this.poll_more(cx))? {
                        return Poll::Ready(Ok(()));
                    }
                }
                Next::Hold if this.is_full() => return Poll::Pending,
                Next::Hold => {
                    if !ready!(this.poll_more(cx))? {
                        return Poll::Ready(Ok(()));
                    }
                }
                // hyper closes by itself after the reply to our own request.
                Next::Nothing => return Poll::Pending,
            }
        }
        let bytes = this.passed.min(into.remaining());
        into.put_slice(&this.held[..bytes]);
        this.held.advance(bytes);
        this.passed -= bytes;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> GuardedIo<S> {
    /// Whether interim replies may stand between what hyper writes.
    fn speaks_http1(&self) -> bool {
        matches!(self.inbound, Inbound::Framed { .. } | Inbound::Shut)
    }

    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.interim.is_empty() {
            let bytes = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.interim))?;
            if bytes == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.interim.advance(bytes);
        }
        Poll::Ready(Ok(()))
    }

    /// Writes the interim replies that belong before hyper's next bytes.
    fn poll_before_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_interim(cx))?;
        if self.speaks_http1() {
            self.interim = self.conversation.before_write();
        }
        self.poll_interim(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for GuardedIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_before_write(cx))?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_before_write(cx))?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes when it has written all that it had.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_interim(cx))?;
        if self.speaks_http1() {
            self.interim = self.conversation.after_write(cx);
            ready!(self.poll_interim(cx))?;
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        }
        if self.may_be_sending() {
            ready!(self.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}
