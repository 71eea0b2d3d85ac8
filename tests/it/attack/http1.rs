//! The corpus of HTTP/1 attacks, each on a connection of its own.

use super::http1_corpus::{Attack, CORPUS};
use super::{Fate, Fortress, SMUGGLED, soon};
use crate::support::klarna::Silence;

#[tokio::test]
async fn every_attack_over_http1_is_refused_or_means_one_thing() {
    let fortress = Fortress::build().await;
    let mut faults = Vec::new();
    for (number, attack) in CORPUS.iter().enumerate() {
        faults.extend(strike(&fortress, attack, number).await);
        fortress.serves_the_honest(attack.name).await;
    }
    fortress.stands("all of them").await;
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), CORPUS.len(), faults.join("\n"));
    eprintln!("attack: {} HTTP/1 requests, 0 smuggled", CORPUS.len());
}

#[tokio::test]
async fn an_endless_head_is_cut_off_at_its_bound() {
    let fortress = Fortress::build().await;
    for piece in ["x-header: value\r\n".repeat(64), "x".repeat(4096)] {
        let mut line = fortress.caller().connect().await.unwrap();
        line.write(b"GET /endless HTTP/1.1\r\nhost: shop.example\r\nx-first: ").await;
        for _ in 0..1024 {
            line.write(piece.as_bytes()).await;
        }
        let refused = line.reply_to("GET").await;
        assert!(refused.as_ref().is_err() || refused.as_ref().unwrap().status == 431, "{refused:?}");
    }
    assert!(fortress.seen("/endless").is_empty());
    fortress.stands("endless heads").await;
}

#[tokio::test]
async fn endless_chunk_extensions_and_trailers_are_cut_off() {
    let fortress = Fortress::build().await;
    for (start, piece) in [("5;", "x".repeat(4096)), ("0\r\n", "x-trailer: value\r\n".repeat(64))] {
        let mut line = fortress.caller().connect().await.unwrap();
        line.write(b"POST /endless HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\r\n").await;
        line.write(start.as_bytes()).await;
        for _ in 0..1024 {
            line.write(piece.as_bytes()).await;
        }
        let outcome = line.reply_to("POST").await;
        assert!(outcome.as_ref().is_err() || outcome.as_ref().unwrap().status >= 400, "{outcome:?}");
    }
    assert!(fortress.seen("/endless").iter().all(|seen| !seen.whole));
    fortress.stands("endless chunk lines").await;
}

/// Sends one attack, and says what should not have happened.
async fn strike(fortress: &Fortress, attack: &Attack, number: usize) -> Option<String> {
    let target = format!("/attack/{number}");
    let mut line = fortress.caller().connect().await.unwrap();
    line.write(&attack.bytes(&target, SMUGGLED)).await;
    let method = if attack.head.starts_with(b"HEAD") { "HEAD" } else { "POST" };
    let outcome = soon(attack.name, line.reply_to(method)).await;
    let status = match &outcome {
        Ok(answered) => Some(answered.status),
        // Cut off without a word is a refusal too; silence is not.
        Err(failed) if matches!(failed.why, Silence::HungUp(_)) => None,
        Err(failed) => return Some(format!("{}: {failed:?}", attack.name)),
    };
    let seen = fortress.seen(&target);
    let is_as_it_should = match attack.fate {
        Fate::Refused => {
            // Whatever comes after it on that connection has no sure meaning.
            let rest = soon("the end of a refused connection", line.read_to_end()).await.unwrap_or_default();
            let refused = status.is_none_or(|status| (400..500).contains(&status) || status == 505);
            refused && rest.is_empty() && seen.iter().all(|seen| !seen.whole)
        }
        Fate::Served => status == Some(200) && seen.len() == 1 && seen[0].whole,
    };
    (!is_as_it_should)
        .then(|| format!("{}: {:?}, status {status:?}, {} at the shop", attack.name, attack.fate, seen.len()))
}
