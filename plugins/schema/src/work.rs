//! How often the schemas of a file ask the parts of a value. Branches and references multiply, so the work
//! is counted before it is done.

use std::collections::{BTreeMap, HashMap};

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use serde_json::Value as Json;

use crate::keywords::Part;

/// Most times that one part of a value may be asked.
pub const ASKED_MAX: usize = 10_000;
/// Most steps to find all places that are wrong.
pub const STEPS_MAX: u64 = 50_000;
/// The same for each object, array and scalar of a value, for large ones.
const STEPS_EACH_MAX: u64 = 16;
/// So many bytes of a place cost as much as a step.
const PLACE_BYTES: usize = 64;

/// That a schema asks another one.
#[derive(Debug)]
pub struct Edge {
    /// Of what.
    pub part: Part,
    /// The other schema.
    pub to: usize,
    /// How often.
    pub times: u64,
    /// Whether a `$ref` leads there.
    pub reference: bool,
}

/// Which schema asks which.
#[derive(Debug)]
pub struct Work {
    numbers: HashMap<(String, String), usize>,
    edges: Vec<Vec<Edge>>,
    /// The place of each schema in an order in which each one stands before all that it asks of its value.
    ranks: Vec<usize>,
    all_known: bool,
}

impl Work {
    /// The edges of each schema, and the numbers of the schemas by file and pointer. No schema may ask
    /// itself of the same value. Whether all edges are known.
    pub fn new(
        numbers: HashMap<(String, String), usize>,
        edges: Vec<Vec<Edge>>,
        all_known: bool,
    ) -> Work {
        let mut ranks = vec![0; edges.len()];
        let whole = circles(&edges, |_, edge| edge.part == Part::Whole);
        for (rank, node) in whole.into_iter().flatten().rev().enumerate() {
            ranks[node] = rank;
        }
        Work { numbers, edges, ranks, all_known }
    }

    /// The first schema that asks one part of a value more often than [`ASKED_MAX`]. The validator asks
    /// a schema that leads back to itself once for each part, and remembers what it said.
    pub fn too_much(&self) -> Option<usize> {
        let mut round = vec![0; self.edges.len()];
        for (number, circle) in circles(&self.edges, |_, _| true).into_iter().enumerate() {
            circle.into_iter().for_each(|node| round[node] = number);
        }
        let remembered = |from: usize, edge: &Edge| edge.reference && round[from] == round[edge.to];
        let mut by_rank: Vec<usize> = (0..self.edges.len()).collect();
        by_rank.sort_by_key(|node| std::cmp::Reverse(self.ranks[*node]));
        let whole = self.most(&by_rank, |_, edge| match edge.part {
            Part::Whole => Count::All,
            _ => Count::None,
        });
        let order = circles(&self.edges, |from, edge| !remembered(from, edge)).concat();
        let deep = self.most(&order, |from, edge| match remembered(from, edge) {
            true => Count::Once,
            false => Count::All,
        });
        let much = |node: &usize| whole[*node].max(deep[*node]) > ASKED_MAX as u64;
        order.into_iter().find(much)
    }

    /// How often each schema has one part of a value asked. The order has each behind all that it asks.
    fn most(&self, order: &[usize], count: impl Fn(usize, &Edge) -> Count) -> Vec<u64> {
        let mut most = vec![1_u64; self.edges.len()];
        for &node in order {
            let (mut whole, mut each) = (0_u64, 0_u64);
            let mut parts: HashMap<Result<&str, usize>, u64> = HashMap::new();
            for edge in &self.edges[node] {
                let more = match count(node, edge) {
                    Count::All => most[edge.to].saturating_mul(edge.times),
                    Count::Once => edge.times,
                    Count::None => continue,
                };
                let sum = match &edge.part {
                    Part::Whole => &mut whole,
                    Part::Each => &mut each,
                    Part::Member(name) => parts.entry(Ok(name)).or_default(),
                    Part::Item(at) => parts.entry(Err(*at)).or_default(),
                };
                *sum = sum.saturating_add(more);
            }
            let part = parts.into_values().max().unwrap_or(0).saturating_add(each);
            most[node] = whole.saturating_add(part.max(1));
        }
        most
    }

