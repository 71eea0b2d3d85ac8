//! What each option alone cannot tell: options that contradict each other across sections.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::app::Settings;
use crate::config::readable::Readable;
use crate::config::section::Section;
use crate::config::sections::{patched, policy_of};
use crate::event::{Class, Kind, Policy, Redelivery};
use crate::recognise::{self, Recogniser};
use crate::upstream::Address;

/// Notes all contradictions.
pub(super) fn check(root: &Section<'_>, settings: &Settings) {
    check_addresses(root, settings);
    check_shop_is_another(root, settings);
    check_connections(root, settings);
    let policies = notice_policies(settings);
    check_answer_times(root, settings, &policies);
    check_retention(root, settings, &policies);
    warn_of_harmful_redelivery(root, settings);
}

/// Every address that kallback listens on, with its option.
fn listeners(settings: &Settings) -> Vec<(&'static str, SocketAddr)> {
    let server = &settings.server;
    let front = server.listen.iter().map(|address| ("server.listen", *address));
    let redirect = server.redirect_from.iter().map(|address| ("server.redirect_from", *address));
    let admin = settings.admin.listen.iter().map(|address| ("admin.listen", *address));
    front.chain(redirect).chain(admin).collect()
}

fn check_addresses(root: &Section<'_>, settings: &Settings) {
    let listeners = listeners(settings);
    for (at, (option, address)) in listeners.iter().enumerate() {
        let Some((earlier_option, earlier)) = listeners[..at].iter().find(|(_, earlier)| clash(*earlier, *address))
        else {
            continue;
        };
        let message = format!("{address} is taken: {earlier_option} listens on {earlier}");
        root.fault(option, message, "give each listener a port of its own");
    }
}

/// Whether two listeners cannot both have their address. Port 0 is any free port.
fn clash(one: SocketAddr, other: SocketAddr) -> bool {
    let (ip, other_ip) = (one.ip(), other.ip());
    let same_family = ip.is_ipv4() == other_ip.is_ipv4();
    let overlap = ip == other_ip || (same_family && (ip.is_unspecified() || other_ip.is_unspecified()));
    one.port() == other.port() && one.port() != 0 && overlap
}

fn check_shop_is_another(root: &Section<'_>, settings: &Settings) {
    let (Address::Http { host, port } | Address::Https { host, port }) = &settings.upstream.address else { return };
    let host = if host == "localhost" { "127.0.0.1" } else { host };
    let Ok(ip) = host.parse::<IpAddr>() else { return };
    let itself = |listener: &SocketAddr| {
        let same_host = listener.ip() == ip || (listener.ip().is_unspecified() && ip.is_loopback());
        listener.port() == *port && same_host
    };
    if let Some((option, _)) = listeners(settings).iter().find(|(_, address)| itself(address)) {
        let message = format!("this is kallback itself ({option}): every request would go round in circles");
        root.fault("shop.url", message, "give the shop another port");
    }
}

fn check_connections(root: &Section<'_>, settings: &Settings) {
    let (one, all) = (settings.server.connections_per_address_max, settings.server.connections_max);
    if one > all {
        let names = ["server.connections_max", "server.connections_per_address_max"];
        let name = if root.is_set(names[1]) { names[1] } else { names[0] };
        let message = format!("one address may open {one} connections, but there are only {all} in all");
        root.fault(name, message, "`connections_per_address_max` must not be more than `connections_max`");
    }
}

/// The rules that hold for notices: of every kind, of every preset's override and of every own route.
fn notice_policies(settings: &Settings) -> Vec<(String, Policy)> {
    let recognise = &settings.recognise;
    let is_notice = |kind: &Kind| kind.class() == Class::Notice;
    let kinds = Kind::ALL.into_iter().filter(is_notice);
    let by_kind = kinds.map(|kind| (kind.to_string(), policy_of(kind, &recognise.overrides)));
    let by_preset = recognise.overrides.iter().filter_map(|one| {
        let (kind, preset) = (one.kind.filter(is_notice)?, one.preset.as_ref()?);
        Some((format!("{kind} of {preset}"), patched(policy_of(kind, &recognise.overrides), &one.policy)))
    });
    let own = recognise.routes.iter().filter(|one| is_notice(&one.route.kind));
    let by_route = own.map(|one| (format!("route {}", one.route.name), one.route.policy));
    by_kind.chain(by_preset).chain(by_route).collect()
}

fn check_answer_times(root: &Section<'_>, settings: &Settings, policies: &[(String, Policy)]) {
    let admit_within = settings.ledger.admit_within;
    if let Some((who, policy)) = policies.iter().min_by_key(|(_, policy)| policy.answer_within)
        && admit_within >= policy.answer_within
    {
        let message = format!("{who} is answered after {}: no time is left for the shop", policy.answer_within.show());
        root.fault("ledger.admit_within", message, "well below every `answer_within`; \"500 ms\" is usual");
    }
    let attempt = settings.delivery.attempt_timeout;
    if let Some((who, policy)) = policies.iter().max_by_key(|(_, policy)| policy.answer_within)
        && attempt <= policy.answer_within
    {
        let message = format!("{who} waits {} for the shop, longer than an attempt lasts", policy.answer_within.show());
        root.fault("delivery.attempt_timeout", message, "well above every `answer_within`; \"60 s\" is usual");
    }
}

fn check_retention(root: &Section<'_>, settings: &Settings, policies: &[(String, Policy)]) {
    let keep = settings.ledger.retention.keep_records_for;
    let needed =
        |policy: &Policy| -> Duration { policy.replay_for.max(policy.replay_acknowledged_for).max(policy.oldest) };
    if let Some((who, policy)) = policies.iter().max_by_key(|(_, policy)| needed(policy))
        && keep < needed(policy)
    {
        let message = format!("records go after {}, but {who} is looked up for {}", keep.show(), needed(policy).show());
        root.fault("ledger.keep_records_for", message, &format!("at least {}", needed(policy).show()));
    }
}

/// Some presets forbid redelivery because a second call does harm; an override for the whole kind lifts that too.
fn warn_of_harmful_redelivery(root: &Section<'_>, settings: &Settings) {
    let as_preset = recognise::Settings { presets: settings.recognise.presets.clone(), ..Default::default() };
    // An unknown preset is a fault already.
    let Ok(recogniser) = Recogniser::new(&as_preset) else { return };
    let overridden = |kind: Kind| {
        let own = settings.recognise.overrides.iter().filter(|one| one.preset.is_none() && one.kind == Some(kind));
        own.filter_map(|one| one.policy.redelivery).any(|redelivery| redelivery != Redelivery::Never)
    };
    for route in recogniser.routes() {
        let harmful = route.kind.class() == Class::Notice && route.policy.redelivery == Redelivery::Never;
        if harmful && overridden(route.kind) {
            let message = format!("a second call does harm at `{}`, and this allows it", route.name);
            let option = format!("callbacks.kinds.{}.redelivery", route.kind);
            root.warn(&option, message, "override it for single presets: [callbacks.override.<preset>.<kind>]");
        }
    }
}
