//! The tests of a script: `NAME_test.luau` beside `NAME.luau`, in a VM of their own, with `test`,
//! `equal` and `hooks`.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use keepboth_core::plugin::Site;
use mlua::chunk::ChunkMode;
use mlua::{Function, Lua, LuaString, Value};
use serde_json::Map;

use crate::api::{self, Making};
use crate::fault::{Fault, explain};
use crate::limit::Limits;
use crate::register::Registry;
use crate::sandbox;
use crate::script::Script;
use crate::state::{HostSlot, State};
use crate::tree::Kit;

/// `equal`.
mod equal;
/// `hooks`.
mod hooks;
/// `snapshot`.
mod snapshot;

use hooks::Stage;
use snapshot::Snapshots;

/// Milliseconds for one test, and for the top level of a file of tests.
const TIME_MS: u64 = 10_000;
/// Bytes that a file of tests may hold.
const MEMORY: usize = 64 << 20;
/// Most tests of one file.
const TESTS_MAX: usize = 1_000;

/// A test that has run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tested {
    /// What it is called.
    pub name: String,
    /// Where and why it failed; None if it passed.
    pub failed: Option<String>,
    /// How long it took.
    pub took: Duration,
}

/// The tests of a script that have run.
#[derive(Debug, Default)]
pub struct Suite {
    /// The tests, in their order.
    pub tests: Vec<Tested>,
    /// The file of snapshots in the scripts folder and its new text, if what was found is to be stored and
    /// is not what the file has.
    pub snapshots: Option<(String, String)>,
    /// Stored snapshots that no test takes any more.
    pub unused: usize,
}

/// The name of the file of tests that belongs to a script.
pub fn test_of(script: &str) -> Option<String> {
    let stem = script.strip_suffix(".luau")?;
    (!stem.ends_with("_test")).then(|| format!("{stem}_test.luau"))
}

/// Runs the tests that stand beside a script; none if there is no such file. An error means that the
/// file itself cannot be run, or has no test.
pub fn run_tests(site: &Site, script: &str) -> Result<Vec<Tested>, String> {
    run_suite(site, script, false).map(|suite| suite.tests)
}

/// The same with snapshots; `update` takes what is found for right, and tells what is to be stored.
pub fn run_suite(site: &Site, script: &str, update: bool) -> Result<Suite, String> {
    let Some(name) = test_of(script).filter(|name| is_there(&site.scripts, name)) else {
        return Ok(Suite::default());
    };
    let file = Script::read(&site.scripts, &name)?;
    let snapshots = Rc::new(RefCell::new(Snapshots::read(&site.scripts, &name, update)?));
    crate::deadline::start().map_err(|e| e.to_string())?;
    let stage = Rc::new(RefCell::new(Stage::new(site, script)));
    let ran = Runner::load(&file, &stage, &snapshots).map_err(|fault| in_words(&fault, &file))?;
    if ran.tests.borrow().is_empty() {
        return Err(format!(
            "{}: has no test; write test(\"what it does\", function() … end)",
            file.chunk
        ));
    }
    let tests = ran.tests.take().into_iter().map(|(name, body)| {
        stage.borrow_mut().clear();
        snapshots.borrow_mut().begin(&name);
        let started = Instant::now();
        let failed = ran.run(&body).err().map(|fault| in_words(&fault, &file));
        if failed.is_some() {
            snapshots.borrow_mut().keep();
        }
        Tested { name, failed, took: started.elapsed() }
    });
    let tests = tests.collect();
    let snapshots = snapshots.borrow();
    Ok(Suite { tests, unused: snapshots.unused(), snapshots: snapshots.changed()? })
}

/// Whether there is something of that name; what it is, is seen when it is read.
fn is_there(folder: &Path, name: &str) -> bool {
    folder.join(name).symlink_metadata().is_ok()
}

fn in_words(fault: &Fault, file: &Script) -> String {
    let place = fault.place.as_deref().unwrap_or(&file.chunk);
    format!("{place}: {}{}", fault.words, file.line_of(place))
}

type Tests = Rc<RefCell<Vec<(String, Function)>>>;

