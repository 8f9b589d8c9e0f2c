//! `schema report`: the objects that break the schemas that hold now.

use keepboth_core::name::Namespace;

use super::super::exit::Failure;
use super::super::out::talk;
use super::super::session::{Session, namespace_arguments, number, text};
use super::super::table::Table;

/// Lists them with the reason for each, and says on stderr how far the server has looked.
pub async fn run(ns: &Namespace, session: &mut Session) -> Result<(), Failure> {
    let mut arguments = namespace_arguments(ns.as_str(), []);
    let mut table = Table::new(&["KEY", "NAME", "VERSION", "REASON"]);
    let last = loop {
        let mut page = session.call("schema_report", arguments.clone()).await?;
        for item in page["items"].as_array().into_iter().flatten() {
            if session.out.json {
                session.out.json(item)?;
                continue;
            }
            let (key, name) = (text(item, "key"), text(item, "name"));
            let reason = format!("{} [{}]", text(item, "message"), text(item, "code"));
            let name = if name == key { "" } else { name };
            table.row([key, name, text(item, "version"), &reason]);
        }
        match page["next"].take() {
            serde_json::Value::Null => break page,
            next => arguments["after"] = next,
        }
    };
    if !session.out.json {
        table.write(&mut session.out, "")?;
    }
    session.out.flush()?;
    let (unfit, checked) = (number(&last, "unfit"), number(&last, "checked"));
    talk(&match (last["bound"].as_bool(), last["done"].as_bool()) {
        (Some(false), _) => "no schema is bound to keys of this namespace".to_owned(),
        (_, Some(false)) => {
            format!("not all looked at yet: {unfit} unfit of {checked} objects so far")
        }
        _ => format!("{unfit} unfit; {checked} objects were looked at"),
    });
    Ok(())
}
