//! Seats at the shop: how many requests may be there at once, and who goes first.
//!
//! A shop has a handful of workers. Without seats a rush of page views takes them all, and a callback waits behind
//! pages that nobody pays for. So some seats are kept for callbacks, and whenever one is free, a waiting callback
//! gets it before a waiting page view.
//!
//! Among page views a freed seat goes to one that waits on the thread that freed it, if there is one: waking another
//! thread costs both of them more than a small page. How often the longest waiting one can be passed over is bounded.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use thiserror::Error;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::SeatSettings;
use crate::clock::Clock;
use crate::metrics::{Event, ShopClass, Telemetry};

/// Whoever waits longest is passed over by at most so many in a row that wait on the thread where a seat is freed.
const PASSED_OVER_MAX: usize = 16;
/// So many of the longest waiting are looked at for one on that thread.
const LOOKED_AT_MAX: usize = 128;

/// The seats at the shop, shared by all workers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Seats(Arc<Shared>);

/// One request's place at the shop; dropping it frees the seat.
#[derive(Debug)]
#[must_use = "the seat is free again once this is dropped"]
pub struct Seat {
    shared: Arc<Shared>,
    class: ShopClass,
}

/// No seat came free.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum NoSeat {
    /// Too many requests wait already.
    #[error("the shop is full, and so is the queue")]
    QueueFull,
    /// None came free in time.
    #[error("the shop is full")]
    TooLate,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    seats_max: usize,
    /// All seats but those that only callbacks may take.
    traffic_max: usize,
    settings: SeatSettings,
    clock: Clock,
    telemetry: Telemetry,
}

#[derive(Debug, Default)]
struct State {
    callbacks: Line,
    traffic: Line,
    next_ticket: u64,
}

/// One class: who sits and who waits, longest first.
#[derive(Debug, Default)]
struct Line {
    seated: usize,
    waiting: VecDeque<Waiter>,
    /// How often in a row the first of those who wait was passed over.
    passed_over: usize,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    /// Where it waits; it may be somewhere else by the time it is woken, at the price of a wake-up.
    thread: ThreadId,
    hand: oneshot::Sender<Seat>,
}

impl Seats {
    /// Free seats. At least one is open to traffic, whatever the settings reserve.
    pub fn new(settings: SeatSettings, clock: Clock, telemetry: Telemetry) -> Self {
        let seats_max = settings.max_in_flight.max(1);
        let traffic_max = seats_max.saturating_sub(settings.reserved_for_callbacks).max(1);
        Self(Arc::new(Shared { state: Mutex::default(), seats_max, traffic_max, settings, clock, telemetry }))
    }

    /// A seat for a callback, own redeliveries included: before all waiting traffic, after earlier callbacks.
    ///
    /// # Errors
    /// [`NoSeat::TooLate`] if none came free by `deadline`.
    pub async fn for_callback(&self, deadline: Instant) -> Result<Seat, NoSeat> {
        let place = match self.0.sit_or_queue(ShopClass::Callback, usize::MAX)? {
            Place::Seat(seat) => return Ok(seat),
            Place::Queue(place) => place,
        };
        place.wait(deadline).await
    }

    /// A seat for other traffic. Waits for [`SeatSettings::traffic_waits_at_most`].
    ///
    /// # Errors
    /// [`NoSeat`]: answer `503` with a `Retry-After`.
    pub async fn for_traffic(&self) -> Result<Seat, NoSeat> {
        let place = match self.0.sit_or_queue(ShopClass::Traffic, self.0.settings.waiting_traffic_max)? {
            Place::Seat(seat) => return Ok(seat),
            Place::Queue(place) => place,
        };
        let deadline = self.0.clock.instant() + self.0.settings.traffic_waits_at_most;
        place.wait(deadline).await
    }
}

impl Seat {
    /// Who sits here.
    pub fn class(&self) -> ShopClass {
        self.class
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.free(self.class);
    }
}

enum Place {
    Seat(Seat),
    Queue(Queued),
}

impl Shared {
    fn sit_or_queue(self: &Arc<Self>, class: ShopClass, waiting_max: usize) -> Result<Place, NoSeat> {
        let mut state = self.lock();
        if self.has_room(&state, class) {
            self.seat_one(&mut state, class);
            return Ok(Place::Seat(Seat { shared: Arc::clone(self), class }));
        }
        if state.line(class).waiting.len() >= waiting_max {
            return Err(NoSeat::QueueFull);
        }
        let (hand, seat) = oneshot::channel();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.line(class).waiting.push_back(Waiter { ticket, thread: thread::current().id(), hand });
        Ok(Place::Queue(Queued { shared: Arc::clone(self), class, ticket, seat }))
    }

