//! The ledger's file: its place, its lock, its permissions, and the ways to open it.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use thiserror::Error;

use crate::ledger::sqlite::schema::{self, SchemaFault};
use crate::ledger::sqlite::{Checkpoints, reason};

/// Until 3.51.2 two connections that checkpoint and write at the same instant could damage the file.
const SQLITE_VERSION_MIN: i32 = 3_051_003;

/// The WAL file keeps at most this size once it was reset; writing over it is quicker than growing it anew.
const WAL_BYTES_KEPT: i64 = 64 << 20;

/// Pages of the file kept in memory by the writer, in KiB: the index on random fingerprints wants them.
const CACHE_KIB: i64 = 16 << 10;

/// Why a ledger file cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the ledger {} is in use by another process (which holds {}.lock)", .0.display(), .0.display())]
    InUse(PathBuf),
    /// A newer kallback wrote it.
    #[error(
        "the ledger {} was written by a newer kallback: it has format {found}, this kallback knows formats up to \
         {known}; start the newer version again, or name another file", file.display()
    )]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format that this version knows.
        known: i64,
    },
    /// Some other program's database.
    #[error("{} is a database of another program", .0.display())]
    Foreign(PathBuf),
    /// Locks and syncs of network file systems cannot be trusted.
    #[error("the ledger {} lies on a network file system ({kind}); it needs a local disk", file.display())]
    Network {
        /// The file.
        file: PathBuf,
        /// The file system.
        kind: &'static str,
    },
    /// Its folder, the file or its lock cannot be made.
    #[error("the ledger {} cannot be made or locked: {why}", file.display())]
    Place {
        /// The file.
        file: PathBuf,
        /// What the system says.
        #[source]
        why: io::Error,
    },
    /// SQLite cannot open it.
    #[error("the ledger {} cannot be opened: {why}", file.display())]
    Sqlite {
        /// The file.
        file: PathBuf,
        /// What SQLite says.
        why: String,
    },
    /// kallback was built with a SQLite that has the WAL-reset fault.
    #[error("SQLite {0} is too old for the ledger: it needs 3.51.3 or newer")]
    OldSqlite(&'static str),
}

/// A ledger file that belongs to this process as long as this value lives.
#[derive(Debug)]
pub(super) struct LedgerFile {
    path: PathBuf,
    checkpoints: Checkpoints,
    /// The file system, if it is none of the machine's.
    vfs: Option<Vfs>,
    _lock: Option<File>,
}

/// A file system of SQLite's own.
#[derive(Clone, Copy, Debug)]
pub struct Vfs {
    /// The name under which SQLite knows it.
    pub name: &'static str,
    /// Writes a file's bytes over themselves and syncs them; a file that is not there is fine.
    pub write_anew: fn(&Path) -> io::Result<()>,
}

/// The writer's connection, and the size of the WAL in pages after its last commit; a commit that wrote nothing
/// leaves it alone.
#[derive(Debug)]
pub(super) struct WriterConnection {
    pub(super) sql: Connection,
    pub(super) wal_pages: Arc<AtomicI32>,
}

