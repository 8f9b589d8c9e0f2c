//! `watch`: events as they happen, a line of JSON for each.

use serde_json::json;

use super::exit::Failure;
use super::object::Prefix;
use super::out::{Out, talk};
use crate::client::{Client, ClientError, Follow, Push, Target, WatchRequest};
use crate::protocol::Format;

/// What to watch.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Each line is one event: put, delete, conflict or state, each saying what its key shows now.
After what was there comes {\"type\":\"live\",\"cursor\":…}.

Examples:
  keepboth watch default
  keepboth watch default/users/ --initial
  keepboth watch default --follow | jq 'select(.type == \"conflict\")'"
)]
pub struct Watch {
    /// The namespace, and what the keys begin with
    #[arg(value_name = "NAMESPACE[/PREFIX]")]
    prefix: Prefix,
    /// What is there already comes first
    #[arg(long)]
    initial: bool,
    /// Go on after this event
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    /// Leave the values out
    #[arg(long)]
    no_values: bool,
    /// Connect again after a lost connection, and go on where it was
    #[arg(long)]
    follow: bool,
}

impl Watch {
    fn request(&self) -> WatchRequest {
        WatchRequest {
            ns: self.prefix.ns.to_string(),
            prefix: self.prefix.prefix.clone(),
            initial: self.initial,
            cursor: self.cursor.clone(),
            values: !self.no_values,
        }
    }
}

/// Writes events until the connection or the reader of stdout is gone.
pub async fn run(args: Watch, target: Target, json: bool) -> Result<(), Failure> {
    let mut out = Out::new(json);
    if args.follow {
        return follow(&args, target, &mut out).await;
    }
    let client = Client::connect_to(&target, Format::Json).await?;
    let mut pushes = client.watch(args.request().arguments()).await?;
    while let Some(push) = pushes.next().await {
        write(&mut out, push)?;
    }
    let error = client.closed();
    Err(error.map_or_else(|| Failure::quiet(super::exit::Exit::Failure), Failure::from))
}

async fn follow(args: &Watch, target: Target, out: &mut Out) -> Result<(), Failure> {
    let mut follow = Follow::start(target, Format::Json, args.request()).await?;
    loop {
        let push = follow.next(|lost| talk(&format!("{lost}; connecting again"))).await?;
        write(out, push)?;
    }
}

fn write(out: &mut Out, push: Push) -> Result<(), Failure> {
    match push {
        Push::Event(event) => out.json(&event)?,
        Push::Live { cursor } => out.json(&json!({"type": "live", "cursor": cursor}))?,
        Push::End(refused) => return Err(ClientError::Refused(Box::new(refused)).into()),
    }
    out.flush()
}
