//! A way to the shop that is handed in, where this machine's own network is not to be used: simulations.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

/// Opens connections to the shop.
pub trait Dial: fmt::Debug + Send + Sync + 'static {
    /// A new connection. An error means that the shop was certainly not reached.
    fn dial(&self) -> Dialling;
}

/// A connection on its way.
pub type Dialling = Pin<Box<dyn Future<Output = io::Result<Box<dyn Line>>> + Send>>;

/// A connection.
pub trait Line: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin> Line for S {}

/// Whoever opens connections. The same as another one only if it is that one.
#[derive(Clone, Debug)]
pub struct Dialler(pub Arc<dyn Dial>);

impl PartialEq for Dialler {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Dialler {}