impl LedgerFile {
    /// Makes folder and file where they are missing, takes the lock, and leaves the file readable for its owner
    /// only. SQLite gives its `-wal` and `-shm` files the permissions of the file.
    pub(super) fn take(path: &Path, checkpoints: Checkpoints) -> Result<Self, OpenError> {
        if rusqlite::version_number() < SQLITE_VERSION_MIN {
            return Err(OpenError::OldSqlite(rusqlite::version()));
        }
        let place = |why: io::Error| OpenError::Place { file: path.to_owned(), why };
        // Absolute, so that neither a later change of the working folder nor a name such as `:memory:` matters.
        let absolute = std::path::absolute(path).map_err(place)?;
        let folder = absolute.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(folder).map_err(place)?;
        refuse_network(&absolute, folder)?;
        let lock = private_file(&beside(&absolute, ".lock")).map_err(place)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse(absolute)),
            Err(TryLockError::Error(why)) => return Err(place(why)),
        }
        private_file(&absolute).map_err(place)?;
        for left_by_a_crash in [beside(&absolute, "-wal"), beside(&absolute, "-shm")] {
            if left_by_a_crash.exists() {
                private_file(&left_by_a_crash).map_err(place)?;
            }
        }
        // The new names have to survive a power cut, too.
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(place)?;
        Ok(Self { path: absolute, checkpoints, vfs: None, _lock: Some(lock) })
    }

    /// A file on a file system of SQLite's own, which looks after it.
    pub(super) fn elsewhere(name: &str, vfs: Vfs, checkpoints: Checkpoints) -> Self {
        Self { path: name.into(), checkpoints, vfs: Some(vfs), _lock: None }
    }

    /// Opens the connection that writes, and brings the file up to date.
    ///
    /// After a sync that failed, the system shows what was written and never writes it: SQLite would find complete
    /// transactions in the WAL, put new ones behind them, and a power cut would take all of them. So before anything
    /// is put behind what is there, that is written anew.
    pub(super) fn open_writer(&self) -> Result<WriterConnection, OpenError> {
        let write_anew = self.vfs.map_or(write_anew as fn(&Path) -> io::Result<()>, |vfs| vfs.write_anew);
        write_anew(&beside(&self.path, "-wal")).map_err(|why| OpenError::Place { file: self.path.clone(), why })?;
        let mut sql = self.connect(OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(|why| self.fault(why.into()))?;
        schema::check(&sql, schema::STEPS).map_err(|why| self.fault(why))?;
        let wal_pages = self.set_up_writer(&mut sql).map_err(|why| self.fault(why.into()))?;
        schema::bring_up_to_date(&mut sql, schema::STEPS).map_err(|why| self.fault(why))?;
        Ok(WriterConnection { sql, wal_pages })
    }

    /// Opens a connection that cannot write.
    pub(super) fn open_reader(&self) -> rusqlite::Result<Connection> {
        self.connect(OpenFlags::SQLITE_OPEN_READ_ONLY)
    }

    /// Opens a connection for checkpoints.
    pub(super) fn open_checkpointer(&self) -> rusqlite::Result<Connection> {
        let sql = self.connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        durable(&sql)?;
        Ok(sql)
    }

    /// How checkpoints are done.
    pub(super) fn checkpoints(&self) -> Checkpoints {
        self.checkpoints
    }

    fn connect(&self, access: OpenFlags) -> rusqlite::Result<Connection> {
        let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let sql = match self.vfs {
            None => Connection::open_with_flags(&self.path, flags)?,
            Some(vfs) => Connection::open_with_flags_and_vfs(&self.path, flags, vfs.name)?,
        };
        // Only a moment's wait for another connection of this process that recovers the WAL.
        sql.busy_timeout(Duration::from_secs(1))?;
        sql.pragma_update(None, "trusted_schema", false)?;
        Ok(sql)
    }

    fn set_up_writer(&self, sql: &mut Connection) -> rusqlite::Result<Arc<AtomicI32>> {
        // Before the first table is made, or it has no effect.
        sql.pragma_update(None, "auto_vacuum", "incremental")?;
        sql.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
        durable(sql)?;
        sql.pragma_update_and_check(None, "journal_size_limit", WAL_BYTES_KEPT, |_| Ok(()))?;
        sql.pragma_update(None, "cache_size", -CACHE_KIB)?;
        // What was swept is overwritten where that costs no extra write.
        sql.pragma_update_and_check(None, "secure_delete", "fast", |_| Ok(()))?;
        sql.set_prepared_statement_cache_capacity(64);
        let wal_pages = Arc::new(AtomicI32::new(0));
        match self.checkpoints {
            Checkpoints::InLine => sql.pragma_update_and_check(None, "wal_autocheckpoint", 1_000, |_| Ok(()))?,
            Checkpoints::Aside => {
                // The hook takes the place of SQLite's own checkpoints, which would stall the commit that meets one.
                sql.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
                let told = wal_pages.clone();
                sql.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
                    told.store(pages, Ordering::Relaxed);
                    Ok(())
                }))?;
            }
        }
        Ok(wal_pages)
    }

    /// A fault of SQLite or of what is in the file, with the file's name.
    pub(super) fn fault(&self, why: SchemaFault) -> OpenError {
        let file = self.path.clone();
        match why {
            SchemaFault::Foreign => OpenError::Foreign(file),
            SchemaFault::Newer { found, known } => OpenError::Newer { file, found, known },
            SchemaFault::Sqlite(why) => OpenError::Sqlite { file, why: reason(&why) },
        }
    }
}

