//! Bringing notices to the shop again: when, how often at once, and when not. Minutes pass in simulated time.

mod again;
mod connections;
mod once_only;
mod outages;
mod pushes;

use kallback::clock::UnixMillis;
use serde_json::Value;

use crate::support::callbacks::{Callback, Purchase};
use crate::support::operator::{Books, Operator};
use crate::support::time::patiently;
use crate::support::world::World;

/// Sends the authorization of a new purchase and says with which status it was answered.
async fn authorize(world: &World) -> u16 {
    let purchase = Purchase::new();
    send(world, Callback::authorization(&purchase), &purchase).await
}

async fn send(world: &World, callback: Callback, purchase: &Purchase) -> u16 {
    let signed = world.signed(callback, purchase);
    patiently("an answer", world.somebody().call(&signed)).await.unwrap().status
}

/// Lets time pass until all of `settled` notices are.
async fn settle(world: &World, settled: u64) {
    let operator = Operator::at(world.admin());
    let books = Books { accepted: settled, settled, ..Books::default() };
    world.time.as_ref().expect("time is frozen").run(operator.wait_for_books(books)).await;
}

/// Record `id`, once attempt number `attempts` failed and the next one has its time.
pub async fn postponed(operator: &Operator, id: u64, attempts: u64) -> Value {
    let is_so = |record: &Value| record["attempts"] == attempts && !record["due_at"].is_null();
    operator.wait_for_callback(id, &format!("a time for the attempt after number {attempts}"), is_so).await
}

/// A time of a record.
fn time(record: &Value, name: &str) -> UnixMillis {
    let text = record[name].as_str().unwrap_or_else(|| panic!("{name} in {record}"));
    UnixMillis(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
}
