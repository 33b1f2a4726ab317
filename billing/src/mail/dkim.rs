//! DKIM signatures (RFC 6376, RFC 8463): the proof that a mail comes from its sender's domain as it was sent.
//!
//! Of our own, on ring: the libraries sign with the `rsa` package, whose private-key operations can be timed from outside
//! (RUSTSEC-2023-0071), or with aws-lc, which `deny.toml` keeps out. What is needed here is small, for the mails are our own:
//! one way of writing headers and body (`relaxed/relaxed`), each header once. A verifier of other authors tests it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use sha2::{Digest, Sha256};

/// These are signed once more than they occur, so that nobody can add one that a mail program shows instead.
const SEALED: [&str; 3] = ["from", "to", "subject"];
/// What relays may add or change, and what is no part of the mail.
const UNSIGNED: [&str; 2] = ["dkim-signature", "return-path"];
/// RFC 6376, 3.5: a line of the signature's header holds so much of the base 64.
const FOLD: usize = 70;

/// Why there is no signer. The texts repeat nothing of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DkimError {
    #[error("the domain or the selector is no name of letters, digits, hyphens and dots")]
    Name,
    #[error("the file holds no private key in PEM")]
    Pem,
    #[error("the key is neither RSA of at least 2048 bits nor Ed25519")]
    Key,
}

/// Signs mails for a domain; the public key is found in the DNS at `selector._domainkey.domain`.
pub struct DkimSigner {
    domain: String,
    selector: String,
    key: Key,
}

enum Key {
    Rsa(Box<RsaKeyPair>),
    Ed25519(Ed25519KeyPair),
}

impl DkimSigner {
    /// `pem` is a private key in PKCS #8, or of RSA in PKCS #1.
    pub fn new(domain: &str, selector: &str, pem: &[u8]) -> Result<Self, DkimError> {
        if ![domain, selector].into_iter().all(is_name) {
            return Err(DkimError::Name);
        }
        let key = match PrivateKeyDer::from_pem_slice(pem).map_err(|_| DkimError::Pem)? {
            PrivateKeyDer::Pkcs1(der) => {
                RsaKeyPair::from_der(der.secret_pkcs1_der()).map(|key| Key::Rsa(Box::new(key)))
            }
            PrivateKeyDer::Pkcs8(der) => {
                let der = der.secret_pkcs8_der();
                Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
                    .map(Key::Ed25519)
                    .or_else(|_| RsaKeyPair::from_pkcs8(der).map(|key| Key::Rsa(Box::new(key))))
            }
            _ => return Err(DkimError::Key),
        };
        let key = key.map_err(|_| DkimError::Key)?;
        Ok(Self { domain: domain.to_ascii_lowercase(), selector: selector.to_owned(), key })
    }

    /// The mail with its signature before it; `at` is in Unix seconds. The same mail gives the same bytes. `None`: the key
    /// cannot sign, or it is no mail with headers and a body.
    pub(super) fn sign(&self, email: &[u8], at: i64) -> Option<Vec<u8>> {
        let end = email.windows(4).position(|window| window == b"\r\n\r\n")?;
        let headers = headers(std::str::from_utf8(&email[..end]).ok()?);
        let signed: Vec<&(String, String)> =
            headers.iter().filter(|(name, _)| !UNSIGNED.contains(&name.as_str())).collect();
        let names: Vec<&str> = signed.iter().map(|(name, _)| name.as_str()).chain(SEALED).collect();
        let algorithm = match self.key {
            Key::Rsa(_) => "rsa-sha256",
            Key::Ed25519(_) => "ed25519-sha256",
        };
        let body_hash = BASE64.encode(Sha256::digest(relaxed_body(&email[end + 4..])));
        let head = format!(
            "v=1; a={algorithm}; c=relaxed/relaxed;\r\n d={}; s={}; t={at};\r\n h={};\r\n bh={body_hash};\r\n b=",
            self.domain,
            self.selector,
            names.join(":\r\n  ")
        );
        let mut text = String::new();
        for (name, value) in signed {
            text.extend([name, ":", value, "\r\n"]);
        }
        text.extend(["dkim-signature:", &relaxed(&head)]);
        let signature = BASE64.encode(self.key.sign(text.as_bytes())?);
        let mut bytes = format!("DKIM-Signature: {head}").into_bytes();
        for (at, byte) in signature.bytes().enumerate() {
            if at > 0 && at % FOLD == 0 {
                bytes.extend_from_slice(b"\r\n  ");
            }
            bytes.push(byte);
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(email);
        Some(bytes)
    }
}

impl Key {
    fn sign(&self, text: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut signature).ok()?;
                Some(signature)
            }
            // RFC 8463: what is signed is the text's SHA-256.
            Self::Ed25519(key) => Some(key.sign(&Sha256::digest(text)).as_ref().to_vec()),
        }
    }
}

