//! How one process hands its listening sockets and its ledger to the next, over a Unix socket.
//!
//! | step | the old one | the successor |
//! |---|---|---|
//! | 1 | gives a handle of every listening socket | has read its config and its certificates |
//! | 2 | | `Ready`: it lacks only the ledger |
//! | 3 | lets nobody in, finishes its callbacks, closes the ledger: `Yours`; or goes on: `Busy` | |
//! | 4 | | opens the ledger, lets callers in: `Taken` |
//! | 5 | finishes its traffic and ends | serves |
//!
//! Callers who come during 3 and 4 wait in the sockets' queues, which both processes hold open.

use std::fs;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use crate::server::{BoundSocket, Inherited};

/// One step of the other side that takes no work.
const STEP_WITHIN: Duration = Duration::from_secs(5);
/// The successor opens the ledger within this time, or it has failed. A shared ledger's database may take 10 s of it.
const TAKEN_WITHIN: Duration = Duration::from_secs(15);
/// The old one is given this time to finish its callbacks and to close its ledger, or it has failed.
const YOURS_WITHIN: Duration = Duration::from_secs(10);
/// After `Busy`, the pause before the successor asks again: callers were kept waiting, and are let in for that long.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// How often the successor asks.
const ASKS_MAX: u32 = 10;
/// More sockets than any config asks for.
const SOCKETS_MAX: usize = 4096;

/// Why nothing was handed over.
#[derive(Debug, Error)]
pub enum HandOverFault {
    /// The socket cannot be used, or the other side went away.
    #[error("the hand-over at {} failed: {why}; the running kallback goes on serving", at.display())]
    Broken {
        /// The socket.
        at: PathBuf,
        /// What went wrong.
        why: io::Error,
    },
    /// Callbacks are at the shop all the time.
    #[error(
        "the running kallback has had callbacks at the shop that did not end in time, {ASKS_MAX} times; it goes on \
         serving. Try again when the shop answers, or stop it with SIGTERM and start anew"
    )]
    Busy,
}

/// What one side tells the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Word {
    /// A socket comes with this one.
    Socket = b's' as isize,
    /// That was the last socket.
    Whole = b'w' as isize,
    Ready = b'r' as isize,
    Busy = b'b' as isize,
    Yours = b'y' as isize,
    Taken = b't' as isize,
}

/// Where a running kallback waits for its successor.
#[derive(Debug)]
pub struct HandOverPoint {
    listener: UnixListener,
    /// The name until it is announced.
    aside: PathBuf,
    path: PathBuf,
}

/// The next process, as the old one sees it.
#[derive(Debug)]
pub struct Successor(UnixStream);

/// The old process, as the next one sees it.
#[derive(Debug)]
pub struct Predecessor {
    stream: UnixStream,
    at: PathBuf,
}

impl HandOverPoint {
    /// Listens beside `path`; nobody comes before [`announce`](Self::announce). Only the owner may connect.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut aside = path.as_os_str().to_owned();
        aside.push(".new");
        let aside = PathBuf::from(aside);
        match fs::remove_file(&aside) {
            Err(why) if why.kind() != ErrorKind::NotFound => return Err(why),
            _ => {}
        }
        let listener = UnixListener::bind(&aside)?;
        fs::set_permissions(&aside, fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, aside, path: path.to_owned() })
    }

    /// Puts itself in the place of whatever was there: the ledger's lock says who runs.
    pub fn announce(&self) -> io::Result<()> {
        fs::rename(&self.aside, &self.path)
    }

    /// Where successors ask.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next successor of our own user.
    pub async fn next(&self) -> Successor {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) if is_ours(&stream) => return Successor(stream),
                Ok(_) => {}
                // For want of files or memory, which may pass.
                Err(_) => tokio::time::sleep(ASK_AGAIN_AFTER).await,
            }
        }
    }
}

impl Successor {
    pub(super) async fn give(&mut self, sockets: &[BoundSocket]) -> io::Result<()> {
        within(STEP_WITHIN, async {
            for socket in sockets {
                self.0.async_io(Interest::WRITABLE, || send_socket(&self.0, socket)).await?;
            }
            Ok(())
        })
        .await?;
        say(&mut self.0, Word::Whole).await
    }

    /// Waits until it asks for the ledger; it may take a pause before it does so again.
    pub(super) async fn is_ready(&mut self) -> io::Result<()> {
        hear(&mut self.0, STEP_WITHIN, &[Word::Ready]).await.map(drop)
    }

    pub(super) async fn say_busy(&mut self) -> io::Result<()> {
        say(&mut self.0, Word::Busy).await
    }

    pub(super) async fn say_yours(&mut self) -> io::Result<()> {
        say(&mut self.0, Word::Yours).await
    }

    pub(super) async fn has_taken(&mut self) -> io::Result<()> {
        hear(&mut self.0, TAKEN_WITHIN, &[Word::Taken]).await.map(drop)
    }
}

