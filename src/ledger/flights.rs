//! What this process is delivering right now, so that a second call joins the first.
//!
//! In memory only: it stands in front of every ledger backend and goes on working while the backend is broken.
//! Its size is bounded by the calls under way, which the connection and seat limits bound.
//!
//! Also keeps turns: notices of one turn go to the shop one after the other, in the order in which they boarded.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use crate::event::Fingerprint;
use crate::ledger::{NoticeId, Standing};

/// All deliveries under way. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Flights(Arc<Sky>);

#[derive(Debug, Default)]
struct Sky {
    board: Mutex<Board>,
    landed: Notify,
}

#[derive(Debug, Default)]
struct Board {
    in_the_air: HashMap<Fingerprint, Joined>,
    turns: HashMap<Fingerprint, VecDeque<Arc<Notify>>>,
    abandoned: Vec<NoticeId>,
    /// Somebody asked for a place or a turn that was taken, and was not told yet that one came free.
    held_up: bool,
}

/// What a call meets.
#[derive(Debug)]
pub enum Boarding {
    /// Nobody delivers this notice: the caller does.
    First(Flight),
    /// Somebody does.
    Second(Joined),
}

/// The only delivery of a notice in this process. Dropping it lets the next call be first again; dropping it
/// before [`land`](Flight::land) tells the ledger that its record was abandoned.
#[derive(Debug)]
pub struct Flight {
    fingerprint: Fingerprint,
    course: Course,
    word: Arc<Mutex<Word>>,
    record: Option<NoticeId>,
}

/// What a delivery needs of its flight while somebody else holds the flight: a ledger that takes too long. Not worth
/// anything once the flight is dropped.
#[derive(Clone, Debug)]
pub struct Course {
    sky: Flights,
    turn: Fingerprint,
    /// The flight's place in the queue of its turn; the pointer is its name there.
    place: Arc<Notify>,
    standing: watch::Sender<Option<Standing>>,
}

/// A place in a delivery: of whoever waits for its outcome.
#[derive(Clone, Debug)]
pub struct Joined {
    standing: watch::Receiver<Option<Standing>>,
    word: Arc<Mutex<Word>>,
}

/// Whether somebody who waits may still give the sender kallback's own word for the notice, or has done so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Word {
    /// Not on disk: no.
    Unrecorded,
    /// On disk: yes.
    MayBeGiven,
    /// The sender was answered 2xx by kallback itself.
    Given,
    /// The delivery is over; its outcome is the answer.
    TooLate,
}

impl Flights {
    /// Takes the notice's place in the air and the last place in its turn, or joins who has it.
    pub fn board(&self, fingerprint: Fingerprint, turn: Fingerprint) -> Boarding {
        let mut board = self.lock();
        match board.in_the_air.get(&fingerprint) {
            Some(joined) => Boarding::Second(joined.clone()),
            None => Boarding::First(self.take_off(&mut board, fingerprint, turn)),
        }
    }

    /// Takes the notice's place in the air if nobody has it and nobody of the same turn is under way.
    pub fn board_alone(&self, fingerprint: Fingerprint, turn: Fingerprint) -> Option<Flight> {
        let mut board = self.lock();
        board.has_room(fingerprint, turn).then(|| self.take_off(&mut board, fingerprint, turn))
    }

    /// Whether [`board_alone`](Self::board_alone) would succeed now.
    pub fn is_free(&self, fingerprint: Fingerprint, turn: Fingerprint) -> bool {
        self.lock().has_room(fingerprint, turn)
    }

    /// The records whose holders vanished since the last call.
    pub fn take_abandoned(&self) -> Vec<NoticeId> {
        std::mem::take(&mut self.lock().abandoned)
    }

    /// They could not be seen to: they are there at the next call again.
    pub fn put_back_abandoned(&self, records: Vec<NoticeId>) {
        self.lock().abandoned.extend(records);
    }

    /// Whether there are records whose holders vanished.
    pub fn has_abandoned(&self) -> bool {
        !self.lock().abandoned.is_empty()
    }

