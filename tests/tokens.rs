//! Who has a token comes in, and may do what it says: from the command to the end of a connection.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value as Json, json};
use tokio::process::Command;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Client, PATIENCE, Server, program};

const AUTH: &str = "[[plugins]]\nuse = \"auth\"\ntokens = \"tokens.json\"\n";
const NAMESPACES: &str = "[namespaces.notes]\n[namespaces.other]\n";

/// A command in a folder: exit code, stdout without its last line break, stderr.
async fn run(folder: &Path, words: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(program());
    command.current_dir(folder).args(words).stdin(Stdio::null());
    command.env_remove("KEEPBOTH_CONFIG").env_remove("KEEPBOTH_TOKEN");
    let output = timeout(PATIENCE, command.output()).await.expect("an end in time").expect("run");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let code = output.status.code().expect("an exit code");
    (code, text(output.stdout).trim_end().to_owned(), text(output.stderr))
}

/// As [`run`], `keepboth token`, which must succeed: its stdout.
async fn token(folder: &Path, words: &[&str]) -> String {
    let (code, out, err) = run(folder, &[&["token"], words].concat()).await;
    assert_eq!(code, 0, "{words:?}: {err}");
    out
}

async fn new(server: &Server, name: &str, grant: &str) -> String {
    let words = ["new", name, "--grant", grant, "--config", "config.toml"];
    token(server.folder.path(), &words).await
}

async fn start(settings: &str) -> Server {
    Server::start(&format!("{AUTH}{settings}{NAMESPACES}")).await
}

/// What is secret of a token: all behind `kb_`, the id and `_`.
fn secret(token: &str) -> &str {
    &token["kb_0123456789abcdef_".len()..]
}

fn hello(token: &str) -> Json {
    json!({"hello": {"token": token}})
}

fn put(key: &str) -> Json {
    json!({"put": {"ns": "notes", "key": key, "value": 1}})
}

fn words(error: &Json) -> &str {
    error["message"].as_str().expect("words")
}

/// What is said of a stored token whose id is unknown, and of one whose secret is wrong.
fn not_good(id: &str) -> String {
    format!(
        "the token kb_{id}_… is not good here: it was revoked, is of another server, or is mistyped"
    )
}

/// A client that has shown this token.
async fn client(server: &Server, token: &str) -> Client {
    let mut client = server.client().await;
    client.ok(hello(token)).await;
    client
}

#[tokio::test]
async fn a_server_without_tokens_lets_nobody_in_and_takes_the_first_token_at_once() {
    let audit = "[[namespaces.notes.plugins]]\nuse = \"audit\"\n[namespaces.trail]\n";
    let server = Server::start(&format!("{AUTH}{audit}")).await;
    let folder = server.folder.path();
    let mut nobody = server.client().await;
    assert_eq!(nobody.error(put("a/1")).await["code"], "unauthenticated");
    assert_eq!(token(folder, &["ls", "--config", "config.toml"]).await, "");
    let anna = new(&server, "anna", "read,write:notes/a/").await;
    let root = new(&server, "root", "all:*").await;
    nobody.ok(hello(&anna)).await;
    nobody.ok(put("a/1")).await;
    let error = nobody.error(put("b/1")).await;
    assert_eq!(error["code"], "forbidden");
    assert_eq!(words(&error), "this needs the right write on \"b/1\" in the namespace notes");
    let mut root = client(&server, &root).await;
    root.ok(json!({"watch": {"ns": "trail", "initial": true}})).await;
    assert_eq!(root.change().await["value"]["actor"], "anna");
    root.ok(json!({"peers": {}})).await;
    // What is kept is of no use to whoever reads it.
    let file = folder.join("tokens.json");
    let kept = std::fs::read_to_string(&file).expect("the file");
    let secret = secret(&anna);
    assert!(kept.contains("$argon2id$") && !kept.contains(secret));
    assert_eq!(std::fs::metadata(&file).expect("it").permissions().mode() & 0o777, 0o600);
    let listed = token(folder, &["ls", "--json", "--config", "config.toml"]).await;
    let first: Json = serde_json::from_str(listed.lines().next().expect("a line")).expect("JSON");
    assert_eq!(first["name"], "anna");
    assert_eq!(first["grants"], json!(["read,write:notes/a/"]));
    assert!(!listed.contains(secret));
}

