//! One request and its answer over a connection that stands.

use bytes::{Bytes, BytesMut};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;

use super::watched::{Notes, Watched};
use super::{AnswerLimit, Duplex, Fault, Probe, Seen, Step};
use crate::message::Reply;

impl Probe {
    /// The answer, and whether there was more of its body than may be read.
    pub(super) async fn exchange(
        &self,
        stream: Box<dyn Duplex>,
        request: Request<Bytes>,
        seen: &mut Seen,
    ) -> Result<(Reply, bool), Fault> {
        let notes = Notes::new(self.clock.clone());
        let connection = Watched::new(stream, notes.clone());
        let limit = self.limits.answer;
        let outcome = tokio::select! {
            biased;
            answer = self.ask(connection, request, &notes, seen) => answer,
            () = notes.too_late(limit) => Err(Fault::TooSlow(match limit {
                AnswerLimit::Whole(whole) => whole,
                AnswerLimit::Silence { pause, .. } => pause,
            })),
        };
        seen.first_byte = notes.first().map(|first| first.duration_since(notes.start()));
        outcome
    }

    async fn ask(
        &self,
        connection: Watched,
        request: Request<Bytes>,
        notes: &Notes,
        seen: &mut Seen,
    ) -> Result<(Reply, bool), Fault> {
        let since = || self.clock.instant().duration_since(notes.start());
        let (mut sender, driver) =
            hyper::client::conn::http1::handshake(TokioIo::new(connection)).await.map_err(Fault::Broken)?;
        // Dropped with this exchange: when we stop waiting the connection is gone, as Klarna's is.
        let mut background = JoinSet::new();
        background.spawn(driver);
        let answer = sender.send_request(request.map(Full::new)).await.map_err(Fault::Broken)?;
        let (head, body) = answer.into_parts();
        (seen.head, seen.status, seen.step) = (Some(since()), Some(head.status), Step::Body);
        let (body, is_cut) = read(body, self.limits.body_bytes_max).await.map_err(Fault::Broken)?;
        seen.answer = Some(since());
        let reason = head.extensions.get::<ReasonPhrase>().cloned();
        Ok((Reply { status: head.status, reason, headers: head.headers, body }, is_cut))
    }
}

async fn read(mut body: Incoming, bytes_max: usize) -> Result<(Bytes, bool), hyper::Error> {
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        read.extend_from_slice(&data);
        if read.len() > bytes_max {
            read.truncate(bytes_max);
            return Ok((read.freeze(), true));
        }
    }
    Ok((read.freeze(), false))
}
