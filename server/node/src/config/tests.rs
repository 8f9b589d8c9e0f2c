//! The configuration from file and environment to plugins, and what is said of its mistakes.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use keepboth_core::name::{Key, Name};
use keepboth_core::plugin::{
    Before, Draft, Factory, Make, Origin, Plugin, Points, Put, SettingsError, Source, Worker,
};
use keepboth_core::unit::Period;
use keepboth_core::value::Value;
use serde_json::{Value as Json, json};

use super::*;

/// Loads a file of this text together with these variables.
fn load(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, String> {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("config.toml");
    std::fs::write(&path, text).expect("written");
    let variables = variables.iter().map(|(k, v)| (OsString::from(k), OsString::from(v)));
    let prefix = format!("{}/", folder.path().display());
    Config::load_from(Some(&path), variables).map_err(|e| e.to_string().replace(&prefix, ""))
}

fn refused(text: &str) -> String {
    load(text, &[]).expect_err("refused")
}

/// A plugin that does nothing, refuses `word = "bad"`, and has one setting.
const PLAIN: Factory = Factory {
    name: "plain",
    about: "Does nothing.",
    schema: || {
        json!({
            "type": "object",
            "properties": {"word": {"type": "string"}},
            "additionalProperties": false
        })
    },
    several: false,
    make: Make::Plugin(|_, settings| match settings["word"].as_str() {
        Some("bad") => {
            Err(vec![SettingsError { pointer: "/word".into(), message: "the word is bad".into() }])
        }
        _ => Ok(Arc::new(Plain)),
    }),
};

struct Plain;

impl Plugin for Plain {
    fn fingerprint(&self) -> [u8; 32] {
        [0; 32]
    }

    fn points(&self) -> Points {
        Points::default()
    }

    fn worker(&self) -> Result<Box<dyn Worker>, String> {
        Err("has none".into())
    }
}

#[test]
fn nothing_at_all_gives_the_defaults() {
    let loaded = Config::load_from(None, []).expect("defaults");
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.config.namespaces["default"], NamespaceConfig::default());
    let loaded = load("", &[]).expect("empty file");
    assert_eq!(loaded.config.limits, Limits::default());
    assert_eq!(loaded.config.namespaces, Config::default().namespaces);
}

#[test]
fn a_file_sets_what_it_names_and_leaves_the_rest() {
    let text = r#"
        [server]
        listen = "[::1]:0"
        log_format = "json"
        data = "/var/lib/keepboth"
        [limits]
        value_bytes_max = 3000
        ping_every = "1m"
        [mesh]
        peers = ["ws://10.0.0.2:7400", "ws://other.example/peer"]
        [namespaces.notes]
        replicate = false
        value_bytes_max = "2 KiB"
        [[namespaces.notes.plugins]]
        use = "plain"
        word = "x"
    "#;
    let loaded = load(text, &[]).expect("sound");
    let (config, file) = (&loaded.config, loaded.file.as_deref().expect("file"));
    assert_eq!(config.server.listen.to_string(), "[::1]:0");
    assert_eq!(config.server.log_format, LogFormat::Json);
    assert_eq!(config.server.data, Path::new("/var/lib/keepboth"));
    assert_eq!(
        Some(config.server.scripts.as_path()),
        file.parent().map(|p| p.join("scripts")).as_deref()
    );
    assert_eq!(config.limits.ping_every, Period::secs(60));
    assert_eq!(config.limits.frame_bytes_max, Limits::default().frame_bytes_max);
    assert_eq!(config.mesh.peers.len(), 2);
    let notes = &config.namespaces["notes"];
    assert!(!notes.replicate && !config.namespaces.contains_key("default"));
    assert_eq!(notes.plugins[0].settings, json!({"word": "x"}));
    assert_eq!(config.value_bytes_max(notes), 2048);
    let bound = check(&loaded, &[PLAIN]).expect("bound").namespaces;
    assert_eq!((bound.len(), bound[0].0.as_str(), bound[0].1.len()), (1, "notes", 1));
}

#[test]
fn an_unknown_key_is_shown_with_the_one_that_was_meant() {
    assert_eq!(
        refused("[server]\n\nlistne = \"127.0.0.1:1\"\n"),
        "config.toml:3:1: error: unknown key \"listne\" in [server]\n  |\n3 | listne = \"127.0.0.1:1\"\n  | ^^^^^^ did you mean \"listen\"?\n\n1 mistake in the configuration"
    );
    let words = refused("sever = 1");
    assert!(words.contains("unknown key \"sever\" at the top level"), "{words}");
    let words = refused("[mesh]\nzzz = 1");
    assert!(words.contains("known here are advertise, ca, compare_every, cut_after"), "{words}");
}

