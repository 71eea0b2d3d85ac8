//! What goes to the shop and what comes back: bytes, framing, failures, and who can have seen what.

mod fronted;
mod sending;
mod world;
