//! Where log lines go: through a bounded buffer to a thread that writes them to stderr.
//!
//! A log reader that is slow or stuck (a full pipe, a frozen terminal) must never stall a callback. So a line that
//! finds no room is dropped and counted, and only the writer's own thread ever waits for the reader.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::IntCounter;
use thiserror::Error;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use super::json::JsonLines;
use super::lines::TARGET;
use crate::clock::Clock;

/// How logs are written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogSettings {
    /// The form of a line.
    pub format: LogFormat,
    /// What is logged: `info`, or a filter such as `kallback=debug`.
    pub filter: String,
}

/// The form of a log line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Why logs could not be switched on.
#[derive(Debug, Error)]
pub enum LogError {
    /// The filter cannot be read.
    #[error("`{filter}` is no log filter; write a level such as info, or kallback=debug")]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The process logs already.
    #[error("logs are switched on already")]
    Installed,
    /// The writer's thread could not be started.
    #[error("the log's writer could not be started")]
    Thread(#[from] io::Error),
}

impl LogSettings {
    /// Whether the filter can be read.
    pub fn check(&self) -> Result<(), LogError> {
        self.parsed_filter().map(drop)
    }

    fn parsed_filter(&self) -> Result<EnvFilter, LogError> {
        EnvFilter::try_new(&self.filter).map_err(|source| LogError::Filter { filter: self.filter.clone(), source })
    }
}

/// Dropping it waits until what was logged is written, for a second at most.
#[derive(Debug)]
#[must_use = "dropping it at once would lose the last lines of the process"]
pub struct LogDrain(Arc<Buffer>);

impl Drop for LogDrain {
    fn drop(&mut self) {
        self.0.wait_until_written(LAST_LINES_WAIT);
    }
}

/// Makes stderr the log of the whole process.
pub(super) fn install(settings: &LogSettings, dropped: IntCounter) -> Result<LogDrain, LogError> {
    let buffer = Arc::new(Buffer::new(dropped));
    let subscriber = subscriber(settings, buffer.clone(), Clock::system())?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Installed)?;
    start_writer(buffer.clone(), io::stderr())?;
    Ok(LogDrain(buffer))
}

fn subscriber(
    settings: &LogSettings,
    buffer: Arc<Buffer>,
    clock: Clock,
) -> Result<impl Subscriber + Send + Sync, LogError> {
    let lines = fmt::layer().with_writer(Lines(buffer)).with_ansi(false);
    let lines: Box<dyn Layer<_> + Send + Sync> = match settings.format {
        LogFormat::Json => Box::new(lines.event_format(JsonLines(clock))),
        LogFormat::Text => Box::new(lines.with_timer(Timestamps(clock))),
    };
    // HTTP libraries log headers at their lower levels, and with them tokens. No filter can switch that on.
    let ours = filter_fn(|line| line.target() == TARGET || *line.level() <= LevelFilter::WARN);
    Ok(Registry::default().with(settings.parsed_filter()?).with(ours).with(lines))
}

fn start_writer(buffer: Arc<Buffer>, mut to: impl Write + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name("log-writer".to_owned()).spawn(move || {
        let mut batch = Vec::new();
        loop {
            buffer.take(&mut batch);
            if to.write_all(&batch).and_then(|()| to.flush()).is_err() {
                buffer.count_lost(&batch);
            }
            // Lines that come thick and fast are written together: without the rest each of them would wake this
            // thread, which costs more than the line.
            std::thread::sleep(REST_AFTER_WRITE);
        }
    })?;
    Ok(())
}

/// Lines on their way to the writer.
#[derive(Debug)]
struct Buffer {
    waiting: Mutex<Waiting>,
    filled: Condvar,
    written: Condvar,
    dropped: IntCounter,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    /// The writer has taken lines and is not back for more.
    writing: bool,
}

impl Buffer {
    fn new(dropped: IntCounter) -> Self {
        Self { waiting: Mutex::default(), filled: Condvar::new(), written: Condvar::new(), dropped }
    }

    /// Takes the line in if there is room. Held for the time of a copy, never while something is written.
    fn push(&self, line: &[u8]) {
        let mut waiting = self.lock();
        if waiting.lines.len() + line.len() > WAITING_BYTES_MAX {
            drop(waiting);
            self.dropped.inc();
            return;
        }
        let was_empty = waiting.lines.is_empty();
        waiting.lines.extend_from_slice(line);
        drop(waiting);
        if was_empty {
            self.filled.notify_one();
        }
    }

    /// Waits for lines and swaps them into `batch`, whose own content has been written.
    fn take(&self, batch: &mut Vec<u8>) {
        batch.clear();
        let mut waiting = self.lock();
        waiting.writing = false;
        self.written.notify_all();
        let mut waiting =
            self.filled.wait_while(waiting, |waiting| waiting.lines.is_empty()).unwrap_or_else(PoisonError::into_inner);
        waiting.writing = true;
        std::mem::swap(&mut waiting.lines, batch);
    }

