//! Prints what one call of a hook costs: `cargo run --release -p keepboth-lua --example cost`.

use std::time::Instant;

use keepboth_core::name::{Key, Name, Namespace};
use keepboth_core::plugin::{Before, Draft, Origin, Put, Site, Source, Worker};
use keepboth_core::value::Value;
use serde_json::json;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for (what, body) in [
        ("does nothing", ""),
        ("looks at the key", "if ev.key == 'x' then kb.reject('X') end"),
        (
            "reads two members, sets one",
            "local v = ev.value if v.title and v.n then v.by = ev.actor end",
        ),
        ("iterates over 20 members", "for k, x in ev.value do end"),
        ("copies to a table and back", "return kb.table(ev.value)"),
    ] {
        let took = measure(body)?;
        tell(&format!("{what:30} {took:7.2} us"))?;
    }
    Ok(())
}

fn tell(line: &str) -> std::io::Result<()> {
    use std::io::Write;
    writeln!(std::io::stdout(), "{line}")
}

fn measure(body: &str) -> Result<f64, Box<dyn std::error::Error>> {
    const ROUNDS: u32 = 100_000;
    let mut worker = worker(body)?;
    let mut tree = json!({"title": "a title", "n": 5});
    for i in 0..18 {
        tree[format!("member{i}")] = json!("x".repeat(40));
    }
    let value = Value::json(&tree);
    let key = Key::new("some/key")?;
    let origin = Origin::new(Source::Client, "ada", 1_700_000_000_000);
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let namespace = Namespace::new("notes")?;
        let mut put = Put {
            namespace,
            name: Name::Key(key.clone()),
            key: key.clone(),
            origin: origin.clone(),
            draft: Draft::new(value.clone(), Some(tree.clone())),
            before: Before::nothing(),
        };
        let started = Instant::now();
        for _ in 0..ROUNDS {
            worker.before_put(&mut put)?;
        }
        best = best.min(started.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS));
    }
    Ok(best)
}

fn worker(body: &str) -> Result<Box<dyn Worker>, Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let source = format!("kb.namespace():on_put(function(ev) {body} end)");
    std::fs::write(folder.path().join("a.luau"), source)?;
    let site = Site {
        namespace: Namespace::new("notes")?,
        folder: ".".into(),
        schemas: folder.path().into(),
        scripts: folder.path().into(),
        value_bytes_max: 65_536,
    };
    let plugin = keepboth_lua::FACTORY.build(&site, json!({"scripts": ["a.luau"]}));
    let plugin = plugin.map_err(|mistakes| format!("{mistakes:?}"))?;
    Ok(plugin.worker()?)
}