#[tokio::test]
async fn a_token_of_a_namespace_is_good_for_no_other() {
    let server = start("").await;
    let anna = new(&server, "anna", "all:notes").await;
    let mut anna = client(&server, &anna).await;
    anna.ok(json!({"list": {"ns": "notes"}})).await;
    for ns in ["other", "nowhere"] {
        let error = anna.error(json!({"list": {"ns": ns}})).await;
        assert_eq!(error["code"], "forbidden");
        assert!(words(&error).contains(&format!("all keys of the namespace {ns}")), "{error}");
    }
}

#[tokio::test]
async fn who_is_revoked_is_refused_and_others_stay() {
    let server = start("").await;
    let (anna, bert) =
        (new(&server, "anna", "all:notes").await, new(&server, "bert", "all:notes").await);
    let mut inside = client(&server, &anna).await;
    let mut other = client(&server, &bert).await;
    let id = token(server.folder.path(), &["revoke", "anna", "--config", "config.toml"]).await;
    assert!(anna.contains(&id));
    // Whoever comes has the file read again; so does time.
    let error = server.client().await.error(hello(&anna)).await;
    assert_eq!(error["code"], "unauthenticated");
    let said = not_good(&id);
    assert_eq!(words(&error), said);
    let error = inside.error(put("a")).await;
    assert_eq!(error["code"], "unauthenticated");
    assert_eq!(words(&error), "your token was revoked");
    inside.ok(hello(&bert)).await;
    inside.ok(put("a")).await;
    other.ok(put("b")).await;
}

#[tokio::test]
async fn who_is_revoked_and_asks_for_nothing_is_sent_away() {
    let server = Server::start(&format!("{AUTH}{NAMESPACES}[limits]\nping_every = \"3s\"\n")).await;
    let anna = new(&server, "anna", "all:notes").await;
    let mut watcher = client(&server, &anna).await;
    watcher.ok(json!({"watch": {"ns": "notes"}})).await;
    token(server.folder.path(), &["revoke", "anna", "--config", "config.toml"]).await;
    let close = loop {
        if let Message::Close(close) = watcher.message().await {
            break close.expect("a reason");
        }
    };
    assert_eq!((u16::from(close.code), close.reason.as_str()), (4002, "your token was revoked"));
}

#[tokio::test]
async fn who_is_revoked_and_is_never_silent_is_sent_away_at_the_next_ping_all_the_same() {
    let server = Server::start(&format!("{AUTH}{NAMESPACES}[limits]\nping_every = \"1s\"\n")).await;
    let anna = new(&server, "anna", "all:notes").await;
    let mut watcher = client(&server, &anna).await;
    watcher.ok(json!({"watch": {"ns": "notes"}})).await;
    token(server.folder.path(), &["revoke", "anna", "--config", "config.toml"]).await;
    // Whoever comes has the file read again.
    server.client().await.error(hello(&anna)).await;
    // Each message that comes back is answered with the next, so that many are always on their way.
    for _ in 0..100 {
        watcher.send(Message::Ping(Default::default())).await;
    }
    let close = loop {
        match watcher.message().await {
            Message::Close(close) => break close.expect("a reason"),
            _ => watcher.send(Message::Ping(Default::default())).await,
        }
    };
    assert_eq!((u16::from(close.code), close.reason.as_str()), (4002, "your token was revoked"));
}

