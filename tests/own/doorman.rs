//! A gate that knows clients by tokens in its settings.

use std::collections::BTreeMap;
use std::sync::Arc;

use keepboth_core::name::Namespace;
use keepboth_core::plugin::{
    Arrival, BuiltGate, Credentials, Factory, Gate, Grant, Grants, Host, Identity, Make, Pass,
    Right, Rights, ServerSite, SettingsError,
};
use keepboth_core::policy::Fingerprint;
use keepboth_core::refusal::{Code, Refusal};
use serde_json::{Value as Json, json};

/// `use = "doorman"`. `tokens` gives each token its grants, a list of `[NAMESPACE, PREFIX, RIGHT…]`;
/// the token `` is for who has none. `banned` is an origin that may not connect. `fails` says that it
/// cannot start.
pub const FACTORY: Factory = Factory {
    name: "doorman",
    about: "Knows clients by their tokens.",
    several: false,
    schema: || {
        json!({
            "type": "object",
            "properties": {
                "tokens": {"type": "object"},
                "banned": {"type": "string"},
                "fails": {"type": "boolean"}
            },
            "additionalProperties": false
        })
    },
    make: Make::Gate(build),
};

struct Doorman {
    tokens: BTreeMap<String, Grants>,
    banned: Option<String>,
    fails: bool,
    fingerprint: [u8; 32],
}

fn build(_: &ServerSite, settings: Json) -> BuiltGate {
    let fault = |token: &str, message: &str| {
        vec![SettingsError { pointer: format!("/tokens/{token}"), message: message.into() }]
    };
    let mut tokens = BTreeMap::new();
    for (token, grants) in settings["tokens"].as_object().into_iter().flatten() {
        let grants: Option<Vec<Grant>> =
            grants.as_array().into_iter().flatten().map(grant).collect();
        let grants = grants.ok_or_else(|| fault(token, "a grant is a list of texts"))?;
        tokens.insert(token.clone(), Grants(grants));
    }
    Ok(Arc::new(Doorman {
        tokens,
        banned: settings["banned"].as_str().map(str::to_owned),
        fails: settings["fails"] == true,
        fingerprint: Fingerprint::new().with(settings.to_string()).finish(),
    }))
}

fn grant(words: &Json) -> Option<Grant> {
    let words: Vec<&str> = words.as_array()?.iter().filter_map(Json::as_str).collect();
    let [namespace, prefix, rights @ ..] = &words[..] else { return None };
    let namespace = match *namespace {
        "*" => None,
        name => Some(Namespace::new(name).ok()?),
    };
    let has = |right: Right| rights.contains(&right.as_str());
    let rights = Rights {
        read: has(Right::Read),
        write: has(Right::Write),
        delete: has(Right::Delete),
        resolve: has(Right::Resolve),
        admin: has(Right::Admin),
    };
    Some(Grant { namespace, prefix: (*prefix).to_owned(), rights })
}

impl Gate for Doorman {
    fn authenticates(&self) -> bool {
        !self.tokens.is_empty()
    }

    fn connect(&self, arrival: &Arrival) -> Result<(), Refusal> {
        let origin = arrival.origin.as_deref();
        assert_ne!(origin, Some("https://panic.example"), "this page makes it panic");
        match arrival.origin.is_some() && arrival.origin == self.banned {
            true => Err(Refusal::new(Code::Forbidden, "that page is not welcome")),
            false => Ok(()),
        }
    }

    fn authenticate(&self, credentials: &Credentials) -> Result<Option<Identity>, Refusal> {
        let token = credentials.token.as_deref().unwrap_or_default();
        assert_ne!(token, "panic", "this token makes it panic");
        let grants = self.tokens.get(token).cloned();
        let actor = format!("token {token}").into();
        Ok(grants.map(|grants| Identity { actor, grants, pass: Pass::default() }))
    }

    fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    fn start(&self, _: Arc<dyn Host>) -> Result<(), String> {
        if self.fails { Err("the doorman is ill".into()) } else { Ok(()) }
    }
}
