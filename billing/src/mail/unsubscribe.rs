//! Where the people who get a mail can end mails of its kind: a page or an address of the product's own.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::rules::Mail;

/// Everything but what RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A pattern such as `https://app.example.com/mail?workspace={workspace}&mail={template}` or
/// `mailto:billing@example.com?subject=end%20{template}%20for%20{workspace}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsubscribeLink(String);

impl UnsubscribeLink {
    /// # Errors
    /// What was expected, where it begins with none of `https://`, `http://` and `mailto:`, has characters that no address
    /// has, or names a value that there is not.
    pub fn parse(pattern: &str) -> Result<Self, &'static str> {
        let known = ["https://", "http://", "mailto:"].iter().any(|scheme| pattern.starts_with(scheme));
        let filled = pattern.replace("{workspace}", "").replace("{template}", "");
        let plain = filled.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>{}\"".contains(&byte));
        if known && plain && pattern.len() <= 500 {
            Ok(Self(pattern.to_owned()))
        } else {
            Err("has to be an https:// or mailto: address, in which {workspace} and {template} may stand")
        }
    }

    /// The address for a mail. `None`: this mail cannot be ended.
    pub fn address(&self, mail: Mail, workspace_id: &str) -> Option<String> {
        let workspace = || utf8_percent_encode(workspace_id, RESERVED).to_string();
        (!mail.is_essential()).then(|| self.0.replace("{template}", mail.as_str()).replace("{workspace}", &workspace()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_be_ended_has_an_address() {
        let link = UnsubscribeLink::parse("https://app.example.com/mail?w={workspace}&m={template}").unwrap();
        for mail in Mail::ALL {
            let address = link.address(mail, "a&b/{template}>\r\n");
            let expected =
                format!("https://app.example.com/mail?w=a%26b%2F%7Btemplate%7D%3E%0D%0A&m={}", mail.as_str());
            assert_eq!(address, (!mail.is_essential()).then_some(expected));
        }
        for pattern in
            ["", "app.example.com", "javascript:x", "https://x/{plan}", "https://x/ y", "https://x/>\r\nBcc: y"]
        {
            assert!(UnsubscribeLink::parse(pattern).is_err(), "{pattern}");
        }
    }
}