#[tokio::test]
async fn a_token_in_the_wrong_place_comes_neither_to_the_log_nor_into_an_answer() {
    let server = start("anonymous = [\"all:*\"]\n").await;
    let anna = new(&server, "anna", "all:notes").await;
    for frame in [
        json!({"hello": anna}),
        json!({"hello": {"token": [anna]}}),
        json!({"hello": {anna.clone(): 1}}),
        json!({"hello": {"version": anna}}),
        json!({anna.clone(): {}}),
        json!({"get": {"ns": anna, "key": "k"}}),
        json!({"put": {"ns": "notes", "key": "k", "value": {"$what": anna}}}),
        json!({"put": {"ns": "notes", "key": "k", "value": {format!("${anna}"): 1}}}),
        json!({"get": {"ns": "notes", "key": anna}}),
        json!({"get": {"ns": "notes", "key": "k", anna.clone(): 1}}),
        json!({"get": {"ns": "notes", "key": "k", "token": anna}}),
        json!({"status": {"ns": "notes", "limit": anna}}),
        json!({"put": {"ns": "notes", "key": "k", "value": 1, "if_version": anna}}),
        json!({"batch": {"ns": "notes", "ops": [{anna.clone(): {}}]}}),
        json!({"watch": {"ns": "notes", "cursor": anna}}),
        json!({"plugin": {"ns": "notes", "plugin": anna, "op": anna}}),
        json!({"query": {"ns": "notes", "index": anna}}),
    ] {
        let error = server.client().await.error(frame).await;
        assert!(!error.to_string().contains(&secret(&anna)[..8]), "{error}");
    }
    let mut named = server.client().await;
    named.ask(json!({"hello": {"client": anna}})).await;
    named.frame().await;
    named.error(json!({"get": 5})).await;
    let log = server.log();
    assert!(log.matches("bad frame: bad_request").count() >= 4, "{log}");
    assert!(log.contains("method=\"hello\""), "{log}");
    assert!(!log.contains(secret(&anna)), "{log}");
}

/// A folder with a signing key, and the settings that know it under the name `web`.
async fn signing() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let public = token(folder.path(), &["key", "sign.key"]).await;
    (folder, format!("keys = {{ web = \"{public}\" }}\n"))
}

async fn sign(folder: &Path, more: &[&str]) -> String {
    let words = ["sign", "anna", "--key", "sign.key", "--grant", "read,write:notes/a/"];
    token(folder, &[&words, more].concat()).await
}

#[tokio::test]
async fn a_signed_token_needs_no_file_and_says_itself_what_it_allows() {
    let (keys, settings) = signing().await;
    let audit = "[[namespaces.notes.plugins]]\nuse = \"audit\"\n[namespaces.trail]\n";
    let config = format!("{AUTH}{settings}anonymous = [\"read:trail\"]\n{audit}");
    let server = Server::start(&config).await;
    let mut anna = client(&server, &sign(keys.path(), &[]).await).await;
    anna.ok(put("a/1")).await;
    assert_eq!(anna.error(put("b/1")).await["code"], "forbidden");
    let mut nobody = server.client().await;
    nobody.ok(json!({"watch": {"ns": "trail", "initial": true}})).await;
    assert_eq!(nobody.change().await["value"]["actor"], "anna@web");
    let protocol = format!("keepboth.v1.json, keepboth.token.{}", sign(keys.path(), &[]).await);
    let mut browser = Client::connect(&server.url(), Some(&protocol)).await;
    browser.ok(put("a/2")).await;
}

#[tokio::test]
async fn a_signed_token_that_does_not_hold_is_refused_in_words() {
    let (keys, settings) = signing().await;
    let server = start(&format!("{settings}attempts = 1000\n")).await;
    let stranger = tempfile::tempdir().expect("a folder");
    token(stranger.path(), &["key", "sign.key"]).await;
    let good = sign(keys.path(), &[]).await;
    let wide = good.rsplit_once('.').expect("parts").0.to_owned();
    let narrow = sign(keys.path(), &["--grant", "read:other"]).await;
    let mixed = format!("{wide}.{}", narrow.rsplit_once('.').expect("parts").1);
    for (token, said) in [
        (sign(keys.path(), &["--expires", "1ms"]).await, "the token expired at 2"),
        (
            sign(keys.path(), &["--not-before", "2999-01-01T00:00:00Z"]).await,
            "the token does not hold before 2999-01-01T00:00:00Z",
        ),
        (sign(keys.path(), &["--expires", "2d"]).await, "longer than 1d from now"),
        (sign(stranger.path(), &[]).await, "a key that this server does not know"),
        (mixed, "the signature of the token is not that of its payload"),
        (wide, "the token is not whole"),
    ] {
        let error = server.client().await.error(hello(&token)).await;
        assert_eq!(error["code"], "unauthenticated", "{error}");
        assert!(words(&error).contains(said), "{error}");
    }
    client(&server, &good).await.ok(put("a/1")).await;
}