#[test]
fn all_mistakes_are_told_in_one_pass() {
    let text = r#"[server]
listen = "0.0.0.0:7400"
listne = 1
origins = ["https://a.example/path", "", 5, "*"]
log = "keepboth=loud"
log_format = "yaml"
shutdown_grace = "10"
[limits]
value_bytes_max = "65 KiB"
frame_bytes_max = 4095
connections_max = 0
in_flight_max = "many"
ping_every = "0s"
[mesh]
peers = ["http://10.0.0.2", "ws://a:1", "ws://a:1"]
reconnect_min = "1m"
[namespaces.Notes]
replicate = "yes"
[[namespaces.b.plugins]]
word = "no use"
"#;
    let words = refused(text);
    let told: Vec<&str> = words.lines().filter(|line| line.contains(": error: ")).collect();
    let places: Vec<String> =
        told.iter().map(|line| line.split(": error").next().unwrap_or_default().into()).collect();
    let expected = [
        "2:10", "3:1", "4:12", "4:38", "4:42", "4:45", "5:7", "6:14", "7:18", "9:19", "10:19",
        "11:19", "12:17", "13:14", "15:10", "15:41", "16:17", "17:13", "18:13", "19:1",
    ];
    let expected: Vec<String> = expected.iter().map(|at| format!("config.toml:{at}")).collect();
    assert_eq!(places, expected, "{words}");
}

#[test]
fn each_mistake_says_what_would_be_right() {
    for (text, said) in [
        ("server = 1", "server is a table, not 1"),
        ("[server]\nlisten = \"localhost\"", "an address looks like \"127.0.0.1:7400\""),
        ("[server]\nlisten = \"0.0.0.0:1\"", "or set insecure = true in [server]"),
        ("[server]\nlog_format = \"jsn\"", "did you mean \"json\"?"),
        ("[server]\ndata = 5", "data is a text in quotes, not 5"),
        ("[server]\norigins = [\"*\"]", "https://notes.example.org"),
        (
            "[limits]\nvalue_bytes_max = \"65 KiB\"",
            "value_bytes_max is at most 65,536 bytes, not 66,560",
        ),
        ("[limits]\nvalue_bytes_max = \"64 kib\"", "\"64 KiB\", \"1 MiB\""),
        ("[limits]\nvalue_bytes_max = -1", "value_bytes_max is at least 0, not -1"),
        ("[limits]\nvalue_bytes_max = true", "a whole number or a text in quotes"),
        ("[limits]\nping_every = 25", "ping_every is a text in quotes, not 25"),
        ("[limits]\nhook_depth_max = 300", "hook_depth_max is at most 64, not 300"),
        ("[limits]\nbatch_ops_max = 1001", "batch_ops_max is at most 1000, not 1001"),
        (
            "[mesh]\nreconnect_max = \"1ms\"",
            "reconnect_max (1ms) is shorter than reconnect_min (250ms)",
        ),
        ("[mesh]\npeers = [\"10.0.0.2:7400\"]", "for instance \"ws://10.0.0.2:7400\""),
        ("[mesh]\nexpire = \"0s\"", "expire is at least 1ms, not 0s"),
        ("[mesh]\nstall_after = \"1s\"", "stall_after (1s) is shorter than ping_every (2s)"),
        ("[mesh]\nping_every = \"1m\"", "config.toml:2:14: error: stall_after (5s) is shorter"),
        ("[mesh]\ncut_after = \"4s\"", "cut_after (4s) is shorter than stall_after (5s)"),
        ("[server.tls]\ncert = \"c.pem\"", "[server.tls] has no key \"key\""),
        ("[namespaces]", "[namespaces] is empty"),
        ("[namespaces.a]\nobjects_max = 0", "objects_max is at least 1, not 0"),
        ("[namespaces.a]\nbytes_max = \"1 gib\"", "\"64 KiB\", \"1 MiB\""),
        ("[namespaces.a]\nwrites_per_second = 0", "writes_per_second is at least 1, not 0"),
        ("[namespaces.a]\nwrites_per_second = 1.5", "writes_per_second is a whole number, not 1.5"),
        ("[namespaces.a.history]\nvalues = 0", "values is at least 1, not 0"),
        ("[namespaces.a.history]\nrecords = 1", "records is at least 2, not 1"),
        ("[namespaces.a.history]\nrecords = 9", "records (9) is less than values (10)"),
        ("[namespaces.a.trash]\nkeep = 30", "keep is a text in quotes, not 30"),
        ("[namespaces.a.trash]\nkeep = \"91d\"", "forget (90d) is shorter than keep (91d)"),
        ("[namespaces.\"a b\"]", "1 to 64 of a-z 0-9 . _ -"),
        ("[namespaces.a]\nplugins = [{}]", "[[namespaces.a.plugins]] has no key \"use\""),
        ("[namespaces.a]\nvalue_bytes_max = \"100 KiB\"", "at most 65,536 bytes"),
        ("x = 99999999999999999999", "out of the range of 64-bit integers"),
        ("x = nan", "no finite number"),
    ] {
        let words = refused(text);
        assert!(words.contains(said), "{text}\ngave\n{words}\nwithout\n{said}");
    }
}

