//! The operator: what the admin listener tells, and what can be asked of it.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::callbacks::Callback;
use super::klarna::{Answered, Klarna, Limits};
use super::time::patiently;
use super::world::World;

/// Somebody at the admin listener.
#[derive(Clone, Debug)]
pub struct Operator {
    caller: Klarna,
}

/// How many notices there are, by state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Books {
    pub accepted: u64,
    pub settled: u64,
    pub pending: u64,
    pub dead: u64,
    pub left: u64,
}

impl Books {
    /// The second promise: every accepted notice is somewhere.
    pub fn balance(&self) -> bool {
        self.accepted == self.settled + self.pending + self.dead + self.left
    }
}

impl Operator {
    pub fn at(admin: SocketAddr) -> Self {
        Self { caller: Klarna::plain(admin).with_limits(Limits::PATIENT) }.asking_for(&admin.to_string())
    }

    /// Asks for another host.
    pub fn asking_for(self, host: &str) -> Self {
        Self { caller: self.caller.with_host(host) }
    }

    /// Any request.
    pub async fn call(&self, request: &Callback) -> Answered {
        self.caller.call(request).await.unwrap()
    }

    /// What `/counts` says, which must balance whenever it is asked.
    pub async fn books(&self) -> Books {
        let told = self.get("/counts").await;
        let number = |name: &str| told[name].as_u64().unwrap();
        let books = Books {
            accepted: number("accepted"),
            settled: number("settled"),
            pending: number("pending"),
            dead: number("dead"),
            left: number("left"),
        };
        assert!(books.balance(), "{books:?}");
        books
    }

    /// The records that `query` asks for, newest first.
    pub async fn callbacks(&self, query: &str) -> Vec<Value> {
        let told = self.get(&format!("/callbacks?{query}")).await;
        told["callbacks"].as_array().unwrap().clone()
    }

    /// One record.
    pub async fn callback(&self, id: u64) -> Value {
        self.get(&format!("/callbacks/{id}")).await
    }

    /// Waits until record `id` is as it should be.
    pub async fn wait_for_callback(&self, id: u64, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let mut record = Value::Null;
        eventually(what, async || {
            record = self.callback(id).await;
            is_so(&record)
        })
        .await;
        record
    }

    /// Waits until the books say what they should.
    pub async fn wait_for_books(&self, expected: Books) {
        let mut books = Books::default();
        let arrived = async || {
            books = self.books().await;
            books == expected
        };
        eventually(&format!("{expected:?}"), arrived).await;
    }

    /// The sum of a metric's samples that carry all these labels; 0 if there are none.
    pub async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let page = self.caller.call(&Callback::page("/metrics")).await.unwrap();
        let samples = page.text().lines().filter_map(|line| line.rsplit_once(' '));
        let wanted = samples.filter(|(sample, _)| {
            let (found, rest) = sample.split_once('{').unwrap_or((sample, ""));
            found == name && labels.iter().all(|(label, value)| rest.contains(&format!(r#"{label}="{value}""#)))
        });
        wanted.map(|(_, number)| number.parse::<f64>().unwrap()).sum()
    }

    /// Waits until a metric is at least that high.
    pub async fn wait_for_metric(&self, name: &str, labels: &[(&str, &str)], least: f64) {
        let what = format!("{name} {labels:?} of at least {least}");
        eventually(&what, async || self.metric(name, labels).await >= least).await;
    }

    /// Wants a record brought to the shop again, however old it is. The status of the answer.
    pub async fn replay(&self, id: u64) -> u16 {
        self.call(&told(&format!("/callbacks/{id}/replay"), &json!({ "even_if_old": true }))).await.status
    }

    /// Says that an order was acknowledged. How many pushes that concerned.
    pub async fn acknowledge(&self, order: &str) -> u64 {
        let answered = self.call(&told("/acknowledgements", &json!({ "order_id": order }))).await;
        answered.json()["pushes"].as_u64().unwrap()
    }

    /// Whether the gateway says that it is ready. `None` if nobody answers.
    pub async fn is_ready(&self) -> Option<bool> {
        self.caller.call(&Callback::page("/readyz")).await.ok().map(|answered| answered.status == 200)
    }

    async fn get(&self, target: &str) -> Value {
        let answered = self.call(&Callback::page(target)).await;
        assert_eq!(answered.status, 200, "{target}: {}", answered.text());
        answered.json()
    }
}

impl World {
    /// Somebody on the gateway's machine.
    pub fn operator(&self) -> Operator {
        Operator::at(self.admin())
    }

    /// What the admin listener answers.
    pub async fn ask(&self, target: &str) -> Answered {
        self.operator().call(&Callback::page(target)).await
    }

    /// The same when it is told something.
    pub async fn tell(&self, target: &str, json: &Value) -> Answered {
        self.operator().call(&told(target, json)).await
    }

    /// All records, newest first.
    pub async fn records(&self) -> Vec<Value> {
        self.operator().callbacks("").await
    }

    /// The only record. Fails the test if there are more or none.
    pub async fn record(&self) -> Value {
        let mut records = self.records().await;
        assert_eq!(records.len(), 1, "{records:?}");
        records.remove(0)
    }

    /// Waits until so many notices were settled, and none stands otherwise.
    pub async fn until_settled(&self, settled: u64) {
        self.until_books(Books { accepted: settled, settled, ..Books::default() }).await;
    }

    /// Waits until the books say what they should. Time need not pass for that.
    pub async fn until_books(&self, expected: Books) {
        self.operator().wait_for_books(expected).await;
    }
}

/// A request that tells the admin listener something.
pub fn told(target: &str, json: &Value) -> Callback {
    let post = Callback::page(target).with_method("POST").with_header("content-type", "application/json");
    post.with_body(json.to_string())
}

/// Asks again and again until it is so, and fails the test if it never is. Time need not pass for that.
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    };
    patiently(what, asking).await;
}
