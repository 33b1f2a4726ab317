//! Whether a server's 5xx means the address, so that nothing should go there any more, or only this mail.

/// `code` is the reply's three digits, `text` its words. The enhanced code (RFC 3463) decides where there is one: `5.1.x`
/// is a bad address (but `5.1.7` and `5.1.8` are the sender's), `5.2.1` a mailbox that is closed; a policy that refuses us
/// (`5.7.x`), a full mailbox or a mail that is too large say nothing against the address. Without it RFC 5321 decides:
/// 550, 551 and 553 are about mailboxes.
pub(super) fn means_the_address(code: &str, text: &str) -> bool {
    match text.split_whitespace().find_map(enhanced) {
        Some((1, detail)) => !matches!(detail, 7 | 8),
        Some((2, detail)) => detail == 1,
        Some(_) => false,
        None => matches!(code, "550" | "551" | "553"),
    }
}

/// Subject and detail of `5.subject.detail`.
fn enhanced(word: &str) -> Option<(u16, u16)> {
    let word = word.trim_matches(|c: char| !c.is_ascii_digit());
    let (subject, detail) = word.strip_prefix("5.")?.split_once('.')?;
    Some((subject.parse().ok()?, detail.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_said_of_the_address_counts_against_it() {
        let cases = [
            ("550", "no such user", true),
            ("550", "5.1.1 <recipient>: unknown", true),
            ("550", "#5.1.0 address rejected", true),
            ("553", "mailbox name not allowed", true),
            ("550", "5.2.1 the mailbox is disabled", true),
            ("550", "5.7.1 relaying denied", false),
            ("550", "5.1.8 the sender's domain does not exist", false),
            ("552", "5.2.2 mailbox full", false),
            ("552", "too large", false),
            ("554", "transaction failed", false),
            ("500", "unknown command 5.1", false),
        ];
        for (code, text, means) in cases {
            assert_eq!(means_the_address(code, text), means, "{code} {text}");
        }
    }
}
