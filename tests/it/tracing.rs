//! Traces: taken from the caller, passed on to the shop, and exported to a collector; off unless asked for.

use kallback::export::LAST_BATCHES_WITHIN;

use crate::delivery::postponed;
use crate::support::authority::Authority;
use crate::support::callbacks::{Callback, Purchase};
use crate::support::collector::{Collector, Got, read};
use crate::support::gate::Gate;
use crate::support::klarna::Klarna;
use crate::support::process::Process;
use crate::support::script::Act;
use crate::support::shop::{Seen, Shop};
use crate::support::site::Site;
use crate::support::wire::Lines;
use crate::support::world::{World, WorldBuilder};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// The caller's own word, with these flags.
fn from_caller(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

/// A world whose spans go to a collector.
async fn traced(more: &[(&str, &str)]) -> (World, Collector) {
    let collector = Collector::start().await;
    let world = tracing_to(&collector, more).start().await;
    (world, collector)
}

fn tracing_to(collector: &Collector, more: &[(&str, &str)]) -> WorldBuilder {
    let traces = collector.settings(more);
    World::builder().with_settings(|settings| settings.traces = Some(traces))
}

fn trusting(world: WorldBuilder) -> WorldBuilder {
    world.with_settings(|settings| settings.forward.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()])
}

async fn answered(klarna: &Klarna, callback: &Callback) -> u16 {
    klarna.call(callback).await.unwrap().status
}

/// One of everything: a notice, a question, a page.
fn one_of_each(world: &World) -> [Callback; 3] {
    let purchase = Purchase::new();
    let signed = |callback: Callback| world.signed(callback, &purchase);
    [signed(Callback::authorization(&purchase)), signed(Callback::validation(&purchase)), Callback::page("/shop?a=b")]
}

fn traceparent(seen: &Seen) -> &str {
    seen.header("traceparent").unwrap_or_else(|| panic!("one traceparent for {}", seen.target))
}

fn the_server(spans: &[Got]) -> Got {
    spans.iter().find(|span| span.is_server).expect("the answer's span").clone()
}

fn clients(spans: &[Got]) -> Vec<Got> {
    spans.iter().filter(|span| !span.is_server).cloned().collect()
}

#[tokio::test]
async fn a_callers_trace_goes_on_through_kallback_to_the_shop() {
    let (world, collector) = traced(&[]).await;
    for klarna in [world.somebody(), world.somebody().over_http2(&world.authority)] {
        for request in one_of_each(&world) {
            let before = world.shop.requests().len();
            let request = request.with_header("traceparent", &from_caller("01"));
            let request = request.with_header("tracestate", "rojo=00f067aa0ba902b7, congo=t61rcWkgMzE");
            assert_eq!(answered(&klarna, &request).await, 200);
            let seen = world.shop.requests().remove(before);

            let spans = collector.wait_for(2 * (before + 1), |_| true).await.split_off(2 * before);
            let (server, client) = (the_server(&spans), clients(&spans).remove(0));
            assert_eq!((server.trace.as_str(), server.parent.as_str()), (TRACE, CALLER));
            assert_eq!((client.trace.as_str(), &client.parent), (TRACE, &server.id));
            assert_eq!(traceparent(&seen), client.traceparent());
            assert_eq!(seen.header("tracestate"), Some("rojo=00f067aa0ba902b7, congo=t61rcWkgMzE"));
            assert!(server.start <= client.start && client.end <= server.end, "{spans:#?}");
            // The caller is somewhere else, and who asked the shop is not.
            assert_eq!((server.flags, client.flags), (0x301, 0x101));
        }
    }
}

#[tokio::test]
async fn without_a_trace_or_with_one_that_cannot_be_read_a_new_one_begins() {
    let (world, collector) = traced(&[]).await;
    let zeros = format!("00-{}-{CALLER}-01", "0".repeat(32));
    let wrong =
        ["", "00", "ff-", &from_caller("1"), &from_caller("01").to_uppercase(), &zeros, "ä", &"0".repeat(9_000)];
    let page = Callback::page("/shop").with_header("tracestate", "of=another");
    let twice =
        page.clone().with_header("traceparent", &from_caller("01")).with_header("traceparent", &from_caller("01"));
    let requests =
        wrong.iter().map(|wrong| page.clone().with_header("traceparent", wrong)).chain([page.clone(), twice]);
    let mut traces = Vec::new();
    for (number, request) in requests.enumerate() {
        assert_eq!(answered(&world.somebody(), &request).await, 200);
        let seen = world.shop.requests().pop().unwrap();
        assert_eq!(seen.header_values("tracestate"), Vec::<&[u8]>::new());
        let spans = collector.wait_for(2 * (number + 1), |_| true).await.split_off(2 * number);
        assert_eq!((the_server(&spans).parent.as_str(), traceparent(&seen)), ("", &*clients(&spans)[0].traceparent()));
        traces.push(spans[0].trace.clone());
    }
    traces.sort();
    traces.dedup();
    assert_eq!(traces.len(), wrong.len() + 2);
    assert!(!traces.iter().any(|trace| trace == TRACE));
}

