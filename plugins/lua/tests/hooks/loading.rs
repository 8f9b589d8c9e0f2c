//! Mistakes in settings and scripts: each is told with its place before the server starts.

use std::fs;

use keepboth_core::plugin::Points;
use serde_json::json;

use crate::harness::*;

const GOOD: &str = "kb.namespace():on_put(function() end)";

#[test]
fn a_syntax_error_names_file_and_line() {
    let words = mistake("local x = 1\n\nif x then\n");
    assert!(
        words
            .starts_with("scripts/a.luau:4: Expected 'end' (to close 'then' at line 3), got <eof>"),
        "{words}"
    );
}

#[test]
fn an_error_at_the_top_level_names_file_and_line() {
    assert_eq!(
        mistake("local t = nil\nt.x = 1"),
        "scripts/a.luau:2: attempt to index nil with 'x'"
    );
    assert_eq!(mistake("error('set options.to')"), "scripts/a.luau:1: set options.to");
}

#[test]
fn an_unknown_name_lists_those_that_exist() {
    let words = mistake("kb.namespace():on_put(function(ev)\n  kb.rejct('A')\nend)");
    let names = "array, cbor, delete, every, get, hash, json, list, log, merge3, namespace, null, options, put, reject, table";
    assert_eq!(
        words,
        format!(
            "scripts/a.luau:2: kb has no \"rejct\" (did you mean \"reject\"?); it has: {names}"
        )
    );
    let words = mistake("local k = 'nope' print(kb[k])");
    assert_eq!(words, format!("scripts/a.luau:1: kb has no \"nope\"; it has: {names}"));
}

#[test]
fn an_unknown_hook_lists_those_that_exist() {
    let words = mistake("local here = kb.namespace()\nhere:on_putt(print)");
    assert_eq!(
        words,
        "scripts/a.luau:2: a namespace has no \"on_putt\" (did you mean \"on_put\"?); it has: after_delete, after_put, on_conflict, on_delete, on_put, on_state"
    );
}

#[test]
fn a_handler_that_is_no_function_is_a_mistake() {
    let words = mistake("kb.namespace().on_put(function() end)");
    assert_eq!(
        words,
        "scripts/a.luau:1: on_put: expected a function, found nil; write here:on_put(function(ev) ... end), with a colon"
    );
}

#[test]
fn a_script_bound_to_another_namespace_names_both() {
    let words = mistake("local other = kb.namespace('todos')\n\nother:on_put(function() end)");
    assert_eq!(
        words,
        "scripts/a.luau:3: todos:on_put: this script is bound to namespace notes, not to todos"
    );
    assert!(
        mistake("kb.namespace('No!')")
            .starts_with("scripts/a.luau:1: kb.namespace: \"No!\" is not")
    );
}

#[test]
fn a_script_that_registers_nothing_is_a_mistake() {
    let words = mistake("local here = kb.namespace('notes')");
    assert_eq!(
        words,
        "scripts/a.luau: registers no hook for namespace notes; the hooks are on_put, on_delete, on_conflict, after_put, after_delete, on_state, and kb.every"
    );
}

#[test]
fn hooks_are_registered_at_the_top_level_only() {
    let mut worker =
        worker("local here = kb.namespace() here:on_put(function() here:on_put(print) end)");
    let words = refused(&mut *worker, json!(1));
    assert!(
        words.ends_with("on_put: hooks are registered while the script is loaded, not by a hook"),
        "{words}"
    );
}

#[test]
fn hooks_with_side_effects_have_no_place_at_the_top_level() {
    assert!(
        mistake("kb.put('notes', 'a', 1)")
            .starts_with("scripts/a.luau:1: kb.put: writes are asked for")
    );
    assert!(mistake("kb.reject('A')").starts_with("scripts/a.luau:1: kb.reject: no hook runs"));
}

#[test]
fn files_that_are_missing_or_elsewhere_are_mistakes() {
    let outside = Scripts::new(&[("out.luau", GOOD)]);
    let scripts = Scripts::new(&[("good.luau", GOOD)]);
    let folder = scripts.0.path();
    fs::create_dir(folder.join("folder")).expect("folder");
    std::os::unix::fs::symlink(outside.0.path().join("out.luau"), folder.join("link.luau"))
        .expect("link");
    fs::write(folder.join("latin.luau"), b"-- one\nprint('\xe9')").expect("file");
    fs::write(folder.join("large.luau"), " ".repeat(256 * 1024 + 1)).expect("file");
    fs::write(folder.join("code.luau"), b"\x06\x03\x00").expect("file");
    let names = [
        "none.luau",
        "link.luau",
        "folder",
        "../x",
        "/etc/passwd",
        "latin.luau",
        "large.luau",
        "code.luau",
        "good.luau",
    ];
    let mistakes = scripts.build(json!({"scripts": names})).err().expect("mistakes");
    let found: Vec<(&str, &str)> = mistakes.iter().map(|m| (&*m.pointer, &*m.message)).collect();
    let begin = [
        ("/scripts/0", "scripts/none.luau: there is no such file in "),
        ("/scripts/1", "scripts/link.luau: a link out of the scripts folder"),
        ("/scripts/2", "scripts/folder: not a regular file"),
        ("/scripts/3", "scripts/../x: not the name of a file in the scripts folder"),
        ("/scripts/4", "scripts//etc/passwd: not the name of a file in the scripts folder"),
        ("/scripts/5", "scripts/latin.luau: not UTF-8 at byte 14 (line 2)"),
        ("/scripts/6", "scripts/large.luau: more than 262,144 bytes"),
        ("/scripts/7", "scripts/code.luau: bytecode; only the text of a script is run"),
    ];
    assert_eq!(found.len(), begin.len(), "{found:?}");
    for (found, begin) in found.iter().zip(begin) {
        assert!(found.0 == begin.0 && found.1.starts_with(begin.1), "{found:?}");
    }
}

