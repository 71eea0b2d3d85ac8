//! Interim replies (1xx) before the final one.

use http::{HeaderMap, StatusCode};

use super::conversation::Conversation;

/// Sends interim replies of one request to its caller. Cheap to clone.
///
/// hyper's server sends no interim reply but its own `100 Continue`, so these go beside it, as bytes. On HTTP/2, and for
/// HTTP/1.0 callers, which know none (RFC 9110 section 15.2), they are left out. So are those that come after the
/// final reply.
#[derive(Clone, Debug)]
pub struct Interim(Option<(Conversation, u64)>);

impl Interim {
    /// Sends nothing: for tests, and where no interim reply is possible.
    pub fn none() -> Self {
        Self(None)
    }

    pub(super) fn new(conversation: &Conversation) -> Self {
        Self(Some((conversation.clone(), conversation.open_interim())))
    }

    /// Sends one interim reply. `101` is none: it is the final reply of an upgrade.
    pub fn send(&self, status: StatusCode, headers: &HeaderMap) {
        let Some((conversation, request)) = &self.0 else { return };
        if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
            conversation.send_interim(*request, &head_bytes(status, headers));
        }
    }
}

fn head_bytes(status: StatusCode, headers: &HeaderMap) -> Vec<u8> {
    let mut head = Vec::with_capacity(64);
    let reason = status.canonical_reason().unwrap_or_default();
    for part in ["HTTP/1.1 ", status.as_str(), " ", reason, "\r\n"] {
        head.extend_from_slice(part.as_bytes());
    }
    for (name, value) in headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    head.extend_from_slice(b"\r\n");
    head
}