#[test]
fn a_member_that_is_garbled_or_named_twice_is_told_with_its_place() {
    let (one, other) = ("ab".repeat(32), "cd".repeat(32));
    let member = |node: &str| format!("[[mesh.members]]\nnode = \"{node}\"\n");
    let words = refused(&[member(&one), member(&other), member(&one)].concat());
    let said = format!("config.toml:6:8: error: node {one} is named twice");
    assert!(words.contains(&said), "{words}");
    for garbled in ["", "ab", &one.to_uppercase(), &one[1..], &one.replace('b', "x")] {
        let words = refused(&[member(&other), member(garbled)].concat());
        assert!(words.contains("config.toml:4:8: error: "), "{garbled}: {words}");
        assert!(words.contains("is not the id of a node"), "{words}");
        assert!(words.contains("it has 64 hex digits, 0-9 and a-f"), "{words}");
        assert!(words.ends_with("\n1 mistake in the configuration"), "{words}");
    }
    let words = refused("[[mesh.members]]\nnamespaces = [\"a\"]\n");
    assert!(words.contains("[[mesh.members]] has no key \"node\""), "{words}");
}

#[test]
fn syntax_errors_have_their_place_and_none_hides_another() {
    let words = refused("[server]\nlisten = \n[limits\nx = 1\n");
    assert!(words.contains("config.toml:2:10: error: "), "{words}");
    assert!(words.contains("config.toml:3:8: error: "), "{words}");
    let words = refused("[server]\nlog = \"a\"\nlog = \"b\"\n");
    assert!(words.contains("config.toml:3:1: error: duplicate key"), "{words}");
}

#[test]
fn a_mistake_in_members_or_certificates_hides_no_other() {
    let words = refused(
        "[server]\nlogg = \"x\"\n[server.tls]\ncert = 5\nkey = \"k\"\n[limits]\nwatches_max = 0\n\
         [[mesh.members]]\nnode = 5\n[[mesh.members]]\nnamespaces = [\"a\"]\n\
         [[mesh.members]]\nnode = \"x\"\nnamespaces = [5]\n[namespaces.N]\nobjects_max = 0\n",
    );
    for line in [2, 4, 7, 9, 10, 13, 14, 15, 16] {
        let place = format!("config.toml:{line}:");
        assert_eq!(words.matches(&place).count(), 1, "{place} in {words}");
    }
    assert!(words.ends_with("\n9 mistakes in the configuration"), "{words}");
}

#[test]
fn a_port_of_a_peer_is_one() {
    for (url, right) in [
        ("ws://host:99999", false),
        ("ws://host:65536/peer", false),
        ("wss://[::1]:", false),
        ("ws://host:65535", true),
        ("wss://[::1]:7400", true),
        ("ws://[::1]", true),
        ("ws://host/a:99999", true),
    ] {
        let told = load(&format!("[mesh]\npeers = [{url:?}]\n"), &[]).map(|_| ());
        let what = told.as_ref().err().map(String::as_str).unwrap_or_default();
        assert_eq!(told.is_ok(), right, "{url}: {what}");
        assert!(right || what.contains("a port is 0 to 65,535"), "{url}: {what}");
    }
}

