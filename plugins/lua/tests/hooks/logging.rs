//! `kb.log` and `print`: what stands in the server's log.

use std::io::Write;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use crate::harness::*;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("lock").extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Lines;
    fn make_writer(&'a self) -> Lines {
        self.clone()
    }
}

fn logged(body: &str, settings: serde_json::Value) -> Vec<String> {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(lines.clone())
        .with_ansi(false)
        .without_time()
        .with_max_level(tracing::Level::DEBUG)
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        let source = format!("kb.namespace():on_put(function(ev)\n{body}\nend)");
        let _ = put(&mut *worker_with(&source, settings), json!({"a": [1, {"b": null}]}));
    });
    let bytes = lines.0.lock().expect("lock").clone();
    String::from_utf8(bytes).expect("text").lines().map(|l| l.trim().to_owned()).collect()
}

#[test]
fn lines_have_level_text_script_and_line() {
    let body = "kb.log.debug('d') kb.log.info('i', 1, nil) kb.log.warn('w')\nkb.log.error('e') print('p', true)";
    assert_eq!(
        logged(body, json!({})),
        [
            "DEBUG keepboth::script: d at=\"scripts/a.luau:2\"",
            "INFO keepboth::script: i 1 nil at=\"scripts/a.luau:2\"",
            "WARN keepboth::script: w at=\"scripts/a.luau:2\"",
            "ERROR keepboth::script: e at=\"scripts/a.luau:3\"",
            "INFO keepboth::script: p true at=\"scripts/a.luau:3\"",
        ]
    );
}

#[test]
fn values_are_shown_readably_and_on_one_line() {
    let body = "local t = {1, 'x'} t[3] = t print(ev.value, {k = kb.null, f = print}, 'a\\nb') print(ev, t)";
    let lines = logged(body, json!({}));
    assert_eq!(
        lines[0],
        "INFO keepboth::script: {\"a\":[1,{\"b\":null}]} {f: function, k: null} a\\nb at=\"scripts/a.luau:2\""
    );
    assert!(
        lines[1].starts_with("INFO keepboth::script: on_put event of a [1, \"x\", [1, \"x\", "),
        "{}",
        lines[1]
    );
    assert!(lines[1].contains('…') && !lines[1].contains("0x"));
}

#[test]
fn a_line_is_cut_and_a_flood_is_counted() {
    let lines = logged("print(string.rep('x', 100000))", json!({}));
    assert!(lines[0].len() < 1_200 && lines[0].contains("x…"), "{}", lines[0].len());
    let lines = logged("for i = 1, 1000 do print(i) end", json!({}));
    assert_eq!(lines.len(), 33);
    assert_eq!(
        lines[32],
        "WARN keepboth::script: further lines of this call are dropped at=\"scripts/a.luau:2\""
    );
}

#[test]
fn a_write_that_passed_a_failing_script_is_told() {
    let lines = logged("error('no')", json!({"on_failure": "pass"}));
    assert_eq!(
        lines,
        [
            "WARN keepboth::script: a write passed unguarded: hook failed: scripts/a.luau:2 (on_put, namespace notes, key \"a\"): no | error('no')"
        ]
    );
}
