//! What peers, archives and engines say, as it is shown: a terminal gets no other words of theirs.

use std::fmt::Display;

use eider_protocol::{Outcome, is_printable, printable, printable_lines};

/// Characters of what is said in a line: a reason, a name, a fate.
const WORD_MAX: usize = 200;
/// Characters of a message: what a query fails with, and a line of ours before it.
const MESSAGE_MAX: usize = Outcome::MESSAGE_MAX + WORD_MAX;

/// In one line.
pub(crate) fn word(said: impl Display) -> String {
    printable(&said.to_string(), WORD_MAX)
}

/// In as many lines as it has.
pub(crate) fn message(said: impl Display) -> String {
    printable_lines(&said.to_string(), MESSAGE_MAX)
}

/// JSON that says the same without a character that a terminal acts on.
pub(crate) fn json(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '\n' || is_printable(c) {
            shown.push(c);
            continue;
        }
        // JSON escapes in UTF-16. Outside of its strings there is no such character.
        for unit in c.encode_utf16(&mut [0; 2]) {
            shown.push_str(&format!("\\u{unit:04x}"));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    #[test]
    fn json_for_a_terminal_means_the_same() {
        let said = json!({"fate": "\x1b[2J\u{7f}\u{9b}31m\u{202e}\u{e0001}\n\"Größe\"", "list": [1, null]});
        let text = super::json(&serde_json::to_string_pretty(&said).unwrap());
        assert!(text.chars().all(|c| c == '\n' || eider_protocol::is_printable(c)), "{text:?}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), said);
    }
}
