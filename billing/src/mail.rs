//! Mail to the people who own a workspace: what it says ([`render`]), what it is ([`Message`]), how it leaves ([`Mailer`]).
//!
//! Nothing here reads the time, a setting or the database: the job that sends a mail hands everything in.

mod dkim;
mod locale;
mod message;
mod money;
mod render;
mod sample;
mod templates;
mod transport;
mod unsubscribe;

pub use dkim::{DkimError, DkimSigner};
pub use message::{Message, check_address, outbox_name_end};
pub use render::{RenderContext, Rendered, render};
pub use sample::{sample_context, sample_data};
pub use templates::{TemplateError, Templates};
pub use transport::{MAIL_LIMIT, MailError, Mailer, SendError};
pub use unsubscribe::UnsubscribeLink;

/// The text in one line: control characters (line breaks above all) become spaces, spaces around and in a row go.
///
/// Names come from people; in a header a line break would start another header, in a text another paragraph.
fn one_line(text: &str) -> String {
    let spaced: String = text.chars().map(|c| if c.is_control() || is_line_mark(c) { ' ' } else { c }).collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Unicode's own line breaks, and the marks that turn the direction of what follows them.
fn is_line_mark(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_in_its_line() {
        let cases = [
            ("Acme", "Acme"),
            ("  Acme \t Ltd ", "Acme Ltd"),
            ("Acme\r\nBcc: all@example.com", "Acme Bcc: all@example.com"),
            ("Acme\u{2028}Ltd\u{202e}", "Acme Ltd"),
            ("\0\n", ""),
        ];
        for (name, line) in cases {
            assert_eq!(one_line(name), line);
        }
    }
}
