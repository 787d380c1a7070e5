//! The assertion of `grant_type: urn:ietf:params:oauth:grant-type:jwt-bearer` (RFC 7523): a JSON Web Token signed with the
//! client's own key, claims as upstream's; and that of a service account of Google's, claims as golang.org/x/oauth2/jwt's.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cupola_config::alertmanager::Anything;
use cupola_config::common::{GrantType, OAuth2Config};
use cupola_env::{Clock as _, SystemClock};
use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Map, Value, json};

// Seconds that an assertion is valid; one of Google's, which begins a little earlier for clocks that are behind.
const VALID_FOR: i64 = 600;
const GOOGLES_VALID_FOR: i64 = 3_600;
const GOOGLES_BEFORE: i64 = 10;

/// An assertion signed with `key`, a PEM.
///
/// # Errors
/// Why the key cannot sign; never the key.
pub(super) fn signed(config: &OAuth2Config, key: &str) -> Result<String, String> {
    let scheme = match config.signature_algorithm.as_str() {
        "RS384" => SignatureScheme::RSA_PKCS1_SHA384,
        "RS512" => SignatureScheme::RSA_PKCS1_SHA512,
        _ => SignatureScheme::RSA_PKCS1_SHA256,
    };
    let is_googles = config.grant_type == GrantType::ServiceAccount;
    let bad = |why: &str| match is_googles {
        true => format!("private_key: {why}"),
        false => format!("client_certificate_key: {why}"),
    };
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| bad("holds no private key as PEM"))?;
    let key = aws_lc_rs::sign::any_supported_type(&key).map_err(|error| bad(&error.to_string()))?;
    let signer = key.choose_scheme(&[scheme]).ok_or_else(|| bad("is no RSA key"))?;

    let mut header = json!({"alg": config.signature_algorithm, "typ": "JWT"});
    if !config.client_certificate_key_id.is_empty() {
        header["kid"] = Value::from(config.client_certificate_key_id.clone());
    }
    let now = SystemClock.now_ms() / 1000;
    let or = |text: &str, other: &str| Value::from(if text.is_empty() { other } else { text });
    let mut claims = Map::new();
    claims.insert("iss".to_owned(), or(&config.iss, &config.client_id));
    let (begins, ends) = match is_googles {
        true => (now - GOOGLES_BEFORE, now - GOOGLES_BEFORE + GOOGLES_VALID_FOR),
        false => {
            let mut id = [0; 16];
            let random = aws_lc_rs::default_provider().secure_random;
            random.fill(&mut id).map_err(|_| "there is no randomness".to_owned())?;
            claims.insert("sub".to_owned(), Value::from(config.client_id.clone()));
            claims.insert("jti".to_owned(), Value::from(URL_SAFE_NO_PAD.encode(id)));
            (now, now + VALID_FOR)
        }
    };
    claims.insert("aud".to_owned(), or(&config.audience, &config.token_url));
    claims.insert("iat".to_owned(), Value::from(begins));
    claims.insert("exp".to_owned(), Value::from(ends));
    if !config.scopes.is_empty() {
        claims.insert("scope".to_owned(), Value::from(config.scopes.join(" ")));
    }
    for (name, value) in &config.claims {
        claims.insert(name.clone(), to_json(value));
    }
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(&header), part(&Value::Object(claims)));
    let signature = signer
        .sign(message.as_bytes())
        .map_err(|error| bad(&error.to_string()))?;
    Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

fn to_json(value: &Anything) -> Value {
    match value {
        Anything::Null => Value::Null,
        Anything::Bool(yes) => Value::from(*yes),
        Anything::Int(number) => Value::from(*number),
        Anything::Float(number) => Value::from(*number),
        Anything::Text(text) => Value::from(text.clone()),
        Anything::List(items) => items.iter().map(to_json).collect(),
        Anything::Map(map) => map.iter().map(|(name, value)| (name.clone(), to_json(value))).collect(),
    }
}
