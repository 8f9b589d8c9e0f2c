//! Names, times and random bytes.

/// Most bytes of a name.
const NAME_BYTES_MAX: usize = 64;

/// Refuses what is no name of a token or of a key. `@` is free for the server, which joins both by it.
pub fn check_name(name: &str) -> Result<(), String> {
    let is_plain = |c: char| !c.is_control() && !c.is_whitespace() && c != '@';
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(is_plain) {
        return Err(format!(
            "{name:?} is no name: 1 to {NAME_BYTES_MAX} bytes without spaces, control characters and @"
        ));
    }
    Ok(())
}

/// A moment in milliseconds since 1970, for people.
pub fn moment(ms: u64) -> String {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_millisecond(ms);
    time.map_or_else(|_| format!("{ms} ms"), |time| time.to_string())
}

/// Bytes that nobody can guess.
pub fn random<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| format!("no randomness: {e}"))?;
    Ok(bytes)
}