    /// Whether all places where a value breaks the schema at this pointer of a file are found in few steps.
    pub fn is_little(&self, file: &str, pointer: &str, value: &Json) -> bool {
        let root = self.numbers.get(&(file.to_owned(), pointer.to_owned()));
        let mut left = STEPS_MAX.max(STEPS_EACH_MAX.saturating_mul(size(value)));
        let asked = root.map(|root| BTreeMap::from([(self.ranks[*root], (*root, 1))]));
        // A schema that is true or false has no number, and asks nothing.
        self.all_known && asked.is_none_or(|asked| self.take(asked, value, 0, &mut left).is_some())
    }

    /// Takes the steps for a value and its parts from what is left; None if that is not enough.
    fn take(&self, mut asked: Asked, value: &Json, place: usize, left: &mut u64) -> Option<()> {
        let step = 1 + (place / PLACE_BYTES) as u64;
        let (mut members, mut items, mut each) =
            <(HashMap<&str, Asked>, HashMap<usize, Asked>, Asked)>::default();
        while let Some((_, (node, times))) = asked.pop_first() {
            *left = left.checked_sub(times.checked_mul(step)?)?;
            for edge in &self.edges[node] {
                let asked = match &edge.part {
                    Part::Whole => &mut asked,
                    Part::Each => &mut each,
                    Part::Member(name) => members.entry(name).or_default(),
                    Part::Item(at) => items.entry(*at).or_default(),
                };
                self.add(asked, edge.to, times.checked_mul(edge.times)?);
            }
        }
        let mut inner = |asked: Option<Asked>, part: &Json, name: usize| {
            let mut asked = asked.unwrap_or_default();
            each.values().for_each(|(node, times)| self.add(&mut asked, *node, *times));
            if asked.is_empty() { Some(()) } else { self.take(asked, part, place + name + 1, left) }
        };
        match value {
            Json::Object(object) => object.iter().try_for_each(|(name, part)| {
                inner(members.remove(name.as_str()), part, name.len())
            }),
            Json::Array(array) => array
                .iter()
                .enumerate()
                .try_for_each(|(at, part)| inner(items.remove(&at), part, 1)),
            _ => Some(()),
        }
    }

    fn add(&self, asked: &mut Asked, node: usize, times: u64) {
        let (_, sum) = asked.entry(self.ranks[node]).or_insert((node, 0));
        *sum = sum.saturating_add(times);
    }
}

/// The schemas that are asked of one part of a value, by their rank, and how often.
type Asked = BTreeMap<usize, (usize, u64)>;

/// What of an edge counts.
enum Count {
    /// All that the other schema asks.
    All,
    /// That it is asked.
    Once,
    /// Nothing.
    None,
}

/// The objects, arrays and scalars of a value.
fn size(value: &Json) -> u64 {
    match value {
        Json::Array(items) => 1 + items.iter().map(size).sum::<u64>(),
        Json::Object(members) => 1 + members.values().map(size).sum::<u64>(),
        _ => 1,
    }
}

/// The schemas in groups that lead to each other by some of the edges, each group behind all that it leads to.
fn circles(edges: &[Vec<Edge>], some: impl Fn(usize, &Edge) -> bool) -> Vec<Vec<usize>> {
    let mut graph = DiGraph::<(), (), usize>::default();
    let nodes: Vec<_> = edges.iter().map(|_| graph.add_node(())).collect();
    for (from, edges) in edges.iter().enumerate() {
        for edge in edges.iter().filter(|edge| some(from, edge)) {
            graph.add_edge(nodes[from], nodes[edge.to], ());
        }
    }
    let circles = kosaraju_scc(&graph).into_iter();
    circles.map(|circle| circle.into_iter().map(NodeIndex::index).collect()).collect()
}