    /// Waits until a delivery ended that matters to whoever looks for due claims, or returns at once if one did since
    /// the last call: one that is to be brought again or vanished, or any, if a claim was found held up by something in
    /// the air. The others, which are nearly all, wake nobody. For one waiter.
    pub async fn until_one_ended(&self) {
        self.0.landed.notified().await;
    }

    /// How many deliveries are under way.
    pub fn len(&self) -> usize {
        self.lock().in_the_air.len()
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn take_off(&self, board: &mut Board, fingerprint: Fingerprint, turn: Fingerprint) -> Flight {
        let (standing, receiver) = watch::channel(None);
        let place = Arc::new(Notify::new());
        let word = Arc::new(Mutex::new(Word::Unrecorded));
        board.in_the_air.insert(fingerprint, Joined { standing: receiver, word: word.clone() });
        board.turns.entry(turn).or_default().push_back(place.clone());
        let course = Course { sky: self.clone(), turn, place, standing };
        Flight { fingerprint, course, word, record: None }
    }

    fn lock(&self) -> MutexGuard<'_, Board> {
        // No code panics while holding it, and the map stays whole if one did.
        self.0.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Board {
    /// Whether place and turn are free; if not, the next landing is told of.
    fn has_room(&mut self, fingerprint: Fingerprint, turn: Fingerprint) -> bool {
        let has_room = !self.in_the_air.contains_key(&fingerprint) && !self.turns.contains_key(&turn);
        self.held_up |= !has_room;
        has_room
    }

    fn is_first(&self, turn: Fingerprint, place: &Arc<Notify>) -> bool {
        let queue = self.turns.get(&turn);
        queue.is_none_or(|queue| !queue.iter().any(|other| Arc::ptr_eq(other, place)) || heads(queue, place))
    }

    /// Leaves the queue of a turn and calls whoever is first then.
    fn leave(&mut self, turn: Fingerprint, place: &Arc<Notify>) {
        let Some(queue) = self.turns.get_mut(&turn) else { return };
        queue.retain(|other| !Arc::ptr_eq(other, place));
        match queue.front() {
            Some(next) => next.notify_one(),
            None => drop(self.turns.remove(&turn)),
        }
    }
}

fn heads(queue: &VecDeque<Arc<Notify>>, place: &Arc<Notify>) -> bool {
    queue.front().is_some_and(|first| Arc::ptr_eq(first, place))
}

impl Course {
    /// Waits until every earlier flight of the same turn was resolved or is gone.
    pub async fn my_turn(&self) {
        while !self.is_my_turn() {
            self.place.notified().await;
        }
    }

    /// Whether every earlier flight of the same turn was resolved or is gone.
    pub fn is_my_turn(&self) -> bool {
        self.sky.lock().is_first(self.turn, &self.place)
    }

    /// Tells everybody who joined how the notice stands, and lets the next one of the turn go. What is told first
    /// counts. Who joined stays joined until the flight lands.
    pub fn resolve(&self, standing: Standing) {
        self.standing.send_if_modified(|told| {
            let first = told.is_none();
            told.get_or_insert(standing);
            first
        });
        self.sky.lock().leave(self.turn, &self.place);
    }
}

impl Flight {
    /// See [`Course::my_turn`].
    pub async fn my_turn(&self) {
        self.course.my_turn().await;
    }

    /// What a delivery needs while the ledger holds the flight.
    pub fn course(&self) -> Course {
        self.course.clone()
    }

    /// Names the record on disk that this flight delivers; from now on its loss is noticed.
    pub fn carries(&mut self, record: NoticeId) {
        self.record = Some(record);
        *lock(&self.word) = Word::MayBeGiven;
    }

    /// The record is on disk, and another process delivers it.
    pub fn is_held_elsewhere(&mut self) {
        *lock(&self.word) = Word::MayBeGiven;
    }

    /// The shop is done with it: nobody answers in its place any more. Says whether somebody did.
    pub fn conclude(&self) -> bool {
        let mut word = lock(&self.word);
        std::mem::replace(&mut *word, Word::TooLate) == Word::Given
    }

    /// See [`Course::resolve`].
    pub fn resolve(&self, standing: Standing) {
        self.course.resolve(standing);
    }

    /// A place in this delivery.
    pub fn joined(&self) -> Joined {
        Joined { standing: self.course.standing.subscribe(), word: self.word.clone() }
    }

    /// The outcome is recorded: dropping the flight is in order now.
    pub fn land(&mut self) {
        self.record = None;
    }

    /// The notice's fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let Course { sky, turn, place, .. } = &self.course;
        let comes_again =
            self.record.is_some() || matches!(*self.course.standing.borrow(), Some(Standing::WillRedeliver));
        let mut board = sky.lock();
        board.in_the_air.remove(&self.fingerprint);
        board.leave(*turn, place);
        board.abandoned.extend(self.record.take());
        let held_up = std::mem::take(&mut board.held_up);
        drop(board);
        if comes_again || held_up {
            sky.0.landed.notify_one();
        }
    }
}

impl Joined {
    /// A place in a delivery that stands like this already.
    pub fn resolved(standing: Standing) -> Self {
        Self { standing: watch::channel(Some(standing)).1, word: Arc::new(Mutex::new(Word::TooLate)) }
    }

