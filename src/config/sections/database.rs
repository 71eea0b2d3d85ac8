//! The part of `[ledger]` that leads to a database which several kallbacks share.

use secrecy::ExposeSecret;

use crate::config::secrets::{self, hint_for};
use crate::config::section::Section;
use crate::ledger::{Address, AddressFault, Backend};

const URL_HINT: &str = "write \"postgres://user@host:5432/database\", and the password in `password_file`";

/// Options that have no meaning without `url`.
const COMPANIONS: [&str; 3] = ["password", "password_file", "ca_file"];

/// The database, if `url` names one.
pub(super) fn read(section: &Section<'_>) -> Option<Backend> {
    let url = secrets::read(section, "url");
    let password = secrets::read(section, "password");
    let ca_file = section.optional_path("ca_file");
    let connections = section.bounded("connections", 4, 1..=64);
    let Some(url) = url else {
        let is_meant = section.is_set("url") || section.is_set("url_file");
        for option in COMPANIONS.into_iter().filter(|option| !is_meant && section.is_set(option)) {
            section.warn(option, format!("`{option}` has no effect without `url`"), "");
        }
        return None;
    };
    let name = if section.is_set("url") { "url" } else { "url_file" };
    for other in ["file", "store"].into_iter().filter(|other| section.is_set(other)) {
        let message = format!("both `{other}` and `{name}` are set");
        section.fault(other, message, &format!("keep `{name}` for a ledger that replicas share, or `{other}`"));
    }
    if let Some(path) = &ca_file
        && let Err(why) = std::fs::File::open(path)
    {
        section.fault("ca_file", format!("cannot read {}: {why}", path.display()), &hint_for(&why));
    }
    let address = match Address::parse(url.expose_secret()) {
        Ok(address) => address.trusting(ca_file),
        Err(fault) => {
            section.fault(name, fault.to_string(), hint(fault));
            return None;
        }
    };
    let address = match password {
        Some(password) => address.with_password(password.expose_secret()),
        None => address,
    };
    Some(Backend::Postgres(Box::new(address), connections))
}

fn hint(fault: AddressFault) -> &'static str {
    match fault {
        AddressFault::TlsMode => "leave `sslmode` out, and the database's certificate is checked",
        _ => URL_HINT,
    }
}
