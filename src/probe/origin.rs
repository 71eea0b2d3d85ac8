//! Where a call goes, and how a URL says it.

use std::fmt;
use std::net::IpAddr;

use http::uri::Authority;
use thiserror::Error;

/// Scheme, host and port: `https://shop.example`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    /// `https`, not `http`.
    pub is_tls: bool,
    /// Name or address; IPv6 without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// A text that is no URL that can be called.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("`{url}` is no URL to call: {why}")]
pub struct NotAUrl {
    url: String,
    why: &'static str,
}

impl Origin {
    /// Splits a URL into its origin and its path with query. The latter stays byte for byte what it was, so that
    /// spellings can be tried; a fragment is never sent.
    ///
    /// # Errors
    /// If there is no `http://` or `https://`, no host, or a user name: Klarna takes no URL with one.
    pub fn of(url: &str) -> Result<(Self, String), NotAUrl> {
        let fault = |why| NotAUrl { url: url.to_owned(), why };
        let (scheme, rest) = url.split_once("://").ok_or_else(|| fault("write https://HOST/PATH"))?;
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(fault("only http and https can be called")),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(fault("it has a user name"));
        }
        let authority: Authority = authority.parse().map_err(|_| fault("its host cannot be read"))?;
        let port = match authority.port_u16() {
            Some(port) => port,
            None if authority.as_str() != authority.host() => return Err(fault("its port cannot be read")),
            None => default_port(is_tls),
        };
        let host = authority.host();
        let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host).to_owned();
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        Ok((Self { is_tls, host, port }, target))
    }

    /// The address, if the host is one.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// As `Host` says it: the port only where it is not the usual one.
    pub fn authority(&self) -> String {
        let host = match self.address() {
            Some(IpAddr::V6(address)) => format!("[{address}]"),
            _ => self.host.clone(),
        };
        if self.port == default_port(self.is_tls) { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.is_tls { "https" } else { "http" }, self.authority())
    }
}

fn default_port(is_tls: bool) -> u16 {
    if is_tls { 443 } else { 80 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_split_and_its_path_stays_as_it_is() {
        for (url, origin, host, port, target) in [
            ("https://shop.example", "https://shop.example", "shop.example", 443, "/"),
            (
                "HTTPS://shop.example:443/a//b/../%2e?c={d}#e",
                "https://shop.example",
                "shop.example",
                443,
                "/a//b/../%2e?c={d}",
            ),
            ("http://shop.example:8080?wc-api=x", "http://shop.example:8080", "shop.example", 8080, "/?wc-api=x"),
            ("https://[::1]:8443/x", "https://[::1]:8443", "::1", 8443, "/x"),
            ("http://192.0.2.7/", "http://192.0.2.7", "192.0.2.7", 80, "/"),
        ] {
            let (found, rest) = Origin::of(url).unwrap();
            assert_eq!((found.to_string().as_str(), found.host.as_str(), found.port), (origin, host, port), "{url}");
            assert_eq!(rest, target, "{url}");
        }
    }

    #[test]
    fn what_cannot_be_called_says_why() {
        for (url, why) in [
            ("shop.example/x", "write https://HOST/PATH"),
            ("ftp://shop.example/", "only http and https"),
            ("https://user:word@shop.example/", "a user name"),
            ("https:///x", "its host cannot be read"),
            ("https://shop.example:99999/", "its port cannot be read"),
        ] {
            assert!(Origin::of(url).unwrap_err().to_string().contains(why), "{url}");
        }
    }
}
