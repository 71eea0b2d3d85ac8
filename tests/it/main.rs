//! All integration tests in one binary: start a shop, start kallback, Klarna calls, expect.
//!
//! `support` holds the world that the tests are set in; `world` tests that world itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]
#![allow(clippy::disallowed_methods, unreachable_pub)]
// Helpers come before the tests that need them.
#![allow(dead_code)]

mod admin;
mod architecture;
mod attack;
mod behind_tls;
mod callbacks;
mod cli;
mod crash;
mod delivery;
mod demo;
mod doctor;
mod duplicates;
mod explain;
mod front_door;
mod init;
mod inspector;
mod life;
mod limits;
mod operate;
mod papers;
mod passing;
mod passing_through;
mod probe;
mod promises;
mod questions;
mod replicas;
mod restart;
mod secrets;
mod soak;
mod support;
mod tokens;
mod tracing;
mod trigger;
mod world;
