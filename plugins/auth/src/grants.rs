//! Grants as people write them: `read,write:notes/a/` are two rights on the keys of the namespace
//! `notes` that begin with `a/`; `all:*` is everything.

use keepboth_core::name::Namespace;
use keepboth_core::plugin::{Grant, Grants, Right, Rights};

/// What a grant should look like.
pub const FORM: &str = "a grant is RIGHTS:NAMESPACE/PREFIX, for instance \"read,write:notes/a/\", \
                        \"read:notes\" for all of its keys, \"all:*\" for all namespaces";

/// Reads a grant, or says what is wrong with it.
pub fn parse(text: &str) -> Result<Grant, String> {
    let wrong = |what: String| Err(format!("{text:?}: {what}; {FORM}"));
    let Some((rights, place)) = text.split_once(':') else {
        return wrong("no colon behind the rights".into());
    };
    let rights = match rights_of(rights) {
        Ok(rights) => rights,
        Err(word) => {
            let known: Vec<&str> = Right::ALL.iter().map(|right| right.as_str()).collect();
            return wrong(format!("there is no right {word:?}, only {} and all", known.join(", ")));
        }
    };
    let (namespace, prefix) = place.split_once('/').unwrap_or((place, ""));
    let namespace = match namespace {
        "*" => None,
        name => match Namespace::new(name) {
            Ok(name) => Some(name),
            Err(refusal) => return wrong(refusal.message),
        },
    };
    Ok(Grant { namespace, prefix: prefix.to_owned(), rights })
}

/// Reads all, or says what is wrong with the first that is.
pub fn parse_all(texts: &[String]) -> Result<Grants, String> {
    texts.iter().map(|text| parse(text)).collect::<Result<_, _>>().map(Grants)
}

/// The rights of words with commas between them, or the word that is none.
fn rights_of(words: &str) -> Result<Rights, String> {
    let mut rights = Rights::default();
    for word in words.split(',') {
        match word {
            "all" => rights = Rights::ALL,
            "read" => rights.read = true,
            "write" => rights.write = true,
            "delete" => rights.delete = true,
            "resolve" => rights.resolve = true,
            "admin" => rights.admin = true,
            _ => return Err(word.to_owned()),
        }
    }
    Ok(rights)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_rights_and_a_place() {
        let grant = parse("read,write:notes/a/b:c").expect("a grant");
        let rights = Rights { read: true, write: true, ..Rights::default() };
        assert_eq!(grant.namespace.expect("a namespace").as_str(), "notes");
        assert_eq!((grant.prefix.as_str(), grant.rights), ("a/b:c", rights));
        let all = Grant { namespace: None, prefix: String::new(), rights: Rights::ALL };
        assert_eq!(parse("all:*"), Ok(all));
        assert_eq!(parse("read:notes"), parse("read:notes/"));
        for right in Right::ALL {
            let grant = parse(&format!("{}:*", right.as_str())).expect("a grant");
            assert!(Right::ALL.iter().all(|other| grant.rights.has(*other) == (*other == right)));
        }
    }

    #[test]
    fn what_is_no_grant_is_told_with_what_would_be_right() {
        for (text, said) in [
            ("read", "no colon"),
            ("", "no colon"),
            (":notes", "no right \"\""),
            ("reed:notes", "no right \"reed\", only read, write, delete, resolve, admin and all"),
            ("read:Notes/a", "is not a namespace's name"),
            ("read:", "is not a namespace's name"),
        ] {
            let words = parse(text).expect_err(text);
            assert!(words.contains(said) && words.contains(FORM), "{words}");
        }
    }
}
