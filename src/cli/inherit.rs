//! What a process finds when it starts: sockets from systemd, or a kallback that runs.

use std::io;
use std::path::Path;

use listenfd::ListenFd;

use super::run::RunFault;
use crate::app::Heritage;
use crate::app::hand_over::Predecessor;
use crate::server::{BoundSocket, Inherited};

/// Sockets that systemd holds for this process, as `LISTEN_FDS` says.
pub(super) fn from_systemd() -> io::Result<Heritage> {
    let mut passed = ListenFd::from_env();
    let mut sockets = Vec::new();
    for number in 0..passed.len() {
        if let Some(socket) = passed.take_tcp_listener(number)? {
            sockets.push(BoundSocket::try_from(socket)?);
        }
    }
    Ok(Heritage { sockets: Inherited::new(sockets)?, ..Heritage::default() })
}

/// Sockets and ledger of the kallback that runs; nothing if none does.
pub(super) async fn from_predecessor(at: Option<&Path>) -> Result<Heritage, RunFault> {
    let at = at.ok_or(RunFault::NowhereToTakeOver)?;
    let found = Predecessor::find(at).await.map_err(|fault| RunFault::Start(fault.into()))?;
    Ok(found.map_or_else(Heritage::default, |(predecessor, sockets)| Heritage {
        sockets,
        predecessor: Some(predecessor),
        after_another: true,
    }))
}
