//! What a peer wrote, made fit to be shown.

/// Longest text of a peer that an error carries: a sentence or two.
pub const WORDS_MAX: usize = 200;

/// `text` as one printable line of at most `max` characters. Control characters, format characters (those that turn
/// the direction of text, join or vanish), separators other than the space, combining marks, private and unassigned
/// characters are written as Rust's escapes; what does not fit is cut at a character, and `…` says so.
pub fn printable(text: &str, max: usize) -> String {
    let mut line = String::new();
    let mut used = 0;
    // How long `line` was when there was still room for `…`.
    let mut fits = 0;
    for c in text.chars() {
        let before = line.len();
        match c {
            '\'' | '"' => line.push(c),
            c => line.extend(c.escape_debug()),
        }
        used += line[before..].chars().count();
        if used > max {
            line.truncate(fits);
            if max > 0 {
                line.push('…');
            }
            break;
        }
        if used < max {
            fits = line.len();
        }
    }
    line
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn plain_words_stay_as_they_are() {
        let words = "no, it's \"done\": größer als 5 €, 日本";
        assert_eq!(printable(words, WORDS_MAX), words);
        assert_eq!(printable("", 5), "");
    }

    #[test]
    fn terminals_and_readers_are_not_commanded() {
        assert_eq!(printable("\x1b[2Jgone\x07", WORDS_MAX), "\\u{1b}[2Jgone\\u{7}");
        assert_eq!(printable("a\r\nERROR b\u{2028}c", WORDS_MAX), "a\\r\\nERROR b\\u{2028}c");
        assert_eq!(printable("\u{9b}31m \u{202e}exe.txt \u{2066}\u{200b}\u{feff}", WORDS_MAX).matches('\\').count(), 5);
        assert_eq!(printable("C:\\n", WORDS_MAX), "C:\\\\n");
    }

    #[test]
    fn long_words_are_cut_at_a_character() {
        assert_eq!(printable("ÄÖÜäöü", 6), "ÄÖÜäöü");
        assert_eq!(printable("ÄÖÜäöüß", 6), "ÄÖÜäö…");
        // An escape is not cut in two.
        assert_eq!(printable("abc\u{202e}def", 6), "abc…");
        assert_eq!(printable("abc", 0), "");
        assert_eq!(printable(&"x".repeat(1 << 20), WORDS_MAX).chars().count(), WORDS_MAX);
    }
}