#[tokio::test]
async fn a_bad_tracestate_goes_and_the_trace_stays() {
    let (world, _collector) = traced(&[]).await;
    let page = Callback::page("/").with_header("traceparent", &from_caller("01"));
    let many = vec!["a=1"; 33].join(",");
    for bad in ["=", &many] {
        assert_eq!(answered(&world.somebody(), &page.clone().with_header("tracestate", bad)).await, 200);
        let seen = world.shop.requests().pop().unwrap();
        assert_eq!((seen.header("tracestate"), &traceparent(&seen)[3..35]), (None, TRACE));
    }
    let lines = page.with_header("tracestate", "a=1").with_header("tracestate", "b=2");
    assert_eq!(answered(&world.somebody(), &lines).await, 200);
    assert_eq!(world.shop.requests().pop().unwrap().header_values("tracestate"), [b"a=1", b"b=2"]);
}

#[tokio::test]
async fn spans_say_what_happened_in_the_standards_words() {
    let (world, collector) = traced(&[("OTEL_SERVICE_NAME", "front"), ("OTEL_RESOURCE_ATTRIBUTES", "team=shop")]).await;
    for request in one_of_each(&world) {
        assert_eq!(answered(&world.somebody(), &request).await, 200);
    }
    let spans = collector.wait_for(6, |_| true).await;
    let told = |name: &str, is_server: bool| {
        let is_it = |span: &&Got| span.name == name && span.is_server == is_server;
        let span = spans.iter().find(is_it).unwrap_or_else(|| panic!("no {name}: {spans:#?}"));
        assert!(!span.failed);
        let pairs = span.attributes.iter().filter(|(name, _)| *name != "kallback.record");
        pairs.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    };
    let (http, of_server) = ("http.request.method", "http.response.status_code=200 ");
    assert_eq!(
        told("authorization", true),
        format!(
            "{http}=POST {of_server}kallback.answered_by=shop kallback.kind=authorization \
             kallback.route=woocommerce authorization KP_WC_AUTHORIZATION url.scheme=https"
        )
    );
    assert_eq!(
        told("authorization", false),
        format!(
            "{http}=POST {of_server}kallback.attempt=1 kallback.kind=authorization kallback.outcome=delivered \
             kallback.redelivery=false peer.service=shop"
        )
    );
    assert_eq!(told("POST", false), format!("{http}=POST {of_server}kallback.class=callback peer.service=shop"));
    assert_eq!(told("GET", true), format!("{http}=GET {of_server}url.scheme=https"));
    assert_eq!(told("GET", false), format!("{http}=GET {of_server}kallback.class=traffic peer.service=shop"));

    let request = collector.server.requests().remove(0);
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/v1/traces"));
    assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
    let process = read(&request.body).0;
    assert_eq!((&*process["service.name"], &*process["team"]), ("front", "shop"));
}

