//! A mail as it travels: addressed, dated, recognisable when it comes twice.

use chrono::{DateTime, Utc};
use lettre::Address;
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, MultiPartKind, SinglePart};
use sha2::{Digest, Sha256};

use super::{SendError, one_line};
use crate::rules::Mail;

/// A mail, ready for [`super::Mailer::send`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What makes this mail once-only; `Message-ID` and the name in an outbox derive from it.
    pub dedupe_key: String,
    pub template: Mail,
    pub to_address: String,
    /// `None` or blank: the address alone.
    pub to_name: Option<String>,
    pub subject: String,
    pub text: String,
    pub html: String,
    /// Where the recipient can end mails of this kind, as `https:` or `mailto:` address. `None`: nowhere, or nobody may.
    pub unsubscribe: Option<String>,
    /// The `Date` of the mail: whole seconds count.
    pub date: DateTime<Utc>,
}

/// RFC 3834: no out-of-office reply, please.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

/// RFC 2369: mail programs show a button for it. Without RFC 8058's one-click POST, for the page is the product's.
#[derive(Clone)]
struct ListUnsubscribe(String);

impl Header for ListUnsubscribe {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("List-Unsubscribe")
    }

    fn parse(text: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self(text.trim_matches(['<', '>']).to_owned()))
    }

    fn display(&self) -> HeaderValue {
        // As it is: a reader of addresses knows neither encoded words nor folds within.
        let value = format!("<{}>", self.0);
        HeaderValue::dangerous_new_pre_encoded(Self::name(), value.clone(), value)
    }
}

/// Whether mail can be addressed to this text.
///
/// # Errors
/// What is wrong with it; the text is not repeated.
pub fn check_address(text: &str) -> Result<(), String> {
    text.parse::<Address>().map(drop).map_err(|reason| reason.to_string().to_lowercase())
}

impl Message {
    /// 32 hexadecimal digits of the dedupe key's SHA-256: the same for every sending of the same mail.
    pub fn digest(&self) -> String {
        digest(&self.dedupe_key)
    }

    /// `<digest@domain>` with the sender's domain.
    pub fn message_id(&self, from: &Mailbox) -> String {
        format!("<{}@{}>", self.digest(), from.email.domain())
    }

    /// The mail in MIME: a text and its HTML twin. The same message gives the same bytes.
    ///
    /// # Errors
    /// `Permanent` where the recipient's address is not one; the text does not repeat it.
    pub fn to_email(&self, from: &Mailbox) -> Result<lettre::Message, SendError> {
        let address: Address = self
            .to_address
            .trim()
            .parse()
            .map_err(|reason| SendError::Permanent(format!("the recipient's address is invalid: {reason}")))?;
        let name = self.to_name.as_deref().map(one_line).filter(|name| !name.is_empty());
        // The header knows no time before 1970 and no year of five digits.
        let seconds = self.date.timestamp().clamp(0, 253_402_300_799).unsigned_abs();
        let date = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        let body = MultiPart::builder()
            .kind(MultiPartKind::Alternative)
            .boundary(format!("part-{}", self.digest()))
            .singlepart(part(ContentType::TEXT_PLAIN, &self.text))
            .singlepart(part(ContentType::TEXT_HTML, &self.html));
        let mut builder = lettre::Message::builder();
        if let Some(address) = &self.unsubscribe {
            // Whoever made it percent-encoded it; what is no plain address starts no header.
            if !address.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>')) {
                return Err(SendError::Permanent("the unsubscribe address is malformed".to_owned()));
            }
            builder = builder.header(ListUnsubscribe(address.clone()));
        }
        builder
            .from(from.clone())
            .to(Mailbox::new(name, address))
            .subject(one_line(&self.subject))
            .date(date)
            .message_id(Some(self.message_id(from)))
            .header(AutoSubmitted)
            .multipart(body)
            .map_err(|reason| SendError::Permanent(format!("the mail cannot be put together: {reason}")))
    }
}

fn digest(dedupe_key: &str) -> String {
    hex::encode(&Sha256::digest(dedupe_key.as_bytes())[..16])
}

/// How the name of a mail's file in an outbox ends; it begins with the time of sending.
pub fn outbox_name_end(template: &str, dedupe_key: &str) -> String {
    format!("-{template}-{}.eml", &digest(dedupe_key)[..8])
}

