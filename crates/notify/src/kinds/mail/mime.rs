//! A mail as bytes (RFC 5322, 2045, 2047), laid out as Alertmanager's.

use std::collections::hash_map::RandomState;
use std::fmt::Write as _;
use std::hash::BuildHasher as _;

/// Headers and alternative parts.
#[derive(Debug, Default)]
pub(super) struct Mail {
    headers: String,
    parts: Vec<(&'static str, String)>,
}

impl Mail {
    /// Adds a header; what is no ASCII is encoded, and no line end of a value begins another header.
    pub(super) fn header(&mut self, name: &str, value: &str) {
        let value = value.replace(['\r', '\n'], " ");
        let _ = write!(self.headers, "{name}: {}\r\n", encoded_word(&value));
    }

    /// Adds a part; readers show the last one that they can.
    pub(super) fn part(&mut self, kind: &'static str, text: &str) {
        self.parts.push((kind, text.to_owned()));
    }

    pub(super) fn finish(self) -> Vec<u8> {
        let random = || RandomState::new().hash_one(0);
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = if host.trim().is_empty() {
            "localhost"
        } else {
            host.trim()
        };
        let now = jiff::Timestamp::now();
        let mut out = self.headers;
        let boundary = format!("{:016x}{:016x}{:016x}", random(), random(), random());
        let _ = write!(
            out,
            "Message-Id: <{}.{}@{host}>\r\nDate: {}\r\nContent-Type: multipart/alternative;  boundary={boundary}\r\n\
             MIME-Version: 1.0\r\n\r\n",
            now.as_nanosecond(),
            random(),
            now.strftime("%a, %d %b %Y %H:%M:%S +0000"),
        );
        for (kind, text) in &self.parts {
            let _ = write!(
                out,
                "--{boundary}\r\nContent-Transfer-Encoding: quoted-printable\r\nContent-Type: {kind}; charset=UTF-8\r\n\r\n"
            );
            out.push_str(&quoted_printable(text));
            out.push_str("\r\n");
        }
        let _ = write!(out, "--{boundary}--\r\n");
        out.into_bytes()
    }
}

/// Quoted-printable (RFC 2045), with lines of at most 76 characters; line ends become CRLF.
fn quoted_printable(text: &str) -> String {
    // One less than there may be, for the `=` of a line that goes on.
    const LONGEST: usize = 75;
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for (number, line) in text.split('\n').enumerate() {
        if number > 0 {
            out.push_str("\r\n");
        }
        let line = line.strip_suffix('\r').unwrap_or(line);
        let mut len = 0;
        for (at, byte) in line.bytes().enumerate() {
            let is_last = at + 1 == line.len();
            let stays = match byte {
                // Blanks at a line's end may get lost on the way.
                b' ' | b'\t' => !is_last,
                b'=' => false,
                b'!'..=b'~' => true,
                _ => false,
            };
            let size = if stays { 1 } else { 3 };
            if len + size > LONGEST {
                out.push_str("=\r\n");
                len = 0;
            }
            match stays {
                true => out.push(char::from(byte)),
                false => {
                    let _ = write!(out, "={byte:02X}");
                }
            }
            len += size;
        }
    }
    out
}

/// A header's value: as it is, or in encoded words of UTF-8 (RFC 2047, Q), none longer than 75 characters.
fn encoded_word(text: &str) -> String {
    const PREFIX: &str = "=?utf-8?q?";
    const LONGEST: usize = 75 - PREFIX.len() - 2;
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')) {
        return text.to_owned();
    }
    let mut out = String::from(PREFIX);
    let mut len = 0;
    for c in text.chars() {
        let mut piece = String::new();
        match c {
            ' ' => piece.push('_'),
            '!'..='~' if !matches!(c, '=' | '?' | '_') => piece.push(c),
            c => {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(piece, "={byte:02X}");
                }
            }
        }
        // A character is never cut in two.
        if len + piece.len() > LONGEST {
            out.push_str("?= ");
            out.push_str(PREFIX);
            len = 0;
        }
        out.push_str(&piece);
        len += piece.len();
    }
    out.push_str("?=");
    out
}

/// The addresses of a list such as `Ops <ops@example.org>, dev@example.org`; `None` where one is none.
pub(super) fn addresses(list: &str) -> Option<Vec<String>> {
    let mut all = Vec::new();
    let (mut part, mut is_quoted) = (String::new(), false);
    for c in list.chars().chain([',']) {
        match c {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => {
                all.push(address(std::mem::take(&mut part).trim())?);
                continue;
            }
            _ => {}
        }
        part.push(c);
    }
    (!is_quoted).then_some(all)
}

fn address(text: &str) -> Option<String> {
    let plain = match text.strip_suffix('>') {
        Some(rest) => rest.rsplit_once('<')?.1,
        None => text,
    };
    let (local, domain) = plain.rsplit_once('@')?;
    // No line end and no blank: the address is part of a command.
    let is_fine = |text: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| !c.is_whitespace() && !c.is_control() && !"<>".contains(c))
    };
    (is_fine(local) && is_fine(domain)).then(|| plain.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_lists() {
        let read = |text| addresses(text).map(|all| all.join(" "));
        assert_eq!(read("a@b, \"Ops, night\" <c@d>").as_deref(), Some("a@b c@d"));
        for text in ["", "a", "a@", "a@b,", "a b@c", "<a@b", "a@b\r\nDATA@x", "\"a@b"] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    #[test]
    fn texts_are_quoted_within_76_characters() {
        assert_eq!(quoted_printable("a=b \nü\r\n"), "a=3Db=20\r\n=C3=BC\r\n");
        let long = quoted_printable(&"x".repeat(200));
        assert!(long.split("\r\n").all(|line| line.len() <= 76), "{long}");
        assert_eq!(long.replace("=\r\n", ""), "x".repeat(200));
    }

    #[test]
    fn a_header_that_is_no_ascii_is_encoded_and_none_begins_another() {
        assert_eq!(
            encoded_word("Gr\u{f6}\u{df}e firing"),
            "=?utf-8?q?Gr=C3=B6=C3=9Fe_firing?="
        );
        let long = encoded_word(&"\u{f6}".repeat(60));
        assert!(
            long.split(' ').all(|word| word.len() <= 75 && word.ends_with("?=")),
            "{long}"
        );
        let mut mail = Mail::default();
        mail.header("Subject", "a\r\nBcc: x@y");
        assert_eq!(mail.headers, "Subject: a  Bcc: x@y\r\n");
    }
}