#[tokio::test]
async fn each_attempt_has_a_span_of_its_own_below_the_call_that_brought_the_notice() {
    let (mut world, collector) = traced(&[]).await;
    world.shop.next_for("wc-api", Act::reply(500));
    let purchase = Purchase::new();
    let callback = world.signed(Callback::authorization(&purchase), &purchase);
    let callback = callback.with_header("traceparent", &from_caller("01"));
    assert_eq!(answered(&world.somebody(), &callback).await, 204);
    let spans = collector.wait_for(3, |_| true).await;
    let seen = world.shop.wait_for_requests(2).await;
    let (server, attempts) = (the_server(&spans), clients(&spans));
    assert_eq!(server.says("kallback.answered_by"), "accepted");
    for (attempt, seen) in attempts.iter().zip(&seen) {
        assert_eq!((attempt.trace.as_str(), &attempt.parent), (TRACE, &server.id));
        assert_eq!(traceparent(seen), attempt.traceparent());
    }
    assert_ne!(attempts[0].id, attempts[1].id);
    let told = |attempt: &Got| {
        ["kallback.attempt", "kallback.redelivery", "kallback.outcome", "error.type"]
            .map(|name| attempt.says(name).to_owned())
    };
    assert_eq!((told(&attempts[0]), attempts[0].failed), (["1", "false", "failed", "failed"].map(str::to_owned), true));
    assert_eq!((told(&attempts[1]), attempts[1].failed), (["2", "true", "delivered", ""].map(str::to_owned), false));

    // Another process finds the trace in the ledger.
    world.shop.go_down().await;
    let purchase = Purchase::new();
    let callback = world.signed(Callback::authorization(&purchase), &purchase);
    assert_eq!(answered(&world.somebody(), &callback).await, 204);
    postponed(&world.operator(), 2, 1).await;
    world.stop_gateway().await;
    let first = the_server(&collector.wait_for(1, |span| span.is_server && span.trace != TRACE).await);
    world.shop.come_back().await;
    world.start_gateway_again().await;
    let is_later = |span: &Got| span.trace == first.trace && span.says("kallback.outcome") == "delivered";
    let later = collector.wait_for(1, is_later).await.remove(0);
    assert_eq!((&later.parent, later.says("kallback.redelivery")), (&first.id, "true"));
    assert_eq!(traceparent(&world.shop.wait_for_requests(3).await[2]), later.traceparent());
}

#[tokio::test]
async fn what_goes_wrong_is_a_failed_span() {
    let (mut world, collector) = traced(&[]).await;
    for status in [404, 503] {
        world.shop.next(Act::reply(status));
        assert_eq!(answered(&world.somebody(), &Callback::page("/")).await, status);
    }
    world.shop.go_down().await;
    assert_eq!(answered(&world.somebody(), &Callback::page("/")).await, 502);
    let refused = Callback::authorization(&Purchase::new());
    assert_eq!(answered(&world.somebody(), &refused).await, 403);
    let spans = collector.wait_for(7, |_| true).await;
    let of = |is_server: bool, status: &str| {
        let is_it = |span: &&Got| span.is_server == is_server && span.says("http.response.status_code") == status;
        spans.iter().find(is_it).unwrap_or_else(|| panic!("no {status}: {spans:#?}"))
    };
    assert_eq!([of(true, "404"), of(false, "404")].map(|span| span.failed), [false, true]);
    assert_eq!([of(true, "503"), of(false, "503")].map(|span| span.failed), [true, true]);
    assert_eq!((of(true, "502").failed, of(false, "").says("error.type")), (true, "refused"));
    assert_eq!((of(true, "403").says("kallback.answered_by"), of(true, "403").failed), ("refused", false));
}

/// Whom to believe: `docs/tracing.md`.
#[tokio::test]
async fn only_a_trusted_proxy_decides_about_sampling() {
    let collector = Collector::start().await;
    let never = [("OTEL_TRACES_SAMPLER", "parentbased_always_off")];
    let (strange, trusting) = (tracing_to(&collector, &never), trusting(tracing_to(&collector, &never)));
    for (world, flags) in [(strange.start().await, "00"), (trusting.start().await, "01")] {
        for request in one_of_each(&world) {
            let request = request.with_header("traceparent", &from_caller("01"));
            assert_eq!(answered(&world.somebody(), &request).await, 200);
            let seen = world.shop.requests().pop().unwrap();
            // What is not exported is passed on all the same.
            assert_eq!((&traceparent(&seen)[3..35], &traceparent(&seen)[53..]), (TRACE, flags));
        }
    }
    collector.wait_for(6, |_| true).await;
}

#[tokio::test]
async fn a_ratio_of_traces_is_exported_whole_or_not_at_all() {
    let ratio = [("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0.5")];
    let (mut world, collector) = traced(&ratio).await;
    // The caller's trace id decides nothing: one that would always be in the share is in it half the time.
    let always = format!("00-{}01-{CALLER}-01", "0".repeat(30));
    let page = Callback::page("/").with_header("traceparent", &always);
    for _ in 0..40 {
        assert_eq!(answered(&world.somebody(), &page).await, 200);
    }
    let told = world.shop.requests();
    let sampled: Vec<_> = told.iter().map(traceparent).filter(|told| told.ends_with("-01")).collect();
    // All of one kind would be once in a million millions.
    assert!((1..40).contains(&sampled.len()), "{} of 40", sampled.len());
    world.stop_gateway().await;
    let spans = collector.spans();
    assert_eq!(spans.len(), 2 * sampled.len());
    assert!(clients(&spans).iter().all(|span| sampled.contains(&&*span.traceparent())));
}

