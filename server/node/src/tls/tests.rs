//! Handshakes between both sides, and what is said of certificates that are not what they should be.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::*;

/// A certificate that signed itself, in `cert.pem` with its key in `key.pem`.
fn make(folder: &Path, change: impl FnOnce(&mut CertificateParams)) -> Files {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()])
        .expect("parameters");
    change(&mut params);
    let certificate = params.self_signed(&key).expect("a certificate");
    save(folder, &certificate.pem(), &key)
}

fn save(folder: &Path, certificate: &str, key: &KeyPair) -> Files {
    let files = Files { cert: folder.join("cert.pem"), key: folder.join("key.pem") };
    std::fs::write(&files.cert, certificate).expect("written");
    std::fs::write(&files.key, key.serialize_pem()).expect("written");
    files
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Serves every connection a WebSocket, and hands out the binding of each. Gives the port.
async fn serve(
    files: &Files,
) -> (u16, Arc<Tls>, tokio::sync::mpsc::UnboundedReceiver<Result<Option<Binding>, String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
    let port = listener.local_addr().expect("an address").port();
    let tls = Arc::new(Tls::load(files).expect("sound files"));
    let (told, bindings) = tokio::sync::mpsc::unbounded_channel();
    let serving = tls.clone();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            match serving.accept(tcp).await {
                Ok(stream) => {
                    let _ = told.send(Ok(stream.binding()));
                    tokio::spawn(async move {
                        let socket = tokio_tungstenite::accept_hdr_async(stream, agree).await;
                        std::future::pending::<()>().await;
                        drop(socket);
                    });
                }
                Err(error) => drop(told.send(Err(error))),
            }
        }
    });
    (port, tls, bindings)
}

// The library fixes the form of the callback.
#[allow(clippy::result_large_err)]
fn agree(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let protocol = request.headers()["Sec-WebSocket-Protocol"].clone();
    response.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
    Ok(response)
}

async fn dial(url: &str, trust: Result<Trust, Fault>) -> Result<Option<Binding>, DialError> {
    let socket = web_socket(url, "test", WebSocketConfig::default(), || trust).await?;
    Ok(socket.get_ref().binding())
}

#[tokio::test]
async fn both_ends_know_the_same_binding_and_every_connection_has_its_own() {
    let folder = folder();
    let files = make(folder.path(), |_| {});
    let (port, _, mut bindings) = serve(&files).await;
    let mut known = Vec::new();
    for host in ["localhost", "127.0.0.1"] {
        let url = format!("wss://{host}:{port}");
        let ours = dial(&url, Trust::authorities(&files.cert)).await.expect("a connection");
        let theirs = bindings.recv().await.expect("told").expect("a handshake");
        assert!(ours.is_some() && ours == theirs);
        known.push(ours);
    }
    assert_ne!(known[0], known[1]);
}

#[tokio::test]
async fn nodes_need_no_authority_unless_one_is_set() {
    let (folder, other) = (folder(), folder_of_other());
    let files = make(folder.path(), |_| {});
    let (port, _, _bindings) = serve(&files).await;
    let url = format!("wss://localhost:{port}");
    let any = PeerTrust::load(None).expect("trust");
    assert!(dial(&url, Ok(any.now())).await.expect("a connection").is_some());
    let set = PeerTrust::load(Some(&other.path().join("cert.pem"))).expect("trust");
    let error = dial(&url, Ok(set.now())).await.expect_err("refused");
    assert!(matches!(&error, DialError::Untrusted(_, Doubt::Authority)), "{error}");
    std::fs::copy(&files.cert, other.path().join("cert.pem")).expect("copied");
    set.read_again().expect("sound")();
    assert!(dial(&url, Ok(set.now())).await.expect("a connection").is_some());
    std::fs::write(other.path().join("cert.pem"), "nothing").expect("written");
    assert!(set.read_again().is_err());
    assert!(dial(&url, Ok(set.now())).await.expect("a connection").is_some());
}

fn folder_of_other() -> TempDir {
    let folder = folder();
    make(folder.path(), |params| params.distinguished_name = rcgen::DistinguishedName::new());
    folder
}

