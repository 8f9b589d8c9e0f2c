//! The limits of one VM, which a script cannot catch: once one is hit, all that the script still does fails.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use keepboth_core::limits::figure;
use mlua::{AnyUserData, Lua, UserData, Value, VmState};

use crate::deadline;
use crate::fault::place;
use crate::words::size;

/// Loading a script may take so many milliseconds at least: it happens seldom, and a busy machine must not
/// make a sound script a mistake.
const LOADING_MS_MIN: u64 = 1_000;

/// More than what the VM takes for a text or a proxy besides its bytes.
const ROOM_BYTES: usize = 64 * 1024;

/// Which limit stopped a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// The time limit.
    Time,
    /// The memory limit.
    Memory,
}

/// The limits, shared by the VM's interrupt, its functions and its owner.
pub struct Limits {
    time_ms: u64,
    memory_bytes: usize,
    /// What the running call may take.
    running_ms: Cell<u64>,
    late_at: Cell<u64>,
    /// What it may take beyond that, once it is late.
    grace: Cell<Option<deadline::Grace>>,
    stopped: Cell<Option<Stopped>>,
    /// Bytes outside the VM that the script holds.
    held: Cell<usize>,
    /// True while something is made that surely fits, without the limit of memory.
    is_lifted: Cell<bool>,
    place: RefCell<Option<String>>,
}

impl Limits {
    /// Sets the limits of a VM. The time counts from [`Limits::start`].
    pub fn set(lua: &Lua, time_ms: u64, memory_bytes: usize) -> mlua::Result<Rc<Limits>> {
        let limits = Rc::new(Limits {
            time_ms,
            memory_bytes,
            running_ms: Cell::new(time_ms),
            late_at: Cell::new(u64::MAX),
            grace: Cell::new(None),
            stopped: Cell::new(None),
            held: Cell::new(0),
            is_lifted: Cell::new(false),
            place: RefCell::new(None),
        });
        lua.set_memory_limit(memory_bytes)?;
        lua.set_app_data(limits.clone());
        let held = limits.clone();
        lua.set_interrupt(move |lua| held.check(lua));
        Ok(limits)
    }

    /// Starts the time of a call.
    pub fn start(&self) -> deadline::Call {
        self.start_for(self.time_ms)
    }

    /// Starts the time of the script's top level.
    pub fn start_loading(&self) -> deadline::Call {
        self.start_for(self.time_ms.max(LOADING_MS_MIN))
    }

    fn start_for(&self, ms: u64) -> deadline::Call {
        self.running_ms.set(ms);
        self.grace.set(None);
        let call = deadline::Call::start(ms);
        self.late_at.set(call.late_at());
        call
    }

    /// Ends the call; which limit it hit.
    pub fn end(&self, call: deadline::Call) -> Option<Stopped> {
        drop(call);
        self.late_at.set(u64::MAX);
        self.stopped.get()
    }

    /// Stops the script for its use of memory.
    pub fn stop_for_memory(&self, lua: &Lua) -> mlua::Error {
        self.stop(Stopped::Memory, lua)
    }

    /// Counts bytes outside the VM that the script holds until the charge is dropped: as many as its memory
    /// limit at most, or it is stopped. What it holds no longer is collected first.
    pub fn charge(lua: &Lua, bytes: usize) -> mlua::Result<Charge> {
        let limits = lua.app_data_ref::<Rc<Limits>>().map(|limits| limits.clone());
        let Some(limits) = limits else { return Ok(Charge { bytes, limits }) };
        let fits = || limits.held.get().saturating_add(bytes) <= limits.memory_bytes;
        if !fits() {
            lua.gc_collect()?;
        }
        if !fits() {
            return Err(limits.stop_for_memory(lua));
        }
        limits.held.set(limits.held.get() + bytes);
        Ok(Charge { bytes, limits: Some(limits) })
    }

    /// A text in the VM.
    pub fn text(lua: &Lua, text: &[u8]) -> mlua::Result<Value> {
        Limits::made(lua, text.len(), || lua.create_string(text).map(Value::String))
    }

