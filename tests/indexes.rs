//! Indexes: objects by what stands in their values, as of the last write that was answered.

use serde_json::{Value as Json, json};

use crate::harness::{Client, Server, Wire, check_config};

const BOOKS: &str = "[[namespaces.books.plugins]]\nuse = \"index\"\n\
    [namespaces.books.plugins.indexes]\n\
    by_author = { path = \"/author\" }\n\
    by_year = { path = \"/meta/year\" }\n\
    by_tag = { path = \"/tags\", keys = [\"book/*\"] }\n\
    whole = { path = \"\" }\n";

async fn start() -> (Server, Client) {
    let server = Server::start(BOOKS).await;
    let client = server.client().await;
    (server, client)
}

fn query(index: &str, more: Json) -> Json {
    let mut query = json!({"ns": "books", "index": index, "wait_ms": 30_000});
    for (name, value) in more.as_object().expect("an object") {
        query[name] = value.clone();
    }
    json!({"query": query})
}

async fn names(client: &mut Client, index: &str, more: Json) -> Vec<String> {
    let page = client.ok(query(index, more)).await;
    let items = page["items"].as_array().expect("items").iter();
    items.map(|item| item["name"].as_str().expect("a name").to_owned()).collect()
}

#[tokio::test]
async fn objects_are_found_by_equal_values_by_ranges_and_by_prefixes() {
    let (_server, mut client) = start().await;
    for (key, author, year) in
        [("book/1", "ana", 1999), ("book/2", "anabel", 2005), ("book/3", "ben", 1999)]
    {
        client.put("books", key, json!({"author": author, "meta": {"year": year}})).await;
    }
    let page = client.ok(query("by_author", json!({"eq": "ana"}))).await;
    let version =
        client.ok(json!({"get": {"ns": "books", "key": "book/1"}})).await["version"].take();
    let item = json!({"name": "book/1", "key": "book/1", "version": version, "at": "ana"});
    assert_eq!(page, json!({"items": [item]}));
    for (index, more, found) in [
        ("by_author", json!({"prefix": "an"}), vec!["book/1", "book/2"]),
        ("by_author", json!({"prefix": ""}), vec!["book/1", "book/2", "book/3"]),
        ("by_author", json!({"from": "anabel"}), vec!["book/2", "book/3"]),
        ("by_author", json!({"from": "ana", "to": "anabel"}), vec!["book/1"]),
        ("by_year", json!({"eq": 1999}), vec!["book/1", "book/3"]),
        ("by_year", json!({"from": 1999.5, "to": 2006}), vec!["book/2"]),
        ("by_year", json!({"to": 1999}), vec![]),
        ("by_year", json!({"from": 5, "to": 1}), vec![]),
        ("by_year", json!({}), vec!["book/1", "book/3", "book/2"]),
    ] {
        assert_eq!(names(&mut client, index, more.clone()).await, found, "{index} {more}");
    }
    let page = client.ok(query("by_year", json!({"eq": 2005, "values": true}))).await;
    assert_eq!(page["items"][0]["value"], json!({"author": "anabel", "meta": {"year": 2005}}));
}

#[tokio::test]
async fn a_query_sees_every_write_that_was_answered_before_it() {
    let (_server, mut client) = start().await;
    for n in 0..100 {
        client.put("books", "book/1", json!({"author": format!("a{n}")})).await;
        let found = names(&mut client, "by_author", json!({"eq": format!("a{n}")})).await;
        assert_eq!(found, ["book/1"], "write {n}");
        let old = names(&mut client, "by_author", json!({"prefix": ""})).await;
        assert_eq!(old.len(), 1, "the old value is not found any more");
    }
    client.ok(json!({"delete": {"ns": "books", "key": "book/1"}})).await;
    assert!(names(&mut client, "by_author", json!({})).await.is_empty());
}

#[tokio::test]
async fn values_of_all_types_have_one_order_and_what_has_nothing_there_is_not_found() {
    let (_server, mut client) = start().await;
    let long = "x".repeat(600);
    for (key, year) in [
        ("null", json!(null)),
        ("false", json!(false)),
        ("true", json!(true)),
        ("minus", json!(-1)),
        ("zero", json!(-0.0)),
        ("ten", json!(10)),
        ("text 10", json!("10")),
        ("text 9", json!("9")),
        ("text long", json!(long)),
        ("object", json!({"deep": 1})),
    ] {
        client.put("books", key, json!({"meta": {"year": year}})).await;
    }
    client.put("books", "none", json!({"meta": 5})).await;
    client.put("books", "bytes", json!({"$bytes": "AAE="})).await;
    client.put("books", "nan", json!({"$number": "NaN"})).await;
    client.put("books", "plain", json!("plain")).await;
    let all = names(&mut client, "by_year", json!({})).await;
    let order = ["null", "false", "true", "minus", "zero", "ten", "text 10", "text 9", "text long"];
    assert_eq!(all, order);
    assert_eq!(names(&mut client, "by_year", json!({"eq": 0})).await, ["zero"]);
    assert_eq!(names(&mut client, "by_year", json!({"eq": null})).await, ["null"]);
    assert_eq!(names(&mut client, "by_year", json!({"from": true, "to": "9"})).await, order[2..7]);
    // Of a long text its first 512 bytes are seen.
    let alike = format!("{}y", "x".repeat(512));
    assert_eq!(names(&mut client, "by_year", json!({"eq": alike})).await, ["text long"]);
    assert_eq!(names(&mut client, "whole", json!({})).await, ["plain"]);
}

