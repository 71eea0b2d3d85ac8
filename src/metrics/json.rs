//! A log line as one JSON object.
//!
//! The formatter that comes with the log library writes JSON piece by piece as text, and each of some sixty pieces is
//! looked through for UTF-8 and copied on: a seventh of a repeated callback's instructions. Here the line is put together
//! as bytes and handed on whole. What is in it, and in which order, is the same.

use std::fmt;

use serde::ser::{SerializeMap, Serializer};
use tracing::{Event, Subscriber};
use tracing_serde::SerdeMapVisitor;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::clock::Clock;

/// Most lines are shorter.
const LINE_BYTES: usize = 512;

/// Writes every event so.
pub(super) struct JsonLines(pub(super) Clock);

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let line = self.line(event).map_err(|_| fmt::Error)?;
        writer.write_str(std::str::from_utf8(&line).map_err(|_| fmt::Error)?)
    }
}

impl JsonLines {
    fn line(&self, event: &Event<'_>) -> serde_json::Result<Vec<u8>> {
        let mut line = Vec::with_capacity(LINE_BYTES);
        let mut json = serde_json::Serializer::new(&mut line);
        let mut object = json.serialize_map(None)?;
        object.serialize_entry("timestamp", &self.0.now().to_string())?;
        object.serialize_entry("level", event.metadata().level().as_str())?;
        let mut fields = SerdeMapVisitor::new(object);
        event.record(&mut fields);
        let mut object = fields.take_serializer()?;
        object.serialize_entry("target", event.metadata().target())?;
        SerializeMap::end(object)?;
        line.push(b'\n');
        Ok(line)
    }
}
