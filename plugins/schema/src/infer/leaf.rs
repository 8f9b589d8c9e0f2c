//! Numbers and texts that were seen in one place.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Number, Value as Json, json};

/// Most different texts that are listed as an `enum`; each was seen three times on the average.
const ENUM_MAX: usize = 8;
/// Most characters of a text that an `enum` lists.
const ENUM_CHARS_MAX: usize = 64;

/// The formats that are looked for.
const FORMATS: [&str; 8] = ["date-time", "date", "time", "uuid", "ipv4", "ipv6", "email", "uri"];

static CHECKS: LazyLock<Vec<Option<Validator>>> = LazyLock::new(|| {
    let compile = |format: &str| {
        let options = jsonschema::options().should_validate_formats(true);
        options.build(&json!({"format": format})).ok()
    };
    FORMATS.iter().map(|format| compile(format)).collect()
});

/// Numbers.
#[derive(Debug)]
pub struct Numbers {
    whole: bool,
    least: f64,
    most: f64,
}

/// Texts.
#[derive(Debug)]
pub struct Texts {
    count: usize,
    shortest: usize,
    longest: usize,
    /// The different ones; None if there are too many.
    different: Option<BTreeSet<String>>,
    /// The formats that all of them have.
    formats: [bool; FORMATS.len()],
}

impl Numbers {
    /// One number.
    pub fn of(n: f64) -> Numbers {
        Numbers { whole: n.fract() == 0.0, least: n, most: n }
    }

    /// True if none has a fraction.
    pub fn are_whole(&self) -> bool {
        self.whole
    }

    pub fn merge(&mut self, other: Numbers) {
        self.whole &= other.whole;
        (self.least, self.most) = (self.least.min(other.least), self.most.max(other.most));
    }

    pub fn say(&self, say: &mut impl FnMut(&str, Json)) {
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
    /// One text.
    pub fn of(text: &str) -> Texts {
        let chars = text.chars().count();
        let short = || BTreeSet::from([text.to_owned()]);
        let tree = Json::from(text);
        let has = |check: &Option<Validator>| check.as_ref().is_some_and(|c| c.is_valid(&tree));
        Texts {
            count: 1,
            shortest: chars,
            longest: chars,
            different: (chars <= ENUM_CHARS_MAX).then(short),
            formats: std::array::from_fn(|at| has(&CHECKS[at])),
        }
    }

    /// Those of another place too.
    pub fn merge(&mut self, other: Texts) {
        self.count += other.count;
        self.shortest = self.shortest.min(other.shortest);
        self.longest = self.longest.max(other.longest);
        let both = self.different.take().zip(other.different);
        let both = both.map(|(own, other)| own.into_iter().chain(other).collect());
        self.different = both.filter(|all: &BTreeSet<String>| all.len() <= ENUM_MAX);
        self.formats.iter_mut().zip(other.formats).for_each(|(own, other)| *own &= other);
    }

    pub fn say(&self, alone: bool, say: &mut impl FnMut(&str, Json)) {
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
