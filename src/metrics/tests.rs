//! Every event against its metric, its log line and `docs/metrics.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use prometheus::proto::{LabelPair, Metric};

use super::*;
use crate::clock::{Clock, UnixMillis};
use crate::trace::{SpanId, TraceId};

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));
const FINGERPRINT: Fingerprint = Fingerprint([7; 32]);
const SECOND: Duration = Duration::from_secs(1);
const SPAN: Span = Span {
    trace: TraceId([7; 16]),
    id: SpanId([8; 8]),
    parent: None,
    parent_is_remote: false,
    sampled: true,
    random: true,
    method: "GET",
};

/// An error with a cause.
#[derive(Debug, Error)]
#[error("no room")]
struct NoRoom(#[source] io::Error);

const KIND: Kind = Kind::Push;

/// One event, what it must move, and the line it must write.
struct Row<'a> {
    event: Event<'a>,
    moves: &'a [&'a str],
    line: &'a str,
}

fn row<'a>(event: Event<'a>, moves: &'a [&'a str], line: &'a str) -> Row<'a> {
    Row { event, moves, line }
}

fn table(error: &NoRoom) -> Vec<Row<'_>> {
    callback_rows().into_iter().chain(delivery_rows()).chain(traffic_rows()).chain(process_rows(error)).collect()
}

