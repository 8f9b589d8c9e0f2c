//! The exact hashes and whole scenarios of `tests/vectors`, and of the folder that `KEEPBOTH_VECTORS` names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use keepboth_core::hash;
use keepboth_core::ids::{DataHash, VersionId};
use keepboth_core::name::{Address, Name, branch_of};
use keepboth_core::value::{Kind, Value};
use keepboth_core::version::Version;
use keepboth_core::write::{Condition, Intent};
use keepboth_simulation::replica::{Replica, data, key};
use serde_json::Value as Json;

fn files() -> Vec<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/semantics.json");
    let mut files = vec![own];
    if let Some(folder) = std::env::var_os("KEEPBOTH_VECTORS") {
        let entries = std::fs::read_dir(&folder).expect("the folder that KEEPBOTH_VECTORS names");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        files.extend(paths.filter(|path| path.extension().is_some_and(|e| e == "json")));
    }
    files
}

fn read(file: &Path) -> Json {
    serde_json::from_slice(&std::fs::read(file).expect("a vector file")).expect("JSON")
}

fn text(json: &Json) -> &str {
    json.as_str().expect("a text")
}

fn payload(vector: &Json) -> Vec<u8> {
    let text = text(&vector["payload_hex"]);
    if let Some(zeros) = text.strip_prefix("zeros:") {
        return vec![0; zeros.parse().expect("a count")];
    }
    let pairs = (0..text.len()).step_by(2);
    pairs.map(|i| u8::from_str_radix(&text[i..i + 2], 16).expect("hex")).collect()
}

#[test]
fn every_hash_vector_is_met() {
    let kinds = [Kind::Bytes, Kind::String, Kind::Number, Kind::Json, Kind::Cbor];
    let mut count = 0;
    for vector in
        files().iter().flat_map(|f| read(f)["hashes"].as_array().cloned().unwrap_or_default())
    {
        let kind = kinds.into_iter().find(|k| k.as_str() == text(&vector["kind"])).expect("a kind");
        let value = Value::from_canonical(kind, payload(&vector).into()).expect("canonical");
        let data = hash::data_hash(&value);
        assert_eq!(data.to_string(), text(&vector["data_hash"]));
        follow_lines(&vector, data);
        count += 1;
    }
    assert!(count >= 8, "only {count} hash vectors");
}

/// A first version, two concurrent updates, their merge and its delete, their split, and their addresses.
fn follow_lines(vector: &Json, data: DataHash) {
    let key = key(text(&vector["key"]));
    let store = Replica::new(0).id;
    let timestamp = vector["timestamp_ms"].as_u64().expect("a timestamp");
    let first = Version::first(&key, data, timestamp, store);
    assert_eq!(first.id.to_string(), text(&vector["first"]));

    let next = |parents: &[VersionId], data| {
        let version = Version::next(parents.iter().copied().collect(), data, 0, store);
        version.check(&key).expect("a version in good form");
        version
    };
    let update_data = hash::data_hash(&Value::string(text(&vector["update"]["string"])));
    assert_eq!(update_data.to_string(), text(&vector["update"]["data_hash"]));
    let update = next(&[first.id], update_data);
    assert_eq!(update.id.to_string(), text(&vector["update"]["id"]));
    let number = vector["concurrent_update"]["number"].as_f64().expect("a number");
    let other = next(&[first.id], hash::data_hash(&Value::number(number)));
    assert_eq!(other.id.to_string(), text(&vector["concurrent_update"]["id"]));
    let merge = next(&[update.id, other.id], data);
    assert_eq!(merge.id.to_string(), text(&vector["merge_of_both_with_first_value"]));
    let delete = next(&[merge.id], DataHash::NONE);
    assert_eq!(delete.id.to_string(), text(&vector["delete_of_merge"]));
    let split = Version::split([update.id, other.id].into_iter().collect(), 0, store);
    assert_eq!(split.id.to_string(), text(&vector["split_of_both"]));

    let mut addresses = [&update, &other]
        .map(|version| Address { key: key.hash(), branch: branch_of(&version.id) }.to_string());
    addresses.sort();
    assert_eq!(Json::from(addresses.to_vec()), vector["addresses"]);
}

