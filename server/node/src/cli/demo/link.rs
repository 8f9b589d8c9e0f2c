//! A wire that can be cut: a TCP relay on loopback.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Relays connections to a target that may be set later, as long as it is whole.
#[derive(Clone)]
pub struct Wire {
    /// Where it listens.
    pub address: SocketAddr,
    target: Arc<Mutex<Option<SocketAddr>>>,
    whole: watch::Sender<bool>,
}

impl Wire {
    /// A whole wire without a target.
    pub async fn start() -> std::io::Result<Wire> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let wire = Wire { address, target: Arc::default(), whole: watch::Sender::new(true) };
        tokio::spawn(wire.clone().accept(listener));
        Ok(wire)
    }

    /// Says where it leads.
    pub fn lead_to(&self, target: SocketAddr) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = Some(target);
    }

    /// Breaks all connections and refuses new ones.
    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    /// Lets connections through again.
    pub fn mend(&self) {
        self.whole.send_replace(true);
    }

    async fn accept(self, listener: TcpListener) {
        while let Ok((socket, _)) = listener.accept().await {
            let target = *self.target.lock().unwrap_or_else(PoisonError::into_inner);
            let whole = self.whole.subscribe();
            if let (Some(target), true) = (target, *whole.borrow()) {
                tokio::spawn(relay(socket, target, whole.clone()));
            }
        }
    }
}

async fn relay(mut near: TcpStream, target: SocketAddr, mut whole: watch::Receiver<bool>) {
    let Ok(mut far) = TcpStream::connect(target).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut near, &mut far) => {}
        _ = whole.wait_for(|whole| !whole) => {}
    }
}
