//! Environment variables and flags as options: `KALLBACK_SERVER__LISTEN` and `--set server.listen=…` are
//! `listen` of `[server]`.

use std::sync::Arc;

use crate::config::place::Place;
use crate::config::reader::Reader;
use crate::config::tree::{Table, overlay};

/// What names of our environment variables start with.
pub(super) const PREFIX: &str = "KALLBACK_";

/// Read by the command line itself.
const OF_THE_COMMAND_LINE: [&str; 1] = ["KALLBACK_CONFIG"];

/// Lays the variables that are options over the tree.
pub(super) fn overlay_environment(tree: &mut Table, variables: &[(String, String)], reader: &Reader) {
    let mut ours: Vec<_> = variables.iter().filter(|(name, _)| is_option(name)).collect();
    // The shorter name first: a whole section, then single options of it.
    ours.sort();
    for (name, value) in ours {
        let path = name[PREFIX.len()..].to_ascii_lowercase();
        let path: Vec<&str> = path.split("__").collect();
        lay(tree, &path, (value, Place::Environment(Arc::from(name.as_str()))), reader);
    }
}

/// Lays the flags over the tree: pairs of an option's path and its value.
pub(super) fn overlay_flags(tree: &mut Table, flags: &[(String, String)], reader: &Reader) {
    for (path, value) in flags {
        let names: Vec<&str> = path.split('.').map(str::trim).collect();
        lay(tree, &names, (value, Place::Flag(Arc::from(path.as_str()))), reader);
    }
}

fn lay(tree: &mut Table, path: &[&str], (value, at): (&str, Place), reader: &Reader) {
    if path.iter().any(|name| name.is_empty()) {
        let hint = "write KALLBACK_SECTION__OPTION, or --set section.option=value";
        reader.fault(&at, "this names no option", hint);
    } else if let Err(blocked) = overlay(tree, path, value, &at) {
        reader.fault(&at, format!("`{blocked}` is set as a whole and has no options here"), "");
    }
}

fn is_option(name: &str) -> bool {
    name.starts_with(PREFIX) && !OF_THE_COMMAND_LINE.contains(&name) && !is_from_kubernetes(name)
}

/// Kubernetes sets variables for every service of the namespace: for one called `kallback` or `kallback-admin` they
/// look like ours. None of them has a double underscore.
fn is_from_kubernetes(name: &str) -> bool {
    let port = |rest: &str| rest.is_empty() || rest.starts_with("_TCP") || rest.starts_with("_UDP");
    let numbered = |rest: &str| port(rest.trim_start_matches('_').trim_start_matches(|one: char| one.is_ascii_digit()));
    let by_port = name.rsplit_once("_PORT").is_some_and(|(_, rest)| numbered(rest));
    let of_port = name.contains("_PORT_") && (name.contains("_TCP") || name.contains("_UDP"));
    let of_service = name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT");
    !name.contains("__") && (by_port || of_port || of_service)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_kubernetes_sets_for_a_service_are_not_options() {
        for name in [
            "KALLBACK_SERVICE_HOST",
            "KALLBACK_SERVICE_PORT",
            "KALLBACK_SERVICE_PORT_HTTPS",
            "KALLBACK_PORT",
            "KALLBACK_PORT_443_TCP",
            "KALLBACK_PORT_443_TCP_ADDR",
            "KALLBACK_ADMIN_PORT",
            "KALLBACK_ADMIN_SERVICE_HOST",
        ] {
            assert!(!is_option(name), "{name}");
        }
        for name in ["KALLBACK_SERVER__PUBLIC_PORT", "KALLBACK_ROUTES", "KALLBACK_SERVER__LISEN", "KALLBACK_TYPO"] {
            assert!(is_option(name), "{name}");
        }
    }
}