    /// Seats are handed on the moment they are freed, so whoever finds room has nobody before them.
    fn has_room(&self, state: &State, class: ShopClass) -> bool {
        let taken = state.callbacks.seated + state.traffic.seated;
        taken < self.seats_max && (class == ShopClass::Callback || state.traffic.seated < self.traffic_max)
    }

    fn seat_one(&self, state: &mut State, class: ShopClass) {
        state.line(class).seated += 1;
        self.tell(state, class);
    }

    fn free(self: &Arc<Self>, class: ShopClass) {
        let mut state = self.lock();
        state.line(class).seated = state.line(class).seated.saturating_sub(1);
        let Some((waiter, next)) = self.next_to_sit(&mut state) else {
            self.tell(&mut state, class);
            return;
        };
        state.line(next).seated += 1;
        if next != class {
            self.tell(&mut state, class);
            self.tell(&mut state, next);
        }
        drop(state);
        // A waiter that left at this very moment drops the seat, which frees it again: out of the lock.
        drop(waiter.hand.send(Seat { shared: Arc::clone(self), class: next }));
    }

    /// One seat was freed, so there is room for one at most.
    fn next_to_sit(&self, state: &mut State) -> Option<(Waiter, ShopClass)> {
        if self.has_room(state, ShopClass::Callback)
            && let Some(waiter) = state.callbacks.waiting.pop_front()
        {
            return Some((waiter, ShopClass::Callback));
        }
        if self.has_room(state, ShopClass::Traffic)
            && let Some(waiter) = state.traffic.next_for(thread::current().id())
        {
            return Some((waiter, ShopClass::Traffic));
        }
        None
    }

