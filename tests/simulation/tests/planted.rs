//! Bugs that are put in on purpose: of each, a run among the first tells what is wrong.

use keepboth_simulation::planted::Planted;
use keepboth_simulation::run::run;

/// Some of the first runs must fail with these words. That they do not without the bug is held elsewhere.
fn is_found(planted: Planted, first: u64, words: &str) {
    let tells = |seed| run(seed, Some(planted), false).is_err_and(|f| f.words.contains(words));
    assert!((0..first).any(tells), "{planted:?} makes none of {first} runs say {words:?}");
}

#[test]
fn no_repair_on_reconnect_is_found() {
    is_found(Planted::NoRepairOnReconnect, 50, "not whole after");
}

#[test]
fn an_answer_before_what_it_answers_for_is_durable_is_found() {
    is_found(Planted::AnswerBeforeSync, 60, "is lost");
}

#[test]
fn a_delete_that_beats_an_update_is_found() {
    is_found(Planted::DeleteBeatsUpdate, 50, "shows these values nowhere");
}

#[test]
fn a_clock_that_picks_a_winner_is_found() {
    is_found(Planted::ClockPicksAWinner, 50, "shows these values nowhere");
}

#[test]
fn addresses_made_from_the_tip_are_found() {
    is_found(Planted::AddressesFromTheTip, 50, "renamed");
}

#[test]
fn a_missing_heartbeat_is_found() {
    is_found(Planted::NoHeartbeat, 50, "not whole after");
}

#[test]
fn a_wrong_hash_that_is_accepted_is_found() {
    is_found(Planted::WrongHashAccepted, 50, "its value does not have its data hash");
}

#[test]
fn forwarding_without_end_is_found() {
    is_found(Planted::EndlessForwarding, 20, "without end");
}

#[test]
fn a_tombstone_that_is_forgotten_early_is_found() {
    is_found(Planted::TombstoneForgottenEarly, 150, "is lost");
}

#[test]
fn a_removed_member_that_stays_connected_is_found() {
    is_found(Planted::RemovedStaysConnected, 100, "are linked, the members are");
}

#[test]
fn a_node_that_is_not_told_that_it_was_away_is_found() {
    is_found(Planted::AwayUnnoticed, 200, "came back without it");
}

#[test]
fn a_failure_has_the_same_words_and_trace_every_time() {
    let planted = Some(Planted::DeleteBeatsUpdate);
    let seed = (0..50).find(|seed| run(*seed, planted, false).is_err()).expect("a run that fails");
    let again = || *run(seed, planted, true).expect_err("it fails again");
    let (one, other) = (again(), again());
    assert_eq!(one.to_string(), other.to_string(), "seed {seed}");
    assert!(!one.trace.is_empty(), "seed {seed}");
    assert_eq!(one.trace, other.trace, "seed {seed}");
}
