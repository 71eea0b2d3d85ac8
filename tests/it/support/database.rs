//! A real PostgreSQL for tests: Debian's programs, in a temporary folder, on a socket of its own.
//!
//! Also built into the library's own tests, so it uses nothing else of this folder.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A server that ends, and whose folder goes, when its last user's process does, however that ends.
#[derive(Debug)]
pub struct Server {
    folder: PathBuf,
    port: u16,
    /// While its input is open, the server runs.
    shell: Child,
}

/// An empty database.
#[derive(Clone, Debug)]
pub struct Database {
    server: &'static Server,
    pub name: String,
}

/// How a server listens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Door {
    /// A Unix socket, for everybody who can reach it.
    Socket,
    /// Loopback with TLS and a password, besides the socket.
    Tls,
}

impl Server {
    /// The one that all tests of a process share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(Door::Socket, &[]))
    }

    /// One of its own, for a test that does it harm. It lives as long as the process.
    pub fn own(settings: &[&str]) -> &'static Self {
        Box::leak(Box::new(Self::start(Door::Socket, settings)))
    }

    /// One that is reached by TCP, with this certificate and key.
    pub fn with_tls(certificate: &str, key: &str) -> &'static Self {
        let server = Self::prepare();
        for (name, text) in [("server.pem", certificate), ("server.key", key)] {
            let path = server.folder.join("data").join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            give_away(&path);
        }
        let tls = ["ssl=on", "ssl_cert_file='server.pem'", "ssl_key_file='server.key'"];
        Box::leak(Box::new(server.run(Door::Tls, &tls)))
    }

    fn start(door: Door, settings: &[&str]) -> Self {
        Self::prepare().run(door, settings)
    }

    /// A folder with a new cluster in it.
    fn prepare() -> Prepared {
        let folder = tempfile::Builder::new().prefix("kallback-pg-").tempdir().unwrap().keep();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        give_away(&folder);
        let data = folder.join("data");
        let mut initdb = unprivileged(&program("initdb"));
        initdb.args(["--no-sync", "--auth-local=trust", "--auth-host=scram-sha-256", "--username=kallback"]);
        initdb.args(["--encoding=UTF8", "--locale=C", "-D"]).arg(&data);
        let made = initdb.current_dir("/").output().expect("initdb can be started");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        Prepared { folder }
    }

    /// A new, empty database.
    pub fn database(&'static self) -> Database {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let database = self.called(&format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        self.sql("postgres", &format!("create database {} template template0", database.name));
        database
    }

    /// The database of that name, whether there is one or not.
    pub fn called(&'static self, name: &str) -> Database {
        Database { server: self, name: name.to_owned() }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs statements, and gives back what they show.
    pub fn sql(&self, database: &str, statements: &str) -> String {
        let told = self.psql(database).args(["-c", statements]).stdin(Stdio::null()).output();
        let told = told.expect("psql can be started");
        assert!(told.status.success(), "{statements}: {}", String::from_utf8_lossy(&told.stderr));
        String::from_utf8(told.stdout).unwrap().trim().to_owned()
    }

    fn psql(&self, database: &str) -> Command {
        let mut psql = Command::new(program("psql"));
        psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-U", "kallback", "-d", database, "-p", &self.port.to_string()]);
        // Also where a test made it take no writes.
        psql.env("PGOPTIONS", "-c default_transaction_read_only=off").arg("-h").arg(&self.folder);
        psql
    }

    /// Stops all of its processes in their tracks, or lets them go on.
    pub fn freeze(&self, frozen: bool) {
        let signal = if frozen { "-STOP" } else { "-CONT" };
        let main = self.main_process();
        let children = Command::new("ps").args(["-o", "pid=", "--ppid", &main]).output().expect("ps can be started");
        let mut processes: Vec<String> =
            String::from_utf8(children.stdout).unwrap().split_whitespace().map(str::to_owned).collect();
        processes.push(main);
        let _ = Command::new("kill").arg(signal).args(processes).stderr(Stdio::null()).status();
    }

    /// Stops it and starts it again: every connection breaks, what was committed stays.
    pub fn restart(&self) {
        self.stop();
        self.go_on();
    }

    /// Stops it at once, as a crash would.
    pub fn stop(&self) {
        self.pg_ctl(&["stop", "-m", "immediate", "-w"]);
    }

    /// Starts it after [`stop`](Self::stop).
    pub fn go_on(&self) {
        self.pg_ctl(&["start", "-w", "-l", "/dev/null"]);
    }

    fn pg_ctl(&self, arguments: &[&str]) {
        let mut command = unprivileged(&program("pg_ctl"));
        command.args(arguments).arg("-D").arg(self.folder.join("data")).current_dir("/");
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null()).status().unwrap();
        assert!(status.success(), "pg_ctl {arguments:?}");
    }

    fn main_process(&self) -> String {
        let text = fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap();
        text.lines().next().unwrap().to_owned()
    }
}

