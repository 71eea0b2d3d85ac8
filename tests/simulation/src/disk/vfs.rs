//! Simulated disks as SQLite uses them.

use std::borrow::Cow;
use std::ffi::CString;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlite_plugin::flags::{AccessFlags, LockLevel, OpenOpts, ShmLockMode};
use sqlite_plugin::vars;
use sqlite_plugin::vfs::{RegisterOpts, Vfs, VfsHandle, VfsResult, register_static};

use super::files::{File, Slot};
use super::{Disk, VFS, found};

/// Makes SQLite know the disks. Once in a process.
pub(super) fn register() {
    let name = CString::new(VFS).unwrap_or_default();
    let registered = register_static(name, Disks, RegisterOpts { make_default: false });
    assert!(registered.is_ok(), "SQLite does not take the simulated disks");
}

/// All disks of this process.
struct Disks;

/// An open file.
struct Handle {
    disk: Disk,
    file: String,
    holder: u64,
}

impl VfsHandle for Handle {
    fn readonly(&self) -> bool {
        false
    }

    fn in_memory(&self) -> bool {
        false
    }
}

impl Handle {
    fn with<T>(&self, work: impl FnOnce(&mut File) -> VfsResult<T>) -> VfsResult<T> {
        let mut state = self.disk.lock();
        work(state.files.get_mut(&self.file).ok_or(vars::SQLITE_IOERR)?)
    }
}

static NEXT_HOLDER: AtomicU64 = AtomicU64::new(1);

impl Vfs for Disks {
    type Handle = Handle;