    /// A proxy in the VM.
    pub fn proxy<T: UserData + 'static>(lua: &Lua, what: T) -> mlua::Result<AnyUserData> {
        Limits::made(lua, size_of::<T>(), || lua.create_userdata(what))
    }

    /// Makes what takes so many bytes of the VM. Under a limit of memory mlua calls the VM through a function that
    /// catches its errors, which takes longer than to make a short text; where the bytes surely fit, there is no
    /// limit meanwhile.
    pub fn made<T>(
        lua: &Lua,
        bytes: usize,
        make: impl FnOnce() -> mlua::Result<T>,
    ) -> mlua::Result<T> {
        let limits = lua.app_data_ref::<Rc<Limits>>().map(|limits| limits.clone());
        let Some(limits) = limits.filter(|limits| !limits.is_lifted.get()) else { return make() };
        let used = lua.used_memory();
        // The table of all texts may have to double for one more; it is less than half of what they take.
        let needed = used.saturating_add(used / 2).saturating_add(bytes).saturating_add(ROOM_BYTES);
        if needed > limits.memory_bytes {
            return make();
        }
        let _lifted = Lifted::new(lua, &limits)?;
        make()
    }

    /// Where the script was stopped, and in which words.
    pub fn words(&self, stopped: Stopped) -> (Option<String>, String) {
        let words = match stopped {
            Stopped::Time => {
                let ms = figure(self.running_ms.get() as usize);
                format!("took longer than {ms} ms and was stopped")
            }
            Stopped::Memory => {
                format!("needed more than {} and was stopped", size(self.memory_bytes))
            }
        };
        (self.place.borrow().clone(), words)
    }

    /// Called at loops, calls and returns of the script and inside pattern matching.
    fn check(&self, lua: &Lua) -> mlua::Result<VmState> {
        if self.stopped.get().is_some() {
            return Err(mlua::Error::runtime("stopped"));
        }
        let now = deadline::now();
        if now < self.late_at.get() || self.has_grace(now) {
            return Ok(VmState::Continue);
        }
        Err(self.stop(Stopped::Time, lua))
    }

    /// Whether a late call goes on: its thread may have waited for a processor.
    fn has_grace(&self, now: u64) -> bool {
        let Some(used) = deadline::own_time() else { return false };
        let first = || deadline::Grace::new(self.running_ms.get(), self.late_at.get(), used);
        let grace = self.grace.get().unwrap_or_else(first);
        self.grace.set(Some(grace));
        let late_at = grace.late_at(now, used);
        late_at.inspect(|late_at| self.late_at.set(*late_at)).is_some()
    }

    fn stop(&self, why: Stopped, lua: &Lua) -> mlua::Error {
        if self.stopped.get().is_none() {
            self.stopped.set(Some(why));
            *self.place.borrow_mut() = place(lua);
        }
        mlua::Error::runtime("stopped")
    }
}

/// While it lives there is no limit of memory.
struct Lifted<'a> {
    lua: &'a Lua,
    limits: &'a Limits,
}

impl<'a> Lifted<'a> {
    fn new(lua: &'a Lua, limits: &'a Limits) -> mlua::Result<Lifted<'a>> {
        lua.set_memory_limit(0)?;
        limits.is_lifted.set(true);
        Ok(Lifted { lua, limits })
    }
}

impl Drop for Lifted<'_> {
    fn drop(&mut self) {
        self.limits.is_lifted.set(false);
        if self.lua.set_memory_limit(self.limits.memory_bytes).is_err() {
            self.limits.stop_for_memory(self.lua);
        }
    }
}

/// Bytes outside the VM that its script holds; given back when it is dropped.
pub struct Charge {
    bytes: usize,
    limits: Option<Rc<Limits>>,
}

impl Drop for Charge {
    fn drop(&mut self) {
        if let Some(limits) = &self.limits {
            limits.held.set(limits.held.get().saturating_sub(self.bytes));
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn a_script_whose_thread_only_waited_is_not_stopped_and_one_that_loops_is() {
        deadline::start().expect("a timer");
        let lua = Lua::new();
        let limits = Limits::set(&lua, 200, 16 << 20).expect("limits");
        let wait = lua.create_function(|_, ()| {
            let (until, (done, waits)) = (deadline::now() + 500, mpsc::channel());
            thread::spawn(move || {
                while deadline::now() < until {
                    thread::yield_now();
                }
                done.send(())
            });
            waits.recv().map_err(mlua::Error::external)
        });
        lua.globals().set("wait", wait.expect("a function")).expect("set");
        // What one call was left does not count for the next.
        for _ in 0..4 {
            let call = limits.start();
            let waiting = "for i = 1, 2 do wait() for j = 1, 100 do end end";
            let ran = lua.load(waiting).exec();
            assert_eq!(limits.end(call), None, "{ran:?}");
            ran.expect("a whole run");
        }
        let call = limits.start();
        assert!(lua.load("while true do end").exec().is_err());
        assert_eq!(limits.end(call), Some(Stopped::Time));
    }
}
