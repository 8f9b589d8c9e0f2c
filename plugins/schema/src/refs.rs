//! Where each `$ref` of a schema leads: to a schema in the folder, and never round in a circle.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use keepboth_core::limits::figure;
use serde_json::Value as Json;

use crate::fault::Fault;
use crate::folder::{Folder, SchemaFile};
use crate::keywords::{self, Part};
use crate::work::{ASKED_MAX, Edge, Work};

/// Which schema of a file, and of all files that it draws in, asks which; or everything wrong with their
/// references. What only the compiler understands (`$dynamicRef`, an `$id` within a schema) is left to it.
pub fn work(folder: &Folder, file: &Arc<SchemaFile>) -> Result<Work, Vec<Fault>> {
    let (numbers, edges, places, references, targets) = Default::default();
    let mut graph = Graph { numbers, edges, places, references, targets, all_known: true };
    let (mut waiting, mut seen) = (vec![file.clone()], HashSet::from([file.name.clone()]));
    let mut found = Vec::new();
    while let Some(file) = waiting.pop() {
        graph.take_in(folder, &file, &mut |drawn_in| match drawn_in {
            Ok(other) => {
                if seen.insert(other.name.clone()) {
                    waiting.push(other);
                }
            }
            Err(faults) => found.extend(faults),
        });
    }
    if found.is_empty() {
        found.extend(graph.circle());
    }
    found.dedup();
    if !found.is_empty() {
        return Err(found);
    }
    let Graph { numbers, edges, places, targets, all_known, .. } = graph;
    // A schema that stands where none is expected was not looked into.
    let all_known = all_known && targets.iter().all(|target| places.contains_key(target));
    let work = Work::new(numbers, edges, all_known);
    match work.too_much().and_then(|node| places.get(&node)) {
        Some((file, pointer)) => Err(vec![file.fault(pointer, too_much())]),
        None => Ok(work),
    }
}

fn too_much() -> String {
    format!(
        "the schemas that this one leads to ask one part of a value more than {} times; \
         let fewer of them stand under allOf, anyOf, oneOf and the like",
        figure(ASKED_MAX)
    )
}

/// A schema within a file, by its JSON pointer.
type Node = (String, String);

/// Which schema asks which, of the same value or of a part of it.
struct Graph {
    numbers: HashMap<Node, usize>,
    edges: Vec<Vec<Edge>>,
    /// The schemas, with the file in which they stand and their pointer.
    places: HashMap<usize, (Arc<SchemaFile>, String)>,
    /// The references, with the file in which they stand and their own pointer.
    references: HashMap<usize, (Arc<SchemaFile>, String)>,
    /// Where references lead, but for schemas that are true or false.
    targets: Vec<usize>,
    /// Whether each reference leads to where this graph says.
    all_known: bool,
}

impl Graph {
    fn number(&mut self, file: &str, pointer: &str) -> usize {
        let next = self.edges.len();
        let number = *self.numbers.entry((file.to_owned(), pointer.to_owned())).or_insert(next);
        if number == next {
            self.edges.push(Vec::new());
        }
        number
    }

    /// Takes in all schemas of a file. `drawn` is given each file that a reference names, or what is
    /// wrong with the reference.
    fn take_in(
        &mut self,
        folder: &Folder,
        file: &Arc<SchemaFile>,
        drawn: &mut dyn FnMut(Result<Arc<SchemaFile>, Vec<Fault>>),
    ) {
        let base = Base::of(file);
        let scope = Scope::of(file);
        keywords::each(&file.json, &mut |pointer, schema| {
            let Some(members) = schema.as_object() else { return };
            let here = self.number(&file.name, pointer);
            self.places.insert(here, (file.clone(), pointer.to_owned()));
            // What is left is found by asking once more what was asked of the same value.
            let twice = members.keys().any(|keyword| keyword.starts_with("unevaluated"));
            let mut asks = Vec::new();
            keywords::asked(pointer, members, &mut |part, inner| {
                let (to, times) = (self.number(&file.name, inner), if twice { 2 } else { 1 });
                let times = if part == Part::Whole { times } else { 1 };
                asks.push(Edge { part, to, times, reference: false });
            });
            self.edges[here].append(&mut asks);
            self.all_known &= !members.contains_key("$dynamicRef");
            let reference = members.get("$ref").and_then(Json::as_str);
            let Some(reference) = reference else { return };
            let target = (!scope.is_foreign(pointer))
                .then(|| base.target(file, reference).or_else(|| scope.anchored(file, reference)));
            let Some((name, target)) = target.flatten() else {
                self.all_known = false;
                return;
            };
            let own = keywords::join(pointer, "$ref");
            let other = if name == file.name { Ok(file.clone()) } else { folder.read(&name) };
            let missing = |other: &SchemaFile| other.json.pointer(&target).is_none();
            match other {
                Ok(other) if missing(&other) => {
                    let words = format!("there is nothing at {target} in {name}");
                    drawn(Err(vec![file.fault(&own, words)]));
                }
                Ok(other) => {
                    let (to, times) = (self.number(&name, &target), if twice { 2 } else { 1 });
                    self.edges[here].push(Edge { part: Part::Whole, to, times, reference: true });
                    self.references.insert(here, (file.clone(), own));
                    if other.json.pointer(&target).is_some_and(Json::is_object) {
                        self.targets.push(to);
                    }
                    drawn(Ok(other));
                }
                Err(faults) => drawn(Err(blamed(file, &own, faults))),
            }
        });
    }

