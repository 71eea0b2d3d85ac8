//! Which versions of TLS are offered?

use super::Finding;
use super::calls::Facts;

const CHECK: &str = "tls";

/// Judges the handshakes with one version each. Older ones than 1.2 cannot be tried: the library behind every call of
/// kallback does not speak them.
pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let Some([older, newer]) = &facts.versions else {
        return vec![Finding::untried(CHECK, "no TLS was reached")];
    };
    let offered: Vec<&str> =
        [older, newer].into_iter().filter(|(_, fault)| fault.is_none()).map(|(name, _)| *name).collect();
    vec![match (&older.1, &newer.1) {
        (None, None) => Finding::good(CHECK, "1.2 and 1.3 are offered (1.1 and 1.0 cannot be tried from here)"),
        (None, Some(_)) => {
            let advice = "nothing is lost with today's senders; allow TLS 1.3 in whatever ends TLS in front";
            Finding::warning(CHECK, format!("only {} is offered", offered.join(", ")), advice)
        }
        (Some(fault), None) => {
            let advice = "allow TLS 1.2 as well: which version a sender speaks is not documented";
            Finding::warning(CHECK, format!("1.2 is refused: {fault}"), advice)
        }
        (Some(fault), Some(_)) => {
            let advice = "see that TLS 1.2 or 1.3, and not plain HTTP, is spoken on this port";
            Finding::fault(CHECK, format!("neither 1.2 nor 1.3 is offered: {fault}"), advice)
        }
    }]
}
