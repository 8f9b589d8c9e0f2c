//! The hooks that scripts can have, and for which writes they run.

use std::time::Duration;

/// The hooks that a script can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// Before a put.
    OnPut,
    /// Before a delete.
    OnDelete,
    /// At a conflict.
    OnConflict,
    /// After a put.
    AfterPut,
    /// After a delete.
    AfterDelete,
    /// After a change of the store's state.
    OnState,
    /// At times of its own; registered by `kb.every`.
    Timer,
}

impl Hook {
    /// How many there are.
    pub const COUNT: usize = Hook::ALL.len() + 1;

    /// The hooks of events, which a script registers on its namespace.
    pub const ALL: [Hook; 6] = [
        Hook::OnPut,
        Hook::OnDelete,
        Hook::OnConflict,
        Hook::AfterPut,
        Hook::AfterDelete,
        Hook::OnState,
    ];

    /// The name by which a script registers it.
    pub fn as_str(self) -> &'static str {
        ["on_put", "on_delete", "on_conflict", "after_put", "after_delete", "on_state", "every"]
            [self as usize]
    }

    /// The type of its handler in Luau.
    pub fn handler(self) -> &'static str {
        match self {
            Hook::OnPut => "(ev: PutEvent) -> Value?",
            Hook::OnDelete => "(ev: DeleteEvent) -> ()",
            Hook::OnConflict => "(c: Conflict) -> Value?",
            Hook::AfterPut => "(ev: AfterPutEvent) -> ()",
            Hook::AfterDelete => "(ev: AfterDeleteEvent) -> ()",
            Hook::OnState => "(ev: StateEvent) -> ()",
            Hook::Timer => "(ev: TimerEvent) -> ()",
        }
    }

    /// When it is called, in a sentence.
    pub fn about(self) -> &'static str {
        match self {
            Hook::OnPut => {
                "Before a put that is made here: change ev.value, return another one, or kb.reject."
            }
            Hook::OnDelete => "Before a delete that is made here: kb.reject refuses it.",
            Hook::OnConflict => {
                "Once for each set of sides: a value merges them, nil keeps all. Sees its argument alone."
            }
            Hook::AfterPut => "After a put is durable; it cannot refuse.",
            Hook::AfterDelete => "After a delete is durable; it cannot refuse.",
            Hook::OnState => "After the store went from one state to another.",
            Hook::Timer => "At times of its own.",
        }
    }

    /// Whether it may be declared for writes that peers made.
    pub fn may_follow_peers(self) -> bool {
        matches!(self, Hook::AfterPut | Hook::AfterDelete)
    }
}

/// The writes for which an after hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum On {
    /// Those made on this node.
    #[default]
    Local,
    /// Those that peers sent.
    Replicated,
    /// All.
    Both,
}

impl On {
    /// All of them.
    pub const ALL: [On; 3] = [On::Local, On::Replicated, On::Both];

    /// As a script writes it.
    pub fn as_str(self) -> &'static str {
        ["local", "replicated", "both"][self as usize]
    }

    /// Whether a write from a peer, or one made here, is meant.
    pub fn takes(self, replicated: bool) -> bool {
        self == On::Both || (self == On::Replicated) == replicated
    }
}

/// A hook or timer of a script, as it was declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// Which hook.
    pub hook: Hook,
    /// The writes for which it runs.
    pub on: On,
    /// The line of its script where it is registered; 0 if that is unknown.
    pub line: u32,
    /// When a timer runs; None for the hooks of events.
    pub timer: Option<Every>,
}

impl Declared {
    /// On which node and for which writes it runs, in words.
    pub fn runs(&self) -> String {
        if let Some(Every { text, everywhere, .. }) = &self.timer {
            let on = if *everywhere { "every node" } else { "the elected node" };
            return format!("every {text}, on {on}");
        }
        let words = match (self.hook, self.on) {
            (Hook::OnPut, _) => "before a put that is made on this node",
            (Hook::OnDelete, _) => "before a delete that is made on this node",
            (Hook::OnConflict, _) => "on each node that learns of a conflict",
            (Hook::OnState, _) => "when the state of this node's store changes",
            (_, On::Local) => "after writes that are made on this node",
            (_, On::Replicated) => "after writes that peers send live",
            (_, On::Both) => "after writes of this node and those that peers send live",
        };
        words.to_owned()
    }
}

/// When a timer runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Every {
    /// The time between two calls.
    pub period: Duration,
    /// The same as the script wrote it.
    pub text: String,
    /// Whether it runs on every node, or on the elected one alone.
    pub everywhere: bool,
}
