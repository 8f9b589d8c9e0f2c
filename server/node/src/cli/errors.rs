//! `errors`: what each code means and what to do about it.

use keepboth_core::refusal::Code;
use serde_json::{Value as Json, json};

use super::exit::{Exit, Failure};
use super::out::Out;
use crate::protocol::did_you_mean;

/// Which codes.
#[derive(Debug, clap::Args)]
pub struct Errors {
    /// Only this code, for instance version_mismatch
    #[arg(value_name = "CODE")]
    code: Option<String>,
}

/// Explains one code or all.
pub fn run(args: &Errors, json: bool) -> Result<(), Failure> {
    let mut out = Out::new(json);
    let codes = match &args.code {
        Some(text) => vec![find(text)?],
        None => Code::ALL.to_vec(),
    };
    for code in codes {
        if json {
            out.json(&as_json(code))?;
            continue;
        }
        let retry = if code.retry() { " (the same request may succeed later)" } else { "" };
        out.line(&format!("{code}{retry}\n  {}", code.explanation()))?;
    }
    out.flush()
}

fn as_json(code: Code) -> Json {
    json!({"code": code.as_str(), "retry": code.retry(), "explanation": code.explanation()})
}

fn find(text: &str) -> Result<Code, Failure> {
    let found = Code::ALL.iter().find(|code| code.as_str() == text);
    found.copied().ok_or_else(|| {
        let known: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        let words = format!("there is no error code {text:?}");
        let hint = format!("{}keepboth errors lists them all", did_you_mean(text, &known));
        Failure::new(Exit::NotFound, words).hint(hint)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_found_and_a_near_miss_is_helped() {
        assert_eq!(find("not_found"), Ok(Code::NotFound));
        let failure = find("not_fond").expect_err("unknown");
        assert!(failure.to_string().contains("did you mean \"not_found\"?"), "{failure}");
    }
}
