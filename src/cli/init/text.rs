//! The config that `init` writes: the fewest lines that work, and what they are for.

use super::answers::Answers;
use crate::config::toml_text;
use crate::server::tls::CertificateFiles;

/// The whole config. Keys and ledger of a trial lie beside it.
pub(super) fn config(answers: &Answers, certificate: &CertificateFiles) -> String {
    let Answers { shop, platform, name, .. } = answers;
    let (shop, platform) = (toml_text(shop), toml_text(platform));
    let [certificate, key] =
        [&certificate.certificate, &certificate.key].map(|path| toml_text(&path.to_string_lossy()));
    let trial = if answers.is_trial() { TRIAL } else { "" };
    format!(
        r#"# kallback in front of {name}. Every option there is, with its default: docs/config.md
# `kallback check` names all faults; `systemctl reload kallback` (SIGHUP) takes changes over.
{trial}
[shop]
url = {shop}
# Set it a little below the number of the shop's workers (php-fpm: pm.max_children; Apache: MaxRequestWorkers).
# max_in_flight = 16

[callbacks]
presets = [{platform}]

[token]
key_file = "token.keys"
# For the first three days of a shop that has customers: URLs that were given out before carry no token.
# mode = "observe"

[[tls.certificates]]
certificate = {certificate}
key = {key}
"#
    )
}

const TRIAL: &str = r#"
# A trial on this machine. For the world: take [server] and [ledger] out, and name a certificate that is trusted.
[server]
listen = ["127.0.0.1:8443"]
public_port = 8443

[ledger]
file = "data/kallback.db"
"#;