#[test]
fn bytecode_of_luau_is_refused() {
    let bytecode = mlua::chunk::Compiler::new().compile("return 1").expect("bytecode");
    let scripts = Scripts::new(&[]);
    fs::write(scripts.0.path().join("a.luau"), bytecode).expect("file");
    let mistakes = scripts.build(json!({"scripts": ["a.luau"]})).err().expect("mistake");
    assert_eq!(mistakes[0].message, "scripts/a.luau: bytecode; only the text of a script is run");
}

#[test]
fn source_that_is_nested_too_deep_is_a_syntax_error() {
    let words = mistake(&format!("return {}1{}", "(".repeat(100_000), ")".repeat(100_000)));
    assert!(words.starts_with("scripts/a.luau:1: "), "{words}");
    let words = mistake(&format!("return {}", "{".repeat(100_000)));
    assert!(words.starts_with("scripts/a.luau:1: "), "{words}");
}

#[test]
fn loading_a_script_may_take_longer_than_a_call() {
    let busy = format!("local n = 0 for i = 1, 5_000_000 do n += i % 7 end {GOOD}");
    let scripts = Scripts::new(&[("a.luau", &busy)]);
    let built = scripts.build(json!({"scripts": ["a.luau"], "time_limit_ms": 1}));
    built.map(|_| ()).unwrap_or_else(|e| panic!("{e:?}"));
}

#[test]
fn mistakes_in_settings_are_told_with_their_place() {
    let scripts = Scripts::new(&[("a.luau", GOOD)]);
    let mistakes = |settings| {
        let mistakes = scripts.build(settings).err().expect("mistakes");
        mistakes.iter().map(|m| format!("{}: {}", m.pointer, m.message)).collect::<Vec<_>>()
    };
    assert_eq!(
        mistakes(json!({"scripts": []})),
        ["/scripts: name at least one file of the scripts folder"]
    );
    assert_eq!(
        mistakes(
            json!({"scripts": ["a.luau", "a.luau"], "time_limit_ms": 0, "memory_limit": 5, "disable_after": 0})
        ),
        [
            "/scripts/1: \"a.luau\" stands twice; a script runs once for each event",
            "/time_limit_ms: 0 ms; it is 1 to 10,000 ms",
            "/disable_after: 0 failures; it is 1 to 1,000",
            "/memory_limit: 5 bytes; it is 1,048,576 (1 MiB) to 1,073,741,824 (1 GiB)",
        ]
    );
    assert!(
        mistakes(json!({"scripts": ["a.luau"], "scrpits": 1}))[0]
            .contains("unknown field `scrpits`")
    );
    assert!(mistakes(json!({}))[0].contains("missing field `scripts`"));
}

#[test]
fn the_schema_describes_every_setting_with_its_default() {
    let schema = (keepboth_lua::FACTORY.schema)();
    assert_eq!(schema["required"], json!(["scripts"]));
    assert_eq!(schema["additionalProperties"], json!(false));
    for (name, default) in [
        ("time_limit_ms", json!(50)),
        ("memory_limit", json!(16_777_216)),
        ("on_failure", json!("reject")),
        ("options", json!({})),
    ] {
        assert_eq!(schema["properties"][name]["default"], default, "{name}");
        assert!(schema["properties"][name]["description"].is_string(), "{name}");
    }
}

#[test]
fn only_the_hooks_that_are_there_are_asked_for() {
    let scripts = Scripts::new(&[
        ("put.luau", GOOD),
        ("after.luau", "kb.namespace():after_delete(function() end)"),
    ]);
    let plugin = scripts.build(json!({"scripts": ["put.luau", "after.luau"]}));
    let points = plugin.unwrap_or_else(|e| panic!("{e:?}")).points();
    let expected = Points { before_put: true, after: true, ..Points::default() };
    assert_eq!(points, expected);
}
