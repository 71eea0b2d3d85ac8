//! Spans as OTLP has them: protobuf (`opentelemetry/proto/trace/v1/trace.proto`).
//!
//! A dozen fields of five messages are written here, and none is read: a compiler of schemas would be more than all
//! this. `tests/it/tracing.rs` reads what is written with the types of OpenTelemetry's own schema.

use crate::trace::Span;

/// What stands beside a span's times: an attribute's value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Text(&'a str),
    Whole(i64),
    Truth(bool),
}

/// Who did the work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// It answered a caller.
    Server = 2,
    /// It asked the shop.
    Client = 3,
}

/// A span that ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended<'a> {
    pub(super) span: &'a Span,
    pub(super) name: &'a str,
    pub(super) role: Role,
    /// Start and end in nanoseconds since 1970.
    pub(super) times: (u64, u64),
    pub(super) failed: bool,
}

/// One message, as it grows.
#[derive(Default)]
struct Message(Vec<u8>);

/// A span with its attributes, to be put into a [`request`].
pub(super) fn span<'a>(ended: &Ended<'_>, attributes: impl IntoIterator<Item = (&'a str, Value<'a>)>) -> Vec<u8> {
    let Ended { span, name, role, times: (start, end), failed } = *ended;
    let mut message = Message(Vec::with_capacity(SPAN_BYTES));
    message.bytes(1, &span.trace.0);
    message.bytes(2, &span.id.0);
    if let Some(parent) = span.parent {
        message.bytes(4, &parent.0);
    }
    message.bytes(5, name.as_bytes());
    message.whole(6, role as u64);
    message.fixed64(7, start);
    message.fixed64(8, end);
    for (name, value) in attributes {
        message.inner(9, &attribute(name, value));
    }
    if failed {
        let mut status = Message::default();
        status.whole(3, STATUS_ERROR);
        message.inner(15, &status);
    }
    let remote = if span.parent_is_remote { PARENT_IS_REMOTE } else { 0 };
    message.fixed32(16, u32::from(span.flags()) | KNOWS_PARENT_PLACE | remote);
    message.0
}

/// What is sent to the collector: all spans of a batch, made by one process.
pub fn request(resource: &[(String, String)], spans: &[Vec<u8>]) -> Vec<u8> {
    let mut process = Message::default();
    for (name, value) in resource {
        process.inner(1, &attribute(name, Value::Text(value)));
    }
    let mut scope = Message::default();
    scope.bytes(1, env!("CARGO_PKG_NAME").as_bytes());
    scope.bytes(2, env!("CARGO_PKG_VERSION").as_bytes());
    let mut of_scope = Message(Vec::with_capacity(spans.iter().map(|span| span.len() + 4).sum()));
    of_scope.inner(1, &scope);
    for span in spans {
        of_scope.bytes(2, span);
    }
    let mut of_process = Message::default();
    of_process.inner(1, &process);
    of_process.inner(2, &of_scope);
    let mut request = Message::default();
    request.inner(1, &of_process);
    request.0
}

fn attribute(name: &str, value: Value<'_>) -> Message {
    let mut any = Message::default();
    match value {
        Value::Text(text) => any.bytes(1, text.as_bytes()),
        Value::Truth(truth) => any.whole(2, u64::from(truth)),
        Value::Whole(number) => any.whole(3, number.cast_unsigned()),
    }
    let mut attribute = Message::default();
    attribute.bytes(1, name.as_bytes());
    attribute.inner(2, &any);
    attribute
}

impl Message {
    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.key(field, 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn inner(&mut self, field: u32, message: &Self) {
        self.bytes(field, &message.0);
    }

    fn whole(&mut self, field: u32, number: u64) {
        self.key(field, 0);
        self.varint(number);
    }

    fn fixed64(&mut self, field: u32, number: u64) {
        self.key(field, 1);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn fixed32(&mut self, field: u32, number: u32) {
        self.key(field, 5);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn key(&mut self, field: u32, wire_type: u32) {
        self.varint(u64::from((field << 3) | wire_type));
    }

    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.0.push(number.to_le_bytes()[0]);
    }
}

const STATUS_ERROR: u64 = 2;

/// Flags of a span beside those of its trace: it is known whether the parent is another process's, and it is.
const KNOWS_PARENT_PLACE: u32 = 0x100;
const PARENT_IS_REMOTE: u32 = 0x200;

/// A span usually fits into this without growing.
const SPAN_BYTES: usize = 512;
