//! Puts and gets beside those of the peers.

use super::judged::{Bar, Judged};
use super::rivals::Rival;
use super::{Peers, VALUE_BYTES};
use crate::cli::bench::process::Process;
use crate::cli::bench::puts::{self, Load, bare_run};
use crate::cli::bench::sample::{Runs, Sample};
use crate::cli::bench::setup::Way;
use crate::cli::bench::wire::Wire;
use crate::cli::bench::{data, gets};
use crate::cli::exit::Failure;

/// The load of many clients.
pub const CLIENTS: Load = Load { in_flight: 64, connections: 64 };
const PIPELINE: Load = Load { in_flight: 1_024, connections: 1 };
const SINGLE: Load = Load { in_flight: 1, connections: 1 };
/// Puts under way while a peer is filled.
const FILLING: u64 = 256;

/// Who puts.
#[derive(Debug, Clone, Copy)]
enum Contender {
    /// Ours.
    Keepboth(Way),
    /// A peer as it is.
    Plain(Rival),
    /// A peer with its function.
    Function(Rival),
    /// Transactions of redb without a server.
    Bare,
}

impl Contender {
    fn words(self) -> String {
        match self {
            Contender::Keepboth(way) => format!("Keepboth, {}", way.as_str()),
            Contender::Plain(rival) => rival.name().to_owned(),
            Contender::Function(rival) => format!("{} with its function", rival.name()),
            Contender::Bare => "bare redb".to_owned(),
        }
    }
}

/// Runs all by turns; None for who is not installed.
fn contest(
    peers: &Peers,
    load: Load,
    contenders: &[Contender],
) -> Result<Vec<Option<Runs>>, Failure> {
    let mut runs: Vec<Option<Runs>> = contenders.iter().map(|_| None).collect();
    for round in 1..=peers.bench.plan.rounds {
        for (contender, runs) in contenders.iter().zip(&mut runs) {
            let of = peers.bench.plan.rounds;
            let who = contender.words();
            peers.report.talk(&format!("puts, {}: {who}, {round} of {of}", load.words()));
            if let Some(sample) = put(peers, *contender, load)? {
                runs.get_or_insert_default().add(sample);
            }
        }
    }
    Ok(runs)
}

/// One run on a new server.
fn put(peers: &Peers, contender: Contender, load: Load) -> Result<Option<Sample>, Failure> {
    let (bench, value) = (&peers.bench, data::value(VALUE_BYTES));
    let (rival, function) = match contender {
        Contender::Keepboth(way) => {
            let server = Process::keepboth(bench, way, &[], &[])?;
            return puts_of(peers, &server, load, 0).map(Some);
        }
        Contender::Bare => return bare_run(bench, &value, load.in_flight).map(Some),
        Contender::Plain(rival) => (rival, false),
        Contender::Function(rival) => (rival, true),
    };
    if rival.program().is_none() {
        return Ok(None);
    }
    let running = rival.start(bench)?;
    puts::drive(bench, &running.process.place, load, |id, number, out| {
        let key = data::key(number);
        match function {
            true => running.put_by_function(id, &key, &value, out),
            false => running.put(id, &key, &value, out),
        }
    })
    .map(Some)
}

/// One run of puts of 1 KiB on this server, at keys whose numbers begin there.
pub fn puts_of(peers: &Peers, server: &Process, load: Load, from: u64) -> Result<Sample, Failure> {
    let value = data::value(VALUE_BYTES);
    puts::drive(&peers.bench, &server.place, load, |id, number, out| {
        data::put(id, from + number, &value, out);
    })
}

