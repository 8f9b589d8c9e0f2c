//! Texts for people: cut to a length, without control characters, with the nearest name suggested.

/// The text in one line of at most `max` bytes.
pub fn one_line(text: &str, max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(max));
    for c in text.chars() {
        let before = out.len();
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
        if out.len() > max {
            out.truncate(before);
            out.push('…');
            break;
        }
    }
    out
}

/// `owner has no "nmae" (did you mean "name"?); it has: key, name`.
pub fn no_such_name(owner: &str, name: &str, names: &[&str]) -> String {
    let near = names
        .iter()
        .map(|have| (strsim::osa_distance(have, name), have))
        .filter(|(distance, have)| *distance <= 1 + have.len() / 3 || name.starts_with(**have))
        .min();
    let hint = near.map(|(_, have)| format!(" (did you mean {have:?}?)")).unwrap_or_default();
    let name = one_line(name, 80);
    format!("{owner} has no {name:?}{hint}; it has: {}", names.join(", "))
}

/// Bytes as KiB or MiB where that is a whole number.
pub fn size(bytes: usize) -> String {
    match bytes {
        b if b >= 1 << 20 && b.is_multiple_of(1 << 20) => format!("{} MiB", b >> 20),
        b if b >= 1 << 10 && b.is_multiple_of(1 << 10) => format!("{} KiB", b >> 10),
        b => format!("{} bytes", keepboth_core::limits::figure(b)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_one_line_and_cut_between_characters() {
        assert_eq!(one_line("a\nb\u{1b}[0m", 80), "a\\nb\\u{1b}[0m");
        assert_eq!(one_line("ééé", 5), "éé…");
        assert_eq!(one_line("short", 5), "short");
    }

    #[test]
    fn the_nearest_name_is_suggested() {
        let words = no_such_name("kb", "rejct", &["log", "reject"]);
        assert_eq!(words, r#"kb has no "rejct" (did you mean "reject"?); it has: log, reject"#);
        assert_eq!(no_such_name("kb", "zzzz", &["log"]), r#"kb has no "zzzz"; it has: log"#);
    }
}