#[test]
fn every_scenario_is_met() {
    let mut count = 0;
    for file in files() {
        for scenario in read(&file)["scenarios"].as_array().cloned().unwrap_or_default() {
            let place = format!("{}, seed {}", file.display(), scenario["seed"]);
            play(&scenario, &place);
            count += 1;
        }
    }
    assert!(count >= 60, "only {count} scenarios");
}

fn play(scenario: &Json, place: &str) {
    let count = scenario["nodes"].as_u64().expect("a count") as u8;
    let mut nodes: Vec<Replica> = (0..count).map(Replica::new).collect();
    for (number, step) in scenario["steps"].as_array().expect("steps").iter().enumerate() {
        take_step(&mut nodes, step, &format!("{place}, step {number}"));
    }
    for to in 0..nodes.len() {
        for from in (0..nodes.len()).filter(|from| *from != to) {
            let (from, to) = two(&mut nodes, from, to);
            to.learn_all(from);
        }
    }
    for node in &nodes {
        compare(node, &scenario["after_full_sync"], place);
    }
}

fn two(nodes: &mut [Replica], from: usize, to: usize) -> (&Replica, &mut Replica) {
    let [from, to] = nodes.get_disjoint_mut([from, to]).expect("two nodes");
    (from, to)
}

fn take_step(nodes: &mut [Replica], step: &Json, place: &str) {
    let index = |name: &str| step[name].as_u64().expect("an index") as usize;
    if step["op"] == "sync" {
        let (from, to) = two(nodes, index("from"), index("to"));
        return to.learn_key(from, &key(text(&step["key"])));
    }
    let value = || data(text(&step["string"]));
    let intent = match text(&step["op"]) {
        "put" => Intent::Put(value()),
        "delete" => Intent::Delete,
        "resolve" => Intent::Merge(value()),
        other => panic!("{place}: unknown step {other}"),
    };
    let name = Name::new(text(&step["name"])).expect("a name");
    let now = step["timestamp_ms"].as_u64().expect("a timestamp");
    let made = nodes[index("node")].write(&name, intent, Condition::None, now).unwrap_or_default();
    let made: Vec<String> = made.iter().map(|version| version.id.to_string()).collect();
    assert_eq!(Json::from(made), step["versions"], "{place}: {step}");
}

fn compare(node: &Replica, expected: &Json, place: &str) {
    let objects: serde_json::Map<String, Json> = node
        .objects()
        .into_iter()
        .map(|(name, (version, data))| {
            (name, serde_json::json!({"version": version, "data_hash": data}))
        })
        .collect();
    assert_eq!(Json::from(objects), expected["objects"], "{place}: objects");
    let mut heads = BTreeMap::new();
    let mut conflicts = BTreeMap::new();
    let mut trash = Vec::new();
    for (key, entry) in &node.keys {
        let tips: Vec<String> = (0..entry.history.len())
            .filter(|at| entry.history.is_head(*at))
            .map(|at| entry.history.at(at).id.to_string())
            .collect();
        let mut tips = tips;
        tips.sort();
        heads.insert(key.to_string(), tips);
        if entry.view.in_conflict() {
            let addresses = entry.view.conflict_addresses(key.hash());
            let addresses: Vec<String> = addresses.iter().map(Address::to_string).collect();
            conflicts.insert(key.to_string(), addresses);
        }
        if entry.view.is_trash() {
            trash.push(key.to_string());
        }
    }
    assert_eq!(serde_json::json!(heads), expected["heads"], "{place}: heads");
    assert_eq!(serde_json::json!(conflicts), expected["conflicts"], "{place}: conflicts");
    assert_eq!(serde_json::json!(trash), expected["trash"], "{place}: trash");
    for (address, meaning) in expected["addresses"].as_object().expect("addresses") {
        let (key, heads) =
            node.live_heads(&address.parse().expect("an address")).expect("a known address");
        let found = serde_json::json!({"key": key.as_str(), "live_heads": heads});
        assert_eq!(&found, meaning, "{place}: {address}");
    }
}
