//! Every block of README.md does what it says, and what the page names is there.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value as Json;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

use crate::harness::{Client, PATIENCE, program, project};

/// Where the page's first server listens.
const FIRST: &str = "127.0.0.1:7400";

#[tokio::test(flavor = "multi_thread")]
async fn the_first_five_minutes_go_as_the_page_says() {
    follow("The first five minutes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_conflict_is_seen_and_resolved_as_the_page_says() {
    follow("A conflict, seen and resolved").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mesh_is_joined_and_written_to_as_the_page_says() {
    follow("A mesh of nodes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tokens_let_in_and_are_revoked_as_the_page_says() {
    follow("Tokens").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hook_and_the_schema_refuse_as_the_page_says() {
    follow("A hook and a schema").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_main_of_a_server_of_ones_own_is_the_one_that_a_test_builds() {
    follow("A plugin in Rust").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mistakes_are_told_as_the_page_says() {
    follow("Deploying").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn indexes_and_webhooks_do_what_the_page_says() {
    follow("Indexes and webhooks").await;
}

#[test]
fn no_block_is_left_out() {
    let followed = [
        "Start",
        "The first five minutes",
        "A conflict, seen and resolved",
        "A mesh of nodes",
        "Tokens",
        "A hook and a schema",
        "A plugin in Rust",
        "Indexes and webhooks",
        "Deploying",
    ];
    for block in blocks(&page()) {
        // The main of a server with plugins of its own is the one that a test builds and starts.
        let own = block.info == "rust" && {
            let main = read(&project().join("tests/fixtures/own-plugin/src/main.rs"));
            main.contains(&block.text)
        };
        let run = own || followed.contains(&block.section.as_str());
        assert!(run, "nobody runs line {}", block.line);
    }
}

/// The program of the page is the one that `own_plugin` builds and starts.
#[test]
fn the_main_of_the_page_is_that_of_the_server_with_a_plugin_of_its_own() {
    let main = read(&project().join("tests/fixtures/own-plugin/src/main.rs"));
    let blocks = blocks(&page());
    let shown = blocks.iter().find(|block| block.section == "A plugin in Rust").expect("a block");
    assert!(main.ends_with(&shown.text), "{main}");
}

/// Both the command of the page and the faster one that it names run all members of the workspace.
#[test]
fn the_test_command_runs_what_the_checks_run() {
    let checks = read(&project().join(".ci/run"));
    for words in ["cargo nextest run --workspace", "apt-get install -y", "g++"] {
        let both = [checks.contains(words.trim_end_matches(" -y")), page().contains(words)];
        assert_eq!(both, [true, true], ".ci/run and README.md with {words:?}");
    }
    let manifest: toml::Table = read(&project().join("Cargo.toml")).parse().expect("a manifest");
    let rust = manifest["workspace"]["package"]["rust-version"].as_str().expect("a version");
    assert!(page().contains(&format!("Rust {rust}")), "README.md does not ask for Rust {rust}");
}

/// `cargo run` takes the program without being told which.
#[test]
fn cargo_run_runs_the_server() {
    let manifest: toml::Table =
        read(&project().join("server/node/Cargo.toml")).parse().expect("a manifest");
    assert_eq!(manifest["package"].get("default-run"), Some(&"keepboth".into()));
}

#[test]
fn every_command_that_the_page_names_is_there() {
    let page = page();
    let named = page.split("`keepboth ").skip(1).filter_map(|rest| rest.split(['`', ' ']).next());
    let named: Vec<&str> = named.collect();
    assert!(!named.is_empty());
    for command in named {
        let help = std::process::Command::new(program()).args([command, "--help"]).output();
        assert!(help.expect("the program").status.success(), "keepboth {command} is not there");
    }
}

#[test]
fn every_file_that_the_page_links_to_is_there() {
    let page = page();
    let links = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let files: Vec<&str> = links.filter(|link| !link.starts_with("http")).collect();
    assert!(!files.is_empty());
    for file in files {
        assert!(project().join(file).exists(), "{file} is not there");
    }
}

/// Their hashes are made up, so some are refused; none is misunderstood.
#[tokio::test]
async fn the_server_understands_every_request_of_the_protocol_page() {
    let reader = Reader::start().await;
    let mut client = Client::connect(&reader.url(FIRST), None).await;
    let text = read(&project().join("PROTOCOL.md"));
    let examples = fences(&text).into_iter().filter(|block| block.info == "json");
    let frames =
        examples.flat_map(|block| block.text.lines().map(str::to_owned).collect::<Vec<_>>());
    let mut asked = 0;
    for text in frames {
        let frame: Json = serde_json::from_str(&text).expect(&text);
        let members = frame.as_object().expect("an object");
        if !members.contains_key("id")
            || members.contains_key("ok")
            || members.contains_key("error")
        {
            continue;
        }
        client.send_text(&text).await;
        let answer = client.answer(frame["id"].as_u64().expect("an id")).await;
        let code = answer["error"]["code"].as_str().unwrap_or("none");
        let misunderstood =
            ["bad_frame", "bad_request", "unknown_method", "bad_value", "unknown_namespace"];
        assert!(!misunderstood.contains(&code), "{text}\n{answer}");
        asked += 1;
    }
    assert!(asked > 15, "only {asked} requests in PROTOCOL.md");
}

/// A fenced block.
struct Block {
    section: String,
    /// The word after the fence: the language.
    info: String,
    /// The file that it is to be written to, if the fence names one.
    file: Option<String>,
    text: String,
    line: usize,
}

fn page() -> String {
    read(&project().join("README.md"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn blocks(page: &str) -> Vec<Block> {
    let blocks = fences(page);
    assert!(blocks.len() > 10, "README.md has only {} blocks", blocks.len());
    blocks
}

fn fences(text: &str) -> Vec<Block> {
    let (mut blocks, mut open, mut section) = (Vec::new(), None::<Block>, String::new());
    for (at, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), open.as_mut()) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(info), None) => {
                let mut words = info.split_whitespace();
                let info = words.next().unwrap_or_default().to_owned();
                let (file, text) = (words.next().map(str::to_owned), String::new());
                open = Some(Block { section: section.clone(), info, file, text, line: at + 1 });
            }
            (None, Some(block)) => block.text += &format!("{line}\n"),
            (None, None) => {
                if let Some(title) = line.strip_prefix("## ") {
                    section = title.to_owned();
                }
            }
        }
    }
    blocks
}

/// Starts the server as the page says, and does what the section says.
async fn follow(section: &str) {
    let page = page();
    let mut reader = Reader::start().await;
    let blocks: Vec<Block> = blocks(&page).into_iter().filter(|b| b.section == section).collect();
    assert!(!blocks.is_empty(), "README.md has no section {section:?} with blocks");
    for block in blocks {
        reader.run(&block).await;
    }
}

/// Somebody who reads the page in a folder with the files of the project that it uses.
struct Reader {
    folder: TempDir,
    /// The page's addresses, and where the servers really listen.
    moved: BTreeMap<String, String>,
    /// The page's hashes, and those that came out.
    hashes: BTreeMap<String, String>,
    variables: BTreeMap<String, String>,
    jobs: BTreeMap<usize, Child>,
    /// The server of the first terminal.
    _first: Vec<Child>,
}

impl Reader {
    /// Does what the section "Start" says.
    async fn start() -> Reader {
        let mut reader = Reader {
            folder: prepared(),
            moved: BTreeMap::new(),
            hashes: BTreeMap::new(),
            variables: BTreeMap::new(),
            jobs: BTreeMap::new(),
            _first: Vec::new(),
        };
        for block in blocks(&page()).into_iter().filter(|block| block.section == "Start") {
            reader.run(&block).await;
        }
        assert!(reader.moved.contains_key(FIRST), "the section \"Start\" starts no server");
        reader
    }

    async fn run(&mut self, block: &Block) {
        let text = self.here(&block.text);
        if let Some(file) = &block.file {
            std::fs::write(self.folder.path().join(file), &text).expect("a file");
        }
        match (block.info.as_str(), &block.file) {
            ("sh", None) => self.shell(&block.text).await,
            ("console", None) => self.console(block).await,
            ("jsonl", None) => talk(&self.url(FIRST), &text).await,
            ("python", Some(file)) => self.script(python().await, file, &text).await,
            ("js", Some(file)) => self.script(node().await, file, &text).await,
            // It is that of the crate that is built and started by a test of its own.
            ("rust", None) => {
                let main = read(&project().join("tests/fixtures/own-plugin/src/main.rs"));
                assert!(main.ends_with(&block.text), "{}", block.text);
            }
            // A command that follows uses the file.
            ("toml" | "luau" | "json", Some(_)) => {}
            _ => panic!("nothing runs the block {:?} of line {}", block.info, block.line),
        }
    }

    /// The text with the addresses and hashes of this run.
    fn here(&self, text: &str) -> String {
        let known = self.moved.iter().chain(&self.hashes);
        known.fold(text.to_owned(), |text, (page, here)| match page.len() {
            8 => text,
            _ => text.replace(page, here),
        })
    }

    fn url(&self, address: &str) -> String {
        format!("ws://{}", self.moved[address])
    }

    /// Commands that install, build and test are not run from within a test: what they name is there.
    async fn shell(&mut self, text: &str) {
        for line in text.lines() {
            match line {
                "cargo test --workspace" => {}
                "export PATH=\"$PWD/target/release:$PATH\"" => {}
                _ => match line.strip_prefix("cargo run --release -- ") {
                    Some(arguments) => {
                        let server = self.serve(arguments).await;
                        self._first.push(server);
                    }
                    None => panic!("nothing runs {line:?}"),
                },
            }
        }
    }

    async fn console(&mut self, block: &Block) {
        for command in block.text.split("\n$ ") {
            let command = command.strip_prefix("$ ").unwrap_or(command);
            let (command, expected) = command.split_once('\n').unwrap_or((command, ""));
            if let Some(assignments) = command.strip_prefix("export ") {
                let pairs = assignments.split(' ').filter_map(|pair| pair.split_once('='));
                self.variables
                    .extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
            } else if let Some(jobs) = command.strip_prefix("kill ") {
                self.stop(jobs).await;
            } else if let Some(background) = command.strip_suffix(" &") {
                let (command, _log) = background.split_once(" &> ").expect("a log");
                let command = command.strip_prefix("keepboth ").expect("a server");
                let server = self.serve(command).await;
                let number = self.jobs.keys().last().map_or(1, |last| last + 1);
                self.jobs.insert(number, server);
            } else {
                self.command(command, expected.trim_end()).await;
            }
        }
    }

    /// Runs a server on a free port instead of the page's.
    async fn serve(&mut self, arguments: &str) -> Child {
        let arguments = self.here(&self.expanded(arguments));
        let mut words: Vec<&str> = arguments.split(' ').collect();
        let listen = words.iter().position(|word| *word == "--listen");
        let address =
            listen.map_or(FIRST, |at| words.splice(at..at + 2, []).nth(1).expect("an address"));
        // An earlier server of this address has another port by now.
        let earlier =
            self.moved.iter().find(|(_, here)| *here == address).map(|(page, _)| page.clone());
        let address = earlier.unwrap_or_else(|| address.to_owned());
        let log = std::fs::File::create(self.folder.path().join(format!("log{}", &address[10..])));
        let mut child = self
            .program()
            .args(words)
            .args(["--json", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(log.expect("a log"))
            .spawn()
            .expect("a server");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
        let line =
            timeout(PATIENCE, lines.next_line()).await.expect("a start in time").expect("a line");
        let line: Json = serde_json::from_str(&line.expect("a server that starts")).expect("JSON");
        self.moved.insert(address, line["listening"].as_str().expect("an address").to_owned());
        child
    }

    /// Stops the jobs that are named before the `wait`.
    async fn stop(&mut self, jobs: &str) {
        let (jobs, wait) = jobs.split_once("; ").expect("a wait");
        assert!(wait.starts_with("wait"), "{wait}");
        for job in jobs.split(' ') {
            let number = job.strip_prefix('%').and_then(|number| number.parse().ok());
            let mut child = self.jobs.remove(&number.expect("a job")).expect("a running job");
            let id = child.id().expect("a running server");
            Command::new("kill").arg(id.to_string()).status().await.expect("kill");
            let status =
                timeout(PATIENCE, child.wait()).await.expect("an end in time").expect("a status");
            assert!(status.success(), "{job} ended with {status}");
        }
    }

    /// Runs a command until it says what the page says. What only reads may be ahead of the exchange
    /// between the nodes, and is asked again.
    async fn command(&mut self, command: &str, expected: &str) {
        let reads = ["get", "ls", "show", "status", "acks"];
        let again = command.split(' ').any(|word| reads.contains(&word));
        let (shown, deadline) = (expected, Instant::now() + PATIENCE);
        loop {
            let output = self.program_of(command).output();
            let output = timeout(PATIENCE, output).await.expect("an end in time").expect("bash");
            let said = String::from_utf8(output.stdout).expect("text");
            let mut hashes = self.hashes.clone();
            let expected = self.here(shown);
            if same(expected.trim_end(), said.trim_end(), &mut hashes) {
                self.hashes = hashes;
                return;
            }
            let wrong = !again || Instant::now() > deadline;
            assert!(!wrong, "$ {command}\nthe page says:\n{shown}\nit said:\n{said}");
        }
    }

    fn expanded(&self, text: &str) -> String {
        let all = self.variables.iter();
        all.fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${name}"), value))
    }

    /// A line of the shell, with stderr among stdout as on a terminal.
    fn program_of(&self, command: &str) -> Command {
        let mut shell = self.plain("bash");
        shell.arg("-c").arg(format!("exec 2>&1; {}", self.here(&self.expanded(command))));
        shell.env("KEEPBOTH_URL", self.url(FIRST));
        let path = std::env::var("PATH").unwrap_or_default();
        shell.env("PATH", format!("{}:{path}", self.folder.path().join("bin").display()));
        shell
    }

    fn program(&self) -> Command {
        self.plain(program())
    }

    fn plain(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder.path()).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Runs a script, if there is something to run it with; it must print what it says that it prints.
    async fn script(&self, runner: Result<Vec<&str>, &str>, file: &str, text: &str) {
        let runner = match runner {
            Ok(runner) => runner,
            Err(reason) => return skipped(file, reason),
        };
        let output = self.plain(runner[0]).args(&runner[1..]).arg(file).output();
        let Output { status, stdout, stderr } =
            timeout(PATIENCE, output).await.expect("an end in time").expect("a script");
        let (said, complained) =
            (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert!(status.success(), "{file}: {said}{complained}");
        let promised = text.lines().filter_map(|line| line.split_once(" prints: "));
        let promised: Vec<&str> = promised.map(|(_, promise)| promise).collect();
        assert!(!promised.is_empty(), "{file} does not say what it prints");
        let promised = promised.join("\n");
        assert!(same(&promised, said.trim_end(), &mut BTreeMap::new()), "{file} prints\n{said}");
    }
}

/// A folder with what the project brings along, and the program on its path.
fn prepared() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let copy = |name: &str| {
        std::fs::copy(project().join(name), folder.path().join(name)).expect("a copy");
    };
    copy("config.example.toml");
    for part in ["scripts", "schemas"] {
        std::fs::create_dir(folder.path().join(part)).expect("a folder");
        let files = std::fs::read_dir(project().join(part)).expect("files").flatten();
        for file in files.map(|file| file.path()).filter(|file| file.is_file()) {
            copy(&format!("{part}/{}", file.file_name().expect("a name").display()));
        }
    }
    std::fs::create_dir(folder.path().join("bin")).expect("a folder");
    std::os::unix::fs::symlink(program(), folder.path().join("bin/keepboth")).expect("a link");
    folder
}

/// Sends the frames after `>` and receives those after `<`. Frames that come between two sent ones may
/// come in any order, and changes of state are nobody's here.
async fn talk(url: &str, text: &str) {
    let mut client = Client::connect(url, None).await;
    let mut expected: Vec<Json> = Vec::new();
    for line in text.lines().chain(["> end"]) {
        if let Some(answer) = line.strip_prefix("< ") {
            let answer = answer.replace(",…}", "}");
            expected.push(serde_json::from_str(&answer).expect(line));
            continue;
        }
        while !expected.is_empty() {
            let frame = client.frame().await;
            if frame["event"]["type"] == "state" {
                continue;
            }
            let at = expected.iter().position(|expected| contains(&frame, expected));
            expected.remove(at.unwrap_or_else(|| panic!("the page has no {frame}")));
        }
        match line.strip_prefix("> ").expect("a frame to send or to receive") {
            "end" => return,
            frame => client.send_text(frame).await,
        }
    }
}

/// True if everything that is expected is there; `…` is any text, and further members may be there.
fn contains(frame: &Json, expected: &Json) -> bool {
    match (frame, expected) {
        (Json::Object(frame), Json::Object(expected)) => expected
            .iter()
            .all(|(name, part)| frame.get(name).is_some_and(|frame| contains(frame, part))),
        (Json::String(text), Json::String(pattern)) => line_is(pattern, text, &mut BTreeMap::new()),
        _ => frame == expected,
    }
}

/// True if the lines are those of the page. Lines with whole addresses stand in the order of hashes,
/// which is another one each time.
fn same(page: &str, said: &str, hashes: &mut BTreeMap<String, String>) -> bool {
    let mut left: Vec<&str> = said.lines().collect();
    let any_order = page.split_whitespace().any(|word| word.len() == 64 && is_hex(word));
    for expected in page.lines() {
        let reach = if any_order { left.len() } else { left.len().min(1) };
        let found = (0..reach).find(|at| line_is(expected, left[*at], hashes));
        match found {
            Some(at) => left.remove(at),
            None => return false,
        };
    }
    left.is_empty()
}

/// True if a line is that of the page: `…` is any text, eight hexadecimal digits before it or 64 alone
/// are a hash, the same wherever they stand. The width of columns does not count.
fn line_is(page: &str, said: &str, hashes: &mut BTreeMap<String, String>) -> bool {
    let spaced = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (page, said) = (spaced(page), spaced(said));
    let mut tried = hashes.clone();
    let fits = rest_is(&page, &said, &mut tried);
    if fits {
        *hashes = tried;
    }
    fits
}

fn rest_is(page: &str, said: &str, hashes: &mut BTreeMap<String, String>) -> bool {
    let digits = |text: &str| text.bytes().take_while(|b| is_hex_digit(*b)).count();
    let run = digits(page);
    if run == 64 || (run == 8 && page[8..].starts_with('…')) {
        let (name, hash) = (&page[..run], &said[..digits(said)]);
        let rest = page[run..].strip_prefix('…').unwrap_or(&page[run..]);
        let known = hashes.entry(name.to_owned()).or_insert_with(|| hash.to_owned());
        return hash.len() >= 32 && known == hash && rest_is(rest, &said[hash.len()..], hashes);
    }
    if run > 0 {
        return said.starts_with(&page[..run]) && rest_is(&page[run..], &said[run..], hashes);
    }
    if let Some(rest) = page.strip_prefix('…') {
        let ends = said.char_indices().map(|(at, _)| at).chain([said.len()]);
        return ends.into_iter().any(|end| rest_is(rest, &said[end..], &mut hashes.clone()));
    }
    match (page.chars().next(), said.chars().next()) {
        (None, None) => true,
        (Some(a), Some(b)) if a == b => {
            rest_is(&page[a.len_utf8()..], &said[b.len_utf8()..], hashes)
        }
        _ => false,
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(is_hex_digit)
}

fn is_hex_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// Python with the package that the page asks for.
async fn python() -> Result<Vec<&'static str>, &'static str> {
    match runs("python3", &["-c", "import websockets.sync.client"]).await {
        true => Ok(vec!["python3"]),
        false => Err("python3 with the package websockets is not there"),
    }
}

/// Node with a WebSocket of its own.
async fn node() -> Result<Vec<&'static str>, &'static str> {
    for runner in [vec!["node"], vec!["node", "--experimental-websocket"]] {
        let test = ["--eval", "process.exit(typeof WebSocket === 'function' ? 0 : 1)"];
        if runs(runner[0], &[&runner[1..], &test].concat()).await {
            return Ok(runner);
        }
    }
    Err("node with a WebSocket is not there")
}

/// True if the program is there and ends well.
async fn runs(program: &str, arguments: &[&str]) -> bool {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().await;
    output.is_ok_and(|output| output.status.success())
}

/// Says past the test's own capture what was not run.
fn skipped(file: &str, reason: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {file} of README.md, for {reason}");
}