/// Puts of many clients and of one that sends many at once, with schema and hook.
pub fn puts(peers: &mut Peers) -> Result<(), Failure> {
    for (load, name, aim) in [(CLIENTS, "puts-64", 4.0), (PIPELINE, "puts-1024", 3.0)] {
        let contenders = [
            Contender::Keepboth(Way::Hooked),
            Contender::Function(Rival::Redis),
            Contender::Function(Rival::Tarantool),
            Contender::Keepboth(Way::Plain),
            Contender::Keepboth(Way::Interval),
            Contender::Bare,
        ];
        let runs = contest(peers, load, &contenders)?;
        let [Some(ours), redis, tarantool, Some(plain), Some(interval), Some(bare)] = &runs[..]
        else {
            return Ok(());
        };
        let row = format!("durable put 1 KiB, {}, schema and hook", load.words());
        let mut rival = |against, theirs: &Option<Runs>, rival, how, bar| {
            let (both, id) = ((ours, theirs.as_ref()), format!("{name}-{against}"));
            let (of, who) = ((&*id, &*row), (rival, how));
            peers.report.add(Judged::rival(of, both, Runs::rate, "puts/s", who, bar));
        };
        let bar = Bar::AtLeast(1.5, Some(aim));
        rival("redis", redis, Rival::Redis, "appendfsync always, a Lua function", Some(bar));
        rival("tarantool", tarantool, Rival::Tarantool, "wal_mode fsync, a trigger in Lua", None);
        let mut beside = |against, other: &Runs, words, bar| {
            let (both, id) = ((ours.rate(), other.rate()), format!("{name}-{against}"));
            peers.report.add(Judged::beside((&id, &row), both, "puts/s", words, bar));
        };
        if load.connections == 1 {
            let bar = Some(Bar::AtLeast(2.0, None));
            beside("redb", bare, "bare redb, 1,024 a commit", bar);
        }
        beside("plain", plain, "the same, plain", Some(Bar::AtLeast(0.8, None)));
        beside("interval", interval, "plain, durable within 50 ms", None);
    }
    peers.report.show()
}

/// How long a put takes that is alone.
pub fn latency(peers: &mut Peers) -> Result<(), Failure> {
    let contenders = [Contender::Keepboth(Way::Plain), Contender::Plain(Rival::Redis)];
    let runs = contest(peers, SINGLE, &contenders)?;
    let [Some(ours), theirs] = &runs[..] else { return Ok(()) };
    let row = ("put-alone-redis", "durable put 1 KiB, 1 in flight, half within");
    let half = |runs: &Runs| runs.within_us(0.5).unwrap_or_default();
    let who = (Rival::Redis, "appendfsync always");
    let bar = Some(Bar::AtMost(1.0));
    peers.report.add(Judged::rival(row, (ours, theirs.as_ref()), half, "us", who, bar));
    peers.report.show()
}

/// Gets of objects that are there, many in flight on one connection.
pub fn gets(peers: &mut Peers) -> Result<(), Failure> {
    let (bench, value) = (&peers.bench, data::value(VALUE_BYTES));
    let (objects, in_flight) = (bench.plan.objects, PIPELINE.in_flight);
    let server = Process::keepboth(bench, Way::Plain, &[], &[])?;
    gets::fill(bench, &server.place, 0..objects, &value)?;
    let mut rivals = Vec::new();
    for rival in [Rival::Nats, Rival::Redis] {
        rivals.push(match rival.program() {
            None => None,
            Some(_) => {
                let running = rival.start(bench)?;
                bench.wait(async {
                    let mut wire = Wire::open(&running.process.place).await?;
                    let put = |id: u64, out: &mut Vec<u8>| {
                        running.put(id, &data::key(id - 1), &value, out);
                    };
                    wire.each(FILLING, objects, put).await
                })?;
                Some((running, Runs::default()))
            }
        });
    }
    let mut ours = Runs::default();
    for round in 1..=bench.plan.rounds {
        peers.report.talk(&format!("gets, {round} of {}", bench.plan.rounds));
        ours.add(gets::run(bench, &server.place, in_flight, objects)?);
        for (running, runs) in rivals.iter_mut().flatten() {
            runs.add(puts::drive(bench, &running.process.place, PIPELINE, |id, _, out| {
                running.get(id, &data::key(gets::pick(id, objects)), out);
            })?);
        }
    }
    let goals = [
        ("gets-nats", Rival::Nats, "over its WebSocket", Bar::AtLeast(1.0, None)),
        ("gets-redis", Rival::Redis, "over TCP", Bar::Aim(0.5)),
    ];
    for ((id, rival, how, bar), theirs) in goals.into_iter().zip(&rivals) {
        let theirs = theirs.as_ref().map(|(_, runs)| runs);
        let of = (id, "get 1 KiB, 1,024 in flight, over a WebSocket");
        let (both, who) = ((&ours, theirs), (rival, how));
        peers.report.add(Judged::rival(of, both, Runs::rate, "gets/s", who, Some(bar)));
    }
    peers.report.show()
}