    /// Waits for the outcome. `None` when the holder vanished: if the notice was stored, kallback or the sender
    /// will bring it again.
    pub async fn standing(&mut self) -> Option<Standing> {
        match self.standing.wait_for(Option::is_some).await {
            Ok(standing) => standing.clone(),
            Err(_) => None,
        }
    }

    /// Whether the sender may be answered 2xx before the shop was: only what is on disk, and only while the outcome
    /// is open. If so, the delivery knows of it from now on.
    pub fn answer_for_the_shop(&self) -> bool {
        let mut word = lock(&self.word);
        if *word == Word::MayBeGiven {
            *word = Word::Given;
        }
        *word == Word::Given
    }
}

fn lock(word: &Mutex<Word>) -> MutexGuard<'_, Word> {
    // Nothing panics while it is held.
    word.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOTICE: Fingerprint = Fingerprint([7; 32]);
    const OTHER: Fingerprint = Fingerprint([8; 32]);
    const THIRD: Fingerprint = Fingerprint([9; 32]);
    const TURN: Fingerprint = Fingerprint([1; 32]);

    fn first(flights: &Flights, fingerprint: Fingerprint) -> Flight {
        match flights.board(fingerprint, TURN) {
            Boarding::First(flight) => flight,
            Boarding::Second(_) => panic!("somebody is there"),
        }
    }

    fn second(flights: &Flights, fingerprint: Fingerprint) -> Joined {
        match flights.board(fingerprint, TURN) {
            Boarding::Second(joined) => joined,
            Boarding::First(_) => panic!("nobody is there"),
        }
    }

    #[tokio::test]
    async fn the_second_call_learns_what_the_first_one_got() {
        let flights = Flights::default();
        let flight = first(&flights, NOTICE);
        let mut joined = second(&flights, NOTICE);
        flight.resolve(Standing::WillRedeliver);
        assert!(matches!(joined.standing().await, Some(Standing::WillRedeliver)));
        drop(flight);
        assert!(matches!(flights.board(NOTICE, TURN), Boarding::First(_)));
        assert!(flights.is_empty());
    }

    #[tokio::test]
    async fn a_flight_that_vanishes_leaves_its_record_to_be_found() {
        let flights = Flights::default();
        let mut flight = first(&flights, NOTICE);
        let mut joined = second(&flights, NOTICE);
        flight.carries(17);
        drop(flight);
        assert!(joined.standing().await.is_none());
        assert!(flights.has_abandoned());
        assert_eq!(flights.take_abandoned(), [17]);
        assert!(flights.take_abandoned().is_empty());
    }