#[test]
fn a_missing_file_is_told_by_name() {
    let errors = Config::load_from(Some(Path::new("/nowhere/k.toml")), []).expect_err("missing");
    let words = errors.to_string();
    assert!(
        words.contains("cannot read the configuration file /nowhere/k.toml: No such"),
        "{words}"
    );
    assert!(Config::load_from(Some(Path::new("/")), []).is_err());
}

#[test]
fn the_environment_goes_over_the_file() {
    let variables = [
        ("KEEPBOTH__SERVER__LISTEN", "127.0.0.1:9"),
        ("KEEPBOTH__SERVER__ORIGINS", "[\"https://a.example\"]"),
        ("KEEPBOTH__LIMITS__WATCHES_MAX", "7"),
        ("KEEPBOTH__LIMITS__PING_EVERY", "5s"),
        ("KEEPBOTH__NAMESPACES__NOTES__REPLICATE", "false"),
        ("KEEPBOTH_SERVER", "not ours"),
        ("PATH", "/bin"),
    ];
    let loaded =
        load("[server]\nlisten = \"127.0.0.1:8\"\nlog = \"warn\"", &variables).expect("sound");
    let config = loaded.config;
    assert_eq!((config.server.listen.port(), config.server.log.as_str()), (9, "warn"));
    assert_eq!(config.server.origins, ["https://a.example"]);
    assert_eq!((config.limits.watches_max, config.limits.ping_every), (7, Period::secs(5)));
    assert!(!config.namespaces["notes"].replicate);
}

#[test]
fn a_mistake_in_the_environment_names_the_variable() {
    for (name, value, said) in [
        (
            "KEEPBOTH__SERVER__LISTNE",
            "x",
            "environment: error: unknown key \"listne\" in [server]\n |\n | KEEPBOTH__SERVER__LISTNE=x\n | ^^^^^^^^^^^^^^^^^^^^^^^^ did you mean \"listen\"?",
        ),
        (
            "KEEPBOTH__LIMITS__WATCHES_MAX",
            "0",
            "error: watches_max is at least 1, not 0\n |\n | KEEPBOTH__LIMITS__WATCHES_MAX=0\n |                               ^",
        ),
        (
            "KEEPBOTH__MESH__PEERS",
            "[\"ws://a\", \"b\"]",
            "                                ^^^ for instance",
        ),
        ("KEEPBOTH__", "1", "a part of the name is empty"),
        ("KEEPBOTH__SERVER__LOG__X", "1", "the name is a setting and not a section"),
        ("KEEPBOTH__NEW__KEY", "1", "unknown key \"new\" at the top level"),
    ] {
        let words = load("[server]\nlog = \"info\"", &[(name, value)]).expect_err("refused");
        assert!(words.contains(said), "{name} gave\n{words}\nwithout\n{said}");
    }
}

#[test]
fn mistakes_of_plugins_have_their_place_in_the_file() {
    let text = "[[namespaces.a.plugins]]\nuse = \"plan\"\n[[namespaces.a.plugins]]\nuse = \"plain\"\nword = \"bad\"\n[[namespaces.b.plugins]]\nuse = \"plain\"\nwort = 1\nword = \"bad\"\n";
    let loaded = load(text, &[]).expect("the plugins are not looked at yet");
    let words = check(&loaded, &[PLAIN]).map(|_| ()).expect_err("refused").to_string();
    for said in [
        "config.toml:2:7: error: there is no plugin \"plan\"",
        "did you mean \"plain\"?",
        "config.toml:5:8: error: the word is bad",
        "config.toml:8:1: error: unknown key \"wort\" in [[namespaces.b.plugins]]",
        "did you mean \"word\"?",
        "config.toml:9:8: error: the word is bad",
        "4 mistakes in the configuration",
    ] {
        assert!(words.contains(said), "{words}\nlacks\n{said}");
    }
}

#[test]
fn a_server_with_two_plugins_of_one_name_says_so() {
    let loaded = load("[[namespaces.a.plugins]]\nuse = \"plain\"\n", &[]).expect("sound");
    let words = check(&loaded, &[PLAIN, PLAIN]).map(|_| ()).expect_err("refused").to_string();
    assert!(
        words.contains("this server was built with two plugins of the name \"plain\""),
        "{words}"
    );
    assert!(words.contains("each name in the list of factories stands once"), "{words}");
}

