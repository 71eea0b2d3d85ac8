//! Is the name found, and does somebody listen at each of its addresses?

use std::net::{IpAddr, SocketAddr};

use super::Finding;
use super::calls::{Facts, seen};
use crate::probe::{Origin, Step};

const CHECK: &str = "name";

/// Judges the look-up.
pub(super) fn check(public: &Origin, facts: &Facts) -> Vec<Finding> {
    if public.address().is_some() {
        let advice = "give the shop a name: certificates are for names";
        return vec![Finding::warning(CHECK, format!("{} is an address", public.host), advice)];
    }
    let (host, seen) = (&public.host, seen(&facts.outside));
    if let Err(unanswered) = &facts.outside
        && seen.step == Step::LookUp
    {
        let advice = "add an A record (and AAAA for IPv6) at whoever serves the name; a fresh one takes its time";
        return vec![Finding::fault(CHECK, format!("{host} is not found: {}", unanswered.fault), advice)];
    }
    if seen.look_up.is_none() {
        return vec![Finding::untried(CHECK, format!("{host} was not looked up: another address was given"))];
    }
    let dead = facts.addresses.iter().filter_map(|(address, fault)| Some((address, fault.as_ref()?)));
    let mut findings: Vec<Finding> = dead
        .map(|(address, fault)| {
            let advice = "open that address, or take its record out: a sender may pick any of them";
            Finding::fault(CHECK, format!("{host} is also {}, where nobody answers: {fault}", address.ip()), advice)
        })
        .collect();
    if let Some(private) = seen.addresses.iter().map(SocketAddr::ip).find(|ip| is_private(*ip)) {
        let advice = "fine if the name means another address outside; ask a name server out there";
        findings.push(Finding::warning(
            CHECK,
            format!("here, {host} is {private}: nobody outside reaches that"),
            advice,
        ));
    }
    if findings.is_empty() {
        let all: Vec<String> = seen.addresses.iter().map(|address| address.ip().to_string()).collect();
        findings.push(Finding::good(CHECK, format!("{host} is {}", all.join(", "))));
    }
    findings
}

fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_unspecified(),
    }
}
