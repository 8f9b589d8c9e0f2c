//! How the network, the disks and the nodes of a run behave. Times are in milliseconds.

use std::ops::Range;

use crate::planted::Planted;

/// How a node's conflict hook answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// It does not answer.
    None,
    /// The same merge on every node.
    Alike,
    /// Another merge on each node, against the rules.
    Unlike,
}

/// How the network and the stores behave.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a message is under way.
    pub delay: Range<u64>,
    /// How long a commit takes.
    pub commit: Range<u64>,
    /// True if the store commits together what waits, false if each message takes its time.
    pub group: bool,
    /// How often sessions are told of the time.
    pub tick: u64,
    /// How often a difference that exchange does not mend is compared.
    pub compare_every: u64,
    /// Bytes of bulk sent at once.
    pub budget: Range<usize>,
    /// How long it takes until there is room again.
    pub pause: Range<u64>,
    /// How often an outbox has no room.
    pub no_room: f64,
    /// How often a link misses a commit of its own node altogether.
    pub lag: f64,
    /// How often an [`Output::Apply`](keepboth_core::session::Output::Apply) is carried out twice.
    pub twice: f64,
    /// How often an event is passed on to one who hears it elsewhere too.
    pub extra: f64,
    /// How often a value is changed on its way.
    pub tamper: f64,
    /// Bytes that are on their way or unread before more waits in the outbox.
    pub window: usize,
    /// Bytes that may wait in the outbox before live events are left to repair.
    pub outbox: usize,
    /// Messages whose events are with the store before no more is read.
    pub applying: usize,
    /// How long a member that is not there is waited for before deletes are forgotten without it.
    pub expire: u64,
    /// How nodes keep their connections; without it they are made and cut by hand.
    pub life: Option<Life>,
    /// What is done wrong on purpose.
    pub planted: Option<Planted>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            delay: 1..2,
            commit: 0..1,
            group: true,
            tick: 50,
            compare_every: 30_000,
            budget: 512 * 1024..512 * 1024 + 1,
            pause: 1..2,
            no_room: 0.0,
            lag: 0.0,
            twice: 0.0,
            extra: 0.0,
            tamper: 0.0,
            window: usize::MAX,
            outbox: usize::MAX,
            applying: usize::MAX,
            expire: u64::MAX,
            life: None,
            planted: None,
        }
    }
}

impl Settings {
    /// True if this is done wrong on purpose.
    pub fn plants(&self, planted: Planted) -> bool {
        self.planted == Some(planted)
    }
}

/// How nodes find out that a connection is dead, and how they make new ones.
#[derive(Debug, Clone)]
pub struct Life {
    /// How often a peer is pinged; two missed end the connection.
    pub ping_every: u64,
    /// How long an attempt to connect may take.
    pub connect_within: u64,
    /// How soon the other side must greet.
    pub greet_within: u64,
    /// First and longest pause before dialling again.
    pub redial: Range<u64>,
}

impl Default for Life {
    fn default() -> Life {
        Life { ping_every: 2_000, connect_within: 3_000, greet_within: 3_000, redial: 100..2_000 }
    }
}
