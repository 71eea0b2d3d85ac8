//! A collector of traces: it takes what comes, and reads it with the types of OpenTelemetry's own schema.

use std::collections::BTreeMap;

use kallback::config::Origins;
use kallback::export;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use prost::Message;

use super::shop::{Seen, Shop};

/// A running collector. Dropping it closes it.
#[derive(Debug)]
pub struct Collector {
    /// Its server, which can be scripted as a shop's can.
    pub server: Shop,
}

/// A span as the collector got it, in words.
#[derive(Clone, PartialEq, Debug)]
pub struct Got {
    pub trace: String,
    pub id: String,
    /// Empty for the first of a trace.
    pub parent: String,
    pub name: String,
    pub is_server: bool,
    pub failed: bool,
    pub start: u64,
    pub end: u64,
    pub flags: u32,
    pub attributes: BTreeMap<String, String>,
}

impl Collector {
    pub async fn start() -> Self {
        Self { server: Shop::start().await }
    }

    /// The variables that send spans here, soon.
    pub fn variables(&self) -> Vec<(String, String)> {
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", self.server.tcp())),
            ("OTEL_BSP_SCHEDULE_DELAY", "20".to_owned()),
        ];
        variables.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }

    /// The settings that these variables and more of them make.
    pub fn settings(&self, more: &[(&str, &str)]) -> export::Settings {
        let more = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        // The last of a name would be overlooked.
        let environment = more.chain(self.variables()).collect();
        let origins = Origins { environment, ..Origins::default() };
        origins.load_rules().unwrap().settings.traces.expect("the variables ask for traces")
    }

    /// Everything that came so far.
    pub fn spans(&self) -> Vec<Got> {
        spans_in(&self.server.requests())
    }

    /// Waits until there are `number` spans for which `counts` is so.
    pub async fn wait_for(&self, number: usize, counts: impl Fn(&Got) -> bool) -> Vec<Got> {
        let found = |requests: &[Seen]| spans_in(requests).into_iter().filter(&counts).collect::<Vec<_>>();
        let what = format!("{number} spans at the collector");
        let book = self.server.wait_until(&what, |book| found(&book.requests).len() >= number).await;
        let spans = found(&book.requests);
        assert_eq!(spans.len(), number, "{spans:#?}");
        spans
    }
}

/// What whole requests say.
fn spans_in(requests: &[Seen]) -> Vec<Got> {
    let whole = requests.iter().filter(|seen| seen.whole);
    whole.flat_map(|seen| read(&seen.body).1).collect()
}

/// The process's attributes, and the spans.
pub fn read(body: &[u8]) -> (BTreeMap<String, String>, Vec<Got>) {
    let request = ExportTraceServiceRequest::decode(body).expect("what OTLP calls a request");
    let [of_process] = <[_; 1]>::try_from(request.resource_spans).expect("one process");
    let [of_scope] = <[_; 1]>::try_from(of_process.scope_spans).expect("one scope");
    assert_eq!(of_scope.scope.expect("a scope").name, "kallback");
    let process = words(of_process.resource.expect("a resource").attributes);
    (process, of_scope.spans.into_iter().map(Got::from).collect())
}

impl From<Span> for Got {
    fn from(span: Span) -> Self {
        let is_server = span.kind() == SpanKind::Server;
        assert!(is_server || span.kind() == SpanKind::Client);
        Self {
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            name: span.name,
            is_server,
            failed: span.status.is_some_and(|status| status.code() == StatusCode::Error),
            start: span.start_time_unix_nano,
            end: span.end_time_unix_nano,
            flags: span.flags,
            attributes: words(span.attributes),
        }
    }
}

impl Got {
    /// An attribute, as text.
    pub fn says(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }

    /// The `traceparent` by which it is somebody's parent.
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-{:02x}", self.trace, self.id, self.flags & 0xff)
    }
}

fn words(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let word = |value| match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(truth) => truth.to_string(),
        other => panic!("{other:?}"),
    };
    let pairs = attributes.into_iter();
    pairs.map(|pair| (pair.key, word(pair.value.and_then(|any| any.value).expect("a value")))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
