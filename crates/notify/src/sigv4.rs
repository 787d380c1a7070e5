//! AWS signature version 4 of a request without a query.

use sha2::{Digest as _, Sha256};

/// Who signs.
pub(crate) struct Keys {
    pub access_key: String,
    pub secret_key: String,
    /// Of temporary keys; empty for others.
    pub session_token: String,
}

/// What is signed.
pub(crate) struct Signed<'a> {
    pub method: &'a str,
    pub host: &'a str,
    pub path: &'a str,
    pub body: &'a [u8],
    pub region: &'a str,
    pub service: &'a str,
    /// `20150830T123600Z`
    pub time: &'a str,
}

impl Keys {
    /// The value of `Authorization`. The request must carry `time` as `X-Amz-Date`, and the session token, where there
    /// is one, as `X-Amz-Security-Token`.
    pub(crate) fn sign(&self, request: &Signed<'_>) -> String {
        let Signed {
            method,
            host,
            path,
            body,
            region,
            service,
            time,
        } = request;
        let (token, names) = match self.session_token.as_str() {
            "" => (String::new(), "host;x-amz-date"),
            token => (
                format!("x-amz-security-token:{token}\n"),
                "host;x-amz-date;x-amz-security-token",
            ),
        };
        let path = if path.is_empty() { "/" } else { path };
        let hash = hex(&Sha256::digest(body));
        let canonical = format!("{method}\n{path}\n\nhost:{host}\nx-amz-date:{time}\n{token}\n{names}\n{hash}");
        let date = time.get(..8).unwrap_or_default();
        let scope = format!("{date}/{region}/{service}/aws4_request");
        let text = format!(
            "AWS4-HMAC-SHA256\n{time}\n{scope}\n{}",
            hex(&Sha256::digest(canonical.as_bytes()))
        );
        let mut key = hmac(format!("AWS4{}", self.secret_key).as_bytes(), date.as_bytes());
        for part in [region, service, "aws4_request"] {
            key = hmac(&key, part.as_bytes());
        }
        let signature = hex(&hmac(&key, text.as_bytes()));
        format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.access_key
        )
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

// RFC 2104 over SHA-256.
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 64;
    let mut block = [0_u8; BLOCK];
    let key = if key.len() > BLOCK {
        Sha256::digest(key).to_vec()
    } else {
        key.to_vec()
    };
    block.iter_mut().zip(&key).for_each(|(to, from)| *to = *from);
    let hash = |pad: u8, text: &[u8]| {
        let mut hash = Sha256::new();
        hash.update(block.map(|byte| byte ^ pad));
        hash.update(text);
        hash.finalize().to_vec()
    };
    hash(0x5c, &hash(0x36, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmacs_are_those_of_rfc_4231() {
        let mac = hmac(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(
            hex(&mac),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        let mac = hmac(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(
            hex(&mac),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    // "get-vanilla" of Amazon's own cases.
    #[test]
    fn a_signature_is_amazons() {
        let keys = Keys {
            access_key: "AKIDEXAMPLE".to_owned(),
            secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            session_token: String::new(),
        };
        let request = Signed {
            method: "GET",
            host: "example.amazonaws.com",
            path: "/",
            body: b"",
            region: "us-east-1",
            service: "service",
            time: "20150830T123600Z",
        };
        assert_eq!(
            keys.sign(&request),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=host;x-amz-date, \
             Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
        );
    }
}
