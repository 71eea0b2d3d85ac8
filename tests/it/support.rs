//! The world of the tests: a scripted shop, Klarna as it calls, certificates, and time that stands still on demand.

pub mod authority;
pub mod callbacks;
pub mod collector;
pub mod database;
pub mod gate;
pub mod klarna;
pub mod ledger_file;
pub mod operator;
pub mod process;
pub mod pty;
pub mod relay;
pub mod script;
pub mod shop;
pub mod site;
pub mod socket;
pub mod terminator;
pub mod time;
pub mod wire;
pub mod world;