#[test]
fn a_plugin_in_the_wrong_place_is_told_of_its_place_and_not_of_its_keys() {
    let gate = Factory {
        name: "gate",
        schema: || json!({"type": "object", "additionalProperties": false}),
        make: Make::Gate(|_, _| Err(Vec::new())),
        ..PLAIN
    };
    let text = "[[plugins]]\nuse = \"plain\"\nwort = 1\n[[namespaces.a.plugins]]\nuse = \"gate\"\nword = 1\n";
    let loaded = load(text, &[]).expect("the plugins are not looked at yet");
    let words = check(&loaded, &[PLAIN, gate]).map(|_| ()).expect_err("refused").to_string();
    for said in [
        "config.toml:2:7: error: \"plain\" is for a namespace: use it in [[namespaces.NAME.plugins]]",
        "config.toml:5:7: error: \"gate\" is for the server as a whole: use it in [[plugins]]",
        "2 mistakes in the configuration",
    ] {
        assert!(words.contains(said), "{words}\nlacks\n{said}");
    }
}

#[test]
fn choices_of_which_each_is_described_are_told_as_others_are() {
    let described = Factory {
        schema: || {
            let one = json!({"oneOf": [
                {"const": "reject", "type": "string", "description": "Refused."},
                {"enum": ["put", "delete"], "type": "string"}
            ]});
            let list = json!({"type": "array", "items": {"$ref": "#/$defs/one"}});
            let properties = json!({"one": {"$ref": "#/$defs/one"}, "list": list});
            json!({"type": "object", "properties": properties, "$defs": {"one": one}})
        },
        ..PLAIN
    };
    for (line, told, hint) in [
        ("one = \"explode\"", "3:7: error: \"explode\" is no one", "one of reject, put, delete"),
        ("one = \"rejct\"", "3:7: error: \"rejct\" is no one", "did you mean \"reject\"?"),
        ("one = 5", "3:7: error: 5 is no one", "one of reject, put, delete"),
        ("list = [\"putt\"]", "3:9: error: \"putt\" cannot stand in list", "did you mean \"put\"?"),
    ] {
        let loaded = load(&format!("[[namespaces.a.plugins]]\nuse = \"plain\"\n{line}\n"), &[]);
        let loaded = loaded.expect("the plugins are not looked at yet");
        let words = check(&loaded, &[described]).map(|_| ()).expect_err("refused").to_string();
        for said in [told, hint, "1 mistake in the configuration"] {
            assert!(words.contains(said), "{words}\nlacks\n{said}");
        }
    }
}

#[test]
fn certificates_are_looked_for_beside_the_file_and_their_faults_have_their_place() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("k.toml");
    let text = "[server.tls]\ncert = \"own/cert.pem\"\nkey = \"key.pem\"\n[mesh]\nca = \"ca.pem\"\npeers = [\"wss://10.0.0.2\"]\n";
    std::fs::write(&path, text).expect("written");
    std::fs::write(folder.path().join("ca.pem"), "no certificate").expect("written");
    let loaded = Config::load_from(Some(&path), []).expect("files are not looked at yet");
    let files = loaded.config.server.tls.as_ref().expect("tls").files();
    assert_eq!(files.cert, folder.path().join("own/cert.pem"));
    let words = check(&loaded, &[]).map(|_| ()).expect_err("refused").to_string();
    let words = words.replace(&format!("{}/", folder.path().display()), "");
    for said in [
        "k.toml:2:8: error: cannot read the certificate own/cert.pem: No such file",
        "k.toml:3:7: error: cannot read the key key.pem: No such file",
        "k.toml:5:6: error: ca.pem holds no certificate in PEM form",
        "5 | ca = \"ca.pem\"\n  |      ^^^^^^^^ such a file has lines -----BEGIN CERTIFICATE-----",
        "3 mistakes in the configuration",
    ] {
        assert!(words.contains(said), "{words}\nlacks\n{said}");
    }
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    std::fs::create_dir(folder.path().join("own")).expect("folder");
    std::fs::write(&files.cert, made.cert.pem()).expect("written");
    std::fs::write(&files.key, made.signing_key.serialize_pem()).expect("written");
    std::fs::write(folder.path().join("ca.pem"), made.cert.pem()).expect("written");
    check(&loaded, &[]).map(|_| ()).expect("sound");
}