#[rustfmt::skip]
fn callback_rows() -> Vec<Row<'static>> {
    let kind = KIND;
    let answered = |answered_by, status, took_ms| Event::CallbackAnswered {
        kind, route: "woocommerce push", answered_by, status, took: Duration::from_millis(took_ms),
        budget: SECOND, client: CLIENT, subject: Some("order-1"), fingerprint: Some(FINGERPRINT), span: None,
    };
    let checked = |result, observed| Event::TokenChecked { kind, result, observed, client: CLIENT };
    let repeated = |repeats| Event::UnacknowledgedPush { subject: Some("order-1"), repeats };
    vec![
        row(answered(AnsweredBy::Shop, 204, 1000),
            &[r#"callbacks_total{answered_by="shop",code_class="2xx",kind="push"} 1"#,
              r#"callback_duration_seconds_count{answered_by="shop",kind="push"} 1"#,
              r#"callback_budget_seconds{kind="push"} 1"#,
              r#"budget_kept_total{kind="push"} 1"#],
            r#"INFO callback answered {"kind":"push","route":"woocommerce push","answered_by":"shop","status":204,"took_ms":1000.0,"budget_ms":1000.0,"client":"192.0.2.7","subject":"order-1"}"#),
        row(answered(AnsweredBy::Shop, 502, 1001),
            &[r#"callbacks_total{answered_by="shop",code_class="5xx",kind="push"} 1"#,
              r#"callback_duration_seconds_count{answered_by="shop",kind="push"} 1"#,
              r#"callback_budget_seconds{kind="push"} 1"#,
              r#"budget_exceeded_total{kind="push"} 1"#],
            r#"INFO callback answered {"kind":"push","route":"woocommerce push","answered_by":"shop","status":502,"took_ms":1001.0,"budget_ms":1000.0,"client":"192.0.2.7","subject":"order-1"}"#),
        // Whoever is turned away counts neither as late nor as in time.
        row(answered(AnsweredBy::Refused, 403, 1001),
            &[r#"callbacks_total{answered_by="refused",code_class="4xx",kind="push"} 1"#,
              r#"callback_duration_seconds_count{answered_by="refused",kind="push"} 1"#],
            r#"INFO callback answered {"kind":"push","route":"woocommerce push","answered_by":"refused","status":403,"took_ms":1001.0,"budget_ms":1000.0,"client":"192.0.2.7","subject":"order-1"}"#),
        row(checked("valid", false),
            &[r#"token_checks_total{result="valid"} 1"#],
            r#"DEBUG token checked {"kind":"push","result":"valid","client":"192.0.2.7"}"#),
        row(checked("off", false),
            &[r#"token_checks_total{result="off"} 1"#],
            r#"DEBUG token checked {"kind":"push","result":"off","client":"192.0.2.7"}"#),
        row(checked("forged", false),
            &[r#"token_checks_total{result="forged"} 1"#],
            r#"WARN token refused {"kind":"push","result":"forged","client":"192.0.2.7"}"#),
        row(checked("missing", true),
            &[r#"token_checks_total{result="observed_missing"} 1"#],
            r#"WARN token would be refused {"kind":"push","result":"missing","client":"192.0.2.7"}"#),
        row(Event::Duplicate { kind, state: "in_flight", fingerprint: FINGERPRINT },
            &[r#"duplicates_total{kind="push",state="in_flight"} 1"#],
            r#"DEBUG duplicate callback {"kind":"push","state":"in_flight"}"#),
        row(repeated(1),
            &["unacknowledged_push_repeats_total 1"],
            r#"INFO push repeated {"subject":"order-1","repeats":1}"#),
        row(repeated(2),
            &["unacknowledged_push_repeats_total 1", "unacknowledged_orders_total 1"],
            r#"WARN the shop answers this push with 2xx but never acknowledges the order {"subject":"order-1","repeats":2}"#),
        row(repeated(3),
            &["unacknowledged_push_repeats_total 1"],
            r#"WARN the shop answers this push with 2xx but never acknowledges the order {"subject":"order-1","repeats":3}"#),
    ]
}

#[rustfmt::skip]
fn delivery_rows() -> Vec<Row<'static>> {
    let kind = KIND;
    let attempt = |outcome, attempt| Event::Attempt {
        kind, outcome, record: Some(17), attempt, status: Some(200), took: SECOND, note: "refused",
        fingerprint: FINGERPRINT, span: None,
    };
    let ended = |end| Event::Ended { kind, record: 17, end, note: "too old" };
    vec![
        row(Event::ReplayOrdered { kind, record: 17, fingerprint: FINGERPRINT }, &[],
            r#"INFO a person has it brought to the shop again {"kind":"push","record":17}"#),
        row(attempt("delivered", 1),
            &[r#"delivery_attempts_total{kind="push",outcome="delivered"} 1"#],
            r#"DEBUG delivered {"kind":"push","record":17,"took_ms":1000.0}"#),
        row(attempt("delivered", 2),
            &[r#"delivery_attempts_total{kind="push",outcome="delivered"} 1"#],
            r#"INFO delivered at a later attempt {"kind":"push","record":17,"attempt":2,"status":200,"took_ms":1000.0}"#),
        row(attempt("unreached", 1),
            &[r#"delivery_attempts_total{kind="push",outcome="unreached"} 1"#],
            r#"WARN attempt failed {"kind":"push","outcome":"unreached","record":17,"attempt":1,"status":200,"took_ms":1000.0,"note":"refused"}"#),
        row(Event::Blocked { by: "wordfence-waf", advice: "Allow it." },
            &[r#"blocked_total{by="wordfence-waf"} 1"#],
            r#"WARN the shop was not reached or failed {"by":"wordfence-waf","advice":"Allow it."}"#),
        row(Event::Suspicious { kind: Kind::Validation, warning: "No Location." },
            &[r#"suspicious_replies_total{kind="validation"} 1"#],
            r#"WARN suspicious reply of the shop {"kind":"validation","warning":"No Location."}"#),
        row(ended("dead"),
            &[r#"dead_total{kind="push"} 1"#],
            r#"ERROR notice given up; it is kept and can be replayed {"kind":"push","record":17,"note":"too old"}"#),
        row(ended("left"),
            &[r#"left_total{kind="push"} 1"#],
            r#"INFO left to the sender's own repeat {"kind":"push","record":17,"note":"too old"}"#),
    ]
}

#[rustfmt::skip]
fn traffic_rows() -> Vec<Row<'static>> {
    vec![
        row(Event::TrafficAnswered { method: "GET", status: 304, took: Duration::from_micros(1_230), client: CLIENT, span: None },
            &[r#"traffic_total{code_class="3xx"} 1"#],
            r#"DEBUG traffic answered {"method":"GET","status":304,"took_ms":1.2,"client":"192.0.2.7"}"#),
        row(Event::ShopReplied { class: ShopClass::Callback, took: SECOND },
            &[r#"shop_duration_seconds_count{class="callback"} 1"#],
            r#"DEBUG shop replied {"class":"callback","took_ms":1000.0}"#),
        row(Event::TrafficAnswered { method: "GET", status: 200, took: SECOND, client: CLIENT, span: Some(&SPAN) },
            &[r#"traffic_total{code_class="2xx"} 1"#],
            r#"DEBUG traffic answered {"method":"GET","status":200,"took_ms":1000.0,"client":"192.0.2.7","trace_id":"07070707070707070707070707070707"}"#),
        row(Event::ShopAsked { class: ShopClass::Traffic, status: Ok(200), took: SECOND, span: &SPAN },
            &[],
            r#"DEBUG asked the shop {"class":"traffic","status":200,"took_ms":1000.0,"trace_id":"07070707070707070707070707070707"}"#),
        row(Event::ShopAsked { class: ShopClass::Callback, status: Err("refused"), took: SECOND, span: &SPAN },
            &[],
            r#"DEBUG asked the shop {"class":"callback","error":"refused","took_ms":1000.0,"trace_id":"07070707070707070707070707070707"}"#),
        row(Event::SeatWaited { class: ShopClass::Traffic, took: SECOND },
            &[r#"seat_wait_seconds_count{class="traffic"} 1"#],
            r#"DEBUG waited for a seat {"class":"traffic","took_ms":1000.0}"#),
        row(Event::SeatsInUse { class: ShopClass::Traffic, seats: 5 },
            &[r#"seats_in_use{class="traffic"} 5"#],
            r#"DEBUG seats in use {"class":"traffic","seats":5}"#),
        row(Event::Handshake { result: "ok", took: SECOND },
            &[r#"tls_handshakes_total{result="ok"} 1"#, "tls_handshake_seconds_count 1"],
            r#"DEBUG TLS handshake {"result":"ok","took_ms":1000.0}"#),
        row(Event::Handshake { result: "timeout", took: SECOND },
            &[r#"tls_handshakes_total{result="timeout"} 1"#],
            r#"DEBUG TLS handshake {"result":"timeout","took_ms":1000.0}"#),
        row(Event::ConnectionRefused { why: "too_many", client: CLIENT },
            &[r#"connections_refused_total{why="too_many"} 1"#],
            r#"DEBUG connection refused {"why":"too_many","client":"192.0.2.7"}"#),
        row(Event::RequestRefused { why: "framing", client: CLIENT },
            &[r#"requests_refused_total{why="framing"} 1"#],
            r#"DEBUG request refused {"why":"framing","client":"192.0.2.7"}"#),
    ]
}

#[rustfmt::skip]
fn process_rows(error: &NoRoom) -> Vec<Row<'_>> {
    vec![
        row(Event::LedgerCommitted { took: SECOND },
            &["ledger_commit_seconds_count 1"],
            r#"DEBUG ledger committed {"took_ms":1000.0}"#),
        row(Event::LedgerFailed { call: "admit", error },
            &["ledger_failures_total 1"],
            r#"ERROR the ledger failed; callbacks are passed straight through and are not stored {"call":"admit","error":"no room: disk full"}"#),
        row(Event::Reloaded { what: "config", fault: Some(error) },
            &["config_last_reload_successful 0"],
            r#"ERROR cannot be used; the last good one stays {"what":"config","error":"no room: disk full"}"#),
        row(Event::Reloaded { what: "certificates", fault: Some(error) },
            &["certificates_last_reload_successful 0"],
            r#"ERROR cannot be used; the last good one stays {"what":"certificates","error":"no room: disk full"}"#),
        row(Event::Reloaded { what: "config", fault: None },
            &[],
            r#"INFO read again {"what":"config"}"#),
        row(Event::Certificate { name: "shop.example", not_after: 1_763_700_000 },
            &[r#"certificate_not_after_seconds{name="shop.example"} 1763700000"#],
            r#"INFO certificate in use {"name":"shop.example","not_after":"2025-11-21T04:40:00.000Z"}"#),
        row(Event::SpansLost { spans: 7, why: "nobody there" },
            &["spans_lost_total 7"],
            r#"WARN spans were lost {"spans":7,"why":"nobody there"}"#),
        row(Event::Life { what: "listening" }, &[], r#"INFO listening {}"#),
        row(Event::Warning { what: "for development only" }, &[], r#"WARN for development only {}"#),
    ]
}

/// A number for every variant: a new one does not compile until it is here, and `table` must have it then.
fn variant(event: &Event<'_>) -> usize {
    match event {
        Event::CallbackAnswered { .. } => 0,
        Event::TrafficAnswered { .. } => 1,
        Event::TokenChecked { .. } => 2,
        Event::Duplicate { .. } => 3,
        Event::Attempt { .. } => 4,
        Event::Blocked { .. } => 5,
        Event::Suspicious { .. } => 6,
        Event::UnacknowledgedPush { .. } => 7,
        Event::Ended { .. } => 8,
        Event::ShopReplied { .. } => 9,
        Event::SeatWaited { .. } => 10,
        Event::SeatsInUse { .. } => 11,
        Event::LedgerCommitted { .. } => 12,
        Event::LedgerFailed { .. } => 13,
        Event::Handshake { .. } => 14,
        Event::ConnectionRefused { .. } => 15,
        Event::RequestRefused { .. } => 16,
        Event::Reloaded { .. } => 17,
        Event::Certificate { .. } => 18,
        Event::Life { .. } => 19,
        Event::Warning { .. } => 20,
        Event::ReplayOrdered { .. } => 21,
        Event::ShopAsked { .. } => 22,
        Event::SpansLost { .. } => 23,
    }
}
const VARIANTS: usize = 24;

fn no_room() -> NoRoom {
    NoRoom(io::Error::other("disk full"))
}

/// Our series and their values, without the prefix; of a histogram only how often it was observed.
fn series(telemetry: &Telemetry) -> BTreeMap<String, f64> {
    let rendered = telemetry.render();
    let samples = rendered.lines().filter_map(|line| line.strip_prefix("kallback_"));
    let read = samples.map(|sample| {
        let (series, value) = sample.rsplit_once(' ').expect("a series and its value");
        (series.to_owned(), value.parse().expect("a number"))
    });
    read.filter(|(series, _): &(String, f64)| {
        let name = series.split('{').next().unwrap_or_default();
        !name.ends_with("_bucket") && !name.ends_with("_sum")
    })
    .collect()
}

#[test]
fn the_table_has_every_event() {
    let error = no_room();
    let there: BTreeSet<_> = table(&error).iter().map(|row| variant(&row.event)).collect();
    assert_eq!(there, (0..VARIANTS).collect());
}

#[test]
fn every_event_moves_its_metrics_and_no_others() {
    let error = no_room();
    for row in table(&error) {
        let telemetry = Telemetry::new().unwrap();
        let before = series(&telemetry);
        telemetry.emit(row.event);
        let moved: BTreeSet<_> = series(&telemetry)
            .into_iter()
            .filter(|(series, value)| before.get(series) != Some(value))
            .map(|(series, value)| format!("{series} {value}"))
            .collect();
        assert_eq!(moved, row.moves.iter().map(ToString::to_string).collect(), "{:?}", row.event);
    }
}

#[test]
fn no_two_combinations_of_labels_share_a_series() {
    let telemetry = Telemetry::new().unwrap();
    let (took, budget, subject) = (SECOND, SECOND, None);
    for kind in Kind::ALL {
        for answered_by in AnsweredBy::ALL {
            for status in [200, 300, 400, 500] {
                telemetry.emit(Event::CallbackAnswered {
                    kind,
                    route: "",
                    answered_by,
                    status,
                    took,
                    budget,
                    client: CLIENT,
                    subject,
                    fingerprint: None,
                    span: None,
                });
            }
        }
        for outcome in labels::ATTEMPT_OUTCOMES {
            telemetry.emit(Event::Attempt {
                kind,
                outcome,
                record: None,
                attempt: 1,
                status: None,
                took,
                note: "",
                fingerprint: FINGERPRINT,
                span: None,
            });
        }
    }
    let series = series(&telemetry);
    let values = |name: &str| -> Vec<f64> {
        series.iter().filter(|(series, _)| series.starts_with(name)).map(|(_, value)| *value).collect()
    };
    assert_eq!(values("callbacks_total{"), [1.0; 11 * 6 * 4]);
    assert_eq!(values("callback_duration_seconds_count{"), [4.0; 11 * 6]);
    assert_eq!(values("delivery_attempts_total{"), [1.0; 11 * 4]);
}

#[test]
fn every_event_writes_its_line_as_json() {
    let settings = LogSettings { format: LogFormat::Json, filter: "debug".to_owned() };
    let telemetry = Telemetry::new().unwrap();
    let error = no_room();
    for row in table(&error) {
        let logged = log::captured(&settings, Clock::system(), || telemetry.emit(row.event));
        let line: serde_json::Value = serde_json::from_str(&logged).expect("one line of JSON");
        let mut fields = line.as_object().expect("an object").clone();
        let mut take = |name| fields.remove(name).and_then(|value| value.as_str().map(str::to_owned)).expect(name);
        let ((level, message), (target, at)) = ((take("level"), take("message")), (take("target"), take("timestamp")));
        assert_eq!(target, "kallback");
        assert!(at.parse::<jiff::Timestamp>().is_ok() && at.ends_with('Z'), "{at}");
        let (head, body) = row.line.split_once('{').expect("fields");
        let wanted: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&format!("{{{body}")).unwrap();
        assert_eq!((format!("{level} {message} "), fields), (head.to_owned(), wanted));
    }
}

#[tokio::test]
async fn a_line_for_people_starts_with_its_time() {
    let settings = LogSettings { format: LogFormat::Text, filter: "info".to_owned() };
    let telemetry = Telemetry::new().unwrap();
    let clock = Clock::simulated(UnixMillis(1_763_700_000_000));
    let logged = log::captured(&settings, clock, || {
        telemetry.emit(Event::UnacknowledgedPush { subject: Some("a\nb\u{1b}[31m"), repeats: 1 });
        telemetry.emit(Event::LedgerCommitted { took: SECOND });
    });
    assert!(logged.starts_with("2025-11-21T04:40:00."), "{logged}");
    assert!(logged.ends_with("Z  INFO kallback: push repeated subject=\"a\\nb\\u{1b}[31m\" repeats=1\n"), "{logged}");
}

#[test]
fn an_id_of_a_megabyte_is_cut_off_in_the_log() {
    let settings = LogSettings { format: LogFormat::Json, filter: "info".to_owned() };
    let telemetry = Telemetry::new().unwrap();
    let long = "ö".repeat(500_000);
    let logged = log::captured(&settings, Clock::system(), || {
        telemetry.emit(Event::UnacknowledgedPush { subject: Some(&long), repeats: 1 });
    });
    assert!(logged.contains('ö') && logged.len() < 500, "{} bytes", logged.len());
}

#[test]
fn what_is_in_no_list_is_counted_as_other() {
    let telemetry = Telemetry::new().unwrap();
    telemetry.emit(Event::Blocked { by: "nobody knows", advice: "" });
    telemetry.emit(Event::Attempt {
        kind: Kind::Push,
        outcome: "odd",
        record: None,
        attempt: 1,
        status: None,
        took: SECOND,
        note: "",
        fingerprint: FINGERPRINT,
        span: None,
    });
    let series = series(&telemetry);
    assert_eq!(series.get(r#"blocked_total{by="other"}"#), Some(&1.0));
    assert_eq!(series.get(r#"delivery_attempts_total{kind="push",outcome="other"}"#), Some(&1.0));
}

#[test]
fn a_certificate_that_is_no_longer_served_is_forgotten() {
    let telemetry = Telemetry::new().unwrap();
    telemetry.emit(Event::Certificate { name: "old.example", not_after: 1 });
    telemetry.emit(Event::Reloaded { what: "certificates", fault: None });
    telemetry.emit(Event::Certificate { name: "new.example", not_after: 2 });
    let rendered = telemetry.render();
    assert!(!rendered.contains("old.example") && rendered.contains("new.example"));
}

#[test]
fn the_ledgers_counts_are_shown_as_they_are() {
    let telemetry = Telemetry::new().unwrap();
    telemetry.set_ledger_counts(&LedgerCounts {
        accepted: 15,
        pending: 1,
        settled: 2,
        dead: 4,
        left: 8,
        oldest_pending_age: Duration::from_millis(2_500),
    });
    let series = series(&telemetry);
    let shown =
        ["accepted", "pending", "settled", "dead", "left", "oldest_pending_age_seconds"].map(|name| series[name]);
    assert_eq!(shown, [15.0, 1.0, 2.0, 4.0, 8.0, 2.5]);
}

/// `name{labels in alphabetical order} type`, as the handbook's tables say it.
fn documented() -> BTreeSet<String> {
    let rows = include_str!("../../docs/metrics.md").lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let (signature, rest) = row.split_once('`').expect("a closing mark");
        let metric_type = rest.split('|').nth(1).expect("a second column").trim();
        let (name, labels) = signature.split_once('{').unwrap_or((signature, "}"));
        let labels: BTreeSet<_> = labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty()).collect();
        format!("{name}{labels:?} {metric_type}")
    })
    .collect()
}

#[test]
fn the_handbook_lists_exactly_the_metrics_there_are() {
    let telemetry = Telemetry::new().unwrap();
    let error = no_room();
    table(&error).iter().for_each(|row| telemetry.emit(row.event));
    let there: BTreeSet<_> = telemetry
        .0
        .registry
        .gather()
        .iter()
        .map(|family| {
            let labels: BTreeSet<_> =
                family.get_metric().iter().flat_map(Metric::get_label).map(LabelPair::name).collect();
            format!("{}{labels:?} {}", family.name(), format!("{:?}", family.get_field_type()).to_lowercase())
        })
        .collect();
    assert_eq!(documented(), there);
}

#[test]
fn rules_and_dashboard_speak_of_metrics_that_exist() {
    let documented = documented();
    let rules = include_str!("../../deploy/prometheus/rules.yml");
    let recorded: BTreeSet<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- record: ")).collect();
    let is = |name: &str, sort: &str| {
        let row =
            |row: &String| row.strip_prefix(name).is_some_and(|rest| rest.starts_with('{') && rest.ends_with(sort));
        documented.iter().any(row)
    };
    let exists = |name: &str| {
        let of_histogram = ["_bucket", "_sum", "_count"].iter().filter_map(|end| name.strip_suffix(end));
        recorded.contains(name) || is(name, "") || of_histogram.into_iter().any(|name| is(name, " histogram"))
    };
    let alarms = include_str!("../../deploy/prometheus/alerts.yml");
    let dashboard: serde_json::Value =
        serde_json::from_str(include_str!("../../deploy/grafana/kallback.json")).expect("a dashboard");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().expect("targets"));
    let queries: String = targets.map(|target| format!("{}\n", target["expr"].as_str().expect("a query"))).collect();
    for text in [rules, alarms, &queries] {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
        let words = words.map(|word| word.trim_matches(':'));
        let unknown: BTreeSet<_> = words.filter(|word| word.contains("kallback_") && !exists(word)).collect();
        assert_eq!(unknown, BTreeSet::new());
    }
}
