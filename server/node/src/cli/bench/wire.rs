//! A lean client for every server that is measured: it keeps many requests in flight, and writes and reads
//! them in groups.

use std::cell::Cell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::sample::{Sample, Window};
use super::speech::{Tongue, frames};
use crate::cli::exit::{Exit, Failure};

/// Bytes that are read at once.
const READ: usize = 64 * 1024;

/// Where a server is, and how one speaks to it.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Its address.
    pub address: SocketAddr,
    /// Its protocol.
    pub tongue: Tongue,
    /// True if that goes over a WebSocket.
    pub web: bool,
}

impl Place {
    /// A server of ours.
    pub fn keepboth(address: SocketAddr) -> Place {
        Place { address, tongue: Tongue::Keepboth, web: true }
    }
}

/// A connection to a server.
pub struct Wire {
    stream: TcpStream,
    tongue: Tongue,
    /// What has come as frames of a WebSocket and is not whole yet; None without a WebSocket.
    raw: Option<Vec<u8>>,
    /// What was said to us, as far as `taken` looked at.
    inbox: Vec<u8>,
    taken: usize,
    outbox: Vec<u8>,
    /// One request on its way into its frame, and answers to pings.
    request: Vec<u8>,
    pongs: Vec<u8>,
}

/// A message that has come: where it stands until the next is waited for, and the id that it answers.
#[derive(Debug)]
pub struct Message {
    at: Range<usize>,
    id: Option<u64>,
}

impl Wire {
    /// Connects.
    pub async fn open(place: &Place) -> Result<Wire, Failure> {
        let stream = TcpStream::connect(place.address).await.map_err(lost)?;
        stream.set_nodelay(true).map_err(lost)?;
        let mut wire = Wire {
            stream,
            tongue: place.tongue,
            raw: None,
            inbox: Vec::new(),
            taken: 0,
            outbox: Vec::new(),
            request: Vec::new(),
            pongs: Vec::new(),
        };
        if place.web {
            wire.shake_hands(place.address).await?;
        }
        wire.outbox.extend_from_slice(place.tongue.hello());
        wire.flush().await?;
        Ok(wire)
    }

    async fn shake_hands(&mut self, address: SocketAddr) -> Result<(), Failure> {
        let handshake = frames::handshake(&address.to_string());
        self.stream.write_all(handshake.as_bytes()).await.map_err(lost)?;
        loop {
            self.fill().await?;
            if let Some(head) = frames::opened(&self.inbox)? {
                self.raw = Some(self.inbox.split_off(head));
                self.inbox.clear();
                return self.unwrap();
            }
        }
    }

    /// Sends a request and waits for its answer; what is pushed meanwhile is passed over.
    pub async fn ask(&mut self, request: impl FnOnce(&mut Vec<u8>)) -> Result<Vec<u8>, Failure> {
        self.say(request);
        self.flush().await?;
        loop {
            let message = self.next().await?;
            if message.id.is_some() {
                return Ok(self.text(&message).to_vec());
            }
        }
    }

    /// The next message.
    pub async fn next(&mut self) -> Result<Message, Failure> {
        loop {
            if let Some(message) = self.ready()? {
                return Ok(message);
            }
            self.fill().await?;
        }
    }

    /// The next message, if it is there already.
    pub fn ready(&mut self) -> Result<Option<Message>, Failure> {
        let Some(heard) = self.tongue.hear(&self.inbox[self.taken..])? else { return Ok(None) };
        let at = self.taken..self.taken + heard.bytes;
        self.taken = at.end;
        Ok(Some(Message { at, id: heard.id }))
    }

    /// The bytes of a message, good until the next one is waited for.
    pub fn text(&self, message: &Message) -> &[u8] {
        &self.inbox[message.at.clone()]
    }

    /// Keeps this many requests in flight until the window is over, then waits for those under way.
    /// `request` appends the one with an id, which counts from 1.
    pub async fn drive(
        &mut self,
        in_flight: u64,
        window: Window,
        request: impl FnMut(u64, &mut Vec<u8>),
    ) -> Result<Sample, Failure> {
        self.run(in_flight, window, u64::MAX, request).await
    }

    /// Sends so many requests, as many at a time, and waits for all answers.
    pub async fn each(
        &mut self,
        in_flight: u64,
        count: u64,
        request: impl FnMut(u64, &mut Vec<u8>),
    ) -> Result<(), Failure> {
        self.run(in_flight, Window::always(), count, request).await.map(drop)
    }

