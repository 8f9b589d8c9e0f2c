//! An empty node that is given everything, against a plain copy of the same bytes and against an import.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

use super::node::Node;
use super::report::Row;
use super::sample::{Runs, Sample};
use super::setup::Way;
use super::{Bench, bulk, data};
use crate::cli::exit::{Exit, Failure};

/// Bytes of values.
const BYTES: usize = 1_024;
/// Objects that are imported at once.
const BATCH: u64 = 1_000;
/// Bytes in a frame of the plain copy; histories come in messages of about this size.
const FRAME: usize = 256 * 1024;
const MIB: f64 = 1_048_576.0;

/// Measures import, catching up and the plain copy by turns.
pub fn measure(bench: &mut Bench) -> Result<(), Failure> {
    let objects = bench.plan.catch_up;
    bench.report.talk(&format!("an empty node catches up on {objects} objects"));
    let mut runs: [Runs; 3] = Default::default();
    for _ in 0..bench.plan.rounds.min(3) {
        let took = run(bench, objects)?;
        for (runs, took) in runs.iter_mut().zip(took) {
            runs.add(Sample { done: objects, took, each: Vec::new() });
        }
    }
    let row = format!("an empty node catches up on {objects} objects of 1 KiB");
    let [import, catch_up, copy] = runs.each_ref().map(Runs::rate);
    let mib = |rate: f64| rate * BYTES as f64 / MIB;
    let seconds = |rate: f64| objects as f64 / rate;
    let plain = "the same bytes over a WebSocket";
    bench.report.add(Row::one(row.clone(), mib(catch_up), "MiB/s", plain, mib(copy)));
    let imported = "importing them there in bulk";
    bench.report.add(Row::one(row, seconds(catch_up), "s", imported, seconds(import)));
    bench.report.show()
}

/// How long the import took, catching up, and the plain copy.
fn run(bench: &Bench, objects: u64) -> Result<[Duration; 3], Failure> {
    let a = Node::start(&bench.below, Way::Plain, &[])?;
    let b = Node::start(&bench.below, Way::Plain, &[])?;
    let (value, started) = (data::value(BYTES), Instant::now());
    bulk::put(&a.store()?, 0..objects, BATCH, &value)?;
    let imported = started.elapsed();
    let started = Instant::now();
    b.dial(&a.url)?;
    let caught_up = bulk::until_same(&a.store()?, &b.store()?, started)?;
    let copied = bench.wait(copy(objects as usize * BYTES))?;
    Ok([imported, caught_up, copied])
}

/// Sends so many bytes over a WebSocket; how long it took until the last had come.
async fn copy(bytes: usize) -> Result<Duration, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("ws://{}", listener.local_addr()?);
    let sender = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(send(listener.into_std()?, bytes))
    });
    let (mut socket, _) = tokio_tungstenite::connect_async(&url).await.map_err(failed)?;
    let (mut came, started) = (0, Instant::now());
    while came < bytes {
        match socket.next().await {
            Some(message) => came += message.map_err(failed)?.len(),
            None => return Err(failed("it ended")),
        }
    }
    let took = started.elapsed();
    drop(socket);
    // The sender has nothing more to say, whether it noticed the end or not.
    let _ = sender.join();
    Ok(took)
}

async fn send(listener: std::net::TcpListener, bytes: usize) -> Result<(), Failure> {
    let (socket, _) = TcpListener::from_std(listener)?.accept().await?;
    let mut socket = tokio_tungstenite::accept_async(socket).await.map_err(failed)?;
    let (frame, mut rest) = (Bytes::from(vec![7; FRAME]), bytes);
    while rest > 0 {
        let size = rest.min(FRAME);
        socket.feed(Message::Binary(frame.slice(..size))).await.map_err(failed)?;
        rest -= size;
    }
    socket.flush().await.map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Failure, format!("the plain copy: {error}"))
}
