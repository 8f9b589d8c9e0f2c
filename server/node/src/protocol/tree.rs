//! A frame as it was read: a JSON tree, and what MessagePack has beyond JSON.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

/// Anything in a frame. Whatever JSON can hold is [`Tree::Json`] all the way down.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tree {
    /// What JSON can hold.
    Json(Json),
    /// MessagePack's bin.
    Bytes(Vec<u8>),
    /// NaN or an infinity.
    Float(f64),
    /// An array with something in it that JSON cannot hold.
    List(Vec<Tree>),
    /// An object with something in it that JSON cannot hold.
    Map(BTreeMap<String, Tree>),
}

/// The members of an object, to be taken one by one.
#[derive(Debug)]
pub(super) enum Members {
    Json(Map<String, Json>),
    Mixed(BTreeMap<String, Tree>),
}

impl Tree {
    /// An array.
    pub(super) fn list(items: Vec<Tree>) -> Tree {
        if items.iter().any(|item| !matches!(item, Tree::Json(_))) {
            return Tree::List(items);
        }
        Tree::Json(Json::Array(items.into_iter().filter_map(Tree::into_json).collect()))
    }

    /// An object.
    pub(super) fn map(members: BTreeMap<String, Tree>) -> Tree {
        if members.values().any(|member| !matches!(member, Tree::Json(_))) {
            return Tree::Map(members);
        }
        let plain = |(name, member): (String, Tree)| Some((name, member.into_json()?));
        Tree::Json(Json::Object(members.into_iter().filter_map(plain).collect()))
    }

    /// The JSON tree, if it is one.
    pub(super) fn into_json(self) -> Option<Json> {
        match self {
            Tree::Json(json) => Some(json),
            _ => None,
        }
    }

    /// The entries of an array, or the tree back.
    pub(super) fn into_items(self) -> Result<Vec<Tree>, Tree> {
        match self {
            Tree::Json(Json::Array(items)) => Ok(items.into_iter().map(Tree::Json).collect()),
            Tree::List(items) => Ok(items),
            other => Err(other),
        }
    }

    /// The members of an object, or the tree back.
    pub(super) fn into_members(self) -> Result<Members, Tree> {
        match self {
            Tree::Json(Json::Object(members)) => Ok(Members::Json(members)),
            Tree::Map(members) => Ok(Members::Mixed(members)),
            other => Err(other),
        }
    }

    /// What it is, for messages: `the number 5`, `an array`.
    pub(super) fn describe(&self) -> String {
        match self {
            Tree::Json(Json::Bool(truth)) => truth.to_string(),
            Tree::Json(Json::Number(n)) => format!("the number {n}"),
            Tree::Json(Json::String(text)) => format!("the text {:?}", shown(text)),
            Tree::Bytes(bytes) => format!("{} bytes", bytes.len()),
            Tree::Float(n) => format!("the number {n}"),
            other => other.kind().into(),
        }
    }

    /// The same without what it holds, where that may be a secret.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Tree::Json(Json::Null) => "null",
            Tree::Json(Json::Bool(_)) => "a truth",
            Tree::Json(Json::Number(_)) | Tree::Float(_) => "a number",
            Tree::Json(Json::String(_)) => "a text",
            Tree::Json(Json::Array(_)) | Tree::List(_) => "an array",
            Tree::Json(Json::Object(_)) | Tree::Map(_) => "an object",
            Tree::Bytes(_) => "bytes",
        }
    }
}

impl Members {
    /// Takes a member out.
    pub(super) fn take(&mut self, name: &str) -> Option<Tree> {
        match self {
            Members::Json(members) => members.remove(name).map(Tree::Json),
            Members::Mixed(members) => members.remove(name),
        }
    }

    /// The names of what is left.
    pub(super) fn names(&self) -> Vec<&str> {
        match self {
            Members::Json(members) => members.keys().map(String::as_str).collect(),
            Members::Mixed(members) => members.keys().map(String::as_str).collect(),
        }
    }
}

/// A text from outside, cut so that a message stays a message.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
