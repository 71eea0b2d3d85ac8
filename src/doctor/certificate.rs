//! Would a stranger believe the certificate, and for how long yet?

use std::time::Duration;

use rustls::CertificateError;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::calls::{Facts, seen};
use super::{Finding, day, days};
use crate::clock::UnixMillis;
use crate::probe::{Origin, TlsFacts};

const CHECK: &str = "certificate";

/// Below this a renewal that runs by itself has failed: they usually run 30 days before the end.
const SOON: Duration = Duration::from_secs(14 * 86_400);

/// Judges the certificates that were shown.
pub(super) fn check(public: &Origin, facts: &Facts) -> Vec<Finding> {
    if !public.is_tls {
        let advice = "give Klarna and Kustom https:// URLs, and put a certificate in front";
        return vec![Finding::fault(CHECK, format!("{public} is not https, which the senders demand"), advice)];
    }
    let seen = seen(&facts.outside);
    let Some(tls) = &seen.tls else {
        return vec![match &facts.outside {
            Err(unanswered) if seen.connect.is_some() => {
                let advice = "see that TLS, and not plain HTTP, is spoken on this port";
                Finding::fault(CHECK, format!("none was shown: {unanswered}"), advice)
            }
            _ => Finding::untried(CHECK, "nobody was there to show one"),
        }];
    };
    let Some(first) = tls.chain.first() else {
        let advice = "see that TLS, and not plain HTTP, is spoken on this port, and that this name has a certificate";
        return vec![Finding::fault(CHECK, "none was shown", advice)];
    };
    match &tls.fault {
        Some(fault) => vec![refused(public, tls, fault)],
        None => vec![until(first, facts.answered_at)],
    }
}

fn refused(public: &Origin, tls: &TlsFacts, fault: &rustls::Error) -> Finding {
    let host = &public.host;
    let rustls::Error::InvalidCertificate(fault) = fault else {
        return Finding::fault(CHECK, format!("it is refused: {fault}"), "take another one");
    };
    match fault {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            let advice = "renew it, and see why the renewal did not run; kallback takes new files over by itself";
            Finding::fault(CHECK, format!("it has expired{}", ended(tls.chain.first())), advice)
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Finding::fault(CHECK, "it is not valid yet", "see this machine's clock, and that of whoever made it")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            let advice = "have one made for this name; kallback chooses by the names in its certificates";
            Finding::fault(CHECK, format!("it is for another name than {host}"), advice)
        }
        // A stranger may bear the name of an authority that is known.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => unknown_issuer(&tls.chain),
        other => Finding::fault(CHECK, format!("it is refused: {other}"), "take another one"),
    }
}

/// Who signed it is not known, or not shown.
fn unknown_issuer(chain: &[CertificateDer<'_>]) -> Finding {
    let signed_itself = chain
        .first()
        .and_then(|der| X509Certificate::from_der(der).ok())
        .is_some_and(|(_, certificate)| certificate.subject() == certificate.issuer());
    if signed_itself {
        let advice = "it is for trials; have one made by an authority that browsers trust";
        return Finding::fault(CHECK, "it is signed by itself, and nobody trusts it", advice);
    }
    if chain.len() == 1 {
        let advice =
            "name the file with the whole chain (certbot: fullchain.pem); browsers fill the gap, senders do not";
        return Finding::fault(CHECK, "it comes alone: the certificate of its issuer is not shown", advice);
    }
    let advice = "have one made by an authority that browsers trust";
    Finding::fault(CHECK, "no authority that browsers trust has signed it", advice)
}

fn until(first: &CertificateDer<'_>, now: UnixMillis) -> Finding {
    let Some(end) = not_after(first) else {
        return Finding::warning(CHECK, "it is believed, but its end cannot be read", "take another one");
    };
    let left = end.since(now);
    let what = format!("it is believed, until {} ({} days)", day(end), days(left));
    if left < SOON {
        let advice = "renew it now, and see why the renewal did not run; kallback takes new files over by itself";
        return Finding::warning(CHECK, what, advice);
    }
    Finding::good(CHECK, what)
}

fn ended(first: Option<&CertificateDer<'_>>) -> String {
    first.and_then(not_after).map_or_else(String::new, |end| format!(" on {}", day(end)))
}

fn not_after(der: &CertificateDer<'_>) -> Option<UnixMillis> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(UnixMillis(certificate.validity().not_after.timestamp().saturating_mul(1000)))
}
