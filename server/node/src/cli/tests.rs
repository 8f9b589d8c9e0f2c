//! Words on the command line, and what is made of them.

use clap::{CommandFactory, Parser};

use super::{Cli, Command};

fn parse(words: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("keepboth").chain(words.split(' ')))
}

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn commands_are_understood() {
    let hex = "ab".repeat(32);
    for words in [
        "get notes/a",
        "get notes/a/b --json",
        &format!("get notes/{hex} --version {hex}"),
        "put notes/a 5",
        "put notes/a -5 --create",
        "put notes/a - --bytes",
        "put notes/a --file f --string",
        &format!("put notes/a {{}} --if-version {hex}"),
        "--url ws://h:1 rm notes/a",
        "ls notes",
        "ls notes/users/ --values --limit 5",
        "watch notes --initial --cursor c --follow --no-values",
        "history notes/a --limit 1",
        &format!("revert notes/a {hex}"),
        "conflict ls notes",
        "conflict show notes/a",
        &format!("conflict resolve notes/a --side {hex}"),
        "conflict resolve notes/a --value -5",
        "trash ls notes",
        &format!("trash restore notes/a --version {hex}"),
        "status",
        "status notes --json",
        "ns ls",
        "ns info notes --json",
        "ns add notes",
        "ns rm notes --yes",
        "reload --json",
        "put notes/a 5 --wait all --wait-for 10s",
        "rm notes/a --wait 2",
        &format!("conflict resolve notes/a --side {hex} --wait 1"),
        &format!("revert notes/a {hex} --wait all"),
        "trash restore notes/a --wait all",
        "trash purge notes/a --yes",
        "peer ls --json",
        "peer invite --namespaces notes,mine --expires 1h",
        &format!("peer add {hex} --namespaces notes"),
        &format!("peer rm {hex} --yes"),
        &format!("acks notes/a --version {hex} --within 2s"),
        "quarantine ls notes",
        &format!("quarantine admit notes/a {hex}"),
        &format!("quarantine discard notes/a {hex} --yes"),
        "quarantine retry notes",
        "schema check a.json b.json --schemas .",
        "schema test a.json",
        "schema infer notes/note/",
        "schema report notes",
        "query notes by_author --eq ana --limit 5 --after c --values --wait 0s",
        "query notes by_year --from 1 --to 2",
        "query notes by_year --prefix a",
        "plugin notes webhook dead",
        "plugin notes webhook retry target=crm id=5",
        "hook new titles --scripts s",
        "hook check a.luau b.luau --namespace n --options {}",
        "hook test",
        "hook test a.luau b_test.luau --tap --junit x.xml --update",
        "hook run a.luau on_put notes/k -5 --old 1 --actor ada",
        "hook run a.luau every notes 1h",
        "hook replay a.luau notes --against b.luau --last 5",
        "hook bench a.luau --calls 10 --value 5",
        "bench --quick --only puts,scale --plots docs --seconds 0.5 --objects 1000 --dir /srv",
        "bench peers --json --quick --only puts,latency --dir /srv",
        "hook log",
        "hook log -f notes -n 5 --json",
        "import notes",
        "import notes - --continue-on-error",
        "export notes/users/",
        "errors",
        "errors not_found",
        "check --config f",
        "serve --config f --listen 127.0.0.1:0 --data d --peer ws://a --peer ws://b",
    ] {
        if let Err(error) = parse(words) {
            panic!("{words}: {error}");
        }
    }
}

#[test]
fn wrong_words_are_a_matter_of_usage() {
    for words in [
        "get notes",
        "get No/a",
        "get notes/a --version abc",
        "put notes/a",
        "put notes/a 5 --file f",
        "put notes/a 5 --string --bytes",
        "put notes/a 5 --create --if-version 00",
        "ls notes --limit 0",
        "ns add No",
        "ns rm",
        "put notes/a 5 --wait 0",
        "put notes/a 5 --wait-for 5s",
        "put notes/a 5 --wait all --wait-for 5",
        "peer invite --namespaces No",
        "peer invite --expires soon",
        "peer add abc",
        "peer rm",
        "acks notes",
        "quarantine admit notes/a",
        "quarantine discard notes/a xyz",
        "schema check",
        "schema infer",
        "query notes",
        "query notes by --eq 1 --from 2",
        "query notes by --eq [1]",
        "query notes by --prefix a --to b",
        "plugin notes webhook",
        "plugin notes webhook dead target",
        "hook new ../a",
        "hook check",
        "hook check a.luau --options [1]",
        "hook run a.luau put notes/k 5",
        "hook run a.luau on_put",
        "bench --only sets",
        "bench --seconds 0",
        "bench --objects 5",
        "bench --quick peers",
        "bench peers --plots docs",
        "hook log --last 0",
        "conflict resolve notes/a",
        "conflict resolve notes/a --value 5 --file f",
        "frobnicate",
    ] {
        let error = parse(words).expect_err(words);
        assert_eq!(error.exit_code(), 2, "{words}");
    }
}

#[test]
fn flags_may_stand_before_and_after_the_command() {
    for words in ["--url ws://h:1 --json status", "status --url ws://h:1 --json"] {
        let cli = parse(words).expect(words);
        assert!(cli.json && cli.url == "ws://h:1", "{words}");
        assert!(matches!(cli.command, Command::Status(_)));
    }
}

#[test]
fn help_names_the_exit_codes() {
    let help = Cli::command().render_long_help().to_string();
    assert!(help.contains("78 configuration") && help.contains("keepboth put default/hello"));
}
