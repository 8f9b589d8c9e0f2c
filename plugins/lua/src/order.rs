//! Loops over tables whose order depends on addresses, found where it matters.
//!
//! A plain table whose keys are tables, functions or the like is iterated in the order of their
//! addresses, which no two nodes share. No hook of Luau tells of such a loop, so every `for … in LIST do`
//! of a script is read as `for … in __for(LIST) do`; see `prelude.luau` for what that does.

use crate::scan::tokens;

/// The source with `__for(…)` around the lists of its loops, every line where it was.
pub fn ordered(source: &str) -> String {
    let tokens = tokens(source);
    let mut marks: Vec<(usize, &str)> = Vec::new();
    for (at, (_, word)) in tokens.iter().enumerate() {
        if *word == "for"
            && let Some((begin, end)) = list(&tokens, at + 1)
        {
            marks.extend([(begin, " __for("), (end, ") ")]);
        }
    }
    marks.sort_by_key(|(at, _)| *at);
    let mut out = String::with_capacity(source.len() + 8 * marks.len());
    let mut last = 0;
    for (at, text) in marks {
        out.push_str(&source[last..at]);
        out.push_str(text);
        last = at;
    }
    out.push_str(&source[last..]);
    out
}

/// Where the list of a loop begins and ends whose names begin at this token; None for a loop that counts,
/// and for one whose order is not that of a table.
fn list(tokens: &[(usize, &str)], names: usize) -> Option<(usize, usize)> {
    let found = outside(tokens, names, &["in", "=", "do"])?;
    let first = tokens.get(found + 1)?.1;
    if tokens[found].1 != "in" || first == "ipairs" {
        return None;
    }
    let end = outside(tokens, found + 1, &["do", "function"])?;
    (tokens[end].1 == "do").then(|| (tokens[found].0 + "in".len(), tokens[end].0))
}

/// The first of these words from this token on that stands in no brackets.
fn outside(tokens: &[(usize, &str)], from: usize, words: &[&str]) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, (_, word)) in tokens.iter().enumerate().skip(from) {
        match *word {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.checked_sub(1)?,
            word if depth == 0 && words.contains(&word) => return Some(at),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_each_loop_is_taken_and_nothing_else() {
        for (source, expected) in [
            ("for k, v in t do end", "for k, v in __for( t ) do end"),
            ("for k in pairs(t)do end", "for k in __for( pairs(t)) do end"),
            (
                "for a: { [string]: any }, b in next, t, nil do end",
                "for a: { [string]: any }, b in __for( next, t, nil ) do end",
            ),
            (
                "for k in each(t, function() for x in y do end end) do end",
                "for k in __for( each(t, function() for x in __for( y ) do end end) ) do end",
            ),
            ("for k in if a then b else c do end", "for k in __for( if a then b else c ) do end"),
            ("for k in --[[ do ]] t\ndo end", "for k in __for( --[[ do ]] t\n) do end"),
        ] {
            assert_eq!(ordered(source), expected);
        }
        for source in [
            "for i = 1, #t do end",
            "for i: number = 1, 2 do end",
            "for i, x in ipairs(t) do end",
            "for k in function() return nil end do end",
            "-- for k in t do",
            "local s = 'for k in t do' .. `for k in {`for k in t do`} do`",
            "for k in t",
        ] {
            assert_eq!(ordered(source), source);
        }
    }
}
