//! A terminal with somebody at it: what a command writes there is read, and keys are pressed.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::process::Stdio;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use super::time::patiently;

/// A command at a terminal of 80 columns and 24 rows. Dropping it kills it.
pub struct AtTerminal {
    child: Child,
    keyboard: File,
    pieces: mpsc::UnboundedReceiver<Vec<u8>>,
    /// Everything that it wrote until now.
    pub written: String,
    modes_before: String,
}

impl AtTerminal {
    pub fn start(command: &mut Command) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        tcsetwinsize(&master, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let terminal = || Stdio::from(OpenOptions::new().read(true).write(true).open(&name).unwrap());
        command.stdin(terminal()).stdout(terminal()).stderr(terminal()).env("TERM", "xterm").kill_on_drop(true);
        let keyboard = File::from(master);
        let modes_before = modes(&keyboard);
        let child = command.spawn().unwrap();
        let pieces = follow(keyboard.try_clone().unwrap());
        Self { child, keyboard, pieces, written: String::new(), modes_before }
    }

    /// Waits until it has written `part`.
    pub async fn until(&mut self, part: &str) {
        while !self.written.contains(part) {
            let piece = patiently(part, self.pieces.recv()).await;
            let piece = piece.unwrap_or_else(|| panic!("it never wrote {part}, but:\n{}", self.written));
            self.written.push_str(&String::from_utf8_lossy(&piece));
        }
    }

    pub fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Tells the process to end.
    pub fn terminate(&self) {
        let id = self.child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    }

    /// Waits for the end: its exit code, and whether keys mean again what they meant before.
    pub async fn ended(&mut self) -> (i32, bool) {
        let status = patiently("the command's end", self.child.wait()).await.unwrap();
        (status.code().unwrap(), modes(&self.keyboard) == self.modes_before)
    }
}

/// How the terminal treats keys and lines.
fn modes(terminal: &File) -> String {
    let modes = tcgetattr(terminal).unwrap();
    format!("{:?} {:?} {:?}", modes.input_modes, modes.output_modes, modes.local_modes)
}

/// Reads on for as long as somebody has the terminal open.
fn follow(mut master: File) -> mpsc::UnboundedReceiver<Vec<u8>> {
    let (sender, pieces) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let mut piece = [0; 4096];
        // Linux says EIO when the last one has closed it.
        while let Ok(count) = master.read(&mut piece) {
            if count == 0 || sender.send(piece[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    pieces
}