#[tokio::test]
async fn an_array_stands_for_each_of_its_elements_and_keys_outside_the_patterns_for_nothing() {
    let (_server, mut client) = start().await;
    client.put("books", "book/1", json!({"tags": ["old", "rare", "old", ["deep"]]})).await;
    client.put("books", "film/1", json!({"tags": ["old"]})).await;
    assert_eq!(names(&mut client, "by_tag", json!({"eq": "old"})).await, ["book/1"]);
    assert_eq!(names(&mut client, "by_tag", json!({})).await, ["book/1", "book/1"]);
    client.put("books", "book/1", json!({"tags": ["rare"]})).await;
    assert!(names(&mut client, "by_tag", json!({"eq": "old"})).await.is_empty());
    let answer =
        client.ok(json!({"plugin": {"ns": "books", "plugin": "index", "op": "indexes"}})).await;
    let by_tag = &answer["items"][1];
    assert_eq!((&by_tag["index"], &by_tag["entries"]), (&json!("by_tag"), &json!(1)), "{answer}");
    assert_eq!((&by_tag["ready"], &by_tag["at"]), (&json!(true), &json!(3)));
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_repetition() {
    let (_server, mut client) = start().await;
    let ops: Vec<Json> = (0..50)
        .map(|n| json!({"put": {"key": format!("k{n:02}"), "value": {"author": format!("a{}", n % 3)}}}))
        .collect();
    client.ok(json!({"batch": {"ns": "books", "ops": ops}})).await;
    let all = names(&mut client, "by_author", json!({})).await;
    assert_eq!(all.len(), 50);
    let (mut paged, mut more) = (Vec::new(), json!({"limit": 7}));
    loop {
        let page = client.ok(query("by_author", more.clone())).await;
        let items = page["items"].as_array().expect("items");
        assert!(items.len() <= 7);
        paged.extend(items.iter().map(|item| item["name"].as_str().expect("a name").to_owned()));
        // What comes behind the page's end is found, what comes before it is not missed by others.
        client.put("books", "k00", json!({"author": "a0", "n": paged.len()})).await;
        match page["next"].clone() {
            Json::Null => break,
            next => more["after"] = next,
        }
    }
    assert_eq!(paged, all);
}

#[tokio::test]
async fn a_page_with_large_values_ends_before_it_outgrows_a_frame() {
    let (_server, mut client) = start().await;
    let zeros: Vec<u8> = vec![0; 30_000];
    for n in 0..5 {
        client.put("books", &format!("k{n}"), json!({"author": "a", "zeros": zeros})).await;
    }
    let (mut seen, mut more) = (0, json!({"values": true}));
    loop {
        let page = client.ok(query("by_author", more.clone())).await;
        seen += page["items"].as_array().expect("items").len();
        match page["next"].clone() {
            Json::Null => break,
            next => more["after"] = next,
        }
    }
    assert_eq!(seen, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_side_of_a_conflict_is_found_under_its_address() {
    let wire = Wire::start().await.expect("a wire");
    let mesh = |peers: &str| {
        format!(
            "[mesh]\ndev = true\nadvertise = []\npeers = [{peers}]\nreconnect_min = \"20ms\"\nreconnect_max = \"100ms\"\n"
        )
    };
    let b = Server::start(&format!("{}[namespaces.books]\n", mesh(""))).await;
    b.client().await.put("books", "k", json!({"author": "ben"})).await;
    let peers = mesh(&format!("\"ws://{}\"", wire.address));
    let a = Server::start(&format!("{peers}{BOOKS}")).await;
    let mut client = a.client().await;
    client.put("books", "k", json!({"author": "ana"})).await;
    wire.lead_to(b.address());
    let mut watcher = a.client().await;
    watcher.ok(json!({"watch": {"ns": "books", "initial": true}})).await;
    let event = watcher.event(|event| event["type"] == "conflict").await;
    assert_eq!(event["key"], "k");
    let page = client.ok(query("by_author", json!({}))).await;
    let items = page["items"].as_array().expect("items");
    let found: Vec<&Json> = items.iter().map(|item| &item["at"]).collect();
    assert_eq!(found, ["ana", "ben"]);
    for item in items {
        assert_eq!(item["key"], "k");
        let name = item["name"].as_str().expect("a name");
        assert_eq!(name.len(), 64, "an address: {name}");
        assert_eq!(client.get("books", name).await["author"], item["at"]);
    }
    client.ok(json!({"resolve": {"ns": "books", "key": "k", "value": {"author": "cleo"}}})).await;
    let page = client.ok(query("by_author", json!({}))).await;
    let left: Vec<[&Json; 2]> = page["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|item| [&item["name"], &item["at"]])
        .collect();
    assert_eq!(left, [[&json!("k"), &json!("cleo")]]);
}

#[tokio::test]
async fn an_index_outlives_a_kill_and_is_made_anew_when_its_declaration_changes() {
    let (mut server, mut client) = start().await;
    for n in 0..600 {
        client.ask(json!({"put": {"ns": "books", "key": format!("k{n:03}"), "value": {"author": "a", "meta": {"year": n}}}})).await;
    }
    client.put("books", "k599", json!({"author": "a", "meta": {"year": 599}})).await;
    assert_eq!(names(&mut client, "by_author", json!({"eq": "a"})).await.len(), 600);
    server.kill().await;
    server.go_on().await;
    let mut client = server.client().await;
    client.ok(json!({"delete": {"ns": "books", "key": "k000"}})).await;
    assert_eq!(names(&mut client, "by_author", json!({"eq": "a"})).await.len(), 599);
    let other = BOOKS.replace("/author", "/meta/year").replace("whole", "entire");
    server.rewrite(&other);
    client.ok(json!({"reload": {}})).await;
    assert!(names(&mut client, "by_author", json!({"eq": "a"})).await.is_empty());
    let found = names(&mut client, "by_author", json!({"from": 590})).await;
    assert_eq!(found.len(), 10, "{found:?}");
    let gone = client.error(query("whole", json!({}))).await;
    assert_eq!(gone["code"], "not_found");
    assert_eq!(gone["hint"], "there are by_author, by_tag, by_year, entire");
    assert_eq!(server.stop().await, Some(0));
}

#[tokio::test]
async fn a_bad_query_is_refused_in_words() {
    let (_server, mut client) = start().await;
    client.put("books", "a", json!({"author": "x", "meta": {"year": 1}})).await;
    client.put("books", "b", json!({"author": "y", "meta": {"year": 1}})).await;
    let page = client.ok(query("by_author", json!({"limit": 1}))).await;
    let next = page["next"].as_str().expect("more").to_owned();
    for (index, more, code, words) in [
        ("by_autor", json!({}), "not_found", "there is no index \"by_autor\""),
        (
            "by_author",
            json!({"after": "nonsense!"}),
            "bad_cursor",
            "\"nonsense!\" is not the `next`",
        ),
        ("by_author", json!({"after": "AAAA"}), "bad_cursor", "of this query"),
        ("by_year", json!({"after": next}), "bad_cursor", "of this query"),
        ("by_author", json!({"after": next, "eq": "y"}), "bad_cursor", "of this query"),
        ("by_author", json!({"eq": 1, "prefix": "a"}), "bad_request", "eq stands alone"),
        ("by_author", json!({"eq": {"a": 1}}), "bad_request", "eq is an object"),
    ] {
        let error = client.error(query(index, more.clone())).await;
        assert_eq!(error["code"], code, "{index} {more}: {error}");
        let told = error["message"].as_str().expect("words");
        assert!(told.contains(words), "{index} {more}: {error}");
    }
}

#[tokio::test]
async fn an_index_that_cannot_follow_says_so_instead_of_an_old_answer() {
    let server = Server::start_with(BOOKS, |folder| {
        let own = folder.join("data/plugins/books/index");
        std::fs::create_dir_all(&own).expect("a folder");
        std::fs::write(own.join("table.redb"), "no table").expect("written");
    })
    .await;
    let mut client = server.client().await;
    client.put("books", "a", json!({"author": "x"})).await;
    let error = client.error(query("by_author", json!({"wait_ms": 1_000}))).await;
    assert_eq!((&error["code"], &error["retry"]), (&json!("index_behind"), &json!(true)));
    let told = error["message"].as_str().expect("words");
    assert!(told.contains("the index by_author is not there:"), "{error}");
    assert!(told.contains("table.redb: not a Keepboth store"), "{error}");
}

#[tokio::test]
async fn faulty_declarations_are_told_with_line_and_column() {
    let head = "[[namespaces.books.plugins]]\nuse = \"index\"\n";
    let with = |indexes: &str| format!("{head}[namespaces.books.plugins.indexes]\n{indexes}\n");
    for (config, told) in [
        (
            with("a = { path = \"author\" }"),
            "config.toml:4:14: error: \"author\" is no JSON pointer",
        ),
        (with("a = { path = \"/a~b\" }"), "config.toml:4:14: error: \"/a~b\" is no JSON pointer"),
        (
            with("a = { path = \"/a\" }\na = { path = \"/b\" }"),
            "config.toml:5:1: error: duplicate key",
        ),
        (with("a = { pth = \"/a\" }"), "config.toml:4:7: error: unknown key \"pth\""),
        (with("a = {}"), "path"),
        (with(""), "indexes"),
        (head.to_owned(), "indexes"),
        (
            format!("{}{}", with("a = { path = \"/a\" }"), with("b = { path = \"/b\" }")),
            "\"index\" is used twice here",
        ),
    ] {
        let (code, text) = check_config(&config).await;
        assert_eq!(code, 78, "{text}");
        assert!(text.contains(told), "{told}: {text}");
    }
}
