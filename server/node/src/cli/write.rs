//! `put`, `rm` and `revert`.

use std::path::PathBuf;

use keepboth_core::ids::VersionId;
use serde_json::{Value as Json, json};

use super::exit::Failure;
use super::input::{self, Form};
use super::object::Object;
use super::session::Session;
use super::wait::Wait;

/// What to put.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  keepboth put default/hello '{\"text\":\"hi\"}'
  keepboth put default/note --string 'any text at all'
  keepboth put default/photo --bytes --file photo.jpg
  echo '[1,2]' | keepboth put default/list -
  keepboth put default/hello 5 --if-version VERSION   only if nobody was faster
  keepboth put default/hello 5 --wait all             until all other nodes have it")]
pub struct Put {
    /// The object; a key or an address
    #[arg(value_name = "NAMESPACE/KEY")]
    object: Object,
    /// The value; - reads it from stdin
    #[arg(allow_hyphen_values = true, conflicts_with = "file", required_unless_present = "file")]
    value: Option<String>,
    /// Reads the value from a file
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    form: Form,
    /// Only if the object is this version
    #[arg(long, value_name = "VERSION", conflicts_with = "create")]
    if_version: Option<VersionId>,
    /// Only if there is no such object
    #[arg(long)]
    create: bool,
    #[command(flatten)]
    wait: Wait,
}

/// Puts a value and writes the new version to stdout.
pub async fn put(args: Put, session: &mut Session) -> Result<(), Failure> {
    let mut arguments = args.object.arguments();
    arguments["value"] = input::value(args.value.as_deref(), args.file.as_ref(), args.form)?;
    condition(&mut arguments, args.if_version, args.create);
    args.wait.add_to(&mut arguments);
    let answer = session.call("put", arguments).await?;
    session.written_and_reached(&answer)
}

fn condition(arguments: &mut Json, if_version: Option<VersionId>, create: bool) {
    if let Some(version) = if_version {
        arguments["if_version"] = json!(version);
    } else if create {
        arguments["if_version"] = Json::Null;
    }
}

/// What to delete.
#[derive(Debug, clap::Args)]
#[command(after_help = "The history stays: see keepboth trash and keepboth history.")]
pub struct Rm {
    /// The object; a key or an address
    #[arg(value_name = "NAMESPACE/KEY")]
    object: Object,
    /// Only if the object is this version
    #[arg(long, value_name = "VERSION")]
    if_version: Option<VersionId>,
    #[command(flatten)]
    wait: Wait,
}

/// Deletes an object and writes the delete's version to stdout.
pub async fn rm(args: Rm, session: &mut Session) -> Result<(), Failure> {
    let mut arguments = args.object.arguments();
    condition(&mut arguments, args.if_version, false);
    args.wait.add_to(&mut arguments);
    let answer = session.call("delete", arguments).await?;
    session.written_and_reached(&answer)
}

/// What to take back.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Nothing is lost: reverting is a put of the earlier value, a version of its own."
)]
pub struct Revert {
    /// The object; a key or an address
    #[arg(value_name = "NAMESPACE/KEY")]
    object: Object,
    /// The version whose value it is to get, from keepboth history
    version: VersionId,
    /// Only if the object is this version
    #[arg(long, value_name = "VERSION")]
    if_version: Option<VersionId>,
    #[command(flatten)]
    wait: Wait,
}

/// Puts the value of an earlier version.
pub async fn revert(args: Revert, session: &mut Session) -> Result<(), Failure> {
    let mut arguments = args.object.arguments();
    arguments["version"] = json!(args.version);
    condition(&mut arguments, args.if_version, false);
    args.wait.add_to(&mut arguments);
    let answer = session.call("revert", arguments).await?;
    session.written_and_reached(&answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_a_version_or_null_or_absent() {
        let of = |version, create| {
            let mut arguments = json!({});
            condition(&mut arguments, version, create);
            arguments
        };
        let version = VersionId([1; 32]);
        assert_eq!(of(Some(version), false), json!({"if_version": version.to_string()}));
        assert_eq!(of(None, true), json!({"if_version": null}));
        assert_eq!(of(None, false), json!({}));
    }
}