#[tokio::test]
async fn a_new_certificate_serves_new_connections_and_a_faulty_one_changes_nothing() {
    let folder = folder();
    let files = make(folder.path(), |_| {});
    let (port, tls, _bindings) = serve(&files).await;
    let url = format!("wss://localhost:{port}");
    let old = Trust::authorities(&files.cert).expect("trust");
    dial(&url, Ok(old.clone())).await.expect("a connection");
    make(folder.path(), |_| {});
    tls.read_again().expect("sound")();
    let new = Trust::authorities(&files.cert).expect("trust");
    dial(&url, Ok(new.clone())).await.expect("a connection");
    let error = dial(&url, Ok(old)).await.expect_err("another certificate");
    assert!(matches!(&error, DialError::Untrusted(_, Doubt::Authority)), "{error}");
    let other = folder_of_other();
    std::fs::copy(other.path().join("key.pem"), &files.key).expect("copied");
    let Err(faults) = tls.read_again() else { panic!("faulty files were taken") };
    assert!(faults.to_string().contains("does not fit the certificate"), "{faults}");
    dial(&url, Ok(new)).await.expect("a connection");
}

#[tokio::test]
async fn a_certificate_that_is_not_believed_says_why() {
    let ca = |params: &mut CertificateParams| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    };
    let expired = |params: &mut CertificateParams| params.not_after = date_time_ymd(2020, 2, 29);
    let early = |params: &mut CertificateParams| params.not_before = date_time_ymd(3000, 1, 1);
    type Change<'c> = &'c dyn Fn(&mut CertificateParams);
    for (change, host, words) in [
        (&expired as Change<'_>, "localhost", "expired on 2020-02-29"),
        (&early, "localhost", "is not valid before 3000-01-01"),
        (&ca, "localhost", "is that of an authority (CA:TRUE)"),
        (&|_| {}, "127.0.0.2", "not valid for name \"127.0.0.2\""),
    ] {
        let folder = folder();
        let files = make(folder.path(), change);
        let (port, _, _bindings) = serve(&files).await;
        // All of 127.0.0.0/8 is this machine, but the server listens on the first address only.
        let url = format!("wss://localhost:{port}");
        let error = match host {
            "localhost" => dial(&url, Trust::authorities(&files.cert)).await.map(|_| ()),
            host => {
                let tcp = TcpStream::connect(("127.0.0.1", port)).await.expect("connected");
                let trust = Trust::authorities(&files.cert).expect("trust");
                dial::secure(host, tcp, trust).await.map(|_| ())
            }
        };
        let error = error.expect_err(words);
        assert!(matches!(&error, DialError::Untrusted(_, Doubt::Certificate)), "{error}");
        assert!(error.to_string().contains(words), "{error} lacks {words}");
    }
}

#[tokio::test]
async fn a_chain_up_to_an_authority_is_believed() {
    let folder = folder();
    let mut params = CertificateParams::new([]).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = || KeyPair::generate().expect("a key");
    let root = CertifiedIssuer::self_signed(params.clone(), key()).expect("a root");
    params.distinguished_name.push(rcgen::DnType::CommonName, "between");
    let between = CertifiedIssuer::signed_by(params, key(), &root).expect("an authority");
    let own = CertificateParams::new(["localhost".to_owned()]).expect("parameters");
    let own_key = key();
    let own = own.signed_by(&own_key, &between).expect("a certificate");
    let files = save(folder.path(), &format!("{}{}", own.pem(), between.pem()), &own_key);
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, root.pem()).expect("written");
    let (port, _, _bindings) = serve(&files).await;
    let url = format!("wss://localhost:{port}");
    dial(&url, Trust::authorities(&ca)).await.expect("a connection");
    // The system's authorities, if it has any, did not sign it.
    dial(&url, Trust::system()).await.expect_err("refused");
}

#[tokio::test]
async fn who_speaks_plainly_to_a_tls_port_or_tls_to_a_plain_one_is_told() {
    let folder = folder();
    let files = make(folder.path(), |_| {});
    let (port, _, mut bindings) = serve(&files).await;
    let error = dial(&format!("ws://localhost:{port}"), Trust::any()).await.expect_err("refused");
    let words = "the server answered 400 Bad Request this port speaks TLS only: use wss://";
    assert!(error.to_string().starts_with(words), "{error}");
    let told = bindings.recv().await.expect("told").expect_err("no TLS");
    assert!(told.contains("use wss://"), "{told}");

    let plain = TcpListener::bind("127.0.0.1:0").await.expect("listen");
    let port = plain.local_addr().expect("an address").port();
    tokio::spawn(async move {
        let (mut tcp, _) = plain.accept().await.expect("accepted");
        let _ = tcp.read(&mut [0; 4096]).await;
        let _ = tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    });
    let error = dial(&format!("wss://localhost:{port}"), Trust::any()).await.expect_err("refused");
    assert_eq!(error.to_string(), "the server speaks no TLS at this port: use ws://");
}

