//! Stopping: a value that is handed to everything that has to finish.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Tells everybody to finish, and knows when all have. Cheap to clone; all clones are the same one.
#[derive(Clone, Debug)]
pub struct Drain {
    stage: Arc<watch::Sender<Stage>>,
    tasks: TaskTracker,
    /// Connections that may still bring a request.
    asking: TaskTracker,
}

/// How far the stopping has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stage {
    /// Nobody is asked to stop.
    Running,
    /// Connections wait in the listeners' queues, and those that are open are closed; it may go on from here.
    Paused,
    /// Nothing new begins; what runs may finish.
    Draining,
    /// Everything ends now.
    Ended,
}

/// One listener of the stages.
#[derive(Clone, Debug)]
pub struct Watch(watch::Receiver<Stage>);

impl Drain {
    /// Running.
    pub fn new() -> Self {
        Self {
            stage: Arc::new(watch::Sender::new(Stage::Running)),
            tasks: TaskTracker::new(),
            asking: TaskTracker::new(),
        }
    }

    /// Lets nobody new in and closes connections after their request, until [`resume`](Self::resume).
    pub fn pause(&self) {
        self.advance(Stage::Paused);
    }

    /// Lets callers in again after [`pause`](Self::pause), unless draining began.
    pub fn resume(&self) {
        self.stage.send_if_modified(|stage| {
            let paused = *stage == Stage::Paused;
            if paused {
                *stage = Stage::Running;
            }
            paused
        });
    }

    /// Asks everything to finish what it has begun, and to begin nothing new.
    pub fn begin(&self) {
        self.advance(Stage::Draining);
    }

    /// Ends what has not finished: the time to drain is over.
    pub fn end_now(&self) {
        self.advance(Stage::Ended);
    }

    /// Whether [`begin`](Self::begin) or [`end_now`](Self::end_now) was called.
    pub fn has_begun(&self) -> bool {
        *self.stage.borrow() >= Stage::Draining
    }

    /// Waits until [`begin`](Self::begin) was called.
    pub async fn begun(&self) {
        self.watch().reached(Stage::Draining).await;
    }

    /// Waits until draining began and everything that is tracked has ended.
    pub async fn finished(&self) {
        self.begun().await;
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// To be held by a connection until it can bring no more requests.
    pub(super) fn asking(&self) -> TaskTrackerToken {
        self.asking.token()
    }

    /// After [`pause`](Self::pause): waits until no open connection can bring another request.
    pub async fn last_requests(&self) {
        self.asking.close();
        self.asking.wait().await;
    }

    /// Follows the stages.
    pub fn watch(&self) -> Watch {
        Watch(self.stage.subscribe())
    }

    /// Something that [`finished`](Self::finished) waits for until it is dropped.
    pub fn token(&self) -> TaskTrackerToken {
        self.tasks.token()
    }

    /// Runs a task that [`finished`](Self::finished) waits for, on the current runtime.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// The tasks that [`finished`](Self::finished) waits for.
    pub fn tasks(&self) -> TaskTracker {
        self.tasks.clone()
    }

    /// How many tasks and tokens are open.
    pub fn open(&self) -> usize {
        self.tasks.len()
    }

    fn advance(&self, to: Stage) {
        self.stage.send_if_modified(|stage| {
            let later = to > *stage;
            *stage = (*stage).max(to);
            later
        });
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

impl Watch {
    /// Waits until there is no pause, or draining began.
    pub async fn unpaused(&mut self) {
        if self.0.wait_for(|now| *now != Stage::Paused).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until the stage is reached or passed.
    pub async fn reached(&mut self, stage: Stage) {
        // An error means that nobody is left who could drain.
        if self.0.wait_for(|now| *now >= stage).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_finished_when_it_began_and_every_task_ended() {
        let drain = Drain::new();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        drain.spawn(async {
            let _ = ended.await;
        });
        let finished = tokio::spawn({
            let drain = drain.clone();
            async move { drain.finished().await }
        });
        tokio::task::yield_now().await;
        drain.begin();
        tokio::task::yield_now().await;
        assert!(drain.has_begun() && !finished.is_finished());
        end.send(()).unwrap();
        finished.await.unwrap();
    }

    #[tokio::test]
    async fn a_pause_ends_and_the_end_does_not() {
        let drain = Drain::new();
        drain.pause();
        drain.watch().reached(Stage::Paused).await;
        assert!(!drain.has_begun());
        drain.resume();
        drain.watch().unpaused().await;
        drain.begin();
        drain.resume();
        assert!(drain.has_begun());
    }

    #[tokio::test]
    async fn a_stage_never_goes_back() {
        let drain = Drain::new();
        drain.end_now();
        drain.begin();
        drain.watch().reached(Stage::Ended).await;
    }
}
