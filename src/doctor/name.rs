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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::UnixMillis;
    use crate::doctor::Verdict;
    use crate::probe::{Fault, Seen, Unanswered};

    #[test]
    fn every_address_must_answer_and_nobody_outside_reaches_a_private_one() {
        let public = Origin { is_tls: true, host: "shop.example".to_owned(), port: 443 };
        let found = |addresses: &[(&str, Option<&str>)]| {
            let addresses: Vec<_> = addresses
                .iter()
                .map(|(address, fault)| (address.parse::<SocketAddr>().unwrap(), fault.map(str::to_owned)))
                .collect();
            let seen = Seen {
                step: Step::Answer,
                look_up: Some(Duration::ZERO),
                addresses: addresses.iter().map(|(address, _)| *address).collect(),
                ..Seen::default()
            };
            let unanswered = Unanswered { fault: Fault::TooSlow(Duration::ZERO), took: Duration::ZERO, seen };
            let facts = Facts {
                outside: Err(Box::new(unanswered)),
                answered_at: UnixMillis(0),
                addresses,
                versions: None,
                behind: None,
                admin: None,
            };
            check(&public, &facts).into_iter().map(|finding| (finding.verdict, finding.what)).collect::<Vec<_>>()
        };
        let good = found(&[("192.0.2.7:443", None), ("[2001:db8::7]:443", None)]);
        assert_eq!(good, [(Verdict::Good, "shop.example is 192.0.2.7, 2001:db8::7".to_owned())]);
        let dead = found(&[("192.0.2.7:443", None), ("[2001:db8::7]:443", Some("too slow"))]);
        assert!(dead.len() == 1 && dead[0].0 == Verdict::Fault && dead[0].1.contains("2001:db8::7"), "{dead:?}");
        for private in ["10.0.0.1:443", "192.168.1.1:443", "[fd00::1]:443", "[::1]:443", "[::ffff:127.0.0.1]:443"] {
            assert_eq!(found(&[(private, None)])[0].0, Verdict::Warning, "{private}");
        }
    }
}
