//! Where each `$ref` of a schema leads: to a schema in the folder, and never round in a circle.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value as Json;

use crate::fault::Fault;
use crate::folder::{Folder, SchemaFile};
use crate::keywords;

/// Everything wrong with the references of a file and of all files that it draws in. What only the
/// compiler understands (`$anchor`, `$dynamicRef`, an `$id` within a schema) is left to it.
pub fn faults(folder: &Folder, file: &Arc<SchemaFile>) -> Vec<Fault> {
    let mut graph = Graph::default();
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
    found
}

/// A schema within a file, by its JSON pointer.
type Node = (String, String);

/// Which schema is asked of the same value as which.
#[derive(Default)]
struct Graph {
    numbers: HashMap<Node, usize>,
    edges: Vec<Vec<usize>>,
    /// The references, with the file in which they stand and their own pointer.
    references: HashMap<usize, (Arc<SchemaFile>, String)>,
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
        let mut foreign = Vec::new();
        keywords::each(&file.json, &mut |pointer, schema| {
            let Some(members) = schema.as_object() else { return };
            let below = |outer: &String| pointer.starts_with(&format!("{outer}/"));
            if !pointer.is_empty() && members.contains_key("$id") {
                foreign.push(pointer.to_owned());
            }
            let here = self.number(&file.name, pointer);
            keywords::in_place(pointer, members, &mut |inner, _| {
                let inner = self.number(&file.name, inner);
                self.edges[here].push(inner);
            });
            let reference = members.get("$ref").and_then(Json::as_str);
            let Some(reference) = reference else { return };
            if foreign.iter().any(|outer| outer == pointer || below(outer)) {
                return;
            }
            let Some((name, target)) = base.target(file, reference) else { return };
            let own = keywords::join(pointer, "$ref");
            let other = if name == file.name { Ok(file.clone()) } else { folder.read(&name) };
            let missing = |other: &SchemaFile| other.json.pointer(&target).is_none();
            match other {
                Ok(other) if missing(&other) => {
                    let words = format!("there is nothing at {target} in {name}");
                    drawn(Err(vec![file.fault(&own, words)]));
                }
                Ok(other) => {
                    let to = self.number(&name, &target);
                    self.edges[here].push(to);
                    self.references.insert(here, (file.clone(), own));
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
            let mut way: Vec<(usize, std::slice::Iter<'_, usize>)> = Vec::new();
            let mut on_way = HashSet::new();
            if !done[start] {
                on_way.insert(start);
                way.push((start, self.edges[start].iter()));
            }
            while let Some((node, edges)) = way.last_mut() {
                let node = *node;
                let Some(&next) = edges.next() else {
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