#[test]
fn mistakes_of_file_and_plugins_are_told_together() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("k.toml");
    let text = "[server]\nlog_format = 1\n[[namespaces.a.plugins]]\nuse = \"none\"\n[[namespaces.a.plugins]]\nuse = 5\n";
    std::fs::write(&path, text).expect("written");
    let words = Config::load_and_check(Some(&path), &[PLAIN]).map(|_| ()).expect_err("refused");
    let lines: Vec<_> = words.0.iter().filter_map(|e| e.place.as_ref()?.line).collect();
    assert_eq!(lines, [2, 4, 6], "{words}");
}

/// The repository's root.
fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn the_kept_schema_is_that_of_the_code() {
    let path = root().join("schemas/config.schema.json");
    let now = serde_json::to_string_pretty(&schema()).expect("text") + "\n";
    if std::env::var_os("KEEPBOTH_RENEW").is_some() {
        std::fs::write(&path, &now).expect("written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == now,
        "schemas/config.schema.json is stale; renew it: KEEPBOTH_RENEW=1 cargo test -p keepboth config"
    );
}

#[test]
fn the_schema_describes_every_key() {
    fn walk(pointer: &str, schema: &Json) {
        for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
            let pointer = format!("{pointer}/{key}");
            assert!(inner["description"].is_string(), "{pointer} has no description");
            walk(&pointer, inner);
        }
    }
    walk("", &schema());
    walk("", &schema()["properties"]["namespaces"]["additionalProperties"]);
}

/// The example as it is loaded, and as the JSON of what it sets.
fn example() -> (Loaded, Json) {
    let path = root().join("config.example.toml");
    let loaded = Config::load_from(Some(&path), []).unwrap_or_else(|e| panic!("{e}"));
    let text = std::fs::read_to_string(&path).expect("text");
    let set = toml::from_str::<Json>(&text).expect("toml");
    (loaded, set)
}

#[test]
fn the_example_shows_every_setting_at_its_default() {
    let (_, set) = example();
    let default = serde_json::to_value(Config::default()).expect("json");
    let schema = schema();
    for section in ["server", "limits", "mesh"] {
        let known = schema["properties"][section]["properties"].as_object().expect("section");
        for key in known.keys() {
            assert_eq!(set[section][key], default[section][key], "[{section}] {key}");
        }
    }
    let known = &schema["properties"]["namespaces"]["additionalProperties"]["properties"];
    let notes = &set["namespaces"]["notes"];
    for key in known.as_object().expect("namespace").keys() {
        assert!(!notes[key].is_null(), "[namespaces.notes] shows no {key}");
    }
    for section in ["history", "trash"] {
        assert_eq!(notes[section], default["namespaces"]["default"][section], "{section}");
    }
    assert_eq!(notes["value_bytes_max"], default["limits"]["value_bytes_max"]);
    assert_eq!(notes["replicate"], json!(true));
}

/// What the plugins of the example make of a note, in their order.
fn note(value: Json) -> Result<Json, String> {
    let (loaded, _) = example();
    let factories = [
        keepboth_lua::FACTORY,
        keepboth_schema::FACTORY,
        keepboth_audit::FACTORY,
        keepboth_expiry::FACTORY,
        keepboth_index::FACTORY,
    ];
    let bound = check(&loaded, &factories).unwrap_or_else(|e| panic!("{e}"));
    let (namespace, plugins) =
        bound.namespaces.iter().find(|(name, _)| name.as_str() == "notes").expect("notes");
    let key = Key::new("note/1").expect("key");
    let mut put = Put {
        namespace: namespace.clone(),
        name: Name::Key(key.clone()),
        key,
        origin: Origin::new(Source::Client, "ada", 1_790_000_000_000),
        before: Before::nothing(),
        draft: Draft::new(Value::json(&value), None),
    };
    for made in plugins.iter().filter(|made| made.says.points.before_put) {
        made.plugin.worker()?.before_put(&mut put).map_err(|refusal| refusal.message)?;
    }
    Ok(put.draft.tree().cloned().unwrap_or_default())
}

#[test]
fn the_plugins_of_the_example_work_together() {
    let stamped = note(json!({"title": "Shopping"})).expect("passes");
    assert_eq!(stamped["title"], "Shopping");
    assert_eq!(stamped["updated_by"], "ada");
    let again = note(stamped).expect("what was stamped passes again");
    assert_eq!(again["revision"], json!(2), "{again}");
    let words = note(json!({"text": "no title"})).expect_err("the script refuses");
    assert!(words.contains("title"), "{words}");
    let words = note(json!({"title": ""})).expect_err("the schema refuses");
    assert!(words.starts_with("note.schema.json: /title"), "{words}");
}