/// Every commit is on the disk before it counts; on macOS that takes more than an fsync.
fn durable(sql: &Connection) -> rusqlite::Result<()> {
    sql.pragma_update(None, "synchronous", "full")?;
    sql.pragma_update(None, "fullfsync", true)?;
    sql.pragma_update(None, "checkpoint_fullfsync", true)
}

/// Writes a file's bytes over themselves and syncs them. Whoever reads it meanwhile reads the same bytes.
fn write_anew(path: &Path) -> io::Result<()> {
    const PIECE_BYTES: usize = 1 << 20;
    let mut file = match OpenOptions::new().read(true).write(true).open(path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let bytes = file.read(&mut piece)?;
        if bytes == 0 {
            return file.sync_all();
        }
        file.seek(SeekFrom::Current(-i64::try_from(bytes).unwrap_or(0)))?;
        file.write_all(&piece[..bytes])?;
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

/// Opens or makes a file that only its owner may read, also if it was there and wider.
fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
        let file = options.mode(0o600).open(path)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        Ok(file)
    }
    #[cfg(not(unix))]
    options.open(path)
}

#[cfg(target_os = "linux")]
fn refuse_network(file: &Path, folder: &Path) -> Result<(), OpenError> {
    let magic = rustix::fs::statfs(folder)
        .map(|found| i128::from(found.f_type) & 0xffff_ffff)
        .map_err(|why| OpenError::Place { file: file.to_owned(), why: why.into() })?;
    match network_file_system(magic) {
        Some(kind) => Err(OpenError::Network { file: file.to_owned(), kind }),
        None => Ok(()),
    }
}

#[cfg(not(target_os = "linux"))]
fn refuse_network(_file: &Path, _folder: &Path) -> Result<(), OpenError> {
    Ok(())
}

/// The numbers of `statfs(2)`, and some that it does not list.
#[cfg(target_os = "linux")]
fn network_file_system(magic: i128) -> Option<&'static str> {
    Some(match magic {
        0x6969 => "NFS",
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => "SMB",
        0x0102_1997 => "9P",
        0x5346_414f | 0x6b41_4653 => "AFS",
        0x00c3_6400 => "Ceph",
        0x0bd0_0bd0 => "Lustre",
        0x7461_636f => "OCFS2",
        0x0116_1970 => "GFS2",
        0x7375_7245 => "Coda",
        _ => return None,
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// Without this the simulation finds records that a power cut takes although they were committed.
    #[test]
    fn a_file_that_is_written_anew_has_the_same_bytes_and_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let (file, long_ago) = (folder.path().join("a-wal"), std::time::SystemTime::UNIX_EPOCH);
        write_anew(&file).unwrap();
        assert!(!file.exists());
        let bytes: Vec<u8> = (0..2_500_000_u32).map(|number| (number % 251) as u8).collect();
        fs::write(&file, &bytes).unwrap();
        File::options().write(true).open(&file).unwrap().set_modified(long_ago).unwrap();
        write_anew(&file).unwrap();
        assert!(fs::metadata(&file).unwrap().modified().unwrap() > long_ago);
        assert!(fs::read(&file).unwrap() == bytes);
    }

    #[test]
    fn local_disks_are_welcome_and_network_ones_are_not() {
        assert_eq!(network_file_system(0x6969), Some("NFS"));
        for local in [0xef53, 0x9123_683e, 0x5846_5342, 0x0102_1994, 0x794c_7630] {
            assert_eq!(network_file_system(local), None, "{local:x}");
        }
        assert!(refuse_network(Path::new("/"), &std::env::temp_dir()).is_ok());
    }
}