/// Where nobody asked for traces, these two headers are like any other.
#[tokio::test]
async fn unless_asked_for_nothing_is_made_and_nobody_is_called() {
    let (site, collector) = (Site::new().await, Collector::start().await);
    for disabled in [false, true] {
        let mut command = site.command(&[]);
        if disabled {
            command.envs(collector.variables()).env("OTEL_SDK_DISABLED", "true");
        }
        let process = Process::start(command).await;
        let purchase = Purchase::new();
        for request in [Callback::page("/a"), site.authorization(&purchase)] {
            let lines: Lines = [("traceparent", "Not-One"), ("tracestate", " ,=")]
                .map(|(name, value)| (name.to_owned(), value.trim().as_bytes().to_vec()))
                .to_vec();
            let twice = request.with_header("traceparent", "Not-One").with_header("tracestate", ",=");
            assert_eq!(answered(&site.somebody(&process), &twice).await, 200);
            let seen = site.shop.requests().pop().unwrap();
            let passed: Lines = seen.headers.into_iter().filter(|(name, _)| name.starts_with("trace")).collect();
            assert_eq!(passed, lines);
        }
        assert_eq!(answered(&site.somebody(&process), &Callback::page("/b")).await, 200);
        assert_eq!(site.shop.requests().pop().unwrap().header("traceparent"), None);
        let log = process.last_words().await;
        assert!(!log.contains("trace_id"), "{log}");
    }
    assert_eq!(collector.server.connections(), 0);
}

#[tokio::test]
async fn log_lines_name_their_trace() {
    let (site, collector) = (Site::new().await, Collector::start().await);
    let mut command = site.command(&["log.format=json", "log.filter=debug"]);
    command.envs(collector.variables());
    let process = Process::start(command).await;
    let purchase = Purchase::new();
    for request in [Callback::page("/a"), site.authorization(&purchase)] {
        let request = request.with_header("traceparent", &from_caller("00"));
        assert_eq!(answered(&site.somebody(&process), &request).await, 200);
    }
    let log = process.last_words().await;
    for line in ["callback answered", "traffic answered", "\"delivered\"", "asked the shop"] {
        let said = log.lines().find(|said| said.contains(line)).unwrap_or_else(|| panic!("no {line}: {log}"));
        let said: serde_json::Value = serde_json::from_str(said).unwrap();
        assert_eq!(said["trace_id"], TRACE, "{said}");
    }
    assert_eq!(collector.spans().len(), 4);
}

#[tokio::test]
async fn what_waits_is_brought_before_the_process_ends() {
    let (mut world, collector) = traced(&[("OTEL_BSP_SCHEDULE_DELAY", "3600000")]).await;
    for _ in 0..3 {
        assert_eq!(answered(&world.somebody(), &Callback::page("/")).await, 200);
    }
    assert_eq!(collector.server.connections(), 0);
    world.stop_gateway().await;
    assert_eq!(collector.spans().len(), 6);
}