    /// Told within the lock, or the gauge could end on a number that is no longer true.
    fn tell(&self, state: &mut State, class: ShopClass) {
        self.telemetry.emit(Event::SeatsInUse { class, seats: state.line(class).seated });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn line(&mut self, class: ShopClass) -> &mut Line {
        match class {
            ShopClass::Callback => &mut self.callbacks,
            ShopClass::Traffic => &mut self.traffic,
        }
    }
}

impl Line {
    /// Takes out who waits longest, or who waits longest on that thread.
    fn next_for(&mut self, thread: ThreadId) -> Option<Waiter> {
        let nearest = self.waiting.iter().take(LOOKED_AT_MAX).position(|waiter| waiter.thread == thread);
        let index = nearest.filter(|_| self.passed_over < PASSED_OVER_MAX).unwrap_or(0);
        self.passed_over = if index == 0 { 0 } else { self.passed_over + 1 };
        self.waiting.remove(index)
    }
}

/// A place in the queue; dropping it leaves the queue. A seat that was handed over meanwhile lies in the channel
/// and is dropped, and so freed, with it.
struct Queued {
    shared: Arc<Shared>,
    class: ShopClass,
    ticket: u64,
    seat: oneshot::Receiver<Seat>,
}

impl Queued {
    async fn wait(mut self, deadline: Instant) -> Result<Seat, NoSeat> {
        let started = self.shared.clock.instant();
        let outcome = timeout_at(deadline, &mut self.seat).await;
        let took = self.shared.clock.instant().saturating_duration_since(started);
        self.shared.telemetry.emit(Event::SeatWaited { class: self.class, took });
        match outcome {
            Ok(Ok(seat)) => Ok(seat),
            Ok(Err(_)) | Err(_) => Err(NoSeat::TooLate),
        }
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let waiting = &mut state.line(self.class).waiting;
        // Who was seated is gone from the queue; tickets ascend, so the search is short either way.
        if let Ok(index) = waiting.binary_search_by_key(&self.ticket, |waiter| waiter.ticket) {
            waiting.remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::clock::UnixMillis;

    fn seats(max_in_flight: usize, reserved_for_callbacks: usize, waiting_traffic_max: usize) -> Seats {
        let settings = SeatSettings {
            max_in_flight,
            reserved_for_callbacks,
            waiting_traffic_max,
            traffic_waits_at_most: Duration::from_secs(5),
        };
        Seats::new(settings, Clock::simulated(UnixMillis(0)), Telemetry::new().unwrap())
    }

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(1_000)
    }

    #[tokio::test(start_paused = true)]
    async fn reserved_seats_stay_free_for_callbacks() {
        let seats = seats(3, 1, 0);
        let _pages = [seats.for_traffic().await.unwrap(), seats.for_traffic().await.unwrap()];
        assert_eq!(seats.for_traffic().await.unwrap_err(), NoSeat::QueueFull);
        assert_eq!(seats.for_callback(far()).await.unwrap().class(), ShopClass::Callback);
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiting_callback_goes_before_traffic_that_waited_longer() {
        let seats = seats(1, 0, 10);
        let page = seats.for_traffic().await.unwrap();
        let waiting_page = tokio::spawn({
            let seats = seats.clone();
            async move { seats.for_traffic().await }
        });
        tokio::task::yield_now().await;
        let waiting_callback = tokio::spawn({
            let seats = seats.clone();
            async move { seats.for_callback(far()).await }
        });
        tokio::task::yield_now().await;
        drop(page);
        let callback = waiting_callback.await.unwrap().unwrap();
        assert!(!waiting_page.is_finished());
        drop(callback);
        assert_eq!(waiting_page.await.unwrap().unwrap().class(), ShopClass::Traffic);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_allowed() {
        let seats = seats(1, 0, 10);
        let _page = seats.for_traffic().await.unwrap();
        let started = Instant::now();
        assert_eq!(seats.for_traffic().await.unwrap_err(), NoSeat::TooLate);
        assert_eq!(started.elapsed().as_secs(), 5);
        assert_eq!(seats.for_callback(started + Duration::from_secs(7)).await.unwrap_err(), NoSeat::TooLate);
        assert_eq!(started.elapsed().as_secs(), 7);
        let state = seats.0.lock();
        assert!(state.callbacks.waiting.is_empty() && state.traffic.waiting.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_seat_handed_to_somebody_who_just_left_goes_to_the_next() {
        let seats = seats(1, 0, 10);
        let page = seats.for_traffic().await.unwrap();
        let mut leaves = Box::pin(seats.for_traffic());
        let mut stays = Box::pin(seats.for_traffic());
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(leaves.as_mut().poll(cx).is_pending());
        assert!(stays.as_mut().poll(cx).is_pending());
        drop(page);
        drop(leaves);
        assert!(matches!(stays.as_mut().poll(cx), Poll::Ready(Ok(_))));
    }

    #[test]
    fn a_freed_seat_stays_on_its_thread_but_nobody_is_passed_over_for_ever() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let _inside = runtime.enter();
        let seats = seats(1, 0, usize::MAX);
        let cx = &mut Context::from_waker(Waker::noop());
        let mut waiting: Vec<_> = (0..PASSED_OVER_MAX + 2).map(|_| Box::pin(seats.for_traffic())).collect();
        let Poll::Ready(Ok(mut seat)) = waiting.remove(0).as_mut().poll(cx) else { panic!("the seat is free") };
        let mut elsewhere = Box::pin(seats.for_traffic());
        thread::scope(|scope| {
            scope.spawn(|| {
                let _inside = runtime.enter();
                assert!(elsewhere.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            });
        });
        assert!(waiting.iter_mut().all(|here| here.as_mut().poll(cx).is_pending()));

        let (last, passing) = waiting.split_last_mut().unwrap();
        for here in passing {
            drop(seat);
            let Poll::Ready(Ok(next)) = here.as_mut().poll(cx) else { panic!("the seat stays on this thread") };
            assert!(elsewhere.as_mut().poll(cx).is_pending());
            seat = next;
        }
        drop(seat);
        assert!(last.as_mut().poll(cx).is_pending());
        assert!(matches!(elsewhere.as_mut().poll(cx), Poll::Ready(Ok(_))));
    }

    /// Counts itself among those at the shop while it lives.
    struct Visit(Arc<AtomicUsize>);

    impl Visit {
        fn start(now: &Arc<AtomicUsize>, most: &AtomicUsize) -> Self {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            Self(Arc::clone(now))
        }
    }

    impl Drop for Visit {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn under_a_rush_the_shop_is_never_overfull_and_no_seat_is_lost() {
        let seats = seats(4, 1, 10_000);
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let visit = |number: usize| {
            let (seats, now, most) = (seats.clone(), Arc::clone(&now), Arc::clone(&most));
            async move {
                let seat =
                    if number.is_multiple_of(3) { seats.for_callback(far()).await } else { seats.for_traffic().await };
                let _seat = seat.unwrap();
                // Declared after the seat, so that it ends before the seat is free.
                let _visit = Visit::start(&now, &most);
                tokio::task::yield_now().await;
            }
        };
        let rush: Vec<_> = (0..2_000)
            .map(|number| {
                let visit = visit(number);
                tokio::spawn(async move {
                    if !number.is_multiple_of(7) {
                        return visit.await;
                    }
                    // Every seventh gives up early, at whatever point of its wait or visit that is.
                    tokio::select! {
                        () = visit => {}
                        () = async { for _ in 0..number % 5 { tokio::task::yield_now().await } } => {}
                    }
                })
            })
            .collect();
        for one in rush {
            one.await.unwrap();
        }
        let most = most.load(Ordering::SeqCst);
        assert!((2..=4).contains(&most), "{most} at once");
        let state = seats.0.lock();
        assert_eq!((state.callbacks.seated, state.traffic.seated), (0, 0));
        assert!(state.callbacks.waiting.is_empty() && state.traffic.waiting.is_empty());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Callback,
        Traffic,
        /// The n-th who sits or waits goes.
        Leave(usize),
    }

    type Waiting<'a> = Pin<Box<dyn Future<Output = Result<Seat, NoSeat>> + 'a>>;

    enum Guest<'a> {
        Seated(ShopClass, #[expect(dead_code, reason = "held to keep the seat")] Seat),
        Waiting(ShopClass, Waiting<'a>),
    }

    /// The rule, in its plainest form: who would sit, given all who came and have not left, in their order?
    fn expected(guests: &[(ShopClass, bool)], seats_max: usize, traffic_max: usize) -> Vec<bool> {
        let mut seated: Vec<bool> = guests.iter().map(|(_, seated)| *seated).collect();
        for class in [ShopClass::Callback, ShopClass::Traffic] {
            for (index, (theirs, _)) in guests.iter().enumerate().filter(|(_, (theirs, _))| *theirs == class) {
                let taken = seated.iter().filter(|taken| **taken).count();
                let pages =
                    (0..guests.len()).filter(|other| guests[*other].0 == ShopClass::Traffic && seated[*other]).count();
                if taken < seats_max && (*theirs == ShopClass::Callback || pages < traffic_max) {
                    seated[index] = true;
                }
            }
        }
        seated
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            2 => Just(Step::Callback),
            3 => Just(Step::Traffic),
            4 => (0usize..64).prop_map(Step::Leave),
        ]
    }

    proptest! {
        #[test]
        fn seats_go_to_callbacks_first_and_then_in_order(
            steps in prop::collection::vec(step(), 1..120),
            seats_max in 1usize..6,
            reserved in 0usize..6,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            let _inside = runtime.enter();
            let seats = seats(seats_max, reserved, usize::MAX);
            let traffic_max = seats_max.saturating_sub(reserved).max(1);
            let mut guests: Vec<Guest<'_>> = Vec::new();
            let cx = &mut Context::from_waker(Waker::noop());
            for step in steps {
                match step {
                    Step::Callback => guests.push(Guest::Waiting(ShopClass::Callback, Box::pin(seats.for_callback(far())))),
                    Step::Traffic => guests.push(Guest::Waiting(ShopClass::Traffic, Box::pin(seats.for_traffic()))),
                    Step::Leave(n) if !guests.is_empty() => drop(guests.remove(n % guests.len())),
                    Step::Leave(_) => {}
                }
                let before: Vec<_> = guests.iter().map(|guest| match guest {
                    Guest::Seated(class, _) => (*class, true),
                    Guest::Waiting(class, _) => (*class, false),
                }).collect();
                for guest in &mut guests {
                    if let Guest::Waiting(class, waiting) = guest
                        && let Poll::Ready(seat) = waiting.as_mut().poll(cx)
                    {
                        *guest = Guest::Seated(*class, seat.unwrap());
                    }
                }
                let now: Vec<_> = guests.iter().map(|guest| matches!(guest, Guest::Seated(..))).collect();
                prop_assert_eq!(now, expected(&before, seats_max, traffic_max));
            }
        }
    }
}
