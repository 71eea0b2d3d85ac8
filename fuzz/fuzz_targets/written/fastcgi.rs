//! A PHP that answers requests one after the other: Debian's php-cgi behind a socket, over one connection.
//!
//! Only its FastCGI side reads forms as a shop's PHP does: `parse_str` of the command line's PHP is another parser.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const VERSION: u8 = 1;
const BEGIN: u8 = 1;
const END: u8 = 3;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;
const REQUEST_ID: u8 = 1;
/// The responder's role, and the wish to keep the connection.
const BEGIN_BODY: [u8; 8] = [0, 1, 1, 0, 0, 0, 0, 0];
/// One record holds no more.
const RECORD_BYTES_MAX: usize = 65_535;
const START_WITHIN_TRIES: u32 = 500;
const START_TRY: Duration = Duration::from_millis(20);
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// A running PHP with one script.
pub struct Php {
    child: Child,
    socket: PathBuf,
    connection: UnixStream,
    script: PathBuf,
}

impl Php {
    /// Starts `php-cgi` for one script.
    pub fn start(script: &Path) -> Self {
        let socket = std::env::temp_dir().join(format!("kallback-fuzz-{}.sock", std::process::id()));
        let settings = ["cgi.fix_pathinfo=0", "max_input_vars=1000", "display_errors=0", "output_buffering=0"];
        let mut command = Command::new("php-cgi");
        command.arg("-n").arg("-b").arg(&socket).env("PHP_FCGI_MAX_REQUESTS", "0").env("PHP_FCGI_CHILDREN", "0");
        settings.iter().for_each(|setting| {
            command.args(["-d", setting]);
        });
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("php-cgi is installed: tests/proof/fuzz does that");
        let connection = connect(&socket);
        connection.set_read_timeout(Some(ANSWER_WITHIN)).expect("a timeout");
        Self { child, socket, connection, script: script.canonicalize().expect("the script") }
    }

    /// What the script prints for a POST of this form to this target.
    pub fn post(&mut self, target: &str, path_info: Option<&[u8]>, content_type: &str, body: &[u8]) -> String {
        let query = target.split_once('?').map_or("", |(_, query)| query);
        let length = body.len().to_string();
        let script = self.script.to_string_lossy().into_owned();
        let mut params = Vec::new();
        for (name, value) in [
            ("SCRIPT_FILENAME", script.as_bytes()),
            ("REQUEST_METHOD", b"POST"),
            ("REQUEST_URI", target.as_bytes()),
            ("QUERY_STRING", query.as_bytes()),
            ("CONTENT_TYPE", content_type.as_bytes()),
            ("CONTENT_LENGTH", length.as_bytes()),
            ("PATH_INFO", path_info.unwrap_or_default()),
        ] {
            push_length(name.len(), &mut params);
            push_length(value.len(), &mut params);
            params.extend_from_slice(name.as_bytes());
            params.extend_from_slice(value);
        }
        let mut request = record(BEGIN, &BEGIN_BODY);
        for (kind, content) in [(PARAMS, params.as_slice()), (STDIN, body)] {
            content.chunks(RECORD_BYTES_MAX).for_each(|part| request.extend(record(kind, part)));
            request.extend(record(kind, &[]));
        }
        self.connection.write_all(&request).expect("php-cgi takes requests");
        let printed = self.answer();
        // The script's own headers come first.
        let text = String::from_utf8_lossy(&printed).into_owned();
        text.split_once("\r\n\r\n").expect("headers").1.to_owned()
    }

    fn answer(&mut self) -> Vec<u8> {
        let mut printed = Vec::new();
        loop {
            let mut head = [0; 8];
            self.connection.read_exact(&mut head).expect("php-cgi answers in time");
            let length = usize::from(u16::from_be_bytes([head[4], head[5]]));
            let mut content = vec![0; length + usize::from(head[6])];
            self.connection.read_exact(&mut content).expect("php-cgi answers in time");
            match head[1] {
                STDOUT => printed.extend_from_slice(&content[..length]),
                END => return printed,
                _ => {}
            }
        }
    }
}

impl Drop for Php {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.socket);
    }
}

fn connect(socket: &Path) -> UnixStream {
    for _ in 0..START_WITHIN_TRIES {
        match UnixStream::connect(socket) {
            Ok(connection) => return connection,
            Err(why) if matches!(why.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                std::thread::sleep(START_TRY);
            }
            Err(why) => panic!("php-cgi cannot be reached: {why}"),
        }
    }
    panic!("php-cgi does not start");
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).expect("one record").to_be_bytes();
    [&[VERSION, kind, 0, REQUEST_ID, high, low, 0, 0], content].concat()
}

fn push_length(length: usize, out: &mut Vec<u8>) {
    match u8::try_from(length) {
        Ok(short @ 0..=127) => out.push(short),
        _ => out.extend((u32::try_from(length).expect("a short text") | 1 << 31).to_be_bytes()),
    }
}
