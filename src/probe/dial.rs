//! From a name to a TCP connection.

use std::net::SocketAddr;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::{Fault, Origin, Probe, Seen, Step, Tried};

impl Probe {
    /// Tries the addresses in turn. Each gets its share of the time that is left, so that one that swallows packets
    /// leaves some for the next.
    pub(super) async fn dial(&self, origin: &Origin, seen: &mut Seen) -> Result<TcpStream, Fault> {
        let deadline = self.clock.instant() + self.limits.connect_within;
        let addresses = self.addresses(origin, seen).await?;
        seen.addresses.clone_from(&addresses);
        seen.step = Step::Connect;
        let start = self.clock.instant();
        let mut last_fault = Fault::NoAddress;
        for (tried, address) in addresses.iter().copied().enumerate() {
            let left = deadline.saturating_duration_since(self.clock.instant());
            let share = left / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
            last_fault = match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // A small request must not wait for the acknowledgement of the one before.
                    stream.set_nodelay(true).map_err(Fault::Io)?;
                    seen.tried.push(Tried { address, fault: None });
                    seen.connect = Some(self.clock.instant().duration_since(start));
                    return Ok(stream);
                }
                Ok(Err(error)) => Fault::Io(error),
                Err(_) => Fault::TooSlow(share),
            };
            seen.tried.push(Tried { address, fault: Some(last_fault.to_string()) });
        }
        Err(last_fault)
    }

    async fn addresses(&self, origin: &Origin, seen: &mut Seen) -> Result<Vec<SocketAddr>, Fault> {
        if let Some(address) = self.connect_to.or(origin.address().map(|ip| SocketAddr::new(ip, origin.port))) {
            return Ok(vec![address]);
        }
        let start = self.clock.instant();
        let found = lookup_host((origin.host.as_str(), origin.port)).await.map_err(Fault::Io)?.collect();
        seen.look_up = Some(self.clock.instant().duration_since(start));
        Ok(found)
    }
}
