//! The real binary: started, read, signalled, and seen to end.

use std::net::SocketAddr;
use std::process::{ExitStatus, Output, Stdio};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::mpsc;

use super::callbacks::Callback;
use super::klarna::Answered;
use super::operator::Operator;
use super::time::patiently;

/// A kallback that runs in a process of its own. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    lines: mpsc::UnboundedReceiver<String>,
    /// The lines that were read until now.
    said: Vec<String>,
    /// Where it accepts TLS.
    pub address: SocketAddr,
    /// Its admin listener.
    pub admin: SocketAddr,
    /// Where it serves proxies that end TLS, if it does.
    pub behind_tls: Option<SocketAddr>,
}

/// `kallback` with nothing of this process's environment.
pub fn kallback() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kallback"));
    command.env_clear().stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs a command to its end: its exit code, output and errors.
pub async fn told(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = patiently("the command's end", command.output()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// The same command, for a process to which a file that may not grow is an error like a full disk, and not the end.
pub fn without_file_limit_signal(command: &Command) -> Command {
    let command = command.as_std();
    let mut shell = Command::new("/bin/sh");
    shell.env_clear().stdin(Stdio::null()).kill_on_drop(true);
    shell.args(["-c", r#"trap "" XFSZ; exec "$0" "$@""#]).arg(command.get_program()).args(command.get_args());
    shell
}

impl Process {
    /// Starts it and waits until it says where it listens: for TLS and for the admin.
    pub async fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the binary starts");
        let lines = follow(child.stderr.take().expect("it was piped"));
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut process = Self { child, lines, said: Vec::new(), address: nowhere, admin: nowhere, behind_tls: None };
        let line = process.says("listening on ").await;
        let (_, places) = line.split_once("listening on ").expect("it was waited for");
        for place in places.split(", ") {
            // In a log of JSON more follows.
            match place.split_once(' ') {
                Some((place, what)) if what.starts_with("(admin)") => process.admin = address_after(place, "http://"),
                Some((place, what)) if what.starts_with("(behind TLS)") => {
                    process.behind_tls = Some(address_after(place, "http://"));
                }
                _ if place.starts_with("https://") => process.address = address_after(place, "https://"),
                _ => {}
            }
        }
        process
    }

    /// Waits for the next line that contains `part`, and gives it back. Lines before it count as read.
    pub async fn says(&mut self, part: &str) -> String {
        loop {
            match patiently(part, self.lines.recv()).await {
                Some(line) => {
                    self.said.push(line.clone());
                    if line.contains(part) {
                        return line;
                    }
                }
                None => panic!("it ended and never said `{part}`, but:\n{}", self.said.join("\n")),
            }
        }
    }

    /// Whether a line that was read until now contains `part`.
    pub fn has_said(&self, part: &str) -> bool {
        self.said.iter().any(|line| line.contains(part))
    }

    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    /// It stands still, with all its connections open, until [`resume`](Self::resume).
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Ends it as a power cut would: it learns nothing of it.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("it can be killed");
    }

    /// From now on it can write no file beyond this size; [`without_file_limit_signal`] says how to start one that
    /// survives that.
    pub fn limit_files_to(&self, bytes: Option<u64>) {
        prlimit(Some(self.id()), Resource::Fsize, Rlimit { current: bytes, maximum: None }).expect("it runs");
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        patiently("the end of the process", self.child.wait()).await.expect("it can be waited for")
    }

    /// Terminates it and waits for an orderly end.
    pub async fn stop(mut self) {
        self.terminate();
        assert_eq!(self.ended().await.code(), Some(0));
    }

    /// Terminates it and gives back everything that it ever said.
    pub async fn last_words(mut self) -> String {
        self.terminate();
        assert_eq!(self.ended().await.code(), Some(0));
        while let Some(line) = patiently("the end of the log", self.lines.recv()).await {
            self.said.push(line);
        }
        self.said.join("\n")
    }

    /// Somebody at the admin listener.
    pub fn operator(&self) -> Operator {
        Operator::at(self.admin)
    }

    /// What the admin listener answers.
    pub async fn ask(&self, page: &str) -> Answered {
        self.operator().call(&Callback::page(page)).await
    }

    /// The status of a page of the admin listener.
    pub async fn status_of(&self, page: &str) -> u16 {
        self.operator().call(&Callback::page(page)).await.status
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.id(), signal).expect("it can be signalled");
    }

    /// Bytes of memory that it has resident.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id().as_raw_nonzero())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says it");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of KiB") << 10
    }

    fn id(&self) -> Pid {
        self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())).expect("it runs")
    }
}

/// Reads on for as long as there is something, so that the process never waits for its log.
fn follow(stderr: ChildStderr) -> mpsc::UnboundedReceiver<String> {
    let (sender, lines) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut reader = BufReader::new(stderr).lines();
        while let Ok(Some(line)) = reader.next_line().await {
            let _ = sender.send(line);
        }
    });
    lines
}

fn address_after(line: &str, scheme: &str) -> SocketAddr {
    let (_, rest) = line.split_once(scheme).unwrap_or_else(|| panic!("no {scheme} in: {line}"));
    let end = rest.find([',', ' ']).unwrap_or(rest.len());
    rest[..end].parse().expect("an address follows")
}