    #[test]
    fn only_what_is_on_disk_and_still_open_is_answered_in_the_shops_place() {
        let flights = Flights::default();
        let mut flight = first(&flights, NOTICE);
        let joined = second(&flights, NOTICE);
        assert!(!joined.answer_for_the_shop(), "nothing is on disk yet");
        flight.carries(17);
        assert!(!flight.conclude(), "nobody was answered");
        assert!(!joined.answer_for_the_shop(), "the outcome is known");

        let mut other = first(&flights, OTHER);
        other.carries(18);
        let joined = second(&flights, OTHER);
        assert!(joined.answer_for_the_shop());
        assert!(other.conclude(), "the delivery knows that the sender was answered");
    }

    #[tokio::test]
    async fn what_was_told_first_counts() {
        let flights = Flights::default();
        let flight = first(&flights, NOTICE);
        flight.resolve(Standing::GivenUp(None, crate::ledger::GaveUp::TooSlow));
        flight.resolve(Standing::WillRedeliver);
        assert!(matches!(flight.joined().standing().await, Some(Standing::GivenUp(..))));
    }

    #[test]
    fn a_flight_that_landed_is_not_missed() {
        let flights = Flights::default();
        let mut flight = first(&flights, NOTICE);
        flight.carries(17);
        flight.land();
        drop(flight);
        assert!(flights.take_abandoned().is_empty());
    }

    /// Whether it is the flight's turn already; the paused clock moves only when nobody else can.
    async fn may_go(flight: &Flight) -> bool {
        tokio::time::timeout(Duration::from_secs(1), flight.my_turn()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn notices_of_one_turn_go_one_after_the_other_in_the_order_they_came() {
        let flights = Flights::default();
        let (one, two, three) = (first(&flights, NOTICE), first(&flights, OTHER), first(&flights, THIRD));
        assert!(may_go(&one).await);
        assert!(!may_go(&two).await && !may_go(&three).await);
        one.resolve(Standing::WillRedeliver);
        assert!(may_go(&two).await && !may_go(&three).await);
        assert!(may_go(&one).await, "who is done is held up by nobody");
        drop(two);
        assert!(may_go(&three).await);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_leaves_the_queue_early_does_not_let_the_next_overtake_the_first() {
        let flights = Flights::default();
        let (one, two, three) = (first(&flights, NOTICE), first(&flights, OTHER), first(&flights, THIRD));
        drop(two);
        assert!(!may_go(&three).await);
        drop(one);
        assert!(may_go(&three).await);
    }

    #[tokio::test]
    async fn boarding_alone_needs_both_the_place_and_the_turn() {
        let flights = Flights::default();
        let one = flights.board_alone(NOTICE, TURN).unwrap();
        assert!(flights.board_alone(NOTICE, OTHER).is_none());
        assert!(flights.board_alone(OTHER, TURN).is_none());
        assert!(flights.is_free(OTHER, OTHER));
        drop(one);
        flights.until_one_ended().await;
        assert!(flights.board_alone(OTHER, TURN).is_some());
    }

    async fn is_told_of_a_landing(flights: &Flights) -> bool {
        tokio::time::timeout(Duration::from_secs(1), flights.until_one_ended()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_landing_that_somebody_has_to_look_at_is_told() {
        let flights = Flights::default();
        drop(first(&flights, NOTICE));
        assert!(!is_told_of_a_landing(&flights).await, "nobody waited");

        let flight = first(&flights, NOTICE);
        assert!(!flights.is_free(NOTICE, OTHER));
        drop(flight);
        assert!(is_told_of_a_landing(&flights).await, "a claim was held up");
        drop(first(&flights, NOTICE));
        assert!(!is_told_of_a_landing(&flights).await, "it is told once");

        let flight = first(&flights, NOTICE);
        flight.resolve(Standing::WillRedeliver);
        drop(flight);
        assert!(is_told_of_a_landing(&flights).await, "it is to be brought again");

        let mut flight = first(&flights, NOTICE);
        flight.carries(17);
        drop(flight);
        assert!(is_told_of_a_landing(&flights).await, "it vanished");
    }
}