#[tokio::test]
async fn a_token_of_wrong_bytes_is_refused_in_words() {
    let server = start("attempts = 1000\n").await;
    let good = new(&server, "anna", "all:notes").await;
    let last = if good.ends_with('A') { "B" } else { "A" };
    let turned = format!("{}{last}", &good[..good.len() - 1]);
    let stranger = format!("kb_0000000000000000_{}", secret(&good));
    for (token, said) in [
        (turned, &*not_good(&good[3..19])),
        (good[..good.len() - 1].to_owned(), "the token is not whole"),
        (stranger, &*not_good("0000000000000000")),
        ("nonsense".into(), "nobody here knows this token"),
        (String::new(), "nobody here knows this token"),
        ("x".repeat(5_000), "the token has 5,000 bytes, the limit is 4,096"),
    ] {
        let error = server.client().await.error(hello(&token)).await;
        assert_eq!(error["code"], "unauthenticated", "{error}");
        assert!(words(&error).contains(said), "{error}");
    }
    let expired =
        ["new", "bert", "--grant", "all:notes", "--expires", "1ms", "--config", "config.toml"];
    let expired = token(server.folder.path(), &expired).await;
    let error = server.client().await.error(hello(&expired)).await;
    assert!(words(&error).starts_with("the token expired at 2"), "{error}");
    let upgrade = format!("Authorization: Bearer {}", &expired[1..]);
    assert!(server.get("/metrics", &[&upgrade]).await.starts_with("HTTP/1.1 401"));
}

#[tokio::test]
async fn an_address_that_shows_wrong_tokens_waits_and_who_was_known_does_not() {
    let (keys, settings) = signing().await;
    let server = start(&format!("{settings}attempts = 0\n")).await;
    let known = new(&server, "known", "all:notes").await;
    client(&server, &known).await;
    let until = Instant::now() + PATIENCE;
    // Each pause is twice the last: one of them is longer than the way to the server.
    let error = loop {
        let error = server.client().await.error(hello("kb_wrong")).await;
        if error["code"] == "rate_limited" {
            break error;
        }
        assert_eq!(error["code"], "unauthenticated");
        assert!(Instant::now() < until, "{error}");
    };
    let said = "too many wrong tokens from 127.0.0.1; try again in ";
    assert!(words(&error).starts_with(said), "{error}");
    assert_eq!(error["retry"], true);
    client(&server, &known).await.ok(put("a")).await;
    client(&server, &sign(keys.path(), &[]).await).await.ok(put("a/1")).await;
}

/// Sixty wrong tokens at the same time: as many are looked at as are allowed and one, whose pause begins,
/// and one for each pause that ended meanwhile; they are of 1, 2, 4… seconds.
async fn are_bounded(wrong: &[String]) {
    let server = start("attempts = 5\n").await;
    let real = new(&server, "anna", "all:notes").await;
    let mut clients = Vec::new();
    for at in 0..60 {
        let token = wrong[at % wrong.len()].replace("ID", &real[3..19]);
        clients.push((server.client().await, token));
    }
    let begun = Instant::now();
    let answers = clients.iter_mut().map(|(client, token)| client.error(hello(token)));
    let answers = futures_util::future::join_all(answers).await;
    let pauses = (begun.elapsed().as_secs() + 1).ilog2() as usize;
    let count = |code: &str| answers.iter().filter(|error| error["code"] == code).count();
    let looked_at = count("unauthenticated");
    assert!((6..=6 + pauses).contains(&looked_at), "{looked_at} and {pauses} pauses");
    assert_eq!(looked_at + count("rate_limited"), 60, "{answers:?}");
}

