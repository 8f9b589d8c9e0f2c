//! A schema for values that are there: it accepts each of them, and says no more than what was seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Map, Number, Value as Json, json};

use crate::keywords::KIND;
use crate::lint::DIALECT;

/// Most different texts that are listed as an `enum`; each was seen three times on the average.
const ENUM_MAX: usize = 8;
/// Most characters of a text that an `enum` lists.
const ENUM_CHARS_MAX: usize = 64;
/// Most names of members in one place; with more they are taken for data, and all obey one schema.
const NAMES_MAX: usize = 100;
/// Levels below which nothing is said of a value.
const LEVELS_MAX: usize = 16;

/// The formats that are looked for.
const FORMATS: [&str; 8] = ["date-time", "date", "time", "uuid", "ipv4", "ipv6", "email", "uri"];

static CHECKS: LazyLock<Vec<Option<Validator>>> = LazyLock::new(|| {
    let compile = |format: &str| {
        let options = jsonschema::options().should_validate_formats(true);
        options.build(&json!({"format": format})).ok()
    };
    FORMATS.iter().map(|format| compile(format)).collect()
});

/// Values that were seen.
#[derive(Debug, Default)]
pub struct Inferred {
    kinds: BTreeMap<String, u64>,
    infinite: u64,
    shape: Shape,
}

impl Inferred {
    /// Takes in a value of this kind; `tree` is None for what JSON does not hold.
    pub fn add(&mut self, kind: &str, tree: Option<&Json>) {
        *self.kinds.entry(kind.to_owned()).or_default() += 1;
        match tree {
            Some(tree) => self.shape.add(tree, 0),
            None if kind == "number" => self.infinite += 1,
            None => {}
        }
    }

    /// How many values were seen.
    pub fn count(&self) -> u64 {
        self.kinds.values().sum()
    }

    /// How many of them no schema lets pass: NaN and the infinities.
    pub fn infinite(&self) -> u64 {
        self.infinite
    }

    /// The schema that accepts what was seen. `of` says in words what that is.
    pub fn schema(&self, of: &str) -> Json {
        let kinds: Vec<String> = self.kinds.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
        let kinds =
            if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
        let comment = format!(
            "Inferred from the {} values of {of}{kinds}. Ranges and lists say what was seen, not what is \
             meant.",
            self.count()
        );
        let mut schema = self.shape.members();
        schema.insert("$schema".to_owned(), DIALECT.into());
        schema.insert("$comment".to_owned(), comment.into());
        if self.kinds.keys().any(|kind| kind == "bytes" || kind == "cbor") {
            schema.insert(KIND.to_owned(), self.kinds.keys().cloned().collect());
        }
        Json::Object(schema)
    }
}

