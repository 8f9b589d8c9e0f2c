//! A store that is asked and answers in one call, and remembers its commits.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use keepboth_core::digest::{DigestTree, FANOUT, Prefix};
use keepboth_core::hash;
use keepboth_core::ids::{ConflictId, NodeId, VersionId};
use keepboth_core::name::{Address, Key, Name, Namespace, branch_of};
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::retention::pruned;
use keepboth_core::session::Mark;
use keepboth_core::value::Value;
use keepboth_core::version::Event;
use keepboth_core::view::View;
use keepboth_core::wire::Exchanged;
use keepboth_core::write::Condition;
use keepboth_store::{
    Collected, Commit, Entry, Incoming, Keep, KeyChange, Op, OpenError, Options, Place, Raised,
    Received, Resolution, Snapshot, Store, Task, Verdict, Written, journal_of,
};

/// After this a test that waits has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// A store under test.
pub struct Bench {
    pub store: Store,
    commits: Arc<Mutex<Vec<Commit>>>,
}

pub type Recorder = Box<dyn FnMut(Commit) + Send>;

pub fn namespace() -> Namespace {
    Namespace::new("notes").expect("a namespace")
}

/// What is remembered of a peer.
pub fn mark(agreed: u64, shown: u64, at: u64) -> Mark {
    Mark { agreed, exchanged: Exchanged { shown, seen: shown + 1 }, at }
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

/// Waits for what comes after a while.
pub fn patiently(mut came: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !came() {
        assert!(begun.elapsed() < PATIENCE, "it does not come");
        std::thread::yield_now();
    }
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

/// Copies the files of an open store as a crash of the process leaves them.
pub fn crash(from: &Path, to: &Path) {
    std::fs::copy(from, to).expect("copied");
    for (from, to) in journal_of(from).iter().zip(journal_of(to)) {
        std::fs::copy(from, to).expect("the journal is copied");
    }
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
        self.incoming(events.into_iter().map(Incoming::from).collect(), 9)
    }

    pub fn incoming(&self, events: Vec<Incoming>, now: u64) -> Vec<Received> {
        let from = NodeId([5; 32]);
        self.ask(|done| Task::Remote { events, from, maker: None, now, done }).expect("outcomes")
    }

    pub fn judge(&self, of: &str, version: VersionId, verdict: Verdict) -> bool {
        let key = key(of);
        self.ask(|done| Task::Judge { key, version, verdict, now: 9, done }).expect("judged")
    }

    pub fn forget(&self, of: &str, tips: Vec<VersionId>, local: bool) -> usize {
        let keys = vec![(key(of), tips)];
        self.ask(|done| Task::Forget { keys, local, purge: true, done }).expect("an answer")
    }

    /// Takes a history in place of what is here, unless that is newer.
    pub fn replace(
        &self,
        of: &str,
        last: u64,
        events: Vec<Event>,
        now: u64,
    ) -> Result<Vec<Received>, Refusal> {
        let (keys, from) = (vec![(key(of), last)], NodeId([5; 32]));
        let events = events.into_iter().map(Incoming::from).collect();
        self.ask(|done| Task::Replace { keys, events, from, now, done })
    }

    /// One step of retention, from where the one before it ended.
    pub fn step(
        &self,
        from: Place,
        rules: Keep,
        horizon: u64,
        now: u64,
        budget: usize,
    ) -> Collected {
        let task = |done| Task::Collect { from, rules, horizon, now, budget, done };
        self.ask(task).expect("a step")
    }

    /// A round of retention.
    pub fn collect(&self, rules: Keep, horizon: u64, now: u64) -> Collected {
        let (mut all, mut next) = (Collected::default(), Some(Place::default()));
        while let Some(from) = next {
            let done = self.step(from, rules, horizon, now, 800);
            all.values += done.values;
            all.records += done.records;
            all.forgotten += done.forgotten;
            all.removed += done.removed;
            next = done.next;
        }
        all
    }

    pub fn tips(&self, of: &str) -> Vec<VersionId> {
        self.read(|snapshot| snapshot.tips(&key(of))).expect("tips")
    }

    /// The ids of a key's versions, in the order of the history.
    pub fn versions(&self, of: &str) -> Vec<VersionId> {
        let history = self.read(|snapshot| snapshot.load_history(&key(of)));
        let history = history.expect("a history").expect("there");
        history.versions().iter().map(|version| version.id).collect()
    }

    /// Learns all that another store has of a key.
    pub fn learn(&self, from: &Bench, of: &str) -> Vec<Received> {
        self.receive(from.store.snapshot().missing(&key(of), &[]).expect("events"))
    }

    /// Reads, and again if the database was opened anew meanwhile, as the refusal asks.
    pub fn read<T>(&self, read: impl Fn(&Snapshot) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let mut outcome = read(&self.store.snapshot());
        for _ in 0..1_000 {
            if !outcome.as_ref().is_err_and(|refusal| refusal.message.ends_with("ask again")) {
                break;
            }
            // It is open again, or not to be opened, once this is answered.
            let _ = self.batch(Vec::new(), 0);
            outcome = read(&self.store.snapshot());
        }
        outcome
    }

    pub fn get(&self, at: &str) -> Result<String, Refusal> {
        let found = self.read(|snapshot| snapshot.get(&name(at)))?;
        Ok(String::from_utf8(found.value.as_bytes().to_vec()).expect("text"))
    }

    /// The commits since the last call, all of them told.
    pub fn commits(&self) -> Vec<Commit> {
        // Commits are told before the next group is taken up. Marks of peers, which have no answer, may
        // share the group of the first question, and fail.
        let asked = || self.batch(Vec::new(), 0);
        let _ = asked();
        asked().expect("nothing to do");
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

    /// The versions in quarantine, by key.
    pub fn hidden(&self) -> HashMap<Key, HashSet<VersionId>> {
        let page = self.store.snapshot().quarantine(None, usize::MAX).expect("a page");
        assert_eq!(self.store.counts().quarantined, page.items.len() as u64);
        let bytes: u64 = page.items.iter().map(|item| item.bytes()).sum();
        assert_eq!(self.store.counts().quarantined_bytes, bytes);
        let mut hidden: HashMap<Key, HashSet<VersionId>> = HashMap::new();
        for item in page.items {
            hidden.entry(item.key).or_default().insert(item.version);
        }
        hidden
    }

    /// Holds what is kept up step by step against what the store itself counts anew; also where some
    /// versions are discarded, forgotten or without their value.
    pub fn verify(&self) {
        let verified = self.read(|snapshot| snapshot.verify());
        let (root, counts) = verified.expect("nothing is wrong");
        assert_eq!((root, counts), (self.store.root(), self.store.counts()));
        let states = self.read(|snapshot| snapshot.states("", None, usize::MAX)).expect("states");
        let shown: usize = states.items.iter().map(|state| state.shown.len()).sum();
        assert_eq!(counts.objects as usize, shown);
    }

    /// Holds everything that is kept up step by step against what the histories give.
    pub fn check(&self) {
        let snapshot = self.store.snapshot();
        let mut tree = DigestTree::default();
        let (mut keys, mut objects, mut conflicts, mut trash) = (0, 0, 0, 0);
        let hidden = self.hidden();
        let mut bytes = self.store.counts().quarantined_bytes;
        {
            let entries = snapshot.entries(Prefix::WHOLE, usize::MAX).expect("keys");
            for Entry { key, tips, .. } in entries.expect("no limit") {
                let history = snapshot.load_history(&key).expect("a history").expect("a key");
                tree.replace(&key.hash(), &[], &tips);
                keys += 1;
                let out = hidden.get(&key).cloned().unwrap_or_default();
                let shown = pruned(&history, &out);
                let view = View::hiding(shown.as_ref().unwrap_or(&history), &out);
                let Some(state) = snapshot.state(&key).expect("a state") else {
                    assert!(view.tips.is_empty(), "{key} has something to show");
                    continue;
                };
                let name = Name::Key(key.clone());
                let past = snapshot.history(&name, None, usize::MAX).expect("a page").items;
                let kept = past.iter().filter(|past| !out.contains(&past.version));
                bytes += kept.filter_map(|p| p.value).map(|(_, bytes)| bytes as u64).sum::<u64>();
                assert_eq!(state.view, view, "the view of {key}");
                assert_eq!(tips[..], View::of(&history).tips[..], "the tips of {key}");
                assert_eq!(state.versions, history.len() as u64, "the versions of {key}");
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
        assert_eq!(counts.value_bytes, bytes, "the bytes of values");
        assert_eq!(self.store.root(), tree.root(), "the digest");
        assert_eq!(snapshot.root(), tree.root(), "the snapshot's digest");
        for prefix in (0..FANOUT as u8).filter_map(|nibble| Prefix::WHOLE.child(nibble)) {
            let children = tree.children(prefix).expect("wider than a bucket");
            assert_eq!(snapshot.children(prefix).expect("digests"), children);
        }
        self.verify();
        let all = |keys: keepboth_store::Keys| keys.items.len();
        assert_eq!(all(snapshot.conflicts(None, 1_000_000).expect("conflicts")), conflicts);
        assert_eq!(all(snapshot.trash(None, 1_000_000).expect("trash")), trash);
    }
}

/// Keeps so many values and records, and the trash for ever.
pub fn keep(values: u64, records: u64) -> Keep {
    Keep { values, records, trash_keep: u64::MAX, trash_forget: u64::MAX }
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