/// A VM with the tests of one file.
struct Runner {
    tests: Tests,
    limits: Rc<Limits>,
    state: crate::state::Shared,
    chunk: Rc<str>,
    // Last: what else holds parts of it goes first.
    _lua: Lua,
}

impl Runner {
    fn load(
        file: &Script,
        stage: &Rc<RefCell<Stage>>,
        snapshots: &snapshot::Shared,
    ) -> Result<Runner, Fault> {
        let fault = |error: mlua::Error| explain(&error, &file.chunk);
        let lua = sandbox::lua().map_err(fault)?;
        let limits = Limits::set(&lua, TIME_MS, MEMORY).map_err(fault)?;
        let state = Rc::new(RefCell::new(State::new(MEMORY, HostSlot::default(), None)));
        let tests = Tests::default();
        let (chunk, held) = (Rc::from(&*file.chunk), lua.clone());
        let runner = Runner { tests, limits, state, chunk, _lua: lua };
        runner.limited(|| runner.fill(&held, file, stage, snapshots))?;
        Ok(runner)
    }

    fn fill(
        &self,
        lua: &Lua,
        file: &Script,
        stage: &Rc<RefCell<Stage>>,
        snapshots: &snapshot::Shared,
    ) -> mlua::Result<()> {
        let kit = Kit::new(lua, &self.state)?;
        lua.set_app_data(kit.clone());
        let (options, registry) = (Map::new(), Registry::new(stage.borrow().namespace()));
        let making = Making { lua, kit: &kit, options: &options, registry: &registry };
        let globals = lua.globals();
        globals.raw_set("hooks", hooks::table(lua, stage)?)?;
        globals.raw_set("test", test(lua, &self.tests)?)?;
        globals.raw_set("snapshot", snapshot::function(lua, snapshots)?)?;
        globals.raw_set("equal", lua.create_function(equal::equal)?)?;
        let kb = api::make_pure(&making)?;
        sandbox::close(lua, &kit, &self.limits, &file.chunk, kb, false)?;
        let main = lua.load(&*file.bytecode).set_name(format!("={}", file.chunk));
        main.set_mode(ChunkMode::Binary).into_function()?.call::<()>(())
    }

    fn run(&self, body: &Function) -> Result<(), Fault> {
        self.limited(|| body.call::<()>(()))
    }

    fn limited(&self, run: impl FnOnce() -> mlua::Result<()>) -> Result<(), Fault> {
        let call = self.limits.start();
        self.state.borrow_mut().begin(None, Vec::new());
        let result = run();
        self.state.borrow_mut().end();
        match (self.limits.end(call), result) {
            (Some(stopped), _) => {
                let (place, words) = self.limits.words(stopped);
                Err(Fault { place, words, memory: false })
            }
            (None, result) => result.map_err(|error| explain(&error, &self.chunk)),
        }
    }
}

fn test(lua: &Lua, tests: &Tests) -> mlua::Result<Function> {
    let tests = tests.clone();
    lua.create_function(move |lua, (name, body): (LuaString, Value)| {
        let fail = |words: String| Err(crate::fault::raise(lua, format!("test: {words}")));
        let Value::Function(body) = body else {
            return fail(format!("expected a function, found {}", body.type_name()));
        };
        let name = crate::words::one_line(&name.to_string_lossy(), 200);
        let mut tests = tests.borrow_mut();
        if tests.len() == TESTS_MAX {
            return fail(format!("{TESTS_MAX} tests in one file are the limit"));
        }
        if tests.iter().any(|(other, _)| *other == name) {
            return fail(format!("two tests are called {name:?}"));
        }
        tests.push((name, body));
        Ok(())
    })
}

/// The failed tests of a script in one text; None if all passed.
pub fn failures(script: &str, tests: &[Tested]) -> Option<String> {
    let failed: Vec<String> = tests
        .iter()
        .filter_map(|test| test.failed.as_ref().map(|why| format!("{:?}: {why}", test.name)))
        .collect();
    let (count, all) = (failed.len(), tests.len());
    (count > 0)
        .then(|| format!("scripts/{script}: {count} of {all} tests failed: {}", failed.join("; ")))
}
