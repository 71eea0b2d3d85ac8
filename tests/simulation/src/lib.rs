//! A deterministic simulation of time, network and disk around kallback.
//!
//! One seed decides everything: when callbacks come and how often, how the shop is, what the disk does, when kallback
//! is killed. [`world`] is one queue of events and one clock; [`life`] is kallback itself, on a runtime whose clock
//! stands still until the world moves it; [`promises`] is the model that checks what happens; [`variant`] lists broken
//! kallbacks that have to be noticed. `docs/reliability.md` says what is covered and what is not.
//!
//! **Why not turmoil.** It simulates the network by putting its own sockets in the place of tokio's, in the source of
//! what is tested, and its disk is a shim of `std::fs`. What matters here is the disk under SQLite, which is C and asks
//! no Rust file system. So: our own seams. The way in and the way to the shop are handed in as streams, chance as a
//! function, the ledger's threads as a value that is turned by hand; SQLite itself runs unchanged on a file system of
//! its own ([`disk`], by the `sqlite-plugin` crate), where a write is durable once it was synced and not before.
//!
//! **Why a package of its own.** That crate needs libclang to build, which nobody should need for `cargo test`.
//!
//! **Determinism.** One thread for each seed; no sockets, no files, no clock of the machine. tokio leaves one thing to
//! a chance that cannot be seeded: whom it wakes first of several that wait for the same word. So the world looks only
//! when kallback rests, and at what it did in an order of its own.

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
