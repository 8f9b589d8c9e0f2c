//! A store that is asked and answers in one call, and remembers its commits.

use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};

use keepboth_core::digest::DigestTree;
use keepboth_core::hash;
use keepboth_core::ids::{ConflictId, VersionId};
use keepboth_core::name::{Address, Key, Name, Namespace, branch_of};
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::value::Value;
use keepboth_core::version::Event;
use keepboth_core::view::View;
use keepboth_core::write::Condition;
use keepboth_store::{
    Commit, KeyChange, Op, OpenError, Options, Raised, Received, Resolution, Store, Task, Written,
};

/// A store under test.
pub struct Bench {
    pub store: Store,
    commits: Arc<Mutex<Vec<Commit>>>,
}

pub type Recorder = Box<dyn FnMut(Commit) + Send>;

pub fn namespace() -> Namespace {
    Namespace::new("notes").expect("a namespace")
}

pub fn key(text: &str) -> Key {
    Key::new(text).expect("a key")
}

pub fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

pub fn text(text: &str) -> Value {
    Value::string(text)
}

/// The address made from a version of a key.
pub fn address(of: &str, version: &VersionId) -> Address {
    Address { key: key(of).hash(), branch: branch_of(version) }
}

pub fn code<T: std::fmt::Debug>(outcome: Result<T, Refusal>) -> Code {
    outcome.expect_err("a refusal").code
}

pub fn put_op(at: &str, value: &str) -> Op {
    Op::Put { name: name(at), value: text(value), condition: Condition::None }
}

pub fn delete_op(at: &str) -> Op {
    Op::Delete { name: name(at), condition: Condition::None }
}

impl Bench {
    pub fn start(
        open: impl FnOnce(Recorder) -> Result<Store, OpenError>,
    ) -> Result<Bench, OpenError> {
        let commits = Arc::new(Mutex::new(Vec::new()));
        let recorded = commits.clone();
        let store = open(Box::new(move |commit| recorded.lock().expect("commits").push(commit)))?;
        Ok(Bench { store, commits })
    }

    pub fn new() -> Bench {
        Bench::with(Options::default())
    }

    pub fn with(options: Options) -> Bench {
        Bench::start(|tell| Store::in_memory(&namespace(), options, tell)).expect("a store")
    }

    pub fn file(path: &Path) -> Bench {
        Bench::try_file(path).expect("a store")
    }

    pub fn try_file(path: &Path) -> Result<Bench, OpenError> {
        Bench::start(|tell| Store::open(path, &namespace(), Options::default(), tell))
    }