fn is_name(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && part.len() <= 63 && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    text.len() <= 253 && text.split('.').all(part)
}

/// Names in lower case and values in the relaxed form (RFC 6376, 3.4.2), in their order.
fn headers(head: &str) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = Vec::new();
    for line in head.split("\r\n") {
        match (line.starts_with([' ', '\t']), headers.last_mut(), line.split_once(':')) {
            (true, Some((_, value)), _) => value.push_str(line),
            (_, _, Some((name, value))) => headers.push((name.trim().to_ascii_lowercase(), value.to_owned())),
            _ => {}
        }
    }
    for (_, value) in &mut headers {
        *value = relaxed(value);
    }
    headers
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// Unfolded, each run of white space one space, none at the ends.
fn relaxed(value: &str) -> String {
    value.split(is_space).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// RFC 6376, 3.4.4: runs of white space are one space, none at the ends of lines, no empty lines at the end.
fn relaxed_body(body: &[u8]) -> Vec<u8> {
    let mut relaxed = Vec::with_capacity(body.len());
    let mut empty_lines = 0;
    for line in body.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let from = relaxed.len();
        let mut space = false;
        for byte in line {
            if matches!(byte, b' ' | b'\t') {
                space = true;
                continue;
            }
            if relaxed.len() == from {
                // The first that is written of this line, so those before it were not the end.
                for _ in 0..empty_lines {
                    relaxed.extend_from_slice(b"\r\n");
                }
                empty_lines = 0;
            }
            if space {
                relaxed.push(b' ');
                space = false;
            }
            relaxed.push(*byte);
        }
        if relaxed.len() == from {
            empty_lines += 1;
        } else {
            relaxed.extend_from_slice(b"\r\n");
        }
    }
    relaxed
}

/// Shows whose signature it is, and nothing of the key.
impl fmt::Debug for DkimSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}._domainkey.{}", self.selector, self.domain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The secret key of RFC 8463, appendix A.2, in PKCS #8.
    const RFC_8463: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
        -----END PRIVATE KEY-----\n";

    #[test]
    fn the_relaxed_forms_are_those_of_the_rfc() {
        // RFC 6376, 3.4.5.
        let head = headers("A: X\r\nB : Y\t\r\n\tZ  ");
        assert_eq!(head, [("a".to_owned(), "X".to_owned()), ("b".to_owned(), "Y Z".to_owned())]);
        let cases = [
            (" C \r\nD \t E\r\n\r\n\r\n", " C\r\nD E\r\n"),
            ("", ""),
            ("\r\n\r\n", ""),
            ("a", "a\r\n"),
            ("a\r\n\r\nb\r\n", "a\r\n\r\nb\r\n"),
            (" \t\r\na", "\r\na\r\n"),
        ];
        for (body, form) in cases {
            assert_eq!(relaxed_body(body.as_bytes()), form.as_bytes(), "{body:?}");
        }
    }

    #[test]
    fn a_mail_signed_twice_is_the_same_mail() {
        let signer = DkimSigner::new("Football.example.com", "brisbane", RFC_8463.as_bytes()).unwrap();
        let email = b"From: Joe <joe@football.example.com>\r\nTo: s@example.net\r\nSubject: dinner\r\n\r\nHi.\r\n";
        let once = signer.sign(email, 1_528_637_909).unwrap();
        assert_eq!(signer.sign(email, 1_528_637_909).unwrap(), once);
        let text = String::from_utf8(once).unwrap();
        assert!(
            text.starts_with("DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n d=football.example.com;")
        );
        assert!(text.ends_with(std::str::from_utf8(email).unwrap()));
        assert!(text.replace("\r\n  ", "").contains("h=from:to:subject:from:to:subject;"), "{text}");
        assert!(text.split("\r\n").all(|line| line.len() <= 100), "{text}");
    }

    #[test]
    fn what_is_no_key_is_told_without_showing_it() {
        let good = RFC_8463.as_bytes();
        for (domain, selector, pem, error) in [
            ("example.com;x=1", "mail", good, DkimError::Name),
            ("example..com", "mail", good, DkimError::Name),
            ("example.com", "", good, DkimError::Name),
            ("example.com", "mail", b"hunter2", DkimError::Pem),
            (
                "example.com",
                "mail",
                b"-----BEGIN PRIVATE KEY-----\naHVudGVyMg==\n-----END PRIVATE KEY-----\n",
                DkimError::Key,
            ),
        ] {
            assert_eq!(DkimSigner::new(domain, selector, pem).unwrap_err(), error, "{domain} {selector}");
        }
        assert!(!format!("{:?}", DkimSigner::new("example.com", "mail", good).unwrap()).contains("nWGx"));
    }
}
