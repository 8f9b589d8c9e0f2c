//! `PROTOCOL.md` says what the code does.

use keepboth_core::limits::{
    BATCH_OPS_MAX, FRAME_BYTES_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX, figure,
};
use keepboth_core::refusal::Code;
use keepboth_schema::events::{self, EventKind};
use serde_json::Value as Json;

use super::super::{Format, METHODS, decode_request};

const DOCUMENT: &str = include_str!("../../../../../PROTOCOL.md");

/// The frames of all examples: one in each line of a block of JSON.
fn frames() -> Vec<&'static str> {
    let mut inside = false;
    let lines = DOCUMENT.lines().filter(|line| {
        if line.starts_with("```") {
            inside = *line == "```json";
            return false;
        }
        inside
    });
    lines.collect()
}

#[test]
fn every_example_is_a_frame() {
    let mut methods = Vec::new();
    for text in frames() {
        let frame: Json = serde_json::from_str(text).expect(text);
        if let Some(event) = frame.get("event") {
            let kind = event["type"].as_str().and_then(EventKind::from_name).expect(text);
            events::check(kind, event).expect(text);
        }
        let answers = ["ok", "error"].iter().any(|name| frame.get(name).is_some());
        if frame.get("sub").is_some() || answers {
            continue;
        }
        match decode_request(Format::Json, text.as_bytes()) {
            Ok(request) => methods.push(request.call.method()),
            Err(why) => panic!("{text}: {}", why.refusal),
        }
    }
    for method in METHODS {
        assert!(methods.contains(method), "{method} has no example");
        assert!(DOCUMENT.contains(&format!("\n### {method}\n")), "{method} has no heading");
    }
}

#[test]
fn every_code_is_explained() {
    for code in Code::ALL {
        let retry = if code.retry() { "yes" } else { "no" };
        let row = format!("| `{code}` | {retry} | {} |", code.explanation().replace('|', "\\|"));
        assert!(DOCUMENT.contains(&row), "missing or old: {row}");
    }
    for frame in frames() {
        let frame: Json = serde_json::from_str(frame).expect("frame");
        let errors = [frame.pointer("/error/code"), frame.pointer("/end/code")];
        for code in errors.into_iter().flatten() {
            assert!(Code::ALL.iter().any(|known| code == known.as_str()), "{code}");
        }
    }
}

#[test]
fn the_limits_are_those_of_the_code() {
    for limit in [VALUE_BYTES_MAX, KEY_BYTES_MAX, FRAME_BYTES_MAX, BATCH_OPS_MAX] {
        assert!(DOCUMENT.contains(&figure(limit)), "{limit}");
    }
    for format in Format::ALL {
        assert!(DOCUMENT.contains(&format!("`{}`", format.subprotocol())));
    }
}
