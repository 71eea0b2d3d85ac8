//! A fixed load through the real program: TLS in front, a shop behind, the ledger on disk.
//!
//! `cargo bench --bench end_to_end`. The gateway is a process of its own, started with the release build and a config
//! of defaults, so that its CPU time can be told from that of the load and of the shop. Beside it stands a relay, which
//! takes TLS off and passes bytes on, and nothing else: what is measured is shown as a ratio to it, because numbers
//! alone say more about the machine than about the gateway. Rounds alternate between the two.

// A bench talks to a person.
#![allow(clippy::print_stdout)]

mod load;
mod relay;
mod wire;
mod world;

use std::error::Error;
use std::time::Duration;

use load::{Load, Sample};
use world::{Door, World};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const ROUNDS: usize = 5;
const LOADS: [(&str, Load); 5] = [
    ("traffic, 1 KiB, keep-alive, 16 connections", Load::Traffic { connections: 16, requests: 16_000 }),
    ("traffic, 1 KiB, keep-alive, 64 connections", Load::Traffic { connections: 64, requests: 16_000 }),
    ("traffic, 1 KiB, a TLS connection for each request", Load::Fresh { connections: 16, requests: 800 }),
    ("authorization callbacks, each another one", Load::Unique { connections: 32, requests: 6_000 }),
    ("authorization callbacks that the shop has had", Load::Repeated { connections: 32, requests: 10_000 }),
];

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(relay::ARGUMENT) {
        return relay::run(&arguments.collect::<Vec<_>>());
    }
    tokio::runtime::Runtime::new()?.block_on(bench())
}

async fn bench() -> Outcome<()> {
    let mut world = World::start().await?;
    println!("median of {ROUNDS} rounds (smallest–largest); the relay takes TLS off and passes bytes on");
    for (name, load) in LOADS {
        let (mut gateway, mut relay) = (Vec::new(), Vec::new());
        // Without a sample: connections to the shop are opened, caches fill.
        load.run(&mut world, Door::Gateway).await?;
        load.run(&mut world, Door::Relay).await?;
        for _ in 0..ROUNDS {
            gateway.push(load.run(&mut world, Door::Gateway).await?);
            relay.push(load.run(&mut world, Door::Relay).await?);
        }
        println!("\n{name}");
        show("kallback", &gateway, &relay);
        show("relay", &relay, &relay);
    }
    Ok(())
}

fn show(name: &str, own: &[Sample], peer: &[Sample]) {
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let cpu: Vec<f64> = own.iter().map(|sample| micros(sample.cpu_per_request)).collect();
    let to_peer = |read: fn(&Sample) -> f64| -> Vec<f64> {
        own.iter().zip(peer).map(|(own, peer)| read(own) / read(peer)).collect()
    };
    println!(
        "  {name:<9} CPU {} µs a request, {} of the relay; {} requests/s, {} of the relay; p50 {} ms, p99 {} ms",
        spread(cpu),
        spread(to_peer(|sample| sample.cpu_per_request.as_secs_f64())),
        spread(own.iter().map(|sample| sample.requests_per_second).collect()),
        spread(to_peer(|sample| sample.requests_per_second)),
        spread(own.iter().map(|sample| micros(sample.p50) / 1e3).collect()),
        spread(own.iter().map(|sample| micros(sample.p99) / 1e3).collect()),
    );
}

fn spread(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let (Some(least), Some(most), Some(median)) = (values.first(), values.last(), values.get(values.len() / 2)) else {
        return String::new();
    };
    let digits = if *median >= 100.0 { 0 } else { 2 };
    format!("{median:.digits$} ({least:.digits$}–{most:.digits$})")
}
