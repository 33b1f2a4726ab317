//! Keeps what must not be read out of the replies that servers give: some repeat the command they did not like.

use std::fmt;

/// Texts that no error may show.
pub(super) struct Secrets(Vec<String>);

/// Shorter texts are hidden only where they are a whole word: otherwise a user called `a` would blacken every reply.
const WITHIN_WORDS: usize = 4;

impl Secrets {
    pub(super) fn new(texts: impl IntoIterator<Item = String>) -> Self {
        Self(texts.into_iter().filter(|text| !text.is_empty()).collect())
    }

    /// The text in one line, with `***` for every word that has a secret in it, plain or in base 64 (as `AUTH` sends it).
    pub(super) fn hide(&self, text: &str) -> String {
        let words = text.split_whitespace().map(|word| if self.shows(word) { "***" } else { word });
        words.collect::<Vec<_>>().join(" ")
    }

    fn shows(&self, word: &str) -> bool {
        let decoded = base64(word);
        self.0.iter().any(|secret| {
            // A secret with spaces is more than a word: any of its words gives part of it away.
            let within = |part: &str| part.len() >= WITHIN_WORDS && word.contains(part);
            let coded = |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            word == secret || secret.split_whitespace().any(within) || decoded.as_deref().is_some_and(coded)
        })
    }
}

/// The bytes that a word stands for in base 64. `None`: it is not base 64.
fn base64(word: &str) -> Option<Vec<u8>> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let word = word.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '+' && c != '/');
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for byte in word.bytes() {
        let value = ALPHABET.iter().position(|letter| *letter == byte)?;
        bits = (bits << 6) | value as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    Some(bytes)
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_reply_gives_a_secret_away() {
        let secrets = Secrets::new(["user@example.com".into(), "hunter2".into(), "me".into()]);
        let cases = [
            ("535 login failed", "535 login failed"),
            ("535 login of user@example.com failed", "535 login of *** failed"),
            ("535 <user@example.com>:\r\n hunter2 is wrong", "535 *** *** is wrong"),
            // NUL user NUL password, and the password alone.
            (
                "500 unknown command AUTH PLAIN AHVzZXJAZXhhbXBsZS5jb20AaHVudGVyMg==",
                "500 unknown command AUTH PLAIN ***",
            ),
            ("500 unknown command `aHVudGVyMg==`", "500 unknown command ***"),
            ("me and some message", "*** and some message"),
        ];
        for (text, shown) in cases {
            assert_eq!(secrets.hide(text), shown);
        }
        assert_eq!(format!("{secrets:?}"), "***");
    }
}
