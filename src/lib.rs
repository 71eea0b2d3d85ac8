//! kallback stands in front of a shop and makes sure that every callback that Klarna or Kustom sends reaches it once,
//! in time, and only from somebody who knows the session's secret.
//!
//! The modules, in the order in which a request meets them. Start with [`gateway`] and [`callback`].
//!
//! | step | module |
//! |---|---|
//! | accept, TLS, framing, one HTTP connection | [`server`], [`caller_body`] |
//! | a callback, or traffic? | [`gateway`], which asks [`recognise`] |
//! | how often, how large, whose turn at the shop | [`limits`] |
//! | **callback**: verify → read → admit → deliver | [`callback`] |
//! | who calls: token or signature | [`token`] |
//! | what a callback is, what makes two the same | [`event`] |
//! | claim and copy on disk, joins, ends | [`ledger`] |
//! | one attempt now, others later | [`delivery`] |
//! | **traffic**: streaming both ways | [`forward`] |
//! | the only client that reaches the shop | [`upstream`], [`message`] |
//! | outcome → status, the only table | [`answer`] |
//! | beside the path | [`admin`], [`metrics`], [`trace`], [`export`], [`clock`], [`network`] |
//! | start, settings, commands, the demo | [`app`], [`config`], [`cli`], [`demo`] |
//! | for the commands that try a shop from outside | [`doctor`], [`klarna`], [`probe`] |
//!
//! What holds everywhere, and what there is not, stands in `ARCHITECTURE.md`; `tests/it/architecture.rs` checks who may
//! import whom.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods))]

pub mod caller_body;
pub mod server;

pub mod gateway;
pub mod recognise;

pub mod limits;

pub mod callback;
pub mod event;
pub mod token;

pub mod delivery;
pub mod ledger;

pub mod forward;
pub mod message;
pub mod upstream;

pub mod answer;

pub mod admin;
pub mod clock;
pub mod export;
pub mod metrics;
pub mod network;
pub mod trace;

pub mod app;
pub mod cli;
pub mod config;
pub mod demo;

pub mod doctor;
pub mod klarna;
pub mod probe;
