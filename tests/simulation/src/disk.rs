//! A simulated disk with a page cache, under SQLite itself.
//!
//! What is written can be read at once, and is durable once it was synced. A power cut keeps what is durable and,
//! of every write since, all, nothing, or a part. A sync that fails is the worst of its kind: the writes stay readable
//! and are never tried again (as Linux does), and each may have reached the disk or not.

mod files;
mod vfs;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use sqlite_plugin::vars;

use self::files::File;
use crate::chance::Chance;

/// The name under which SQLite knows all simulated disks.
pub const VFS: &str = "simulated";

/// One disk. Cheap to clone; all clones are the same disk.
#[derive(Clone)]
pub struct Disk {
    number: u64,
    state: Arc<Mutex<State>>,
}

/// What is wrong with a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// No room: writes that make a file longer fail.
    Full,
    /// Some writes fail.
    FailingWrites,
    /// Some syncs fail.
    FailingSyncs,
}

struct State {
    files: HashMap<String, File>,
    chance: Chance,
    trouble: Option<Trouble>,
    /// Power or process is gone: nothing has an effect any more.
    off: bool,
    /// Counts down with every effect; at zero everything is off.
    effects_left: Option<u64>,
    /// A broken variant: syncs are promised and not done.
    swallows_syncs: bool,
    faults: u64,
    effects: u64,
}

static DISKS: LazyLock<Mutex<HashMap<u64, Disk>>> = LazyLock::new(|| {
    vfs::register();
    Mutex::default()
});
static NEXT: AtomicU64 = AtomicU64::new(1);

impl Disk {
    /// An empty disk.
    pub fn new(chance: Chance) -> Self {
        Self::with(HashMap::new(), chance)
    }

    fn with(files: HashMap<String, File>, chance: Chance) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let state = State {
            files,
            chance,
            trouble: None,
            off: false,
            effects_left: None,
            swallows_syncs: false,
            faults: 0,
            effects: 0,
        };
        let disk = Self { number, state: Arc::new(Mutex::new(state)) };
        lock(&DISKS).insert(number, disk.clone());
        disk
    }

    /// Gives the disk up, with all that is on it.
    pub fn scrap(&self) {
        lock(&DISKS).remove(&self.number);
    }

    /// A file's name as SQLite has to be told it.
    pub fn name_of(&self, file: &str) -> String {
        format!("{}-{file}", self.number)
    }

    /// Something is wrong from now on, or nothing any more.
    pub fn set_trouble(&self, trouble: Option<Trouble>) {
        self.lock().trouble = trouble;
    }

    /// Everything goes off after so many more effects: the process is killed between two of its writes.
    pub fn goes_off_after(&self, effects: u64) {
        self.lock().effects_left = Some(effects);
    }

    /// Nothing has an effect from now on.
    pub fn switch_off(&self) {
        self.lock().off = true;
    }

    /// Whether everything went off.
    pub fn is_off(&self) -> bool {
        self.lock().off
    }

    /// The broken variant in which an fsync is left out.
    pub fn swallow_syncs(&self) {
        self.lock().swallows_syncs = true;
    }

    /// Errors that were returned so far.
    pub fn faults(&self) -> u64 {
        self.lock().faults
    }

    /// Writes, syncs and truncations so far: a part of the trace.
    pub fn effects(&self) -> u64 {
        self.lock().effects
    }

    /// After the process died: everything is as the page cache has it, locks and shared memory are gone.
    pub fn process_died(&self) {
        let mut state = self.lock();
        state.files.values_mut().for_each(File::forget_holders);
        (state.off, state.effects_left) = (false, None);
    }

    /// After the power was cut: what was not durable is partly there, partly not.
    pub fn power_was_cut(&self) {
        let mut state = self.lock();
        let State { files, chance, .. } = &mut *state;
        let mut names: Vec<_> = files.keys().cloned().collect();
        names.sort();
        for name in names {
            if let Some(file) = files.get_mut(&name) {
                file.lose_power(chance);
            }
        }
        (state.off, state.effects_left) = (false, None);
    }

    /// Another disk, with what would be on this one if the power was cut now.
    pub fn as_after_a_power_cut(&self) -> Self {
        let copy = self.copy();
        copy.power_was_cut();
        copy
    }

    /// Another disk with the same files, as the page cache has them.
    pub fn copy(&self) -> Self {
        let state = self.lock();
        let (files, chance) = (state.files.clone(), state.chance.clone());
        drop(state);
        Self::with(files, chance)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// An effect is about to happen. Says whether it may.
    fn effect(&mut self) -> Result<(), i32> {
        if self.effects_left.as_mut().is_some_and(|left| {
            *left = left.saturating_sub(1);
            *left == 0
        }) {
            self.off = true;
        }
        if self.off {
            return Err(vars::SQLITE_IOERR);
        }
        self.effects += 1;
        Ok(())
    }

    fn may_write(&mut self, grows: bool) -> Result<(), i32> {
        self.effect()?;
        let fails = match self.trouble {
            Some(Trouble::Full) if grows => Some(vars::SQLITE_FULL),
            Some(Trouble::FailingWrites) if self.chance.percent(30) => Some(vars::SQLITE_IOERR_WRITE),
            _ => None,
        };
        self.fail(fails)
    }

    /// Whether a sync does what it says: `Ok(false)` if it only says so.
    fn may_sync(&mut self) -> Result<bool, i32> {
        self.effect()?;
        let fails = self.trouble == Some(Trouble::FailingSyncs) && self.chance.percent(50);
        self.fail(fails.then_some(vars::SQLITE_IOERR_FSYNC))?;
        Ok(!self.swallows_syncs)
    }

    fn sync(&mut self, name: &str) -> Result<(), i32> {
        let outcome = self.may_sync();
        if self.off {
            return Err(vars::SQLITE_IOERR_FSYNC);
        }
        let file = self.files.get_mut(name).ok_or(vars::SQLITE_IOERR_FSYNC)?;
        match outcome {
            Ok(true) => file.sync(),
            Ok(false) => {}
            Err(_) => file.fail_sync(&mut self.chance),
        }
        outcome.map(drop)
    }

    fn may_read(&self) -> Result<(), i32> {
        if self.off { Err(vars::SQLITE_IOERR) } else { Ok(()) }
    }

    fn fail(&mut self, code: Option<i32>) -> Result<(), i32> {
        self.faults += u64::from(code.is_some());
        code.map_or(Ok(()), Err)
    }
}

/// Writes a file's bytes over themselves and syncs them, as kallback does outside SQLite.
///
/// # Errors
/// As the disk has them.
pub fn write_anew(path: &Path) -> io::Result<()> {
    let Some((disk, name)) = path.to_str().and_then(found) else { return Ok(()) };
    let mut state = disk.lock();
    let failed = |code: i32| io::Error::other(format!("simulated error {code}"));
    if !state.files.contains_key(&name) {
        return Ok(());
    }
    state.may_write(false).map_err(failed)?;
    if let Some(file) = state.files.get_mut(&name) {
        file.write_anew();
    }
    state.sync(&name).map_err(failed)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The disk and the file that a name says.
fn found(name: &str) -> Option<(Disk, String)> {
    let (number, file) = name.split_once('-')?;
    let disk = lock(&DISKS).get(&number.parse().ok()?)?.clone();
    Some((disk, file.to_owned()))
}
