//! Words of peers, made fit to be shown and kept: a terminal acts on control characters, a reader is deceived by
//! characters that turn the direction of text, and neither has room without end.

use std::fmt::Write;

/// Stands where a text was cut.
const CUT: char = '…';

/// Whether a terminal shows this character and does nothing else: no control, format, private or unassigned character,
/// and no space but the common one.
pub fn is_printable(c: char) -> bool {
    // Which characters those are, Rust's debug form knows; it escapes these three besides, for the sake of literals.
    if matches!(c, '"' | '\'' | '\\') {
        return true;
    }
    // Behind another character, so that combining ones stand as they do in text.
    let mut buffer = [0; 5];
    buffer[0] = b'a';
    let length = c.encode_utf8(&mut buffer[1..]).len();
    std::str::from_utf8(&buffer[..=length]).is_ok_and(|text| text.escape_debug().nth(2).is_none())
}

/// One line of a peer's words: what is not printable is escaped as in Rust (`\n`, `\u{202e}`), and of the result no more
/// than `max` characters are kept, the last of which then is `…`.
pub fn printable(text: &str, max: usize) -> String {
    escaped(text, max, is_printable)
}

/// A message of several lines: as [`printable`], but line feeds stay.
pub fn printable_lines(text: &str, max: usize) -> String {
    escaped(text, max, |c| c == '\n' || is_printable(c))
}

/// Looks at no more of `text` than it keeps.
fn escaped(text: &str, max: usize, stays: impl Fn(char) -> bool) -> String {
    let mut kept = String::with_capacity(text.len().min(max));
    // Characters so far, and where the text ends if it must be cut: an escape is kept whole or not at all.
    let (mut count, mut cut) = (0, 0);
    let mut escape = String::new();
    for c in text.chars() {
        escape.clear();
        if stays(c) {
            escape.push(c);
        } else {
            // A string takes all that is written to it.
            let _ = write!(escape, "{}", c.escape_debug());
        }
        count += escape.chars().count();
        if count > max {
            kept.truncate(cut);
            if max > 0 {
                kept.push(CUT);
            }
            return kept;
        }
        kept.push_str(&escape);
        if count < max {
            cut = kept.len();
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_terminal_would_act_on_is_escaped() {
        let said = "a\x1b[2Jb\x07\r\n\u{9b}31m\u{202e}gpj\u{200b}\u{feff}\u{2028}\0\t";
        assert_eq!(
            printable(said, 200),
            "a\\u{1b}[2Jb\\u{7}\\r\\n\\u{9b}31m\\u{202e}gpj\\u{200b}\\u{feff}\\u{2028}\\0\\t"
        );
        assert_eq!(printable_lines("one\n\ttwo\r\n", 200), "one\n\\ttwo\\r\n");
    }

    #[test]
    fn words_of_every_script_stay_as_they_are() {
        for said in ["it's \"so\" \\ here", "Größe", "e\u{301}té", "नमस्ते", "データ", "🦆", ""] {
            assert_eq!(printable(said, 200), said);
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters_and_says_so() {
        assert_eq!(printable("abcde", 5), "abcde");
        assert_eq!(printable("abcdef", 5), "abcd…");
        assert_eq!(printable("ab\u{202e}cd", 6), "ab…");
        assert_eq!(printable("日本語です", 3), "日本…");
        assert_eq!(printable("ab", 1), "…");
        assert_eq!(printable("ab", 0), "");
        assert_eq!(printable_lines(&"x".repeat(1 << 20), 32 << 10).chars().count(), 32 << 10);
    }

    proptest! {
        #[test]
        fn nothing_unprintable_and_nothing_longer_comes_out(said in any::<String>(), max in 0usize..40) {
            let shown = printable(&said, max);
            prop_assert!(shown.chars().all(is_printable) && shown.chars().count() <= max, "{shown:?}");
            let lines = printable_lines(&said, max);
            prop_assert!(lines.chars().all(|c| c == '\n' || is_printable(c)) && lines.chars().count() <= max);
        }
    }
}
