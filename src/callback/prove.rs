//! Who calls? From a request to a call that proved itself.

use std::net::IpAddr;

use super::{Call, Callbacks, Outcome};
use crate::event::{Mode, Proof, Route};
use crate::limits::read_body;
use crate::metrics::Event;
use crate::recognise::Recognised;
use crate::token::{Authentic, Received, Refusal};
use crate::upstream::headers;

impl Callbacks {
    /// The URL is checked before the body is read: a stranger cannot make us hold megabytes.
    pub(super) async fn prove(&self, call: Call) -> Result<Authentic, Outcome> {
        let Call { recognised, request, sender, client, guard, .. } = call;
        let Recognised { route, url, .. } = recognised;
        let (mut head, body) = request.into_parts();
        headers::for_shop(&mut head, &sender).map_err(Outcome::BadHead)?;
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        let admitted = self
            .guard
            .admit(&route, url, target, self.clock.now())
            .map_err(|refusal| self.refuse(&route, refusal, client))?;
        let signed = matches!(route.proof, Proof::Signature(Mode::Enforce));
        let may_go_on = if admitted.proven() { self.rates.admits_proven() } else { self.rates.admits_unproven(client) };
        if !may_go_on && !signed {
            return Err(Outcome::RateLimited);
        }
        let body = read_body(body, self.body_bytes_max, self.body_within).await.map_err(Outcome::BadBody)?;
        if guard.is_some_and(|mut guard| !guard.passes(&body) || !guard.passes_end()) {
            return Err(Outcome::FormBypass);
        }
        let received = Received { method: head.method, headers: head.headers, body };
        let authentic =
            self.guard.authenticate(admitted, received).map_err(|refusal| self.refuse(&route, refusal, client))?;
        self.telemetry.emit(Event::TokenChecked {
            kind: route.kind,
            result: match authentic.observed() {
                Some(refusal) => refusal.name(),
                None if authentic.proven() => "valid",
                None => "off",
            },
            observed: authentic.observed().is_some(),
            client,
        });
        Ok(authentic)
    }

    fn refuse(&self, route: &Route, refusal: Refusal, client: IpAddr) -> Outcome {
        self.telemetry.emit(Event::TokenChecked { kind: route.kind, result: refusal.name(), observed: false, client });
        if self.rates.too_many_refused(client) { Outcome::RateLimited } else { Outcome::Refused(refusal) }
    }
}
