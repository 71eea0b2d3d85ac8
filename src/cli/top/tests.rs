//! The view on a terminal that is not there, driven by keys.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::picture::Line;
use super::screen::Key;
use super::*;

/// 80 columns, 24 rows; each step's keys come after one picture.
struct Stage {
    steps: VecDeque<Heard>,
    pictures: Vec<Vec<String>>,
}

impl Terminal for Stage {
    fn size(&self) -> io::Result<(usize, usize)> {
        Ok((80, 24))
    }

    fn show(&mut self, lines: &[Line]) -> io::Result<()> {
        assert!(lines.len() <= 24);
        self.pictures.push(lines.iter().map(Line::plain).collect());
        Ok(())
    }

    fn listen(&mut self) -> io::Result<Heard> {
        Ok(self.steps.pop_front().expect("it ends when it is told to"))
    }
}

fn callback(id: i64, state: &str, more: &Value) -> Callback {
    let mut record = json!({
        "id": id, "kind": "session_status", "route": "woocommerce session_status", "state": state,
        "subject": "0b1bdf8f-7cb2-4a8f-a6d4-a5a9b0e3a7f1", "fingerprint": "00", "accepted_at": "2026-01-15T10:00:00Z",
        "age_seconds": 100 - id, "ended_at": "2026-01-15T10:00:00Z", "due_in_seconds": null,
        "expires_at": "2026-01-15T11:00:00Z", "took_ms": 41, "budget_ms": 2000, "attempts": 1, "repeats": 0,
        "status": 200, "note": null, "blocked_by": null, "advice": null, "replay": "ready",
    });
    record.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Callback::read(record).unwrap()
}

fn look() -> Look {
    let waits = json!({ "took_ms": null, "ended_at": null, "due_in_seconds": 90, "note": "connection refused" });
    let blocked = json!({ "status": 403, "note": "blocked by wordfence-waf", "blocked_by": "wordfence-waf" });
    Look {
        counts: Counts { accepted: 5, pending: 1, settled: 2, dead: 2, left: 0 },
        callbacks: vec![
            callback(5, "settled", &json!({ "took_ms": 1_000 })),
            callback(4, "pending", &waits),
            callback(3, "dead", &blocked),
            callback(2, "dead", &json!({ "subject": "\u{1b}[2J", "replay": "superseded" })),
            callback(1, "settled", &json!({})),
        ],
        whole: Value::Null,
    }
}

/// Presses keys one after the other; the pictures before, between and after them.
fn pictures(keys: &[Key]) -> Vec<Vec<String>> {
    let steps = keys.iter().map(|key| Heard::Keys(vec![*key])).chain([Heard::Keys(Vec::new()), Heard::Stop]);
    let mut stage = Stage { steps: steps.collect(), pictures: Vec::new() };
    let mut view = View::new("127.0.0.1:9090".parse().unwrap(), 3600);
    view.saw(Ok(look()));
    watch(&mut view, &mut stage, &Clock::system(), || Ok(look())).unwrap();
    stage.pictures
}

/// The numbers of the callbacks in a picture.
fn numbers(picture: &[String]) -> Vec<i64> {
    picture[5..23].iter().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect()
}

#[test]
fn it_fits_the_smallest_terminal_and_says_what_is_stuck_and_who_blocks() {
    let picture = pictures(&[]).remove(0);
    assert_eq!(picture.len(), 24);
    assert!(picture.iter().all(|line| line.chars().count() <= 80), "{picture:#?}");
    assert_eq!(picture[0], "kallback at 127.0.0.1:9090   every 3600 s");
    assert_eq!(picture[1], "pending 1, the oldest 1 min old   dead 2   left 0   settled 2   accepted 5");
    assert_eq!(picture[2], "blocked by wordfence-waf 1");
    assert_eq!(numbers(&picture), [5, 4, 3, 2, 1]);
    assert!(picture[5].contains("[#####.....]") && picture[5].contains("1.0 s"), "{}", picture[5]);
    assert!(picture[6].contains("[##########]") && picture[6].contains("connection refu"), "{}", picture[6]);
    assert!(!picture.concat().contains('\u{1b}'), "an order id moves no cursor");
    assert!(picture[23].starts_with("q quit  p pause") && picture[23].ends_with("1/5"), "{}", picture[23]);
}

#[test]
fn keys_filter_sort_and_scroll() {
    let letter = Key::Letter;
    let shown = |keys: &[Key]| numbers(pictures(keys).last().unwrap());
    assert_eq!(shown(&[letter('f')]), [4, 3]);
    assert_eq!(shown(&[letter('f'); 2]), [4]);
    assert_eq!(shown(&[letter('f'); 3]), [3, 2]);
    assert_eq!(shown(&[letter('f'); 4]), [3]);
    assert_eq!(shown(&[letter('f'); 5]), [5, 4, 3, 2, 1]);
    assert_eq!(shown(&[letter('s')]), [1, 2, 3, 4, 5]);
    assert_eq!(shown(&[letter('s'); 2]), [4, 5, 3, 2, 1]);
    assert_eq!(shown(&[Key::Down, Key::Down, Key::Up]), [4, 3, 2, 1]);
    assert_eq!(shown(&[Key::Down; 9]), [1], "one always stays");
    assert_eq!(shown(&[Key::Down, letter('f')]), [4, 3], "another filter starts at its top");
}

#[test]
fn it_ends_at_once_when_somebody_wants_it() {
    for key in [Key::Letter('q'), Key::Escape, Key::Interrupt] {
        assert_eq!(pictures(&[key]).len(), 1, "{key:?}");
    }
}

#[test]
fn it_looks_again_when_told_to_and_not_while_it_is_paused() {
    let looks = |every, keys: &[Key]| {
        let steps = keys.iter().map(|key| Heard::Keys(vec![*key])).chain([Heard::Stop]);
        let mut stage = Stage { steps: steps.collect(), pictures: Vec::new() };
        let mut view = View::new("127.0.0.1:9090".parse().unwrap(), every);
        view.saw(Ok(look()));
        let mut looks = 0;
        let look = || {
            looks += 1;
            Err(AdminFault::NoListener)
        };
        watch(&mut view, &mut stage, &Clock::system(), look).unwrap();
        (looks, stage.pictures.pop().unwrap())
    };
    let letter = Key::Letter;
    assert_eq!(looks(3600, &[letter('x'); 3]).0, 0);
    let (count, picture) = looks(3600, &[letter('r')]);
    assert_eq!(count, 1);
    assert!(picture[0].contains("there is no admin listener"), "{}", picture[0]);
    assert_eq!(numbers(&picture), [5, 4, 3, 2, 1], "what was seen before stays");
    assert_eq!(looks(0, &[letter('x'); 3]).0, 3);
    let (count, picture) = looks(0, &[letter('p'), letter('x'), letter('x')]);
    assert_eq!(count, 0);
    assert!(picture[0].ends_with("paused, as of 0 s ago") && picture[23].contains("p go on"), "{picture:?}");
    assert_eq!(looks(0, &[letter('p'), letter('p')]).0, 1);
}
