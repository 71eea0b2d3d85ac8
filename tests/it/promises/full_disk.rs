//! Fifth promise with a disk that is really full, as far as the process can tell: the system refuses to let any of
//! its files grow.

use crate::support::callbacks::{Callback, Purchase};
use crate::support::gate::Gate;
use crate::support::operator::{Books, Operator, eventually};
use crate::support::process::{Process, without_file_limit_signal};
use crate::support::script::Act;
use crate::support::site::Site;
use crate::support::time::patiently;

#[tokio::test]
async fn with_a_full_disk_callbacks_pass_through_and_with_room_everything_is_recorded_again() {
    let mut site = Site::new().await;
    let soon = ["callbacks.kinds.authorization.answer_within=100 ms", "ledger.admit_within=50 ms"];
    let process = Process::start(without_file_limit_signal(&site.command(&soon))).await;
    let operator = Operator::at(process.admin);
    assert_eq!(authorize(&site, &process).await, 200);
    let one = Books { accepted: 1, settled: 1, ..Books::default() };
    operator.wait_for_books(one).await;

    process.limit_files_to(Some(1));
    assert_eq!(authorize(&site, &process).await, 200);
    assert!(operator.metric("kallback_ledger_failures_total", &[]).await >= 1.0);
    assert_eq!(operator.is_ready().await, Some(true));
    two_calls_wait_for_the_shop(&site, &process).await;
    site.shop.next(Act::reply(500));
    assert_eq!(authorize(&site, &process).await, 500);
    site.shop.go_down().await;
    assert_eq!(authorize(&site, &process).await, 502);
    site.shop.come_back().await;
    site.shop.saw(5);
    assert_eq!(operator.books().await, one);

    process.limit_files_to(None);
    eventually("a record", async || {
        assert_eq!(authorize(&site, &process).await, 200);
        operator.books().await.accepted > 1
    })
    .await;
    eventually("the shop's success in it", async || operator.books().await.pending == 0).await;
    let books = operator.books().await;
    process.kill().await;
    let process = site.start(&[]).await;
    assert_eq!(Operator::at(process.admin).books().await, books);
}

/// Nobody may answer them before the shop does, however late that is.
async fn two_calls_wait_for_the_shop(site: &Site, process: &Process) {
    let gate = Gate::closed();
    site.shop.next(Act::minus_one(200).once_open(&gate));
    let callback = site.authorization(&Purchase::new());
    let calls = [(); 2].map(|()| {
        let (somebody, callback) = (site.somebody(process), callback.clone());
        tokio::spawn(async move { somebody.call(&callback).await })
    });
    let operator = Operator::at(process.admin);
    let joined = [("kind", "authorization"), ("state", "in_flight")];
    operator.wait_for_metric("kallback_duplicates_total", &joined, 1.0).await;
    site.shop.wait_for_requests(3).await;
    // Well beyond the deadline, in the gateway's time: another slow call came and went meanwhile.
    site.shop.next_for("/slow", Act::reply(200).after(std::time::Duration::from_millis(200)));
    assert_eq!(site.somebody(process).call(&Callback::page("/slow")).await.unwrap().status, 200);
    assert!(calls.iter().all(|call| !call.is_finished()), "answered by nobody who may");
    gate.open();
    for call in calls {
        assert_eq!(patiently("the shop's answer", call).await.unwrap().unwrap().text(), "-1");
    }
}

async fn authorize(site: &Site, process: &Process) -> u16 {
    site.somebody(process).call(&site.authorization(&Purchase::new())).await.unwrap().status
}
