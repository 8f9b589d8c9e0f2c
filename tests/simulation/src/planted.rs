//! Bugs that are put into a run on purpose, to show that a run finds them. The rules themselves know nothing of it.

use keepboth_core::history::History;
use keepboth_core::name::branch_of;
use keepboth_core::version::Change;
use keepboth_core::view::View;

/// What is done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Planted {
    /// Nodes that were connected before compare nothing when they meet again.
    NoRepairOnReconnect,
    /// A store answers, and tells peers, before what it has is safe from a crash.
    AnswerBeforeSync,
    /// A delete wins over an update that was made at the same time.
    DeleteBeatsUpdate,
    /// Of the sides of a conflict the one with the latest timestamp wins.
    ClockPicksAWinner,
    /// An address is made from the version that is shown instead of the first of its branch.
    AddressesFromTheTip,
    /// Nobody notices a connection over which nothing comes any more.
    NoHeartbeat,
    /// What a peer sends is taken although its value does not have its hash.
    WrongHashAccepted,
    /// Whatever comes live is passed on to everybody, known or not.
    EndlessForwarding,
    /// A deleted key is dropped before all members have the delete.
    TombstoneForgottenEarly,
    /// A removed member stays connected.
    RemovedStaysConnected,
    /// Nobody is told that it was away, or put back to an old copy.
    AwayUnnoticed,
}

impl Planted {
    /// All of them.
    pub const ALL: [Planted; 11] = [
        Planted::NoRepairOnReconnect,
        Planted::AnswerBeforeSync,
        Planted::DeleteBeatsUpdate,
        Planted::ClockPicksAWinner,
        Planted::AddressesFromTheTip,
        Planted::NoHeartbeat,
        Planted::WrongHashAccepted,
        Planted::EndlessForwarding,
        Planted::TombstoneForgottenEarly,
        Planted::RemovedStaysConnected,
        Planted::AwayUnnoticed,
    ];

    /// The one with this name.
    pub fn named(name: &str) -> Option<Planted> {
        Planted::ALL.into_iter().find(|planted| format!("{planted:?}") == name)
    }

    /// True if it makes readers see something else.
    pub fn bends_views(self) -> bool {
        matches!(
            self,
            Planted::DeleteBeatsUpdate | Planted::ClockPicksAWinner | Planted::AddressesFromTheTip
        )
    }

    /// What readers see instead.
    pub fn bend(self, history: &History, mut view: View) -> View {
        let version = |id| history.find(id).map(|at| history.at(at));
        match self {
            Planted::DeleteBeatsUpdate => {
                let deleted = |id| version(id).is_some_and(|v| v.change == Change::Delete);
                if view.main_heads.iter().any(deleted) {
                    view.candidates.clear();
                }
            }
            Planted::ClockPicksAWinner => {
                let time = |id| version(id).map_or(0, |v| v.timestamp);
                let latest = view.candidates.iter().map(|o| (time(o.version()), *o.version()));
                if let Some((_, latest)) = latest.max() {
                    view.candidates.retain(|object| *object.version() == latest);
                }
            }
            Planted::AddressesFromTheTip => {
                for object in view.candidates.iter_mut().chain(&mut view.detached) {
                    object.branch = branch_of(object.version());
                }
            }
            _ => {}
        }
        view
    }
}