struct Prepared {
    folder: PathBuf,
}

impl Prepared {
    fn run(self, door: Door, settings: &[&str]) -> Server {
        let port = free_port();
        let listen = if door == Door::Tls { "127.0.0.1" } else { "" };
        let mut config = fs::OpenOptions::new().append(true).open(self.folder.join("data/postgresql.conf")).unwrap();
        let lines = [
            format!("port={port}"),
            format!("listen_addresses='{listen}'"),
            format!("unix_socket_directories='{}'", self.folder.display()),
            // No test cuts the power.
            "fsync=off".to_owned(),
            "max_connections=300".to_owned(),
        ];
        for line in lines.iter().map(String::as_str).chain(settings.iter().copied()) {
            writeln!(config, "{line}").unwrap();
        }
        // It ends with its input, which ends with this process.
        let script = r#"cd /; "$0" start -w -l "$1/log" -D "$1/data" >/dev/null && echo ready; cat >/dev/null
            "$0" stop -m immediate -D "$1/data" >/dev/null 2>&1; rm -rf "$1""#;
        let mut command = unprivileged(Path::new("/bin/sh"));
        command.args(["-c", script]).arg(program("pg_ctl")).arg(&self.folder);
        let shell = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let server = Server { folder: self.folder, port, shell: shell.expect("a shell can be started") };
        server.wait_until_ready();
        server
    }
}

impl Server {
    fn wait_until_ready(&self) {
        let began = Instant::now();
        loop {
            let mut ready = Command::new(program("pg_isready"));
            ready.args(["-q", "-U", "kallback", "-p", &self.port.to_string(), "-h"]).arg(&self.folder);
            if ready.status().is_ok_and(|status| status.success()) {
                return;
            }
            let log = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(began.elapsed() < Duration::from_secs(60), "PostgreSQL did not start: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Database {
    /// Its URL by the socket.
    pub fn url(&self) -> String {
        let folder = self.server.folder.display().to_string().replace('/', "%2F");
        format!("postgres://kallback@{folder}:{}/{}", self.server.port, self.name)
    }

    /// Its URL by a TCP port of this machine, which the test has to lead to [`socket`](Self::socket).
    pub fn url_by(&self, port: u16) -> String {
        format!("postgres://kallback@127.0.0.1:{port}/{}?sslmode=disable", self.name)
    }

    /// The server's socket.
    pub fn socket(&self) -> PathBuf {
        self.server.folder.join(format!(".s.PGSQL.{}", self.server.port))
    }

    pub fn server(&self) -> &'static Server {
        self.server
    }

    /// Runs statements, and gives back what they show.
    pub fn sql(&self, statements: &str) -> String {
        self.server.sql(&self.name, statements)
    }
}

/// No row is put into a table while it lives.
#[derive(Debug)]
pub struct Locked(Child);

impl Database {
    /// Makes every statement wait that puts a row into a table. It can be prepared all the same.
    pub fn lock(&self, table: &str) -> Locked {
        let mut psql = self.server.psql(&self.name);
        let mut psql = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("psql can be started");
        let script = format!(
            "select pg_advisory_lock(1);
            create function wait() returns trigger language plpgsql as
                'begin perform pg_advisory_xact_lock_shared(1); return new; end';
            create trigger wait before insert on {table} for each row execute function wait();
            select 'held';\n"
        );
        psql.stdin.as_mut().unwrap().write_all(script.as_bytes()).unwrap();
        let lines = BufReader::new(psql.stdout.as_mut().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line == "held"));
        Locked(psql)
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // At the end of its input it leaves, and the lock with it.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// initdb and postgres refuse to run as root.
fn unprivileged(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", USER, "--regid", USER, "--clear-groups", "--"]).arg(program);
    command
}

fn give_away(path: &Path) {
    if is_root() {
        let status = Command::new("chown").arg(format!("{USER}:")).arg(path).status();
        assert!(status.is_ok_and(|status| status.success()), "chown {}", path.display());
    }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// One of PostgreSQL's programs: the newest of Debian's versions, or whatever the path has.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.filter_map(|one| one.file_name().to_str()?.parse::<u32>().ok()).max();
    let in_debian = newest.map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin/{name}")));
    let in_path =
        || std::env::split_paths(&std::env::var_os("PATH")?).map(|one| one.join(name)).find(|one| one.is_file());
    in_debian.filter(|one| one.is_file()).or_else(in_path).unwrap_or_else(|| {
        panic!("the tests of the shared ledger need PostgreSQL's {name}: apt-get install postgresql")
    })
}

/// Free now, and hardly taken before the server has it.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Debian's package makes this user.
const USER: &str = "postgres";