    fn canonical_path<'a>(&self, path: Cow<'a, str>) -> VfsResult<Cow<'a, str>> {
        Ok(path)
    }

    fn open(&self, path: Option<&str>, _opts: OpenOpts) -> VfsResult<Handle> {
        let (disk, file) = path.and_then(found).ok_or(vars::SQLITE_CANTOPEN)?;
        let mut state = disk.lock();
        state.may_read().map_err(|_| vars::SQLITE_CANTOPEN)?;
        state.files.entry(file.clone()).or_default();
        drop(state);
        Ok(Handle { disk, file, holder: NEXT_HOLDER.fetch_add(1, Ordering::Relaxed) })
    }

    fn delete(&self, path: &str) -> VfsResult<()> {
        let (disk, file) = found(path).ok_or(vars::SQLITE_IOERR_DELETE)?;
        let mut state = disk.lock();
        state.may_write(false)?;
        state.files.remove(&file).map(drop).ok_or(vars::SQLITE_IOERR_DELETE_NOENT)
    }

    fn access(&self, path: &str, _flags: AccessFlags) -> VfsResult<bool> {
        let (disk, file) = found(path).ok_or(vars::SQLITE_IOERR_ACCESS)?;
        let state = disk.lock();
        state.may_read()?;
        // An empty file is as good as none: a WAL that was made and never written, say.
        Ok(state.files.get(&file).is_some_and(|file| file.len() > 0))
    }

    fn file_size(&self, handle: &mut Handle) -> VfsResult<usize> {
        handle.with(|file| Ok(file.len()))
    }

    fn truncate(&self, handle: &mut Handle, size: usize) -> VfsResult<()> {
        handle.disk.lock().may_write(false)?;
        handle.with(|file| {
            file.truncate(size);
            Ok(())
        })
    }

    fn write(&self, handle: &mut Handle, offset: usize, data: &[u8]) -> VfsResult<usize> {
        let mut state = handle.disk.lock();
        let grows = state.files.get(&handle.file).is_some_and(|file| offset + data.len() > file.len());
        state.may_write(grows)?;
        state.files.get_mut(&handle.file).ok_or(vars::SQLITE_IOERR_WRITE)?.write(offset, data);
        Ok(data.len())
    }

    fn read(&self, handle: &mut Handle, offset: usize, data: &mut [u8]) -> VfsResult<usize> {
        handle.disk.lock().may_read()?;
        handle.with(|file| Ok(file.read(offset, data)))
    }

    fn sync(&self, handle: &mut Handle) -> VfsResult<()> {
        handle.disk.lock().sync(&handle.file)
    }

    fn lock(&self, handle: &mut Handle, level: LockLevel) -> VfsResult<()> {
        let holder = handle.holder;
        handle.with(|file| {
            let mut others = file.locks.iter().filter(|(other, _)| *other != holder).map(|(_, level)| *level);
            let is_free = match level {
                LockLevel::Unlocked => true,
                LockLevel::Shared => others.all(|other| other < LockLevel::Pending),
                LockLevel::Reserved | LockLevel::Pending => others.all(|other| other < LockLevel::Reserved),
                LockLevel::Exclusive => others.all(|other| other == LockLevel::Unlocked),
            };
            if !is_free {
                return Err(vars::SQLITE_BUSY);
            }
            file.set_lock(holder, level);
            Ok(())
        })
    }

    fn unlock(&self, handle: &mut Handle, level: LockLevel) -> VfsResult<()> {
        let holder = handle.holder;
        handle.with(|file| {
            file.set_lock(holder, level);
            Ok(())
        })
    }

    fn check_reserved_lock(&self, handle: &mut Handle) -> VfsResult<bool> {
        handle.with(|file| Ok(file.locks.iter().any(|(_, level)| *level >= LockLevel::Reserved)))
    }

    fn close(&self, handle: Handle) -> VfsResult<()> {
        if let Some(file) = handle.disk.lock().files.get_mut(&handle.file) {
            file.forget_holder(handle.holder);
        }
        Ok(())
    }

    fn sector_size(&self, _handle: &mut Handle) -> VfsResult<i32> {
        Ok(4096)
    }

    fn device_characteristics(&self, _handle: &mut Handle) -> VfsResult<i32> {
        // What SQLite takes for granted on Unix.
        Ok(vars::SQLITE_IOCAP_POWERSAFE_OVERWRITE)
    }

    fn shm_map(&self, handle: &mut Handle, region: usize, size: usize, extend: bool) -> VfsResult<Option<NonNull<u8>>> {
        if size != size_of::<[u64; 4096]>() {
            return Err(vars::SQLITE_IOERR_SHMMAP);
        }
        handle.with(|file| {
            if !file.mapped_by.contains(&handle.holder) {
                file.mapped_by.push(handle.holder);
            }
            while extend && file.shared.len() <= region {
                file.shared.push(Box::new([0; 4096]));
            }
            Ok(file.shared.get_mut(region).and_then(|region| NonNull::new(region.as_mut_ptr().cast())))
        })
    }

    fn shm_lock(&self, handle: &mut Handle, offset: u32, count: u32, mode: ShmLockMode) -> VfsResult<()> {
        let holder = handle.holder;
        handle.with(|file| {
            let slots = &mut file.slots[offset as usize..(offset + count) as usize];
            let taken = |slot: &Slot| slot.exclusive_by.is_some_and(|other| other != holder);
            let shared = |slot: &Slot| slot.shared_by.iter().any(|other| *other != holder);
            let is_free = match mode {
                ShmLockMode::LockShared => !slots.iter().any(taken),
                ShmLockMode::LockExclusive => !slots.iter().any(|slot| taken(slot) || shared(slot)),
                ShmLockMode::UnlockShared | ShmLockMode::UnlockExclusive => true,
            };
            if !is_free {
                return Err(vars::SQLITE_BUSY);
            }
            for slot in slots {
                match mode {
                    ShmLockMode::LockShared => slot.shared_by.push(holder),
                    ShmLockMode::LockExclusive => slot.exclusive_by = Some(holder),
                    ShmLockMode::UnlockShared => slot.shared_by.retain(|other| *other != holder),
                    ShmLockMode::UnlockExclusive => slot.exclusive_by = None,
                }
            }
            Ok(())
        })
    }

    fn shm_unmap(&self, handle: &mut Handle, delete: bool) -> VfsResult<()> {
        handle.with(|file| {
            file.release_slots(handle.holder);
            file.mapped_by.retain(|other| *other != handle.holder);
            if delete || file.mapped_by.is_empty() {
                file.shared.clear();
            }
            Ok(())
        })
    }
}
