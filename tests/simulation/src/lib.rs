//! A deterministic simulation of time, network and disk around kallback.
pub mod chance;
pub mod disk;
pub mod ledger;
pub mod life;
pub mod message;
pub mod promises;
pub mod requests;
pub mod trace;
pub mod variant;
pub mod wire;
pub mod world;
