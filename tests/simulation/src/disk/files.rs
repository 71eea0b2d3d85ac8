//! One file of a simulated disk: what can be read, what is durable, who holds which lock.

use sqlite_plugin::flags::LockLevel;

use crate::chance::Chance;

/// A write tears between two of these.
const SECTOR: usize = 512;

/// Slots of shared memory locks that SQLite has.
const SLOTS: usize = 8;

/// A region of shared memory: 32 KiB, as SQLite asks for them.
pub(super) type Region = Box<[u64; 4096]>;

/// A file.
#[derive(Default)]
pub(super) struct File {
    content: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
    /// Who holds which lock.
    pub(super) locks: Vec<(u64, LockLevel)>,
    pub(super) slots: [Slot; SLOTS],
    pub(super) shared: Vec<Region>,
    /// Who has the shared memory mapped; it is gone with the last of them.
    pub(super) mapped_by: Vec<u64>,
}

/// One lock of the shared memory.
#[derive(Clone, Default)]
pub(super) struct Slot {
    pub(super) shared_by: Vec<u64>,
    pub(super) exclusive_by: Option<u64>,
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Clone for File {
    /// What is in it, without its holders.
    fn clone(&self) -> Self {
        let (content, durable) = (self.content.clone(), self.durable.clone());
        Self { content, durable, unsynced: self.unsynced.clone(), ..Self::default() }
    }
}

impl File {
    pub(super) fn len(&self) -> usize {
        self.content.len()
    }

    pub(super) fn read(&self, offset: usize, into: &mut [u8]) -> usize {
        let there = self.content.get(offset..).unwrap_or_default();
        let bytes = there.len().min(into.len());
        into[..bytes].copy_from_slice(&there[..bytes]);
        bytes
    }

    pub(super) fn write(&mut self, offset: usize, data: &[u8]) {
        let change = Change::Write(offset, data.to_vec());
        change.apply(&mut self.content);
        self.unsynced.push(change);
    }

    pub(super) fn truncate(&mut self, bytes: usize) {
        let change = Change::Length(bytes);
        change.apply(&mut self.content);
        self.unsynced.push(change);
    }

    /// The same bytes once more.
    pub(super) fn write_anew(&mut self) {
        self.unsynced.push(Change::Write(0, self.content.clone()));
    }

    pub(super) fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// A sync failed: each change may have got there, and none is tried again.
    pub(super) fn fail_sync(&mut self, chance: &mut Chance) {
        for change in self.unsynced.drain(..) {
            if chance.percent(50) {
                change.apply(&mut self.durable);
            }
        }
    }

    pub(super) fn lose_power(&mut self, chance: &mut Chance) {
        for change in std::mem::take(&mut self.unsynced) {
            match chance.within(0..3) {
                0 => {}
                1 => change.apply(&mut self.durable),
                _ => change.torn(chance).apply(&mut self.durable),
            }
        }
        self.content.clone_from(&self.durable);
        self.forget_holders();
    }

    pub(super) fn forget_holders(&mut self) {
        self.locks.clear();
        self.slots = Default::default();
        self.shared.clear();
        self.mapped_by.clear();
    }

    pub(super) fn forget_holder(&mut self, holder: u64) {
        self.locks.retain(|(other, _)| *other != holder);
        self.release_slots(holder);
    }

    pub(super) fn release_slots(&mut self, holder: u64) {
        for slot in &mut self.slots {
            slot.shared_by.retain(|other| *other != holder);
            slot.exclusive_by = slot.exclusive_by.filter(|other| *other != holder);
        }
    }

    pub(super) fn set_lock(&mut self, holder: u64, level: LockLevel) {
        self.locks.retain(|(other, _)| *other != holder);
        if level > LockLevel::Unlocked {
            self.locks.push((holder, level));
        }
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, data) => {
                let end = offset + data.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*offset..end].copy_from_slice(data);
            }
            Self::Length(length) => bytes.resize(*length, 0),
        }
    }

    /// The first sectors of a write.
    fn torn(&self, chance: &mut Chance) -> Self {
        match self {
            Self::Write(offset, data) => {
                let sectors = chance.within(0..(data.len() / SECTOR + 1) as u64) as usize;
                Self::Write(*offset, data[..data.len().min(sectors * SECTOR)].to_vec())
            }
            length @ Self::Length(_) => length.clone(),
        }
    }
}
