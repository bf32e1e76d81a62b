//! Where one statement ends and the next begins.

/// The statements that end with a semicolon, without it, and what follows the last one. A semicolon within quotes or a comment ends nothing.
pub(super) fn split(input: &str) -> (Vec<&str>, &str) {
    let bytes = input.as_bytes();
    let mut statements = Vec::new();
    let (mut start, mut at) = (0, 0);
    while let Some(byte) = bytes.get(at) {
        at = match (byte, bytes.get(at + 1)) {
            (quote @ (b'\'' | b'"'), _) => after(input, at + 1, char::from(*quote).encode_utf8(&mut [0; 4])),
            (b'-', Some(b'-')) => after(input, at + 2, "\n"),
            (b'/', Some(b'*')) => after(input, at + 2, "*/"),
            (b';', _) => {
                statements.extend(input.get(start..at));
                start = at + 1;
                start
            }
            _ => at + 1,
        };
    }
    (statements, input.get(start..).unwrap_or_default())
}

/// Whether the input is to be answered now: it ends with a semicolon, is a command of the shell, or is nothing.
pub(super) fn is_complete(input: &str) -> bool {
    let trimmed = input.trim();
    let is_word = matches!(trimmed.to_lowercase().as_str(), "" | "quit" | "exit");
    let (statements, rest) = split(input);
    is_word || trimmed.starts_with('\\') || !statements.is_empty() && is_only_comments(rest)
}

fn is_only_comments(rest: &str) -> bool {
    let rest = rest.trim_start();
    match rest {
        "" => true,
        _ if rest.starts_with("--") => is_only_comments(rest.get(after(rest, 2, "\n")..).unwrap_or_default()),
        _ => false,
    }
}

/// Behind the next place of `end`, or the end of all. A doubled quote is two quoted texts in a row, which makes no difference here.
fn after(input: &str, from: usize, end: &str) -> usize {
    input.get(from..).and_then(|rest| rest.find(end)).map_or(input.len(), |found| from + found + end.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_where_their_semicolons_are() {
        for (input, statements, rest) in [
            ("", vec![], ""),
            ("select 1", vec![], "select 1"),
            ("select 1;", vec!["select 1"], ""),
            ("a;b ; c", vec!["a", "b "], " c"),
            ("select ';', \"a;b\" ; x", vec!["select ';', \"a;b\" "], " x"),
            ("select 'it''s; fine';", vec!["select 'it''s; fine'"], ""),
            ("a -- no; end\n; b", vec!["a -- no; end\n"], " b"),
            ("a /* ; */ ; b", vec!["a /* ; */ "], " b"),
            ("select 'open; ", vec![], "select 'open; "),
            ("ä;ö", vec!["ä"], "ö"),
            ("- / ; -", vec!["- / "], " -"),
        ] {
            assert_eq!(split(input), (statements, rest), "{input}");
        }
    }

    #[test]
    fn a_statement_is_complete_with_its_semicolon() {
        for (input, expect) in [
            ("", true),
            ("select 1", false),
            ("select 1;", true),
            ("select 1;\n", true),
            ("select 1; -- that is all", true),
            ("select 1; select", false),
            ("select ';", false),
            ("-- ;", false),
            ("\\d", true),
            ("quit", true),
        ] {
            assert_eq!(is_complete(input), expect, "{input}");
        }
    }
}