#[tokio::test]
async fn a_whole_batch_does_not_wait_for_its_time() {
    let sizes = [("OTEL_BSP_SCHEDULE_DELAY", "3600000"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")];
    let (world, collector) = traced(&sizes).await;
    for _ in 0..5 {
        assert_eq!(answered(&world.somebody(), &Callback::page("/")).await, 200);
    }
    collector.wait_for(8, |_| true).await;
    assert_eq!(collector.server.requests().len(), 2);
}

#[tokio::test]
async fn a_collector_that_is_busy_is_asked_again() {
    let (world, collector) = traced(&[]).await;
    collector.server.next(Act::reply(503).header("retry-after", "0"));
    assert_eq!(answered(&world.somebody(), &Callback::page("/")).await, 200);
    let requests = collector.server.wait_for_requests(2).await;
    assert_eq!(requests[0].body, requests[1].body);
    assert_eq!(world.metric("kallback_spans_lost_total"), 0);
}

/// Nobody there, nobody who answers, somebody who refuses: it is said once, and callbacks are answered as ever.
#[tokio::test]
async fn a_collector_that_fails_costs_spans_and_nothing_else() {
    let site = Site::new().await;
    let mut gone = Collector::start().await;
    gone.server.go_down().await;
    let (silent, refuses) = (Collector::start().await, Collector::start().await);
    silent.server.always(Act::hang());
    refuses.server.always(Act::reply(401));
    for (collector, why) in [(gone, "cannot be reached"), (silent, "did not answer within"), (refuses, "answered 401")]
    {
        let mut command = site.command(&[]);
        command.envs(collector.variables());
        command.envs([("OTEL_EXPORTER_OTLP_TIMEOUT", "50"), ("OTEL_BSP_EXPORT_TIMEOUT", "100")]);
        let mut process = Process::start(command).await;
        for _ in 0..20 {
            let purchase = Purchase::new();
            assert_eq!(answered(&site.somebody(&process), &site.authorization(&purchase)).await, 200);
        }
        let line = process.says("spans were lost").await;
        assert!(line.contains(why), "{line}");
        for _ in 0..5 {
            let purchase = Purchase::new();
            assert_eq!(answered(&site.somebody(&process), &site.authorization(&purchase)).await, 200);
        }
        let log = process.last_words().await;
        // Once, and for the rest at the end.
        assert_eq!(log.matches("spans were lost").count(), 2, "{log}");
        let lost: u64 =
            log.split(" spans=").skip(1).map(|rest| rest.split(' ').next().unwrap().parse::<u64>().unwrap()).sum();
        assert_eq!(lost, 50, "{log}");
    }
}

#[tokio::test]
async fn what_finds_no_room_is_lost_and_the_end_waits_only_so_long() {
    let sizes = [("OTEL_BSP_MAX_QUEUE_SIZE", "10"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "3600000")];
    let (mut world, collector) = traced(&sizes).await;
    let gate = Gate::closed();
    collector.server.always(Act::reply(200).once_open(&gate));
    assert_eq!(answered(&world.somebody(), &Callback::page("/")).await, 200);
    collector.server.wait_for_requests(1).await;
    for _ in 0..10 {
        assert_eq!(answered(&world.somebody(), &Callback::page("/")).await, 200);
    }
    let telemetry = world.telemetry().clone();
    let began = world.clock.instant();
    world.stop_gateway().await;
    let took = world.clock.instant() - began;
    assert!((LAST_BATCHES_WITHIN..LAST_BATCHES_WITHIN * 3).contains(&took), "{took:?}");
    let lost = telemetry.render().lines().any(|line| line == "kallback_spans_lost_total 22");
    assert!(lost, "{}", telemetry.render());
    gate.open();
}

#[tokio::test]
async fn spans_travel_by_tls_to_whom_the_authority_vouches_for_and_with_the_account() {
    let (site, authority) = (Site::new().await, Authority::new());
    let collector = Collector { server: Shop::over_tls(&authority, "localhost").await };
    let port = collector.server.tcp().port();
    let (told, other) = (site.path("collector.pem"), site.path("other.pem"));
    std::fs::copy(authority.write(site.folder()), &told).unwrap();
    std::fs::copy(Authority::new().write(site.folder()), &other).unwrap();
    for (trusted, arrives) in [(&told, true), (&other, false)] {
        let mut command = site.command(&[]);
        command.env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", format!("https://localhost:{port}/intake"));
        command.env("OTEL_EXPORTER_OTLP_CERTIFICATE", trusted);
        command.env("OTEL_EXPORTER_OTLP_HEADERS", "api-key=sesame%20open");
        let process = Process::start(command).await;
        assert_eq!(answered(&site.somebody(&process), &Callback::page("/")).await, 200);
        let log = process.last_words().await;
        assert_eq!(log.contains("spans were lost"), !arrives, "{log}");
        assert!(!log.contains("sesame"), "{log}");
    }
    let request = collector.server.request();
    assert_eq!((request.target.as_str(), request.header("api-key")), ("/intake", Some("sesame open")));
    assert_eq!(request.header("host"), Some(&*format!("localhost:{port}")));
    assert_eq!(collector.spans().len(), 2);
}

#[tokio::test]
async fn what_is_wrong_with_the_variables_is_said_and_the_gateway_runs() {
    let site = Site::new().await;
    let mut command = site.command(&[]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:sesame@collector").env("OTEL_TRACES_SAMPLER", "sometimes");
    let process = Process::start(command).await;
    assert_eq!(answered(&site.somebody(&process), &Callback::page("/")).await, 200);
    let log = process.last_words().await;
    assert!(log.contains("OTEL_EXPORTER_OTLP_ENDPOINT") && !log.contains("sesame"), "{log}");

    let mut command = site.command(&[]);
    command
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "https://localhost")
        .env("OTEL_EXPORTER_OTLP_CERTIFICATE", site.path("nowhere.pem"));
    let mut process = Process::start(command).await;
    assert!(process.has_said("no spans are made"));
    assert_eq!(answered(&site.somebody(&process), &Callback::page("/")).await, 200);
    process.terminate();
    assert_eq!(process.ended().await.code(), Some(0));
}
