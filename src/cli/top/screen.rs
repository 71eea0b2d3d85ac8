//! The terminal while `top` has it, and given back however `top` ends.

use std::io::{self, Write};

use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use crossterm::terminal::{self, Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen};
use crossterm::{cursor, queue};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::TICK;
use super::picture::Line;

/// Where `top` shows its lines and hears its keys.
pub(super) trait Terminal {
    /// Columns and rows.
    fn size(&self) -> io::Result<(usize, usize)>;
    /// Shows these lines and nothing else.
    fn show(&mut self, lines: &[Line]) -> io::Result<()>;
    /// Waits for one tick at most.
    fn listen(&mut self) -> io::Result<Heard>;
}

/// What somebody did meanwhile.
pub(super) enum Heard {
    /// These keys, perhaps none.
    Keys(Vec<Key>),
    /// The process is told to end.
    Stop,
}

/// A key that means something here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Key {
    Letter(char),
    Up,
    Down,
    Escape,
    Interrupt,
}

/// The real terminal. Dropping it gives the terminal back, also while a panic unwinds.
pub(super) struct Screen<'r> {
    runtime: &'r Runtime,
    signals: [Signal; 3],
    has_colours: bool,
}

impl<'r> Screen<'r> {
    /// Takes the terminal.
    pub(super) fn open(runtime: &'r Runtime) -> io::Result<Self> {
        let signals = {
            let _inside = runtime.enter();
            [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal)
        };
        let [terminate, interrupt, hangup] = signals;
        let signals = [terminate?, interrupt?, hangup?];
        let has_colours = anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never;
        terminal::enable_raw_mode()?;
        // From here on, a failure gives it back.
        let screen = Self { runtime, signals, has_colours };
        let mut out = io::stdout().lock();
        queue!(out, EnterAlternateScreen, cursor::Hide)?;
        out.flush()?;
        Ok(screen)
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        // Nobody is left to be told of a failure.
        let mut out = io::stdout().lock();
        let _ = queue!(out, cursor::Show, LeaveAlternateScreen);
        let _ = out.flush();
        let _ = terminal::disable_raw_mode();
    }
}

impl Terminal for Screen<'_> {
    fn size(&self) -> io::Result<(usize, usize)> {
        let (columns, rows) = terminal::size()?;
        Ok((columns.into(), rows.into()))
    }

    fn show(&mut self, lines: &[Line]) -> io::Result<()> {
        // One write for a whole picture: nothing flickers.
        let mut picture = Vec::new();
        queue!(picture, cursor::MoveTo(0, 0))?;
        for (number, line) in lines.iter().enumerate() {
            let text = if self.has_colours { line.coloured() } else { line.plain() };
            write!(picture, "{}{text}", if number == 0 { "" } else { "\r\n" })?;
            queue!(picture, Clear(ClearType::UntilNewLine))?;
        }
        queue!(picture, Clear(ClearType::FromCursorDown))?;
        let mut out = io::stdout().lock();
        out.write_all(&picture)?;
        out.flush()
    }

    fn listen(&mut self) -> io::Result<Heard> {
        let [terminate, interrupt, hangup] = &mut self.signals;
        let is_told_to_stop = self.runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => true,
                _ = interrupt.recv() => true,
                _ = hangup.recv() => true,
                () = tokio::time::sleep(TICK) => false,
            }
        });
        if is_told_to_stop {
            return Ok(Heard::Stop);
        }
        let mut keys = Vec::new();
        while event::poll(std::time::Duration::ZERO)? {
            keys.extend(key(&event::read()?));
        }
        Ok(Heard::Keys(keys))
    }
}

fn key(event: &Event) -> Option<Key> {
    let Event::Key(key) = event else { return None };
    if key.kind == KeyEventKind::Release {
        return None;
    }
    match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Key::Interrupt),
        KeyCode::Char(letter) => Some(Key::Letter(letter)),
        KeyCode::Up => Some(Key::Up),
        KeyCode::Down => Some(Key::Down),
        KeyCode::Esc => Some(Key::Escape),
        _ => None,
    }
}
