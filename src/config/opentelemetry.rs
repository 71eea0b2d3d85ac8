//! OpenTelemetry's own environment variables: whether spans are made, and where they go.
//!
//! They are no options of kallback, and what is wrong with one is a warning: the standard wants a process to run on.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use percent_encoding::percent_decode_str;

use crate::config::place::Place;
use crate::config::readable::Complaint;
use crate::config::reader::Reader;
use crate::config::sections::shop_address;
use crate::export::Settings;
use crate::metrics::SpanSettings;
use crate::trace::{Root, Sampler};
use crate::upstream::Address;

/// What findings are about.
const TRACES: &str = "traces";

/// Where a collector is by the standard.
const DEFAULT_COLLECTOR: &str = "http://localhost:4318";
const TRACES_PATH: &str = "/v1/traces";

/// Most spans that may be told to wait, and most milliseconds of any time.
const SPANS_MAX: usize = 1_000_000;
const MILLIS_MAX: u64 = 3_600_000;

/// Reads the variables. `None`: no spans are made, which is so unless they say where to or what for.
pub(super) fn read(variables: &[(String, String)], reader: &Reader) -> Option<Settings> {
    let variables = Variables { all: variables, reader };
    if !variables.want_traces() || !variables.speak_our_protocol() {
        return None;
    }
    let endpoint = variables.endpoint()?;
    variables.warn_of_what_is_not_done();
    Some(Settings {
        spans: variables.spans(),
        collector: endpoint.address,
        host: endpoint.host,
        path: endpoint.path,
        headers: variables.headers(),
        ca_file: variables.of_otlp("CERTIFICATE").map(|(_, path)| PathBuf::from(path)),
        try_within: variables.millis(&["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"], 10_000),
        batch_within: variables.millis(&["OTEL_BSP_EXPORT_TIMEOUT"], 30_000),
        batch_every: variables.millis(&["OTEL_BSP_SCHEDULE_DELAY"], 5_000),
        resource: variables.resource(),
    })
}

struct Variables<'a> {
    all: &'a [(String, String)],
    reader: &'a Reader,
}

struct Endpoint {
    address: Address,
    host: HeaderValue,
    path: PathAndQuery,
}