impl Predecessor {
    /// Finds the process that runs, and gets its sockets. `None` if nobody is there.
    ///
    /// # Errors
    /// [`HandOverFault::Broken`].
    pub async fn find(at: &Path) -> Result<Option<(Self, Inherited)>, HandOverFault> {
        let broken = |why| HandOverFault::Broken { at: at.to_owned(), why };
        let stream = match UnixStream::connect(at).await {
            Ok(stream) => stream,
            Err(why) if matches!(why.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => return Ok(None),
            Err(why) => return Err(broken(why)),
        };
        if !is_ours(&stream) {
            return Err(broken(io::Error::other("another user listens there")));
        }
        let inherited = within(STEP_WITHIN, receive_all(&stream)).await.map_err(broken)?;
        Ok(Some((Self { stream, at: at.to_owned() }, inherited)))
    }

    /// Asks for the ledger until it is free.
    pub(super) async fn frees_the_ledger(&mut self) -> Result<(), HandOverFault> {
        let at = self.at.clone();
        let broken = |why| HandOverFault::Broken { at: at.clone(), why };
        for asked in 1..=ASKS_MAX {
            say(&mut self.stream, Word::Ready).await.map_err(broken)?;
            let answer = hear(&mut self.stream, YOURS_WITHIN, &[Word::Yours, Word::Busy]).await.map_err(broken)?;
            if answer == Word::Yours {
                return Ok(());
            }
            if asked < ASKS_MAX {
                tokio::time::sleep(ASK_AGAIN_AFTER).await;
            }
        }
        Err(HandOverFault::Busy)
    }

    pub(super) async fn say_taken(&mut self) -> Result<(), HandOverFault> {
        let told = say(&mut self.stream, Word::Taken).await;
        told.map_err(|why| HandOverFault::Broken { at: self.at.clone(), why })
    }
}

/// Root may connect whatever the mode of the file says; but it would run the ledger under another user.
fn is_ours(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == rustix::process::getuid().as_raw())
}

async fn receive_all(stream: &UnixStream) -> io::Result<Inherited> {
    let mut sockets = Vec::new();
    while let Some(socket) = stream.async_io(Interest::READABLE, || receive_socket(stream)).await? {
        if sockets.len() == SOCKETS_MAX {
            return Err(io::Error::other("there is no end to the sockets"));
        }
        sockets.push(BoundSocket::try_from(socket)?);
    }
    Inherited::new(sockets)
}

fn send_socket(stream: &UnixStream, socket: &BoundSocket) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let handles = [socket.as_fd()];
    if !control.push(SendAncillaryMessage::ScmRights(&handles)) {
        return Err(io::Error::other("no room for a socket in a message"));
    }
    sendmsg(stream, &[IoSlice::new(&[Word::Socket as u8])], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// `None` after the last one.
fn receive_socket(stream: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let got = recvmsg(stream, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    if got.bytes == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let socket = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut sockets) => sockets.next(),
        _ => None,
    });
    match (byte[0], socket) {
        (word, None) if word == Word::Whole as u8 => Ok(None),
        (word, Some(socket)) if word == Word::Socket as u8 => Ok(Some(socket)),
        _ => Err(io::Error::other("it speaks another language")),
    }
}

async fn say(stream: &mut UnixStream, word: Word) -> io::Result<()> {
    within(STEP_WITHIN, stream.write_all(&[word as u8])).await
}

async fn hear(stream: &mut UnixStream, limit: Duration, expected: &[Word]) -> io::Result<Word> {
    let byte = within(limit, stream.read_u8()).await?;
    let word = expected.iter().copied().find(|word| *word as u8 == byte);
    word.ok_or_else(|| io::Error::other("it speaks another language"))
}

async fn within<T>(limit: Duration, step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(limit, step).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[tokio::test]
    async fn a_socket_goes_over_with_its_queue_and_nobody_else_may_connect() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("next.sock");
        let point = HandOverPoint::open(&at).unwrap();
        assert!(Predecessor::find(&at).await.unwrap().is_none());
        point.announce().unwrap();
        assert_eq!(fs::metadata(&at).unwrap().permissions().mode() & 0o777, 0o600);
        let socket = BoundSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0)), false).unwrap();
        let address = socket.address().unwrap();
        let waiting = tokio::net::TcpStream::connect(address).await.unwrap();
        let giving = tokio::spawn(async move {
            let mut successor = point.next().await;
            successor.give(&[socket]).await.unwrap();
        });

        let (_predecessor, mut inherited) = Predecessor::find(&at).await.unwrap().unwrap();
        giving.await.unwrap();
        let listener = inherited.take(address).remove(0).into_listener().unwrap();
        assert_eq!(listener.accept().await.unwrap().1, waiting.local_addr().unwrap());
    }

    #[tokio::test]
    async fn where_nobody_waits_there_is_no_predecessor() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("next.sock");
        assert!(Predecessor::find(&at).await.unwrap().is_none());
        HandOverPoint::open(&at).unwrap().announce().unwrap();
        assert!(Predecessor::find(&at).await.unwrap().is_none());
    }
}
