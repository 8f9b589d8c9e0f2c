//! Everything that was seen in one place of values.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value as Json};

use super::leaf::{Numbers, Texts};

/// Most names of members in one place; with more they are taken for data, and all obey one schema.
const NAMES_MAX: usize = 100;
/// Levels below which nothing is said of a value.
const LEVELS_MAX: usize = 16;

/// What was seen in one place.
#[derive(Debug, Default)]
pub struct Shape {
    /// Too deep to look at.
    anything: bool,
    null: bool,
    boolean: bool,
    numbers: Option<Numbers>,
    texts: Option<Texts>,
    lists: Option<Lists>,
    objects: Option<Objects>,
}

#[derive(Debug)]
pub struct Lists {
    shortest: usize,
    longest: usize,
    items: Box<Shape>,
}

#[derive(Debug, Default)]
pub struct Objects {
    count: u64,
    members: BTreeMap<String, (u64, Shape)>,
    /// All members together, once there were too many names.
    rest: Option<Box<Shape>>,
}

impl Shape {
    pub fn add(&mut self, tree: &Json, level: usize) {
        if level == LEVELS_MAX {
            self.anything = true;
            return;
        }
        match tree {
            Json::Null => self.null = true,
            Json::Bool(_) => self.boolean = true,
            Json::Number(n) => self.number(n),
            Json::String(text) => merge(&mut self.texts, Some(Texts::of(text)), Texts::merge),
            Json::Array(items) => {
                let (n, empty) = (items.len(), || Lists {
                    shortest: items.len(),
                    longest: 0,
                    items: Box::default(),
                });
                let lists = self.lists.get_or_insert_with(empty);
                (lists.shortest, lists.longest) = (lists.shortest.min(n), lists.longest.max(n));
                items.iter().for_each(|item| lists.items.add(item, level + 1));
            }
            Json::Object(members) => {
                self.objects.get_or_insert_default().add(members, level + 1);
            }
        }
    }

    pub fn number(&mut self, n: &Number) {
        let Some(n) = n.as_f64() else { return };
        merge(&mut self.numbers, Some(Numbers::of(n)), Numbers::merge);
    }

    pub fn merge(&mut self, other: Shape) {
        self.anything |= other.anything;
        self.null |= other.null;
        self.boolean |= other.boolean;
        merge(&mut self.numbers, other.numbers, Numbers::merge);
        merge(&mut self.texts, other.texts, Texts::merge);
        merge(&mut self.lists, other.lists, |own, other| {
            own.shortest = own.shortest.min(other.shortest);
            own.longest = own.longest.max(other.longest);
            own.items.merge(*other.items);
        });
        merge(&mut self.objects, other.objects, |own, mut other| {
            own.count += other.count;
            if own.rest.is_some() || other.rest.is_some() {
                own.rest.is_none().then(|| own.merge());
                other.rest.is_none().then(|| other.merge());
            }
            if let (Some(own), Some(other)) = (&mut own.rest, other.rest) {
                own.merge(*other);
            }
            for (name, (count, shape)) in other.members {
                let (own_count, own_shape) = own.members.entry(name).or_default();
                *own_count += count;
                own_shape.merge(shape);
            }
            if own.members.len() > NAMES_MAX {
                own.merge();
            }
        });
    }

    fn schema(&self) -> Json {
        Json::Object(self.members())
    }

    /// The keywords.
    pub fn members(&self) -> Map<String, Json> {
        let mut schema = Map::new();
        if self.anything {
            return schema;
        }
        let mut types = Vec::new();
        types.extend(self.null.then_some("null"));
        types.extend(self.boolean.then_some("boolean"));
        let mut say = |keyword: &str, value: Json| drop(schema.insert(keyword.to_owned(), value));
        if let Some(numbers) = &self.numbers {
            types.push(if numbers.are_whole() { "integer" } else { "number" });
            numbers.say(&mut say);
        }
        if let Some(lists) = &self.lists {
            types.push("array");
            say("minItems", lists.shortest.into());
            say("maxItems", lists.longest.into());
            if lists.longest > 0 {
                say("items", lists.items.schema());
            }
        }
        if let Some(objects) = &self.objects {
            types.push("object");
            objects.say(&mut say);
        }
        if let Some(texts) = &self.texts {
            let alone = types.is_empty();
            types.push("string");
            texts.say(alone, &mut say);
        }
        match types.as_slice() {
            [] => {}
            [one] => say("type", (*one).into()),
            several => say("type", several.into()),
        }
        schema
    }
}

impl Objects {
    pub fn add(&mut self, members: &Map<String, Json>, level: usize) {
        self.count += 1;
        for (name, tree) in members {
            if self.rest.is_none() && !self.members.contains_key(name) {
                if self.members.len() == NAMES_MAX {
                    self.merge();
                } else {
                    self.members.insert(name.clone(), (0, Shape::default()));
                }
            }
            match (&mut self.rest, self.members.get_mut(name)) {
                (Some(rest), _) => rest.add(tree, level),
                (None, Some((count, shape))) => {
                    *count += 1;
                    shape.add(tree, level);
                }
                (None, None) => {}
            }
        }
    }

    /// Names turn out to be data: what was seen under all of them is now one.
    pub fn merge(&mut self) {
        let mut rest = Shape::default();
        for (_, (_, shape)) in std::mem::take(&mut self.members) {
            rest.merge(shape);
        }
        self.rest = Some(Box::new(rest));
    }

    pub fn say(&self, say: &mut impl FnMut(&str, Json)) {
        if let Some(rest) = &self.rest {
            return say("additionalProperties", rest.schema());
        }
        let always = self.members.iter().filter(|(_, (count, _))| *count == self.count);
        let required: Vec<Json> = always.map(|(name, _)| name.as_str().into()).collect();
        let properties =
            self.members.iter().map(|(name, (_, shape))| (name.clone(), shape.schema()));
        let properties: Map<String, Json> = properties.collect();
        if !required.is_empty() {
            say("required", required.into());
        }
        if !properties.is_empty() {
            say("properties", properties.into());
        }
    }
}

fn merge<T>(own: &mut Option<T>, other: Option<T>, both: impl FnOnce(&mut T, T)) {
    match (own.as_mut(), other) {
        (Some(own), Some(other)) => both(own, other),
        (None, other) => *own = other,
        (Some(_), None) => {}
    }
}
