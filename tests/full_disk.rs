//! A disk that is full: writes are refused with the reason, what was answered is read, a server that is started there
//! starts, and all goes on when there is room. One that is full for the log alone costs its lines.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value as Json, json};

use crate::harness::{Client, Server};

const NOTES: &str = "[namespaces.notes]\n";

/// A disk in memory; gone when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    #[expect(clippy::print_stderr, reason = "whoever runs the tests is to know")]
    /// Puts a disk of so many MiB on a folder; None, with a word on stderr, where this machine does not allow it.
    fn on(folder: &Path, mib: u32) -> Option<SmallDisk> {
        let size = format!("size={mib}m");
        match mount(&["-t", "tmpfs", "-o", &size, "none"], folder) {
            Ok(()) => Some(SmallDisk(folder.to_owned())),
            Err(why) => {
                eprintln!("skipped: no small disk here: {why}");
                None
            }
        }
    }

    /// Makes it larger.
    fn grow(&self, mib: u32) {
        mount(&["-o", &format!("remount,size={mib}m")], &self.0).expect("a larger disk");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The server may be about to end.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn mount(words: &[&str], folder: &Path) -> Result<(), String> {
    let output = Command::new("mount").args(words).arg(folder).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("mount: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

fn put(n: usize) -> Json {
    json!({"put": {"ns": "notes", "key": format!("k{n}"), "value": "x".repeat(60_000)}})
}

/// All that was answered is read.
async fn all_there(client: &mut Client, answered: usize) {
    for n in 0..answered {
        let found = client.ok(json!({"get": {"ns": "notes", "key": format!("k{n}")}})).await;
        assert_eq!(found["value"].as_str().map(str::len), Some(60_000), "{n} of {answered}");
    }
}

fn writable(is: u8) -> String {
    format!("keepboth_writable{{namespace=\"notes\"}} {is}\n")
}

async fn warnings(client: &mut Client) -> Json {
    let status = client.ok(json!({"status": {"ns": "notes"}})).await;
    status["namespaces"][0]["warnings"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_writes_loses_nothing_and_takes_writes_when_there_is_room() {
    let mut disk = None;
    let mut server = Server::start_with(NOTES, |folder| {
        let data = folder.join("data");
        std::fs::create_dir(&data).expect("a folder");
        disk = SmallDisk::on(&data, 64);
    })
    .await;
    let Some(disk) = disk else { return };
    let mut client = server.client().await;
    let mut answered = 0;
    let error = loop {
        assert!(answered < 2_000, "more than the disk has was answered");
        let id = client.ask(put(answered)).await;
        let answer = client.answer(id).await;
        match answer["error"].is_null() {
            true => answered += 1,
            false => break answer["error"].clone(),
        }
    };
    assert!(answered > 100, "only {answered} puts had room");
    assert_eq!(error["code"], "store_failed", "{error}");
    assert!(error["message"].as_str().expect("words").starts_with("the disk has "), "{error}");
    all_there(&mut client, answered).await;
    let warned = warnings(&mut client).await;
    assert!(warned[0].as_str().expect("a warning").starts_with("store: the disk has "), "{warned}");
    assert!(server.metrics().await.contains(&writable(0)));

    server.kill().await;
    server.go_on().await;
    let mut client = server.client().await;
    all_there(&mut client, answered).await;

    disk.grow(256);
    for n in answered..answered + 10 {
        client.ok(put(n)).await;
    }
    all_there(&mut client, answered + 10).await;
    assert_eq!(warnings(&mut client).await, Json::Null);
    assert!(server.metrics().await.contains(&writable(1)));
    assert_eq!(server.stop().await, Some(0));
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_log_has_no_room_serves_as_before() {
    let server = Server::start_with(NOTES, |folder| {
        std::os::unix::fs::symlink("/dev/full", folder.join("log")).expect("a link");
    });
    let mut server = server.await;
    let mut client = server.client().await;
    client.ok(put(0)).await;
    // The log tells of it.
    client.send_text("no request").await;
    let refused = client.frame().await;
    assert_eq!(refused["error"]["code"], "bad_frame", "{refused}");
    all_there(&mut client, 1).await;
    assert_eq!(server.stop().await, Some(0));
}
