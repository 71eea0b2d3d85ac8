//! `kallback explain`: what would kallback do with this request, and why? Offline, by the gateway's own code.

mod judge;
mod nearest;
mod words;

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use bytes::Bytes;
use clap::Args;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use thiserror::Error;

use crate::app::Settings;
use crate::clock::Clock;
use crate::probe::{NotAUrl, Origin};
use crate::recognise::UnknownPreset;

/// `kallback explain …`
#[derive(Clone, Debug, Args)]
pub(super) struct Arguments {
    /// The request's method.
    #[arg(value_parser = method)]
    method: Method,
    /// Its URL, or path and query, byte for byte as it comes in.
    url: String,
    /// Its body.
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// A header line; may be repeated. With --body and no content-type, JSON is assumed.
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    header: Vec<(HeaderName, HeaderValue)>,
    /// File with the token keys; without it those of the config.
    #[arg(long, value_name = "FILE")]
    pub(super) key_file: Option<PathBuf>,
    /// Print one JSON object, for programs.
    #[arg(long)]
    json: bool,
}

/// Why nothing can be explained.
#[derive(Debug, Error)]
pub(super) enum ExplainFault {
    /// The URL cannot be read.
    #[error(transparent)]
    Url(#[from] NotAUrl),
    /// No request can ask for this.
    #[error("no HTTP request can ask for `{0}`: {1}")]
    Target(String, #[source] http::uri::InvalidUri),
    /// See [`UnknownPreset`].
    #[error(transparent)]
    Preset(#[from] UnknownPreset),
    /// The body cannot be read.
    #[error("cannot read {0}: {1}")]
    Body(PathBuf, #[source] io::Error),
    /// The output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

/// The request that is asked about.
struct Question {
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Bytes,
}

/// Explains. The exit code is 0 for a callback that would be let through, and 1 for everything else.
pub(super) fn run(
    arguments: &Arguments,
    settings: &Settings,
    clock: &Clock,
    out: &mut dyn Write,
) -> Result<ExitCode, ExplainFault> {
    let question = question(arguments)?;
    let judgement = judge::judge(&question, settings, clock)?;
    if arguments.json {
        writeln!(out, "{}", words::as_json(&question, &judgement, settings))?;
    } else {
        words::write(&question, &judgement, settings, out)?;
    }
    Ok(if judgement.lets_through() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn question(arguments: &Arguments) -> Result<Question, ExplainFault> {
    let url = arguments.url.as_str();
    let target = match url.starts_with('/') {
        true => url.split('#').next().unwrap_or_default().to_owned(),
        false => Origin::of(url)?.1,
    };
    // As strictly as the front door reads it.
    target.parse::<PathAndQuery>().map_err(|why| ExplainFault::Target(target.clone(), why))?;
    let body = match &arguments.body {
        Some(file) => fs::read(file).map_err(|why| ExplainFault::Body(file.clone(), why))?.into(),
        None => Bytes::new(),
    };
    let mut headers: HeaderMap = HeaderMap::new();
    for (name, value) in &arguments.header {
        headers.append(name, value.clone());
    }
    if !body.is_empty() && !headers.contains_key(http::header::CONTENT_TYPE) {
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    Ok(Question { method: arguments.method.clone(), target, headers, body })
}

fn method(text: &str) -> Result<Method, String> {
    text.parse().map_err(|_| "a method is expected: GET, POST …".to_owned())
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let hint = || "write --header 'Name: value'".to_owned();
    let (name, value) = text.split_once(':').ok_or_else(hint)?;
    Ok((name.trim().parse().map_err(|_| hint())?, value.trim().parse().map_err(|_| hint())?))
}