#[tokio::test]
async fn wrong_tokens_that_come_at_the_same_time_are_bounded_as_others_are() {
    let secret = "A".repeat(43);
    let of = |id: &str| format!("kb_{id}_{secret}");
    are_bounded(&[of("ID")]).await;
    are_bounded(&[of("0123456789abcdef"), of("ID")]).await;
    are_bounded(&["nonsense".into(), "kb_wrong".into(), "kbs.a.b".into(), "x".repeat(5_000)]).await;
}

#[tokio::test]
async fn right_tokens_that_come_at_the_same_time_are_all_taken() {
    let server = start("attempts = 2\n").await;
    let names: Vec<String> = (0..6).map(|n| format!("client{n}")).collect();
    let mut clients = Vec::new();
    for name in &names {
        clients.push((server.client().await, new(&server, name, "all:notes").await));
    }
    let answers = clients.iter_mut().map(|(client, token)| client.ok(hello(token)));
    futures_util::future::join_all(answers).await;
}

#[tokio::test]
async fn a_file_that_cannot_be_used_starts_nothing_and_lets_nobody_new_in() {
    let server = start("").await;
    let (folder, file) = (server.folder.path(), server.folder.path().join("tokens.json"));
    let anna = new(&server, "anna", "all:notes").await;
    let root = new(&server, "root", "all:*").await;
    let (mut inside, mut operator) = (client(&server, &anna).await, client(&server, &root).await);
    let good = std::fs::read_to_string(&file).expect("the file");
    let write = |text: &str, mode: u32| {
        std::fs::write(folder.join("other"), text).expect("written");
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(folder.join("other"), mode).expect("set");
        std::fs::rename(folder.join("other"), &file).expect("moved");
    };
    for (text, mode, said) in [
        (&good[..good.len() / 2], 0o600, "is not whole, or was changed by hand: EOF while parsing"),
        ("", 0o600, "is not whole"),
        (&good, 0o644, "others may read or change it (mode 644); say: chmod 600"),
        (&good, 0o620, "others may read or change it (mode 620)"),
        (
            &good.replace("all:notes", "al:notes"),
            0o600,
            "token 1 of it: \"al:notes\": there is no right",
        ),
        (&good.replace("argon2id", "argon3"), 0o600, "token 1 of it: hash:"),
    ] {
        write(text, mode);
        let (code, _, err) = run(folder, &["check", "--config", "config.toml"]).await;
        assert_eq!(code, 78, "{err}");
        assert!(err.contains("config.toml:") && err.contains(said), "{said}: {err}");
        let (code, _, err) = run(folder, &["token", "ls", "--config", "config.toml"]).await;
        assert_eq!(code, 1, "{err}");
        assert!(err.contains(said), "{err}");
        let error = server.client().await.error(hello(&anna)).await;
        assert_eq!(error["code"], "store_failed", "{error}");
        inside.ok(put("a")).await;
        let status = operator.ok(json!({"status": {}})).await;
        let warning = status["warnings"][0].as_str().expect("a warning");
        assert!(warning.starts_with("auth: nobody new is let in by stored tokens: "), "{status}");
        assert!(warning.contains(said), "{said}: {status}");
        let authenticate = |hook: &Json| hook["plugin"] == "auth" && hook["hook"] == "authenticate";
        assert!(status["hooks"].as_array().expect("hooks").iter().any(authenticate), "{status}");
        let status = inside.ok(json!({"status": {}})).await;
        assert!(status["warnings"].is_null() && status["hooks"].is_null(), "{status}");
    }
    assert!(server.log().contains("nobody new is let in by stored tokens"));
    write(&good, 0o640);
    client(&server, &anna).await.ok(put("b")).await;
    inside.ok(put("c")).await;
    assert!(operator.ok(json!({"status": {}})).await["warnings"].is_null());
    std::fs::remove_file(&file).expect("removed");
    std::fs::create_dir(&file).expect("a folder");
    let (code, _, err) = run(folder, &["check", "--config", "config.toml"]).await;
    assert_eq!(code, 78);
    assert!(err.contains("is no regular file"), "{err}");
}

