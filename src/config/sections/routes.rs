//! `[[routes]]`: places where callbacks arrive that no preset knows.

use crate::config::readable::quoted;
use crate::config::section::Section;
use crate::config::sections::callbacks::{check_policy, general, patched, policy_of, read_patch};
use crate::event::{Family, Kind, Mode, Policy, Proof, Route};
use crate::recognise::{Override, OwnRoute};

/// Most routes of one config: each is looked at for every request.
const ROUTES_MAX: usize = 256;

/// Reads all routes. `overrides` by kind hold for them too, unless the route says otherwise.
pub(super) fn read(root: &Section<'_>, overrides: &[Override]) -> Vec<OwnRoute> {
    let blank = root.blank("routes").without_defaults();
    read_route(&blank, overrides);
    read_patch(&blank, Kind::Push);
    read_patch(&blank, Kind::Validation);
    let sections: Vec<_> = root.sections("routes").into_iter().map(Section::without_defaults).collect();
    if sections.len() > ROUTES_MAX {
        root.fault("routes", format!("there are {} routes", sections.len()), &format!("at most {ROUTES_MAX}"));
    }
    let mut routes: Vec<OwnRoute> = Vec::with_capacity(sections.len());
    for section in sections {
        let route = read_route(&section, overrides);
        if let Some(route) = &route
            && routes.iter().any(|earlier| earlier.route.name == route.route.name)
        {
            let message = format!("there are two routes named {}", quoted(&route.route.name));
            section.fault("name", message, "names show up in metrics and logs and must differ");
        }
        section.end();
        routes.extend(route);
    }
    routes
}

fn read_route(section: &Section<'_>, overrides: &[Override]) -> Option<OwnRoute> {
    let (name, path, kind) = read_required(section);
    let query = section.section("query");
    let conditions = query.texts();
    query.end();
    let family: Option<Family> = section.optional("family");
    let mode: Option<Mode> = section.optional("mode");
    let failure_texts = section.option("failure_texts", Vec::new());
    let subject_parameter = section.optional("subject_parameter");
    let kind = kind?;
    let family = family.unwrap_or_else(|| usual_family(kind));
    let policy = read_policy(section, kind, overrides);
    let mode = mode.unwrap_or_else(|| inherited_mode(kind, overrides));
    let proof = if kind == Kind::Webhook { Proof::Signature(mode) } else { Proof::Token(mode) };
    let route = Route { name: name?, kind, family, proof, policy, failure_texts };
    Some(OwnRoute { path: path?, query: conditions, subject_parameter, route })
}

fn read_required(section: &Section<'_>) -> (Option<String>, Option<String>, Option<Kind>) {
    if !section.is_present() {
        return (section.optional("name"), section.optional("path"), section.optional("kind"));
    }
    let name: Option<String> = section.required("name", "a short name for metrics and logs");
    let path: Option<String> = section.required("path", "the path of the URL that was given to Klarna or Kustom");
    let kind = section.required("kind", "which callback arrives there: \"push\", \"authorization\", …");
    let fits = |one: char| one.is_ascii_alphanumeric() || "_-.".contains(one);
    if name.as_ref().is_some_and(|name| name.is_empty() || name.len() > 64 || !name.chars().all(fits)) {
        section.fault("name", "a route's name is 1 to 64 letters, digits, `_`, `-` or `.`", "");
    }
    let rooted = |path: &String| path.starts_with('/') || path.starts_with("**/");
    if path.as_ref().is_some_and(|path| !rooted(path)) {
        section.fault("path", "a path starts with `/`, or with `**/` for any prefix", "");
    }
    if path.as_ref().is_some_and(|path| path.contains(['?', '#'])) {
        section.fault("path", "a path has no query", "put conditions on the query under `query`: { cl = \"Push\" }");
    }
    (name, path, kind)
}

fn read_policy(section: &Section<'_>, kind: Kind, overrides: &[Override]) -> Policy {
    let policy = patched(policy_of(kind, overrides), &read_patch(section, kind));
    check_policy(section, kind, &policy);
    policy
}

fn inherited_mode(kind: Kind, overrides: &[Override]) -> Mode {
    general(kind, overrides).filter_map(|one| one.mode).last().unwrap_or(Mode::Enforce)
}

/// The API that usually gets URLs of that kind.
fn usual_family(kind: Kind) -> Family {
    match kind {
        Kind::Authorization => Family::Payments,
        Kind::SessionStatus => Family::HostedPage,
        Kind::Webhook => Family::Network,
        _ => Family::Checkout,
    }
}
