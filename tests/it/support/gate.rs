//! A gate that a test opens: what waits behind it goes on then, however fast or slow the machine is.

use tokio::sync::watch;

/// Closed until somebody opens it; then open for ever. Clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate(watch::Sender<bool>);

impl Gate {
    pub fn closed() -> Self {
        Self(watch::Sender::new(false))
    }

    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Returns once the gate is open.
    pub async fn passed(&self) {
        // The sender lives in `self`, so that the channel cannot be closed.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}