    async fn run(
        &mut self,
        in_flight: u64,
        window: Window,
        count: u64,
        mut request: impl FnMut(u64, &mut Vec<u8>),
    ) -> Result<Sample, Failure> {
        self.tongue.begin();
        // Id 0 is none.
        let mut sent = vec![Instant::now()];
        let mut sample = Sample { took: window.length(), ..Sample::default() };
        let (mut wanted, mut waiting) = (in_flight, 0);
        loop {
            let now = Instant::now();
            for _ in 0..wanted.min(count - (sent.len() as u64 - 1)) {
                self.say(|out| request(sent.len() as u64, out));
                sent.push(now);
                waiting += 1;
            }
            self.flush().await?;
            if waiting == 0 {
                return Ok(sample);
            }
            let came = self.answers(&sent, window, &mut sample).await?;
            waiting -= came;
            wanted = if window.goes_on(sample.done) { came } else { 0 };
        }
    }

    /// Sends so many requests at every tick and takes the answers, which `answered_so_far` counts, without an
    /// end.
    pub async fn pace(
        &mut self,
        every: Duration,
        count: u64,
        answered_so_far: &Cell<u64>,
        mut request: impl FnMut(u64, &mut Vec<u8>),
    ) -> Result<Infallible, Failure> {
        let (mut ticks, mut id) = (tokio::time::interval(every), 0);
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    for _ in 0..count {
                        id += 1;
                        self.say(|out| request(id, out));
                    }
                    self.flush().await?;
                }
                message = self.next() => {
                    if message?.id.is_some() {
                        answered_so_far.set(answered_so_far.get() + 1);
                    }
                }
            }
        }
    }

    fn say(&mut self, request: impl FnOnce(&mut Vec<u8>)) {
        if self.raw.is_none() || !self.tongue.in_frames() {
            return request(&mut self.outbox);
        }
        self.request.clear();
        request(&mut self.request);
        frames::wrap(frames::TEXT, &self.request, &mut self.outbox);
    }

    async fn flush(&mut self) -> Result<(), Failure> {
        if self.raw.is_some() && !self.tongue.in_frames() && !self.outbox.is_empty() {
            self.request.clear();
            std::mem::swap(&mut self.request, &mut self.outbox);
            frames::wrap(frames::BINARY, &self.request, &mut self.outbox);
        }
        self.stream.write_all(&self.outbox).await.map_err(lost)?;
        self.outbox.clear();
        Ok(())
    }

    /// Waits until more has come.
    async fn fill(&mut self) -> Result<(), Failure> {
        self.inbox.drain(..self.taken);
        self.taken = 0;
        let into = self.raw.as_mut().unwrap_or(&mut self.inbox);
        into.reserve(READ);
        if self.stream.read_buf(into).await.map_err(lost)? == 0 {
            return Err(lost("it ended"));
        }
        self.unwrap()?;
        if !self.pongs.is_empty() {
            self.stream.write_all(&self.pongs).await.map_err(lost)?;
            self.pongs.clear();
        }
        Ok(())
    }

    fn unwrap(&mut self) -> Result<(), Failure> {
        match &mut self.raw {
            Some(raw) => frames::unwrap(raw, self.tongue, &mut self.inbox, &mut self.pongs),
            None => Ok(()),
        }
    }

    /// Waits for an answer and takes all that are there with it; how many they were.
    async fn answers(
        &mut self,
        sent: &[Instant],
        window: Window,
        sample: &mut Sample,
    ) -> Result<u64, Failure> {
        let mut message = self.next().await?;
        let (now, mut came) = (Instant::now(), 0);
        loop {
            if let Some(id) = message.id {
                came += 1;
                let took = sent.get(id as usize).map_or(0, |sent| (now - *sent).as_nanos());
                count(now, took as u64, window, sample);
            }
            match self.ready()? {
                Some(next) => message = next,
                None => return Ok(came),
            }
        }
    }
}

/// What comes after the window counts only if nothing else did.
fn count(now: Instant, took: u64, window: Window, sample: &mut Sample) {
    let late = window.is_over(now) && sample.done == 0;
    if late {
        sample.took = now - window.from();
    }
    if late || window.counts(now) {
        sample.done += 1;
        sample.each.push(took);
    }
}

fn lost(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Failure, format!("the benchmark's connection: {error}"))
}
