//! Which certificate a caller gets: by the host name it asks for.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::files::Identity;

/// Certificates by host name.
pub(super) struct ByName {
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By what follows `*.`.
    wildcard: HashMap<String, Arc<CertifiedKey>>,
    /// For callers that name no host, or an unknown one.
    first: Arc<CertifiedKey>,
}

impl ByName {
    /// Of two certificates for one name the earlier one counts. `None` if there is none at all.
    pub(super) fn new(identities: &[Identity]) -> Option<Self> {
        let first = Arc::clone(&identities.first()?.key);
        let mut by_name = Self { exact: HashMap::new(), wildcard: HashMap::new(), first };
        for identity in identities {
            for name in &identity.names {
                let name = name.to_ascii_lowercase();
                let (map, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut by_name.wildcard, parent.to_owned()),
                    None => (&mut by_name.exact, name),
                };
                map.entry(name).or_insert_with(|| Arc::clone(&identity.key));
            }
        }
        Some(by_name)
    }

    fn choose(&self, host: Option<&str>) -> &Arc<CertifiedKey> {
        let Some(host) = host.map(str::to_ascii_lowercase) else { return &self.first };
        let exact = self.exact.get(&host);
        // A wildcard stands for one label: RFC 9525 section 6.3.
        let wildcard = || host.split_once('.').and_then(|(_, parent)| self.wildcard.get(parent));
        exact.or_else(wildcard).unwrap_or(&self.first)
    }
}

/// Hands the certificate to rustls, and can be given others at any time.
pub(super) struct Resolver(ArcSwap<ByName>);

impl Resolver {
    pub(super) fn new(by_name: ByName) -> Self {
        Self(ArcSwap::from_pointee(by_name))
    }

    /// From now on new handshakes get these.
    pub(super) fn swap(&self, by_name: ByName) {
        self.0.store(Arc::new(by_name));
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.0.load().choose(hello.server_name())))
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

#[cfg(test)]
mod tests {
    use super::super::files::tests::identity_for;
    use super::*;

    #[test]
    fn the_exact_name_goes_before_the_wildcard_and_the_first_one_is_for_strangers() {
        let identities = [
            identity_for(&["shop.example"]),
            identity_for(&["*.shop.example", "SHOP.example"]),
            identity_for(&["pay.shop.example"]),
        ];
        let by_name = ByName::new(&identities).unwrap();
        let chosen = |host| {
            let key = by_name.choose(host);
            identities.iter().position(|identity| Arc::ptr_eq(&identity.key, key)).unwrap()
        };
        assert_eq!(chosen(None), 0);
        assert_eq!(chosen(Some("other.example")), 0);
        assert_eq!(chosen(Some("Shop.Example")), 0);
        assert_eq!(chosen(Some("www.shop.example")), 1);
        assert_eq!(chosen(Some("pay.shop.example")), 2);
        assert_eq!(chosen(Some("a.www.shop.example")), 0, "a wildcard is one label");
        assert!(ByName::new(&[]).is_none());
    }
}
