//! A lean client that keeps many requests in flight and writes and reads them in groups.

use std::cell::Cell;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::sample::{Sample, Window};
use crate::cli::exit::{Exit, Failure};

/// A connection to a server.
pub struct Wire {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Wire {
    /// Connects.
    pub async fn open(url: &str) -> Result<Wire, Failure> {
        let config = WebSocketConfig::default().read_buffer_size(16 * 1024);
        let opened = tokio_tungstenite::connect_async_with_config(url, Some(config), true).await;
        Ok(Wire { socket: opened.map_err(lost)?.0 })
    }

    /// Sends a request and waits for its answer; what is pushed meanwhile is passed over.
    pub async fn ask(&mut self, request: String) -> Result<Utf8Bytes, Failure> {
        self.socket.send(Message::text(request)).await.map_err(lost)?;
        loop {
            let frame = self.next().await?;
            if answered(&frame)?.is_some() {
                return Ok(frame);
            }
        }
    }

    /// The next frame.
    pub async fn next(&mut self) -> Result<Utf8Bytes, Failure> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text),
                Some(Ok(Message::Close(frame))) => {
                    let words = format!("the server closed the connection: {frame:?}");
                    return Err(Failure::new(Exit::Failure, words));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(lost(error)),
                None => return Err(Failure::new(Exit::Failure, "the connection ended")),
            }
        }
    }

    /// The next frame, if it is there already.
    pub fn ready(&mut self) -> Option<Result<Utf8Bytes, Failure>> {
        self.next().now_or_never()
    }

    /// Keeps this many requests in flight until the window is over, then waits for those under way.
    /// `request` makes the frame for an id, which counts from 1.
    pub async fn drive(
        &mut self,
        in_flight: u64,
        window: Window,
        mut request: impl FnMut(u64) -> String,
    ) -> Result<Sample, Failure> {
        // Id 0 is none.
        let mut sent = vec![Instant::now()];
        let mut sample = Sample { took: window.length(), ..Sample::default() };
        let (mut wanted, mut waiting) = (in_flight, 0);
        loop {
            let now = Instant::now();
            for _ in 0..std::mem::take(&mut wanted) {
                self.feed(request(sent.len() as u64)).await?;
                sent.push(now);
                waiting += 1;
            }
            self.socket.flush().await.map_err(lost)?;
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
        mut request: impl FnMut(u64) -> String,
    ) -> Result<Infallible, Failure> {
        let (mut ticks, mut id) = (tokio::time::interval(every), 0);
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    for _ in 0..count {
                        id += 1;
                        self.feed(request(id)).await?;
                    }
                    self.socket.flush().await.map_err(lost)?;
                }
                frame = self.next() => {
                    if answered(&frame?)?.is_some() {
                        answered_so_far.set(answered_so_far.get() + 1);
                    }
                }
            }
        }
    }

    async fn feed(&mut self, request: String) -> Result<(), Failure> {
        self.socket.feed(Message::text(request)).await.map_err(lost)
    }

    /// Waits for an answer and takes all that are there with it; how many they were.
    async fn answers(
        &mut self,
        sent: &[Instant],
        window: Window,
        sample: &mut Sample,
    ) -> Result<u64, Failure> {
        let mut frame = self.next().await?;
        let (now, mut came) = (Instant::now(), 0);
        loop {
            if let Some(id) = answered(&frame)? {
                came += 1;
                let took = sent.get(id).map_or(0, |sent| (now - *sent).as_nanos());
                self.count(now, took as u64, window, sample);
            }
            match self.ready() {
                Some(next) => frame = next?,
                None => return Ok(came),
            }
        }
    }

    /// What comes after the window counts only if nothing else did.
    fn count(&self, now: Instant, took: u64, window: Window, sample: &mut Sample) {
        let late = window.is_over(now) && sample.done == 0;
        if late {
            sample.took = now - window.from();
        }
        if late || window.counts(now) {
            sample.done += 1;
            sample.each.push(took);
        }
    }
}

/// The id of an answer; None for what is pushed. A refusal ends the benchmark.
fn answered(frame: &str) -> Result<Option<usize>, Failure> {
    let Some(rest) = frame.strip_prefix(r#"{"id":"#) else { return Ok(None) };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (id, rest) = rest.split_at(digits);
    match (id.parse(), rest.starts_with(r#","ok":"#)) {
        (Ok(id), true) => Ok(Some(id)),
        _ => Err(Failure::new(Exit::Failure, format!("the server answered {frame}"))),
    }
}

fn lost(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Failure, format!("the benchmark's connection: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_from_events_and_refusals() {
        assert_eq!(answered(r#"{"id":12,"ok":{}}"#), Ok(Some(12)));
        assert_eq!(answered(r#"{"sub":1,"event":{}}"#), Ok(None));
        assert!(answered(r#"{"id":12,"error":{}}"#).is_err());
    }
}
