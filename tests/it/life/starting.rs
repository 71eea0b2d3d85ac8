//! Starting: from nothing, under systemd, and not at all.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rusqlite::Connection;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;
use tokio::net::{TcpListener, UnixDatagram};

use crate::support::callbacks::Callback;
use crate::support::klarna::Klarna;
use crate::support::process::{Process, kallback};
use crate::support::site::Site;
use crate::support::time::patiently;
use crate::support::world::HOST;

#[tokio::test]
async fn the_example_runs_in_an_empty_folder() {
    let folder = TempDir::new().unwrap();
    fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/config.example.toml"), folder.path().join("k.toml")).unwrap();
    let no_shop = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    // Bound, and deaf: callers are refused, and nobody else gets the port.
    no_shop.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    let no_shop = no_shop.local_addr().unwrap().as_socket().unwrap();
    let mut command = kallback();
    command.current_dir(folder.path()).args(["run", "--config", "k.toml", "--listen", "127.0.0.1:0"]);
    command.args(["--admin-listen", "127.0.0.1:0", "--shop", &format!("http://{no_shop}")]);

    let process = Process::start(command).await;

    assert!(process.has_said("certs/dev.crt was made for development"));
    assert!(process.has_said("the token key is made for development"));
    assert_eq!(mode(folder.path(), "certs/dev.key"), 0o600);
    assert_eq!(mode(folder.path(), "data"), 0o700);
    assert_eq!(mode(folder.path(), "data/token.keys"), 0o600);
    assert_eq!(mode(folder.path(), "data/kallback.db"), 0o600);
    let certificate = CertificateDer::from_pem_file(folder.path().join("certs/dev.crt")).unwrap();
    let customer = Klarna::plain(process.address).with_host("localhost").trusting(certificate);
    assert_eq!(customer.call(&Callback::page("/")).await.unwrap().status, 502);
    process.stop().await;
}

#[tokio::test]
async fn systemd_is_told_of_start_reload_and_stop() {
    let site = Site::new().await;
    let socket = UnixDatagram::bind(site.path("notify")).unwrap();
    let mut command = site.command(&[]);
    command.env("NOTIFY_SOCKET", site.path("notify"));
    let mut kallback = Process::start(command).await;
    assert_eq!(told(&socket).await, "READY=1\n");

    kallback.hang_up();
    let reloading = told(&socket).await;
    let (word, time) = reloading.trim_end().split_once("\nMONOTONIC_USEC=").unwrap();
    assert!(word == "RELOADING=1" && time.parse::<u64>().is_ok(), "{reloading}");
    assert_eq!(told(&socket).await, "READY=1\nSTATUS=\n");

    site.edit("[ledger]", "[legder]");
    kallback.hang_up();
    assert!(told(&socket).await.starts_with("RELOADING=1\n"));
    assert_eq!(told(&socket).await, "READY=1\nSTATUS=the new config is faulty; the last good one stays\n");

    kallback.terminate();
    assert_eq!(told(&socket).await, "STOPPING=1\n");
    assert_eq!(kallback.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let site = Site::new().await;
    let somebody_else = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = somebody_else.local_addr().unwrap();
    for option in ["server.listen", "server.redirect_from"] {
        let expected = format!("error: cannot listen on {taken}: Address already in use (os error 98)");
        assert_eq!(refusal(&site, &[&format!("{option}={taken}")]).await, expected);
    }
    let expected = format!("error: the admin listener cannot listen on {taken}: Address already in use (os error 98)");
    assert_eq!(refusal(&site, &[&format!("admin.listen={taken}")]).await, expected);
}

#[tokio::test]
async fn the_port_of_another_kallback_is_taken_however_the_work_is_spread() {
    let (site, other) = (Site::new().await, Site::new().await);
    for (theirs, ours) in [("per_core", "per_core"), ("per_core", "shared"), ("shared", "per_core")] {
        let running = other.start(&[&format!("server.workers={theirs}")]).await;
        let taken = running.address;
        let text = refusal(&site, &[&format!("server.workers={ours}"), &format!("server.listen={taken}")]).await;
        assert_eq!(text, format!("error: cannot listen on {taken}: Address already in use (os error 98)"));
        running.stop().await;
    }
}

#[tokio::test]
async fn a_ledger_belongs_to_one_process() {
    let site = Site::new().await;
    let first = site.start(&[]).await;
    let file = site.path("kallback.db").display().to_string();
    let expected = format!("error: the ledger {file} is in use by another process (which holds {file}.lock)");
    assert_eq!(refusal(&site, &[]).await, expected);
    first.stop().await;
    site.start(&[]).await.stop().await;
}

#[tokio::test]
async fn a_ledger_of_a_newer_kallback_is_refused_and_left_alone() {
    let site = Site::new().await;
    site.start(&[]).await.stop().await;
    let format = |change: Option<i64>| {
        let ledger = Connection::open(site.path("kallback.db")).unwrap();
        if let Some(format) = change {
            ledger.pragma_update(None, "user_version", format).unwrap();
        }
        ledger.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0)).unwrap()
    };
    let known = format(None);
    format(Some(known + 1));

    let text = refusal(&site, &[]).await;

    let expected = format!("was written by a newer kallback: it has format {}", known + 1);
    assert!(text.starts_with("error: the ledger ") && text.contains(&expected), "{text}");
    assert_eq!(format(None), known + 1);
}

#[tokio::test]
async fn what_is_no_ledger_is_left_alone() {
    let site = Site::new().await;
    fs::write(site.path("kallback.db"), "the shop's own notes, and no database at all".repeat(40)).unwrap();
    let text = refusal(&site, &[]).await;
    assert!(text.starts_with("error: the ledger ") && text.contains("cannot be opened"), "{text}");
    assert!(fs::read_to_string(site.path("kallback.db")).unwrap().starts_with("the shop's own notes"));
}

#[tokio::test]
async fn a_broken_certificate_is_named_with_its_line() {
    let site = Site::new().await;
    fs::write(site.path(&format!("{HOST}.pem")), "rubbish").unwrap();
    let output = refused(&site, &[]).await;
    let file = site.path(&format!("{HOST}.pem")).display().to_string();
    assert!(output.starts_with(&format!("error: {file} holds no certificate in PEM form\n  --> ")), "{output}");
    assert!(output.contains("kallback.toml:8:15") && output.ends_with("1 fault in the config\n"), "{output}");
}

/// What systemd is told next.
async fn told(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 1024];
    let length = patiently("a word for systemd", socket.recv(&mut buffer)).await.unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

/// The one line that a start which fails says.
async fn refusal(site: &Site, options: &[&str]) -> String {
    let output = refused(site, options).await;
    assert_eq!(output.lines().count(), 1, "{output}");
    output.trim_end().to_owned()
}

/// All that a start which fails says, without the log.
async fn refused(site: &Site, options: &[&str]) -> String {
    let mut command = site.command(options);
    let output = patiently("the start to fail", command.args(["--log-filter", "off"]).output()).await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

/// The permissions of a file.
fn mode(folder: &Path, name: &str) -> u32 {
    fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777
}