impl<'a> Variables<'a> {
    /// An empty one counts as not set.
    fn get(&self, name: &str) -> Option<&'a str> {
        let (_, value) = self.all.iter().find(|(known, _)| known == name)?;
        Some(value.trim()).filter(|value| !value.is_empty())
    }

    /// The one for traces wins over the one for everything.
    fn of_otlp(&self, what: &str) -> Option<(String, &'a str)> {
        let names = [format!("OTEL_EXPORTER_OTLP_TRACES_{what}"), format!("OTEL_EXPORTER_OTLP_{what}")];
        names.into_iter().find_map(|name| self.get(&name).map(|value| (name, value)))
    }

    fn warn(&self, name: &str, message: impl Into<String>, hint: &str) {
        let at = Place::Environment(Arc::from(name));
        self.reader.note_warnings(&at, TRACES, Complaint::new(message, hint));
    }

    fn want_traces(&self) -> bool {
        if self.get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return false;
        }
        match self.get("OTEL_TRACES_EXPORTER") {
            None => self.of_otlp("ENDPOINT").is_some(),
            Some("none") => false,
            Some(exporters) => {
                let exports = exporters.split(',').any(|exporter| exporter.trim() == "otlp");
                if !exports {
                    let message = "there is no such exporter; no spans are made";
                    self.warn("OTEL_TRACES_EXPORTER", message, "write otlp or none");
                }
                exports
            }
        }
    }

    fn speak_our_protocol(&self) -> bool {
        match self.of_otlp("PROTOCOL") {
            None | Some((_, "http/protobuf")) => true,
            Some((name, _)) => {
                let hint = "write http/protobuf, and the collector's port for it, which is usually 4318";
                self.warn(&name, "only http/protobuf is spoken; no spans are made", hint);
                false
            }
        }
    }

    fn endpoint(&self) -> Option<Endpoint> {
        let (name, text, path) = match self.of_otlp("ENDPOINT") {
            Some((name, text)) if name.contains("TRACES") => (name, text, ""),
            Some((name, text)) => (name, text.trim_end_matches('/'), TRACES_PATH),
            None => ("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), DEFAULT_COLLECTOR, TRACES_PATH),
        };
        let endpoint = Endpoint::read(&format!("{text}{path}"));
        if endpoint.is_none() {
            // The text may hold a password, so that it is not repeated.
            self.warn(&name, "this is no address of a collector; no spans are made", "write http://localhost:4318");
        }
        endpoint
    }

    fn headers(&self) -> HeaderMap {
        let Some((name, text)) = self.of_otlp("HEADERS") else { return HeaderMap::new() };
        let header = |pair: &str| {
            let (key, value) = pair.split_once('=')?;
            let mut value = HeaderValue::from_str(&decoded(value)?).ok()?;
            // They are keys of accounts, most of them.
            value.set_sensitive(true);
            Some((HeaderName::from_bytes(key.trim().as_bytes()).ok()?, value))
        };
        let pairs: Option<HeaderMap> = pairs(text).map(header).collect();
        if pairs.is_none() {
            self.warn(&name, "this is no list of headers; none is sent", "write name=value,name=value");
        }
        pairs.unwrap_or_default()
    }

    fn spans(&self) -> SpanSettings {
        let waiting_spans_max = self.number("OTEL_BSP_MAX_QUEUE_SIZE", 2_048, 1..=SPANS_MAX);
        let batch = self.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512, 1..=SPANS_MAX);
        SpanSettings { sampler: self.sampler(), waiting_spans_max, batch_spans_max: batch.min(waiting_spans_max) }
    }

    fn sampler(&self) -> Sampler {
        let name = self.get("OTEL_TRACES_SAMPLER").unwrap_or("parentbased_always_on");
        let (follows_parent, root) = match name.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, name),
        };
        let root = match root {
            "always_on" => Root::On,
            "always_off" => Root::Off,
            "traceidratio" => Root::Ratio(self.number("OTEL_TRACES_SAMPLER_ARG", 1.0, 0.0..=1.0)),
            _ => {
                let hint = "write always_on, always_off or traceidratio, with or without parentbased_ before it";
                self.warn("OTEL_TRACES_SAMPLER", "there is no such sampler; parentbased_always_on is used", hint);
                return Sampler { root: Root::On, follows_parent: true };
            }
        };
        Sampler { root, follows_parent }
    }

    fn resource(&self) -> Vec<(String, String)> {
        let mut resource: Vec<(String, String)> = [
            ("service.name", env!("CARGO_PKG_NAME")),
            ("service.version", env!("CARGO_PKG_VERSION")),
            ("telemetry.sdk.name", env!("CARGO_PKG_NAME")),
            ("telemetry.sdk.language", "rust"),
            ("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
        let mut set = |name: String, value: String| {
            resource.retain(|(known, _)| *known != name);
            resource.push((name, value));
        };
        if let Some(text) = self.get("OTEL_RESOURCE_ATTRIBUTES") {
            let attribute = |pair: &str| {
                let (name, value) = pair.split_once('=')?;
                Some((decoded(name).filter(|name| !name.is_empty())?, decoded(value)?))
            };
            match pairs(text).map(attribute).collect::<Option<Vec<_>>>() {
                Some(attributes) => attributes.into_iter().for_each(|(name, value)| set(name, value)),
                None => self.warn(
                    "OTEL_RESOURCE_ATTRIBUTES",
                    "this is no list of attributes; none is sent",
                    "write name=value,name=value",
                ),
            }
        }
        if let Some(name) = self.get("OTEL_SERVICE_NAME") {
            set("service.name".to_owned(), name.to_owned());
        }
        resource
    }

    fn warn_of_what_is_not_done(&self) {
        if let Some((name, compression)) = self.of_otlp("COMPRESSION")
            && compression != "none"
        {
            self.warn(&name, "spans are sent as they are", "");
        }
        if let Some(propagators) = self.get("OTEL_PROPAGATORS")
            && !propagators.split(',').any(|name| name.trim() == "tracecontext")
        {
            self.warn("OTEL_PROPAGATORS", "only tracecontext is spoken, and it is", "");
        }
    }

    fn millis(&self, names: &[&str], default: u64) -> Duration {
        let name = names.iter().find(|name| self.get(name).is_some()).unwrap_or(&names[0]);
        Duration::from_millis(self.number(name, default, 1..=MILLIS_MAX))
    }

    fn number<T: FromStr + PartialOrd + Display>(&self, name: &str, default: T, bounds: RangeInclusive<T>) -> T {
        let Some(text) = self.get(name) else { return default };
        match text.parse() {
            Ok(number) if bounds.contains(&number) => number,
            _ => {
                let message =
                    format!("wanted is a number from {} to {}; {default} is used", bounds.start(), bounds.end());
                self.warn(name, message, "");
                default
            }
        }
    }
}

impl Endpoint {
    fn read(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let authority = uri.authority()?;
        let address = shop_address(&format!("{}://{authority}", uri.scheme_str()?)).ok()?;
        let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        Some(Self { address, host: HeaderValue::from_str(authority.as_str()).ok()?, path })
    }
}

fn pairs(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|pair| !pair.is_empty())
}