    /// The reader is gone. The next batch may find another one, so nothing else follows from it.
    fn count_lost(&self, batch: &[u8]) {
        self.dropped.inc_by(memchr::memchr_iter(b'\n', batch).count() as u64);
    }

    fn wait_until_written(&self, at_most: Duration) {
        let busy = |waiting: &mut Waiting| waiting.writing || !waiting.lines.is_empty();
        // Whether the time was enough makes no difference: the process ends.
        let _ = self.written.wait_timeout_while(self.lock(), at_most, busy);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // No code panics while holding it, and lines stay whole if one did.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives every event a way into the buffer. The formatter writes a whole line at once.
struct Lines(Arc<Buffer>);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(&self.0)
    }
}

struct Line<'a>(&'a Buffer);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// RFC 3339 in UTC, to the millisecond.
struct Timestamps(Clock);

impl FormatTime for Timestamps {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        write!(writer, "{}", self.0.now())
    }
}

/// Lines that wait for the writer, in bytes; about three thousand lines.
const WAITING_BYTES_MAX: usize = 1024 * 1024;

/// A line that comes alone does not wait; only one that follows another within this time does.
const REST_AFTER_WRITE: Duration = Duration::from_millis(5);

/// How long the end of the process waits for the log's reader.
const LAST_LINES_WAIT: Duration = Duration::from_secs(1);

/// What is logged while `act` runs, as the writer would get it.
#[cfg(test)]
pub(super) fn captured(settings: &LogSettings, clock: Clock, act: impl FnOnce()) -> String {
    let dropped = IntCounter::new("dropped", "dropped").unwrap();
    let buffer = Arc::new(Buffer::new(dropped));
    tracing::subscriber::with_default(subscriber(settings, buffer.clone(), clock).unwrap(), act);
    String::from_utf8(std::mem::take(&mut buffer.lock().lines)).unwrap()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A reader that takes one batch each time it is told to.
    struct Slow {
        go_on: mpsc::Receiver<()>,
        got: mpsc::Sender<Vec<u8>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.go_on.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
            self.got.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn with_slow_reader() -> (Arc<Buffer>, mpsc::Sender<()>, mpsc::Receiver<Vec<u8>>) {
        let buffer = Arc::new(Buffer::new(IntCounter::new("dropped", "dropped").unwrap()));
        let ((go, go_on), (got, batches)) = (mpsc::channel(), mpsc::channel());
        start_writer(buffer.clone(), Slow { go_on, got }).unwrap();
        (buffer, go, batches)
    }

    #[test]
    fn a_stuck_reader_costs_lines_and_nobodys_time() {
        let (buffer, go, batches) = with_slow_reader();
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        let fit = WAITING_BYTES_MAX / line.len();
        // One buffer may be with the reader and one may wait; what is more is lost.
        for _ in 0..3 * fit {
            buffer.push(&line);
        }
        let dropped = buffer.dropped.get();
        assert!((fit as u64..=2 * fit as u64).contains(&dropped), "{dropped} of {}", 3 * fit);

        let mut arrived = 0;
        while arrived < 3 * fit - dropped as usize {
            go.send(()).unwrap();
            arrived += batches.recv().unwrap().len() / line.len();
        }
        buffer.push(b"afterwards\n");
        go.send(()).unwrap();
        assert_eq!(batches.recv().unwrap(), b"afterwards\n");
        assert_eq!(buffer.dropped.get(), dropped);
    }

    #[test]
    fn lines_that_the_reader_refuses_count_as_dropped() {
        let (buffer, go, batches) = with_slow_reader();
        drop((go, batches));
        buffer.push(b"one\ntwo\n");
        buffer.wait_until_written(Duration::from_secs(60));
        assert_eq!(buffer.dropped.get(), 2);
    }

    #[test]
    fn the_end_of_the_process_waits_for_the_last_lines_but_not_for_ever() {
        let (buffer, go, batches) = with_slow_reader();
        buffer.push(b"last words\n");
        buffer.wait_until_written(Duration::from_millis(1));
        go.send(()).unwrap();
        drop(LogDrain(buffer));
        assert_eq!(batches.try_recv().unwrap(), b"last words\n");
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_named() {
        let settings = |filter: &str| LogSettings { format: LogFormat::Text, filter: filter.to_owned() };
        for good in ["info", "off", "kallback=debug", "warn,kallback=trace"] {
            assert!(settings(good).check().is_ok(), "{good}");
        }
        let fault = settings("kallback=loud").check().unwrap_err();
        assert!(fault.to_string().contains("kallback=loud"), "{fault}");
    }

    #[test]
    fn no_filter_switches_the_chatter_of_libraries_on() {
        let settings = LogSettings { format: LogFormat::Text, filter: "trace".to_owned() };
        let logged = captured(&settings, Clock::system(), || {
            tracing::info!(target: "h2::codec", "authorization: secret");
            tracing::warn!(target: "h2::codec", "trouble");
            tracing::debug!(target: TARGET, "ours");
        });
        assert!(!logged.contains("secret"), "{logged}");
        assert!(logged.contains("trouble") && logged.contains("ours"), "{logged}");
    }
}