/// What was seen in one place.
#[derive(Debug, Default)]
struct Shape {
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
struct Numbers {
    whole: bool,
    least: f64,
    most: f64,
}

#[derive(Debug)]
struct Texts {
    count: usize,
    shortest: usize,
    longest: usize,
    /// The different ones; None if there are too many.
    different: Option<BTreeSet<String>>,
    /// The formats that all of them have.
    formats: [bool; FORMATS.len()],
}

#[derive(Debug)]
struct Lists {
    shortest: usize,
    longest: usize,
    items: Box<Shape>,
}

#[derive(Debug, Default)]
struct Objects {
    count: u64,
    members: BTreeMap<String, (u64, Shape)>,
    /// All members together, once there were too many names.
    rest: Option<Box<Shape>>,
}

impl Shape {
    fn add(&mut self, tree: &Json, level: usize) {
        if level == LEVELS_MAX {
            self.anything = true;
            return;
        }
        match tree {
            Json::Null => self.null = true,
            Json::Bool(_) => self.boolean = true,
            Json::Number(n) => self.number(n),
            Json::String(text) => Texts::add(&mut self.texts, text),
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

    fn number(&mut self, n: &Number) {
        let Some(n) = n.as_f64() else { return };
        let seen = Numbers { whole: n.fract() == 0.0, least: n, most: n };
        merge(&mut self.numbers, Some(seen), Numbers::merge);
    }

    fn merge(&mut self, other: Shape) {
        self.anything |= other.anything;
        self.null |= other.null;
        self.boolean |= other.boolean;
        merge(&mut self.numbers, other.numbers, Numbers::merge);
        merge(&mut self.texts, other.texts, |own, other| {
            own.count += other.count;
            own.shortest = own.shortest.min(other.shortest);
            own.longest = own.longest.max(other.longest);
            let both = own.different.take().zip(other.different);
            let both = both.map(|(own, other)| own.into_iter().chain(other).collect());
            own.different = both.filter(|all: &BTreeSet<String>| all.len() <= ENUM_MAX);
            own.formats.iter_mut().zip(other.formats).for_each(|(own, other)| *own &= other);
        });
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
    fn members(&self) -> Map<String, Json> {
        let mut schema = Map::new();
        if self.anything {
            return schema;
        }
        let mut types = Vec::new();
        types.extend(self.null.then_some("null"));
        types.extend(self.boolean.then_some("boolean"));
        let mut say = |keyword: &str, value: Json| drop(schema.insert(keyword.to_owned(), value));
        if let Some(numbers) = &self.numbers {
            types.push(if numbers.whole { "integer" } else { "number" });
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

impl Numbers {
    fn merge(&mut self, other: Numbers) {
        self.whole &= other.whole;
        (self.least, self.most) = (self.least.min(other.least), self.most.max(other.most));
    }

    fn say(&self, say: &mut impl FnMut(&str, Json)) {
        /// From here on a whole number has several spellings, which readers take for different ones.
        const LARGE: f64 = 9_007_199_254_740_992.0;
        let bound = |n: f64, outward: f64| match n {
            n if n.abs() >= LARGE => Number::from_f64(outward).map(Json::Number),
            n if n.fract() == 0.0 => Some(json!(n as i64)),
            n => Some(json!(n)),
        };
        if let Some(least) = bound(self.least, self.least.next_down()) {
            say("minimum", least);
        }
        if let Some(most) = bound(self.most, self.most.next_up()) {
            say("maximum", most);
        }
    }
}

impl Texts {
    fn add(texts: &mut Option<Texts>, text: &str) {
        let chars = text.chars().count();
        let texts = texts.get_or_insert_with(|| Texts {
            count: 0,
            shortest: chars,
            longest: chars,
            different: Some(BTreeSet::new()),
            formats: [true; FORMATS.len()],
        });
        texts.count += 1;
        (texts.shortest, texts.longest) = (texts.shortest.min(chars), texts.longest.max(chars));
        let different = texts.different.as_mut();
        if let Some(different) = different.filter(|_| chars <= ENUM_CHARS_MAX) {
            if !different.contains(text) {
                different.insert(text.to_owned());
            }
            if different.len() > ENUM_MAX {
                texts.different = None;
            }
        } else {
            texts.different = None;
        }
        if texts.formats.contains(&true) {
            let tree = Json::from(text);
            for (holds, check) in texts.formats.iter_mut().zip(CHECKS.iter()) {
                *holds = *holds && check.as_ref().is_some_and(|check| check.is_valid(&tree));
            }
        }
    }

    fn say(&self, alone: bool, say: &mut impl FnMut(&str, Json)) {
        let few = self.different.as_ref().filter(|few| alone && self.count >= 3 * few.len());
        if let Some(few) = few {
            return say("enum", few.iter().cloned().collect());
        }
        match self.formats.iter().position(|holds| *holds) {
            Some(format) => say("format", FORMATS[format].into()),
            None => {
                say("minLength", self.shortest.into());
                say("maxLength", self.longest.into());
            }
        }
    }
}

impl Objects {
    fn add(&mut self, members: &Map<String, Json>, level: usize) {
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
    fn merge(&mut self) {
        let mut rest = Shape::default();
        for (_, (_, shape)) in std::mem::take(&mut self.members) {
            rest.merge(shape);
        }
        self.rest = Some(Box::new(rest));
    }

    fn say(&self, say: &mut impl FnMut(&str, Json)) {
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