    /// A reference that leads back to itself before it has looked at any part of the value.
    fn circle(&self) -> Option<Fault> {
        let mut done = vec![false; self.edges.len()];
        for start in 0..self.edges.len() {
            // The way from the start, and at each step the edges that were not tried yet.
            let mut way: Vec<(usize, std::slice::Iter<'_, Edge>)> = Vec::new();
            let mut on_way = HashSet::new();
            if !done[start] {
                on_way.insert(start);
                way.push((start, self.edges[start].iter()));
            }
            while let Some((node, edges)) = way.last_mut() {
                let node = *node;
                let same = edges.find(|edge| edge.part == Part::Whole);
                let Some(next) = same.map(|edge| edge.to) else {
                    done[node] = true;
                    on_way.remove(&node);
                    way.pop();
                    continue;
                };
                if on_way.contains(&next) {
                    return self.told(way.iter().map(|(node, _)| *node), next);
                }
                if !done[next] {
                    on_way.insert(next);
                    way.push((next, self.edges[next].iter()));
                }
            }
        }
        None
    }

    /// The words for a circle, at its first reference.
    fn told(&self, way: impl Iterator<Item = usize>, back_to: usize) -> Option<Fault> {
        let mut circle = way.skip_while(|node| *node != back_to);
        let (file, own) = circle.find_map(|node| self.references.get(&node))?;
        let words = "leads back to itself without looking at any part of the value";
        Some(file.fault(own, format!("$ref {words}; it would never end")))
    }
}

/// A file that cannot be read at all is the fault of whoever names it.
fn blamed(file: &SchemaFile, own: &str, faults: Vec<Fault>) -> Vec<Fault> {
    let blame = |fault: Fault| match fault.place {
        None => file.fault(own, format!("$ref: {fault}")),
        Some(_) => fault,
    };
    faults.into_iter().map(blame).collect()
}

/// What the names within a file mean.
struct Scope {
    /// The pointers of schemas with an `$id` of their own.
    foreign: Vec<String>,
    /// The pointers of the schemas with an `$anchor`, by its name.
    anchors: HashMap<String, String>,
}

impl Scope {
    fn of(file: &SchemaFile) -> Scope {
        let mut scope = Scope { foreign: Vec::new(), anchors: HashMap::new() };
        keywords::each(&file.json, &mut |pointer, schema| {
            if !pointer.is_empty() && schema.get("$id").is_some() {
                scope.foreign.push(pointer.to_owned());
            }
            for anchor in ["$anchor", "$dynamicAnchor"] {
                let name = schema.get(anchor).and_then(Json::as_str);
                if let Some(name) = name.filter(|_| !scope.is_foreign(pointer)) {
                    scope.anchors.insert(name.to_owned(), pointer.to_owned());
                }
            }
        });
        scope
    }

    /// Whether names at this pointer mean something else than in the rest of the file.
    fn is_foreign(&self, pointer: &str) -> bool {
        let within = |outer: &String| pointer.strip_prefix(outer.as_str());
        let mut below = self.foreign.iter().filter_map(within);
        below.any(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The file and the pointer of the `$anchor` that a reference names.
    fn anchored(&self, file: &SchemaFile, reference: &str) -> Option<(String, String)> {
        let pointer = self.anchors.get(reference.strip_prefix('#')?)?;
        Some((file.name.clone(), pointer.clone()))
    }
}

/// What relative references of a file are relative to.
enum Base {
    /// The file's own name, or another one that its `$id` gives it.
    Name(String),
    /// Not a name of the folder.
    Foreign,
}

impl Base {
    fn of(file: &SchemaFile) -> Base {
        match file.json.get("$id").and_then(Json::as_str) {
            None => Base::Name(file.name.clone()),
            Some(id) if id.contains(':') || id.starts_with('/') => Base::Foreign,
            Some(id) => Base::Name(beside(&file.name, id.trim_end_matches('#'))),
        }
    }

    /// The file and the pointer that a reference names; None if only the compiler can tell.
    fn target(&self, file: &SchemaFile, reference: &str) -> Option<(String, String)> {
        let (other, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        if !(fragment.is_empty() || fragment.starts_with('/')) || fragment.contains('%') {
            return None;
        }
        let name = match (other, self) {
            ("", _) => file.name.clone(),
            (_, Base::Foreign) => return None,
            (other, Base::Name(base)) => {
                let name = beside(base, other);
                if name == *base { file.name.clone() } else { name }
            }
        };
        Some((name, fragment.to_owned()))
    }
}

/// A name beside another one, in its folder.
fn beside(name: &str, other: &str) -> String {
    let folder = name.rfind('/').map_or("", |end| &name[..=end]);
    let other = other.trim_start_matches("./");
    format!("{folder}{other}")
}