fn part(kind: ContentType, text: &str) -> SinglePart {
    SinglePart::builder().header(kind).body(text.to_owned())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A mail that any test may send.
    pub(in crate::mail) fn sample() -> Message {
        Message {
            dedupe_key: "payment_failed:in_1:2".into(),
            template: Mail::PaymentFailed,
            to_address: "zoe@example.com".into(),
            to_name: Some("Zoë".into()),
            subject: "Pagamento não aprovado".into(),
            text: "olá\n".into(),
            html: "<p>olá</p>\n".into(),
            unsubscribe: None,
            date: DateTime::from_timestamp(1_793_577_600, 0).unwrap(),
        }
    }

    fn from() -> Mailbox {
        "Billing <billing@mail.example.org>".parse().unwrap()
    }

    fn formatted(message: &Message) -> String {
        String::from_utf8(message.to_email(&from()).unwrap().formatted()).unwrap()
    }

    fn headers(message: &Message) -> Vec<String> {
        let text = formatted(message);
        let head = text.split("\r\n\r\n").next().unwrap().replace("\r\n ", " ");
        head.split("\r\n").map(str::to_owned).collect()
    }

    #[test]
    fn the_headers_say_what_it_is() {
        let headers = headers(&sample());
        let id = "Message-ID: <0000@mail.example.org>".replace("0000", &sample().digest());
        for header in [
            "From: Billing <billing@mail.example.org>",
            "To: =?utf-8?b?Wm/Dqw==?= <zoe@example.com>",
            "Date: Mon, 02 Nov 2026 00:00:00 +0000",
            "Auto-Submitted: auto-generated",
            "MIME-Version: 1.0",
            &id,
        ] {
            assert!(headers.iter().any(|line| line == header), "{header}: {headers:#?}");
        }
        assert!(headers.iter().any(|line| line.starts_with("Content-Type: multipart/alternative;")), "{headers:#?}");
        assert!(headers.iter().any(|line| line.starts_with("Subject: ") && line.is_ascii()), "{headers:#?}");
    }

    #[test]
    fn a_name_and_a_subject_of_any_script_arrive() {
        let message = Message {
            to_name: Some("Łukasz \u{201c}Ø\u{201d} 山田".into()),
            subject: "Sua fatura de março não foi paga: ação necessária para o workspace Ñandú & Çelik 日本".into(),
            ..sample()
        };
        let text = formatted(&message);
        let head = text.split("\r\n\r\n").next().unwrap();
        assert!(head.is_ascii() && head.split("\r\n").all(|line| line.len() <= 78), "{head}");
        let read = mail_parser::MessageParser::default().parse(text.as_bytes()).unwrap();
        assert_eq!(read.subject(), Some(message.subject.as_str()));
        let to = read.to().unwrap().first().unwrap();
        assert_eq!((to.name(), to.address()), (message.to_name.as_deref(), Some("zoe@example.com")));
        assert_eq!(read.body_text(0).unwrap().trim_end(), "olá");
    }

    #[test]
    fn only_a_whole_address_is_a_way_to_unsubscribe() {
        let address = "https://app.example.com/mail?workspace=acme&mail=payment_succeeded&more=0123456789012345678901";
        let headers = headers(&Message { unsubscribe: Some(address.into()), ..sample() });
        assert!(headers.contains(&format!("List-Unsubscribe: <{address}>")), "{headers:#?}");
        for address in ["https://example.com/>\r\nBcc: x", "https://example.com/a b", "https://example.com/ü"] {
            let error = Message { unsubscribe: Some(address.into()), ..sample() }.to_email(&from()).unwrap_err();
            assert!(matches!(error, SendError::Permanent(_)), "{address}");
        }
    }

    #[test]
    fn a_mail_sent_twice_is_the_same_mail() {
        assert_eq!(formatted(&sample()), formatted(&sample()));
        let other = Message { dedupe_key: "payment_failed:in_1:3".into(), ..sample() };
        assert_ne!(sample().message_id(&from()), other.message_id(&from()));
        // Fixed for good: a newer version must know an older one's mail again.
        assert_eq!(sample().digest(), "fb1606140adb9aa44108e88fa399baaa");
    }

    #[test]
    fn nothing_a_person_wrote_starts_a_header() {
        let hostile = Message {
            to_name: Some("Zoe\r\nBcc: all@example.com\r\n\r\nhello".into()),
            subject: "Hello\nBcc: all@example.com".into(),
            ..sample()
        };
        let headers = headers(&hostile);
        assert!(!headers.iter().any(|line| line.to_ascii_lowercase().starts_with("bcc")), "{headers:#?}");
        assert!(headers.iter().any(|line| line == "Subject: Hello Bcc: all@example.com"), "{headers:#?}");
        let email = hostile.to_email(&from()).unwrap();
        assert_eq!(email.envelope().to().len(), 1);
    }

    #[test]
    fn an_address_that_is_none_is_permanent_and_not_repeated() {
        for address in ["", "zoe", "zoe@", "zoe@example.com\r\nBcc: all@example.com", "a@example.com, b@example.com"] {
            let error = Message { to_address: address.into(), ..sample() }.to_email(&from()).unwrap_err();
            assert!(matches!(&error, SendError::Permanent(text) if !text.contains("example")), "{address}: {error}");
        }
    }

    #[test]
    fn an_impossible_date_is_moved_to_a_possible_one() {
        for date in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
            assert!(Message { date, ..sample() }.to_email(&from()).is_ok());
        }
    }
}