#[tokio::test]
async fn noise_at_a_tls_port_gets_no_answer_and_ends() {
    let folder = folder();
    let files = make(folder.path(), |_| {});
    let (port, _, mut bindings) = serve(&files).await;
    for noise in [b"\x00\x01\x02".as_slice(), b"", b"\x16\x03\x01\x00\x05hello"] {
        let mut tcp = TcpStream::connect(("127.0.0.1", port)).await.expect("connected");
        tcp.write_all(noise).await.expect("sent");
        tcp.shutdown().await.expect("ended");
        bindings.recv().await.expect("told").expect_err("no handshake");
    }
}

#[test]
fn faulty_files_are_told_with_what_would_be_right() {
    let folder = folder();
    let files = make(folder.path(), |_| {});
    let (cert, key) = (&files.cert, &files.key);
    let locked = folder.path().join("locked.pem");
    let cut = folder.path().join("cut.pem");
    let text = std::fs::read_to_string(cert).expect("text");
    std::fs::write(
        &locked,
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    )
    .expect("written");
    std::fs::write(&cut, &text[..text.len() / 2]).expect("written");
    let odd = folder.path().join("odd.pem");
    std::fs::write(&odd, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        .expect("written");
    let odd_key = folder.path().join("odd-key.pem");
    std::fs::write(&odd_key, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
        .expect("written");
    let other = folder_of_other();
    let other_key = other.path().join("key.pem");
    let missing = folder.path().join("none.pem");
    for (cert, key, told) in [
        (&missing, key, [Some((What::Cert, "cannot read the certificate")), None]),
        (cert, &missing, [Some((What::Key, "cannot read the key")), None]),
        (
            &missing,
            &missing,
            [Some((What::Cert, "No such file")), Some((What::Key, "No such file"))],
        ),
        (
            key,
            cert,
            [
                Some((What::Cert, "holds no certificate in PEM form; such a file has lines")),
                Some((What::Key, "holds no private key in PEM form")),
            ],
        ),
        (cert, &other_key, [Some((What::Key, "does not fit the certificate")), None]),
        (cert, &locked, [Some((What::Key, "openssl pkey -in LOCKED -out OPEN")), None]),
        (&cut, key, [Some((What::Cert, "is not in PEM form: a section has no line")), None]),
        (&odd, key, [Some((What::Cert, "cannot be read")), None]),
        (cert, &odd_key, [Some((What::Key, "cannot be used")), None]),
        (&folder.path().to_owned(), key, [Some((What::Cert, "not a regular file")), None]),
    ] {
        let files = Files { cert: cert.clone(), key: key.clone() };
        let faults = files.read().expect_err("faulty").0;
        let told: Vec<_> = told.into_iter().flatten().collect();
        assert_eq!(faults.len(), told.len(), "{faults:?}");
        for (fault, (what, words)) in faults.iter().zip(told) {
            assert_eq!(fault.what, what, "{fault}");
            assert!(fault.to_string().contains(words), "{fault} lacks {words}");
        }
    }
    assert!(authorities(&missing).is_err() && authorities(key).is_err());
    assert!(authorities(&odd).is_err());
}

#[test]
fn a_certificate_that_ends_soon_or_serves_nobody_is_warned_of() {
    let folder = folder();
    let at = |date: &str| {
        let time: jiff::Timestamp = format!("{date}T12:00:00Z").parse().expect("a time");
        Duration::from_secs(time.as_second().unsigned_abs())
    };
    let warned = |date: &str, change: &dyn Fn(&mut CertificateParams)| {
        let read = make(folder.path(), change).read().expect("sound files");
        validity::warning(&read.cert[0], at(date)).unwrap_or_default()
    };
    let year = |params: &mut CertificateParams| {
        params.not_before = date_time_ymd(2030, 1, 1);
        params.not_after = date_time_ymd(2030, 12, 31);
    };
    assert_eq!(warned("2030-06-01", &year), "");
    assert_eq!(warned("2030-12-20", &year), "the certificate expires on 2030-12-31");
    assert_eq!(warned("2031-01-01", &year), "the certificate expired on 2030-12-31");
    assert_eq!(warned("2029-12-31", &year), "the certificate is not valid before 2030-01-01");
    let ca =
        |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    assert!(warned("2030-06-01", &ca).contains("CA:TRUE"));
}