    /// Asks for something and waits for the answer.
    pub fn ask<T: Send + 'static>(
        &self,
        task: impl FnOnce(keepboth_store::task::Done<T>) -> Task,
    ) -> Result<T, Refusal> {
        self.later(task).recv().expect("an answer")
    }

    /// Asks for something; the answer comes through the channel.
    pub fn later<T: Send + 'static>(
        &self,
        task: impl FnOnce(keepboth_store::task::Done<T>) -> Task,
    ) -> mpsc::Receiver<Result<T, Refusal>> {
        let (sender, receiver) = mpsc::channel();
        let done = Box::new(move |outcome| {
            let _ = sender.send(outcome);
        });
        self.store.submit_blocking(task(done)).expect("the store is open");
        receiver
    }

    pub fn batch(&self, ops: Vec<Op>, now: u64) -> Result<Vec<Written>, Refusal> {
        self.ask(|done| Task::Local { ops, now, done })
    }

    /// Asks for several batches that share one transaction, and waits for their answers.
    pub fn group(&self, batches: Vec<Vec<Op>>, now: u64) -> Vec<Result<Vec<Written>, Refusal>> {
        // The commit thread waits in this answer until all batches stand in the queue.
        let (open, wait) = mpsc::channel::<()>();
        let (here, arrived) = mpsc::channel::<()>();
        let hold = Box::new(move |_| {
            here.send(()).expect("somebody waits");
            wait.recv().expect("opened");
        });
        self.store
            .submit_blocking(Task::Local { ops: Vec::new(), now, done: hold })
            .expect("the store is open");
        arrived.recv().expect("held");
        let local = |ops| self.later(move |done| Task::Local { ops, now, done });
        let answers: Vec<_> = batches.into_iter().map(local).collect();
        open.send(()).expect("waiting");
        answers.into_iter().map(|answer| answer.recv().expect("an answer")).collect()
    }

    pub fn op(&self, op: Op, now: u64) -> Result<Written, Refusal> {
        self.batch(vec![op], now).map(|mut written| written.remove(0))
    }

    pub fn put(&self, at: &str, value: &str, now: u64) -> Written {
        self.op(put_op(at, value), now).expect("a put")
    }

    pub fn put_if(&self, at: &str, value: &str, condition: Condition) -> Result<Written, Refusal> {
        self.op(Op::Put { name: name(at), value: text(value), condition }, 9)
    }

    pub fn delete(&self, at: &str, now: u64) -> Written {
        self.op(delete_op(at), now).expect("a delete")
    }

    pub fn resolve(&self, at: &str, value: &str) -> Result<Written, Refusal> {
        let with = Resolution::Value(text(value));
        self.op(Op::Resolve { key: key(at), with, conflict: None }, 9)
    }

    pub fn merge(
        &self,
        at: &str,
        conflict: ConflictId,
        value: &str,
    ) -> Result<Option<Written>, Refusal> {
        let value = text(value);
        self.ask(|done| Task::Merge { key: key(at), conflict, value, now: 9, done })
    }

    pub fn receive(&self, events: Vec<Event>) -> Vec<Received> {
        self.ask(|done| Task::Remote { events, done }).expect("outcomes")
    }

    /// Learns all that another store has of a key.
    pub fn learn(&self, from: &Bench, of: &str) -> Vec<Received> {
        self.receive(from.store.snapshot().missing(&key(of), &[]).expect("events"))
    }

    pub fn get(&self, at: &str) -> Result<String, Refusal> {
        let found = self.store.snapshot().get(&name(at))?;
        Ok(String::from_utf8(found.value.as_bytes().to_vec()).expect("text"))
    }

    /// The commits since the last call, all of them told.
    pub fn commits(&self) -> Vec<Commit> {
        // Commits are told before the next group is taken up.
        self.batch(Vec::new(), 0).expect("nothing to do");
        std::mem::take(&mut *self.commits.lock().expect("commits"))
    }

    pub fn changes(&self) -> Vec<KeyChange> {
        self.commits().into_iter().flat_map(|commit| commit.changes).collect()
    }

    pub fn raised(&self) -> Vec<Raised> {
        self.changes().into_iter().filter_map(|change| change.conflict).collect()
    }

    pub fn addresses(&self, of: &str) -> Vec<Address> {
        let state = self.store.snapshot().state(&key(of)).expect("a state").expect("a key");
        state.view.conflict_addresses(key(of).hash())
    }

    /// Holds everything that is kept up step by step against what the histories give.
    pub fn check(&self) {
        let snapshot = self.store.snapshot();
        let (mut tree, mut keys, mut objects, mut conflicts, mut trash) =
            (DigestTree::default(), 0, 0, 0, 0);
        for bucket in 0..4096 {
            for (key, tips) in snapshot.bucket_keys(bucket).expect("keys") {
                let history = snapshot.load_history(&key).expect("a history").expect("a key");
                let state = snapshot.state(&key).expect("a state").expect("a key");
                let view = View::of(&history);
                assert_eq!(state.view, view, "the view of {key}");
                assert_eq!(tips[..], view.tips[..], "the tips of {key}");
                assert_eq!(state.versions, history.len() as u64, "the versions of {key}");
                tree.replace(&key.hash(), &[], &view.tips);
                keys += 1;
                objects += view.candidates.len() + view.detached.len();
                conflicts += usize::from(view.in_conflict());
                trash += usize::from(view.is_trash());
                let shown = view.candidates.iter().chain(&view.detached);
                assert_eq!(state.shown.len(), shown.clone().count());
                for (shown, object) in state.shown.iter().zip(shown) {
                    let version = history.at(history.find(&shown.version).expect("a version"));
                    assert_eq!(shown.version, *object.version());
                    assert_eq!((shown.data, shown.timestamp), (version.data, version.timestamp));
                    assert_eq!(shown.origin, version.origin);
                    let found = snapshot.get(&shown.name).expect("an object");
                    assert_eq!(found.version, shown.version);
                    assert_eq!(hash::data_hash(&found.value), shown.data);
                }
            }
        }
        let counts = self.store.counts();
        let counted = [counts.keys, counts.objects, counts.conflicts, counts.trash];
        assert_eq!(counted, [keys, objects as u64, conflicts as u64, trash as u64]);
        assert_eq!(self.store.root(), tree.root(), "the digest");
        assert_eq!(snapshot.root(), tree.root(), "the snapshot's digest");
        assert_eq!(self.store.branches(), tree.branches());
        for branch in 0..64 {
            assert_eq!(self.store.buckets(branch), tree.buckets(branch));
        }
        let all = |keys: keepboth_store::Keys| keys.items.len();
        assert_eq!(all(snapshot.conflicts(None, 1_000_000).expect("conflicts")), conflicts);
        assert_eq!(all(snapshot.trash(None, 1_000_000).expect("trash")), trash);
    }
}

/// Two stores that wrote `k` at the same time on a common base; the first has learned of the other.
pub fn in_conflict() -> (Bench, Bench) {
    let (a, b) = (Bench::new(), Bench::new());
    a.put("k", "base", 1);
    b.learn(&a, "k");
    a.put("k", "mine", 2);
    b.put("k", "theirs", 3);
    a.learn(&b, "k");
    (a, b)
}
