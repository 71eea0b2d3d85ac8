//! What a reload cannot change, because sockets, threads and the ledger were made with it.

use std::mem::discriminant;
use std::path::PathBuf;

use secrecy::ExposeSecret;

use super::Settings;
use crate::ledger::Backend;
use crate::limits::SeatSettings;
use crate::metrics::LogSettings;
use crate::{admin, ledger, server};

/// The settings that hold until a restart, as they were at the start.
#[derive(Debug)]
pub(super) struct Fixed {
    server: server::Settings,
    seats: SeatSettings,
    redelivery_concurrency: usize,
    ledger: ledger::Settings,
    admin: admin::Settings,
    log: LogSettings,
    hand_over_at: Option<PathBuf>,
}

/// Names of options that differ.
type Names = Vec<&'static str>;

impl Fixed {
    pub(super) fn of(settings: &Settings) -> Self {
        Self {
            server: settings.server.clone(),
            seats: settings.limits.seats,
            redelivery_concurrency: settings.delivery.redelivery_concurrency,
            ledger: settings.ledger.clone(),
            admin: settings.admin.clone(),
            log: settings.log.clone(),
            hand_over_at: settings.life.hand_over_at.clone(),
        }
    }

    /// The options of the config that say something else now and take effect after a restart.
    pub(super) fn changed(&self, now: &Settings) -> Names {
        let mut names = self.changed_of_server(&now.server);
        names.extend(self.changed_of_seats(&now.limits.seats));
        names.extend(differing([(
            "delivery.redelivery_concurrency",
            self.redelivery_concurrency != now.delivery.redelivery_concurrency,
        )]));
        names.extend(self.changed_of_ledger(&now.ledger));
        names.extend(self.changed_of_admin(&now.admin));
        names.extend(differing([
            ("log.format", self.log.format != now.log.format),
            ("log.filter", self.log.filter != now.log.filter),
            ("life.hand_over_at", self.hand_over_at != now.life.hand_over_at),
        ]));
        names
    }

    /// All but the certificates, which are read again.
    fn changed_of_server(&self, now: &server::Settings) -> Names {
        let old = &self.server;
        differing([
            ("server.listen", old.listen != now.listen),
            ("server.redirect_from", old.redirect_from != now.redirect_from),
            ("server.listen_behind_tls", old.listen_behind_tls != now.listen_behind_tls),
            ("server.public_port", old.public_port != now.public_port),
            ("server.proxy_protocol_from", old.proxy_protocol_from != now.proxy_protocol_from),
            ("server.connections_max", old.connections_max != now.connections_max),
            ("server.connections_per_address_max", old.connections_per_address_max != now.connections_per_address_max),
            ("server.handshake_within", old.handshake_within != now.handshake_within),
            ("server.head_within", old.head_within != now.head_within),
            ("server.idle_for_at_most", old.idle_for_at_most != now.idle_for_at_most),
            ("server.write_stall_at_most", old.write_stall_at_most != now.write_stall_at_most),
            ("server.head_bytes_max", old.head_bytes_max != now.head_bytes_max),
            ("server.headers_max", old.headers_max != now.headers_max),
            ("server.h2_streams_max", old.h2_streams_max != now.h2_streams_max),
            ("server.h2_resets_max", old.h2_resets_max != now.h2_resets_max),
            ("server.workers or server.threads", old.workers != now.workers),
            ("tls.look_every", old.tls.look_every != now.tls.look_every),
        ])
    }

    fn changed_of_seats(&self, now: &SeatSettings) -> Names {
        let old = &self.seats;
        differing([
            ("shop.max_in_flight", old.max_in_flight != now.max_in_flight),
            ("shop.reserved_for_callbacks", old.reserved_for_callbacks != now.reserved_for_callbacks),
            ("shop.waiting_traffic_max", old.waiting_traffic_max != now.waiting_traffic_max),
            ("shop.traffic_waits_at_most", old.traffic_waits_at_most != now.traffic_waits_at_most),
        ])
    }

    /// All but `admit_within`, which the callbacks hold.
    fn changed_of_ledger(&self, now: &ledger::Settings) -> Names {
        let old = &self.ledger;
        let (kept, keep) = (&old.retention, &now.retention);
        differing([
            ("ledger.store or ledger.url", discriminant(&old.backend) != discriminant(&now.backend)),
            ("ledger.file", is_file(&old.backend) && is_file(&now.backend) && old.backend != now.backend),
            ("ledger.url", is_shared(&old.backend) && is_shared(&now.backend) && old.backend != now.backend),
            ("ledger.queue_max", old.queue_max != now.queue_max),
            ("ledger.bytes_max", old.bytes_max != now.bytes_max),
            ("ledger.keep_bodies_for", kept.keep_bodies_for != keep.keep_bodies_for),
            ("ledger.keep_records_for", kept.keep_records_for != keep.keep_records_for),
            ("ledger.keep_dead_for", kept.keep_dead_for != keep.keep_dead_for),
            ("ledger.sweep_slice", kept.slice != keep.slice),
            ("ledger.sweep_every", old.sweep_every != now.sweep_every),
        ])
    }

    fn changed_of_admin(&self, now: &admin::Settings) -> Names {
        let token = |settings: &admin::Settings| settings.token.as_ref().map(|token| token.expose_secret().to_owned());
        differing([
            ("admin.listen", self.admin.listen != now.listen),
            ("admin.token or admin.token_file", token(&self.admin) != token(now)),
            ("admin.page_records_max", self.admin.page_records_max != now.page_records_max),
        ])
    }
}

fn is_file(backend: &Backend) -> bool {
    matches!(backend, Backend::File(_))
}

fn is_shared(backend: &Backend) -> bool {
    matches!(backend, Backend::Postgres(..))
}

fn differing<const N: usize>(options: [(&'static str, bool); N]) -> Names {
    options.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}