#[tokio::test]
async fn commands_at_the_same_time_lose_no_token() {
    let server = start("").await;
    let names: Vec<String> = (0..6).map(|n| format!("client{n}")).collect();
    let made = names.iter().map(|name| new(&server, name, "read:notes"));
    let tokens = futures_util::future::join_all(made).await;
    for token in tokens {
        client(&server, &token).await.ok(json!({"list": {"ns": "notes"}})).await;
    }
}

#[tokio::test]
async fn without_a_file_in_the_settings_tokens_stand_in_the_folder_of_the_plugin() {
    let mut server = Server::start(&format!("[[plugins]]\nuse = \"auth\"\n{NAMESPACES}")).await;
    assert_eq!(server.stop().await, Some(0));
    let anna = new(&server, "anna", "all:notes").await;
    assert!(server.folder.path().join("data/plugins/@server/auth/tokens.json").exists());
    server.go_on().await;
    client(&server, &anna).await.ok(put("a")).await;
}

#[tokio::test]
async fn mistakes_in_the_settings_are_told_with_their_places() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = "anonymous = [\"read:notes\", \"reed:notes\"]\nsigned_for_max = \"0h\"\n\
                    keys = { web = \"12\", \"a@b\" = \"12\" }\nattempts = -1\n";
    let check = async |settings: &str| {
        let text = format!("[[plugins]]\nuse = \"auth\"\n{settings}");
        std::fs::write(folder.path().join("config.toml"), text).expect("written");
        run(folder.path(), &["check", "--config", "config.toml"]).await
    };
    let (code, _, err) = check(settings).await;
    assert_eq!(code, 78);
    assert!(err.contains("config.toml:6:"), "the schema comes first: {err}");
    let (_, _, err) = check(&settings.replace("attempts = -1\n", "")).await;
    for said in [
        "config.toml:3:28: error: \"reed:notes\": there is no right \"reed\"",
        "\"12\" is no public key of 64 hex characters",
        "\"a@b\" is no name",
    ] {
        assert!(err.contains(said), "{said}: {err}");
    }
}

#[tokio::test]
async fn the_command_says_what_would_be_right() {
    let server = start("").await;
    let folder = server.folder.path();
    new(&server, "anna", "all:notes").await;
    token(folder, &["key", "sign.key"]).await;
    std::fs::write(folder.join("plain.toml"), "").expect("written");
    std::fs::write(folder.join("bad.key"), "12").expect("written");
    let with = ["--config", "config.toml"];
    for (words, code, said) in [
        (&["new", "anna", "--grant", "all:*"][..], 2, "anna has a token already"),
        (&["new", "a b", "--grant", "all:*"], 2, "is no name"),
        (&["new", "bert", "--grant", "all"], 2, "a grant is RIGHTS:NAMESPACE/PREFIX"),
        (&["revoke", "bert"], 5, "there is no token with the id or name \"bert\""),
    ] {
        let (ended, _, err) = run(folder, &[&["token"], words, &with].concat()).await;
        assert_eq!(ended, code, "{err}");
        assert!(err.contains(said), "{err}");
    }
    for (words, code, said) in [
        (&["ls", "--config", "plain.toml"][..], 78, "the configuration has no plugin auth"),
        (&["key", "sign.key"], 2, "a key is not replaced"),
        (&["sign", "a", "--key", "bad.key", "--grant", "all:*"], 2, "no key of 64 hex characters"),
        (&["sign", "a", "--key", "no.key", "--grant", "all:*"], 2, "cannot be read"),
    ] {
        let (ended, _, err) = run(folder, &[&["token"], words].concat()).await;
        assert_eq!(ended, code, "{err}");
        assert!(err.contains(said), "{err}");
    }
}
