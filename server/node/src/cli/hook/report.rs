//! The results of tests: for people, as TAP, as JUnit has them, as lines of JSON.

use std::time::Duration;

use keepboth_lua::Tested;
use serde_json::{Value as Json, json};

use super::super::out::printable;
use super::Named;

/// The tests of one script, or why none could be run.
pub struct Ran {
    pub file: Named,
    pub outcome: Result<Vec<Tested>, String>,
}

/// One test as it is told.
struct Told<'a> {
    name: &'a str,
    failed: Option<String>,
    took: Duration,
}

impl Ran {
    /// How many tests there are; a file that cannot be run counts as one.
    pub fn count(&self) -> usize {
        self.outcome.as_ref().map_or(1, Vec::len)
    }

    /// How many of them failed.
    pub fn failed(&self) -> usize {
        self.told().iter().filter(|test| test.failed.is_some()).count()
    }

    fn told(&self) -> Vec<Told<'_>> {
        let told =
            |test: &Tested| (test.failed.as_ref().map(|words| self.file.here(words)), test.took);
        match &self.outcome {
            Ok(tests) => tests
                .iter()
                .map(|test| {
                    let (failed, took) = told(test);
                    Told { name: &test.name, failed, took }
                })
                .collect(),
            Err(words) => {
                let failed = Some(words.clone());
                vec![Told { name: "its tests can be run", failed, took: Duration::ZERO }]
            }
        }
    }
}

/// For people.
pub fn human(ran: &[Ran]) -> Vec<String> {
    let mut lines = Vec::new();
    for ran in ran {
        lines.push(printable(&ran.file.path()));
        for test in ran.told() {
            let (ok, ms) = (if test.failed.is_some() { "FAIL" } else { "ok  " }, ms(test.took));
            lines.push(printable(&format!("  {ok}  {} ({ms:.1} ms)", test.name)));
            lines.extend(test.failed.iter().map(|words| printable(&format!("        {words}"))));
        }
    }
    lines
}

/// Version 14 of the Test Anything Protocol.
pub fn tap(ran: &[Ran]) -> Vec<String> {
    let count: usize = ran.iter().map(Ran::count).sum();
    let mut lines = vec!["TAP version 14".to_owned(), format!("1..{count}")];
    let mut number = 0;
    for ran in ran {
        for test in ran.told() {
            number += 1;
            let ok = if test.failed.is_some() { "not ok" } else { "ok" };
            // A # would begin a directive.
            let title = format!("{}: {}", ran.file.path(), test.name).replace('#', "\\#");
            lines.push(format!("{ok} {number} - {title}"));
            if let Some(words) = test.failed {
                let message = Json::from(printable(&words));
                lines.extend(["  ---".into(), format!("  message: {message}"), "  ...".into()]);
            }
        }
    }
    lines
}

/// A line of JSON for each test.
pub fn json(ran: &[Ran]) -> Vec<String> {
    let each = |ran: &Ran| {
        let told = ran.told().into_iter().map(|test| {
            json!({
                "file": ran.file.path(),
                "name": test.name,
                "ok": test.failed.is_none(),
                "message": test.failed,
                "ms": (ms(test.took) * 1e3).round() / 1e3,
            })
            .to_string()
        });
        told.collect::<Vec<String>>()
    };
    ran.iter().flat_map(each).collect()
}

/// A file as JUnit writes it: a suite for each script.
pub fn junit(ran: &[Ran]) -> String {
    let (all, failed) =
        (ran.iter().map(Ran::count).sum::<usize>(), ran.iter().map(Ran::failed).sum::<usize>());
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites tests=\"{all}\" failures=\"{failed}\">\n"
    );
    for ran in ran {
        let (path, told) = (escaped(&ran.file.path()), ran.told());
        let time: f64 = told.iter().map(|test| test.took.as_secs_f64()).sum();
        xml += &format!(
            "  <testsuite name=\"{path}\" tests=\"{}\" failures=\"{}\" time=\"{time:.6}\">\n",
            ran.count(),
            ran.failed()
        );
        for test in told {
            let (name, time) = (escaped(test.name), test.took.as_secs_f64());
            xml +=
                &format!("    <testcase classname=\"{path}\" name=\"{name}\" time=\"{time:.6}\"");
            xml += &match test.failed {
                None => "/>\n".to_owned(),
                Some(words) => {
                    format!("><failure message=\"{}\"/></testcase>\n", escaped(&words))
                }
            };
        }
        xml += "  </testsuite>\n";
    }
    xml + "</testsuites>\n"
}

/// Text in an attribute. XML has no form of control characters, so they are shown.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn ran() -> Vec<Ran> {
        let file = Named::of(Path::new("s/a.luau")).expect("a file");
        let took = Duration::from_micros(1_500);
        let passed = Tested { name: "a #1 <&>".into(), failed: None, took };
        let words = "scripts/a_test.luau:3: \"no\"\u{1b}".to_owned();
        let failed = Tested { name: "b".into(), failed: Some(words), took };
        let broken = Ran { file: file.clone(), outcome: Err("cannot be run".into()) };
        vec![Ran { file, outcome: Ok(vec![passed, failed]) }, broken]
    }

    #[test]
    fn a_file_that_cannot_be_run_counts_as_a_test_that_failed() {
        assert_eq!(
            ran().iter().map(|ran| (ran.count(), ran.failed())).collect::<Vec<_>>(),
            [(2, 1), (1, 1)]
        );
    }

    #[test]
    fn tap_has_a_plan_numbers_and_messages_and_no_stray_directive() {
        assert_eq!(
            tap(&ran()),
            [
                "TAP version 14",
                "1..3",
                "ok 1 - s/a.luau: a \\#1 <&>",
                "not ok 2 - s/a.luau: b",
                "  ---",
                "  message: \"s/a_test.luau:3: \\\"no\\\"\\\\u{1b}\"",
                "  ...",
                "not ok 3 - s/a.luau: its tests can be run",
                "  ---",
                "  message: \"cannot be run\"",
                "  ...",
            ]
        );
    }

    #[test]
    fn junit_is_escaped() {
        let xml = junit(&ran());
        for part in [
            "<testsuites tests=\"3\" failures=\"2\">",
            "<testsuite name=\"s/a.luau\" tests=\"2\" failures=\"1\" time=\"0.003000\">",
            "<testcase classname=\"s/a.luau\" name=\"a #1 &lt;&amp;&gt;\" time=\"0.001500\"/>",
            "<failure message=\"s/a_test.luau:3: &quot;no&quot;\\u{1b}\"/>",
        ] {
            assert!(xml.contains(part), "{part}\n{xml}");
        }
    }
}
