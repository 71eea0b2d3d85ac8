//! Keeps one lane open: connects, sets the connection up, drives it until it breaks, and begins again.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Client, Connection, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::clock::UnixMillis;
use crate::ledger::postgres::address::Address;
use crate::ledger::postgres::fault::{OpenError, refusal};
use crate::ledger::postgres::lanes::{Lane, Lanes, Wire};
use crate::ledger::postgres::schema;
use crate::ledger::{LedgerError, Surroundings};
use crate::metrics::Event;

/// What a lane is kept open with.
pub(super) struct Link {
    pub(super) place: usize,
    pub(super) address: Address,
    pub(super) lanes: Lanes,
    pub(super) around: Surroundings,
    /// Rung when another process told something.
    pub(super) told: Arc<Notify>,
}

/// A task that ends with this value.
pub(super) struct Driven(JoinHandle<()>);

impl Drop for Driven {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Link {
    /// Runs until it is aborted.
    pub(super) async fn keep(self) {
        let mut failures = 0;
        loop {
            match self.open().await {
                Ok((wire, driven)) => {
                    failures = 0;
                    self.lanes.set(self.place, Lane::Open(wire.clone()));
                    self.until_broken(&wire, driven).await;
                    let why = OpenError::Away("the connection broke".to_owned());
                    self.lanes.set(self.place, Lane::Down(Arc::new(why)));
                }
                Err(why) => {
                    // One voice for all lanes.
                    if self.place == 0 {
                        let error = LedgerError::Unavailable(why.to_string());
                        self.around.telemetry.emit(Event::LedgerFailed { call: "connect", error: &error });
                    }
                    self.lanes.set(self.place, Lane::Down(Arc::new(why)));
                    tokio::time::sleep(rest_after(failures).mul_f64(rand::random_range(0.5..1.0))).await;
                    failures += 1;
                }
            }
        }
    }

    async fn until_broken(&self, wire: &Wire, mut driven: Driven) {
        loop {
            tokio::select! {
                _ = &mut driven.0 => return,
                () = wire.broken.notified() => return,
                () = tokio::time::sleep(PROBE_AFTER) => {
                    // Whoever asked may have gone; somebody has to hear that the server answers again, or never will.
                    if wire.is_silent_for(PROBE_AFTER) && !wire.is_alive().await {
                        return;
                    }
                }
            }
        }
    }

    async fn open(&self) -> Result<(Arc<Wire>, Driven), OpenError> {
        let opening = async {
            let (client, driven) = self.connect().await?;
            self.set_up(&client).await?;
            let slot = rand::random_range(0..schema::SLOTS);
            Ok((Arc::new(Wire::new(client, slot, self.around.clock.clone())), driven))
        };
        let silence = |_| Err(OpenError::Away("it did not answer in time".to_owned()));
        tokio::time::timeout(OPEN_WITHIN, opening).await.unwrap_or_else(silence)
    }

    async fn connect(&self) -> Result<(Client, Driven), OpenError> {
        let config = self.address.config();
        match self.address.tls()? {
            None => {
                let (client, connection) = config.connect(NoTls).await.map_err(|error| refusal(&error))?;
                Ok((client, drive(connection, self.told.clone())))
            }
            Some(tls) => {
                let tls = MakeRustlsConnect::new(tls);
                let (client, connection) = config.connect(tls).await.map_err(|error| refusal(&error))?;
                Ok((client, drive(connection, self.told.clone())))
            }
        }
    }

    async fn set_up(&self, client: &Client) -> Result<(), OpenError> {
        client.batch_execute(SESSION).await.map_err(|error| refusal(&error))?;
        schema::bring_up_to_date(client, schema::STEPS).await?;
        if self.place == 0 {
            // CockroachDB and older YugabyteDB have no such command: there the poll alone finds out.
            if let Err(error) = client.batch_execute("listen kallback").await
                && error.as_db_error().is_none()
            {
                return Err(refusal(&error));
            }
            self.compare_clocks(client).await?;
        }
        Ok(())
    }

    /// Leases hang on the clocks of the processes, which have to agree.
    async fn compare_clocks(&self, client: &Client) -> Result<(), OpenError> {
        let query = "select (extract(epoch from clock_timestamp()) * 1000)::bigint";
        let row = client.query_one(query, &[]).await.map_err(|error| refusal(&error))?;
        let theirs = UnixMillis(row.try_get(0).map_err(|error| refusal(&error))?);
        let ours = self.around.clock.now();
        let apart = ours.since(theirs).max(theirs.since(ours));
        if apart > CLOCKS_APART_AT_MOST {
            let what = format!(
                "the clocks of this machine and of the database are {} s apart: replicas whose clocks differ by more \
                 than {} s may bring a callback twice",
                apart.as_secs(),
                super::LEASE_MARGIN.as_secs()
            );
            self.around.telemetry.emit(Event::Warning { what: &what });
        }
        Ok(())
    }
}

fn drive<S, T>(mut connection: Connection<S, T>, told: Arc<Notify>) -> Driven
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    Driven(tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(_) = message {
                told.notify_one();
            }
        }
    }))
}

fn rest_after(failures: u32) -> Duration {
    REST_MIN.saturating_mul(1 << failures.min(10)).min(REST_MAX)
}

/// The server's own patience, shorter than ours, so that nothing is still carried out that was given up here. And no
/// commit that is not on disk: who turned that off for all did not think of this.
const SESSION: &str = "
set statement_timeout = 4000;
set lock_timeout = 2000;
set idle_in_transaction_session_timeout = 10000;
select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit', true) = 'off';
";

/// A connection that is not ready within this time is begun anew.
const OPEN_WITHIN: Duration = Duration::from_secs(10);

/// Beyond, a warning.
const CLOCKS_APART_AT_MOST: Duration = Duration::from_secs(2);

/// A server that owes an answer for this long is asked whether it is there.
const PROBE_AFTER: Duration = Duration::from_secs(1);

const REST_MIN: Duration = Duration::from_millis(100);
const REST_MAX: Duration = Duration::from_secs(3);