fn decoded(text: &str) -> Option<String> {
    Some(percent_decode_str(text.trim()).decode_utf8().ok()?.into_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn told(variables: &[(&str, &str)]) -> (Option<Settings>, Vec<String>) {
        let reader = Reader::new(Path::new(""));
        let variables: Vec<_> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let settings = read(&variables, &reader);
        let findings = reader.finish("", "");
        assert!(findings.faults.is_empty());
        (settings, findings.warnings.iter().map(crate::config::Finding::in_one_line).collect())
    }

    fn good(variables: &[(&str, &str)]) -> Settings {
        let (settings, warnings) = told(variables);
        assert_eq!(warnings, Vec::<String>::new());
        settings.expect("traces")
    }

    const AT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");

    #[test]
    fn no_spans_are_made_unless_somebody_says_where_to() {
        let off: [&[_]; 6] = [
            &[],
            &[("OTEL_SERVICE_NAME", "shop")],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")],
            &[AT, ("OTEL_SDK_DISABLED", "TRUE")],
            &[AT, ("OTEL_TRACES_EXPORTER", "none")],
            &[("OTEL_TRACES_SAMPLER", "always_on")],
        ];
        for variables in off {
            assert_eq!(told(variables), (None, vec![]), "{variables:?}");
        }
    }

    #[test]
    fn the_collector_is_where_the_standard_says() {
        let at = |variables: &[(&str, &str)]| {
            let Settings { collector, host, path, .. } = good(variables);
            (collector, host.to_str().unwrap().to_owned(), path.to_string())
        };
        let http = |host: &str, port| Address::Http { host: host.to_owned(), port };
        let all = "OTEL_EXPORTER_OTLP_ENDPOINT";
        let traces = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
        assert_eq!(at(&[AT]), (http("collector", 4318), "collector:4318".into(), "/v1/traces".into()));
        let own = [AT, (traces, "https://[::1]/intake?key=1")];
        let address = Address::Https { host: "::1".to_owned(), port: 443 };
        assert_eq!(at(&own), (address, "[::1]".into(), "/intake?key=1".into()));
        assert_eq!(at(&[(all, "http://c/otlp")]), (http("c", 80), "c".into(), "/otlp/v1/traces".into()));
        assert_eq!(at(&[(traces, "http://c")]), (http("c", 80), "c".into(), "/".into()));
        let default = (http("localhost", 4318), "localhost:4318".into(), "/v1/traces".into());
        assert_eq!(at(&[("OTEL_TRACES_EXPORTER", "otlp")]), default);
    }

    #[test]
    fn times_sizes_and_samplers_are_read() {
        let settings = good(&[AT]);
        let sampler = Sampler { root: Root::On, follows_parent: true };
        assert_eq!(settings.spans, SpanSettings { sampler, waiting_spans_max: 2_048, batch_spans_max: 512 });
        let times = |settings: &Settings| {
            [settings.try_within, settings.batch_within, settings.batch_every].map(|time| time.as_millis())
        };
        assert_eq!(times(&settings), [10_000, 30_000, 5_000]);
        let settings = good(&[
            AT,
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "250"),
            ("OTEL_BSP_EXPORT_TIMEOUT", "500"),
            ("OTEL_BSP_SCHEDULE_DELAY", "100"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "64"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "100"),
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ]);
        let sampler = Sampler { root: Root::Ratio(0.25), follows_parent: false };
        assert_eq!(settings.spans, SpanSettings { sampler, waiting_spans_max: 64, batch_spans_max: 64 });
        assert_eq!(times(&settings), [250, 500, 100]);
    }

    #[test]
    fn headers_are_sent_and_never_printed() {
        let settings = good(&[AT, ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=geheim%20%3D, x-tenant = shop")]);
        assert_eq!(
            (settings.headers["api-key"].as_bytes(), &settings.headers["x-tenant"]),
            (&b"geheim ="[..], &HeaderValue::from_static("shop"))
        );
        assert!(!format!("{settings:?}").contains("geheim"));
    }

    #[test]
    fn the_service_has_a_name() {
        let named = |variables: &[(&str, &str)]| {
            let resource = good(variables).resource;
            let of = |name: &str| resource.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
            (of("service.name").unwrap(), of("deployment.environment.name"))
        };
        assert_eq!(named(&[AT]), ("kallback".into(), None));
        let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a,deployment.environment.name=f%C3%BCr%20uns");
        assert_eq!(named(&[AT, attributes]), ("a".into(), Some("für uns".into())));
        assert_eq!(named(&[attributes, AT, ("OTEL_SERVICE_NAME", "b")]).0, "b");
    }

    #[test]
    fn what_is_wrong_is_a_warning_that_repeats_no_value() {
        let wrong = [
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://user:geheim@collector"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "grpc://geheim"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "geheim"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://geheim:99999"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_TRACES_EXPORTER", "geheim"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "geheim"),
            ("OTEL_RESOURCE_ATTRIBUTES", "geheim"),
            ("OTEL_TRACES_SAMPLER", "geheim"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
            ("OTEL_BSP_SCHEDULE_DELAY", "5 s"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_PROPAGATORS", "b3"),
        ];
        for (number, variable) in wrong.into_iter().enumerate() {
            let (settings, warnings) = told(&[AT, variable]);
            assert_eq!((warnings.len(), settings.is_some()), (1, number >= 6), "{variable:?}");
            assert!(warnings[0].contains(variable.0) && !warnings[0].contains("geheim"), "{warnings:?}");
        }
    }
}
