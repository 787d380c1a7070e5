//! What Google's libraries call application default credentials, as golang.org/x/oauth2/google finds and uses them: the key
//! of a service account or the refresh token of a user, in a file, or what a machine of Google's is handed by the service at
//! its side.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use cupola_config::common::{GrantType, OAuth2Config, Secret, SecretSource};
use cupola_model::query_escape;
use serde_json::Value;

use crate::NetError;

const SCOPE: &str = "https://www.googleapis.com/auth/monitoring.write";
const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";
const FILE_VARIABLE: &str = "GOOGLE_APPLICATION_CREDENTIALS";
const WELL_KNOWN_FILE: &str = ".config/gcloud/application_default_credentials.json";
const MACHINE: &str = "169.254.169.254";

/// Stands behind why a machine's own service has no token.
pub(super) const NOWHERE_ELSE: &str = "; there are no other credentials: neither `credentials_file` nor \
    GOOGLE_APPLICATION_CREDENTIALS is given, and there is no ~/.config/gcloud/application_default_credentials.json";

/// How a token is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Google {
    pub oauth2: OAuth2Config,
    /// The project whose quota requests count against, where it is another one than that of the credentials; sent as
    /// `X-Goog-User-Project`.
    pub quota_project: Option<String>,
}

/// The credentials in `file`; without one those of the environment's file, of the file that gcloud leaves, or of the
/// machine, whichever there is first.
///
/// # Errors
/// [`NetError::Google`] names a file that is there and cannot be used, and why not; never what is in it.
pub(crate) fn find(file: Option<&Path>, env: &dyn Fn(&str) -> Option<String>) -> Result<Google, NetError> {
    let mut google = match (file, env(FILE_VARIABLE)) {
        (Some(file), _) => of_file(file, "credentials_file")?,
        (None, Some(file)) => of_file(Path::new(&file), FILE_VARIABLE)?,
        (None, None) => {
            let well_known = env("HOME").map(|home| PathBuf::from(home).join(WELL_KNOWN_FILE));
            match well_known.filter(|file| is_there(file)) {
                Some(file) => of_file(&file, "gcloud's file")?,
                None => of_machine(env),
            }
        }
    };
    // Where both say it, it is the environment's.
    if let Some(project) = env("GOOGLE_CLOUD_QUOTA_PROJECT") {
        google.quota_project = Some(project);
    }
    Ok(google)
}

// What cannot be looked at is there: it is to be told.
fn is_there(file: &Path) -> bool {
    !matches!(std::fs::metadata(file), Err(error) if error.kind() == ErrorKind::NotFound)
}

fn of_file(file: &Path, whose: &str) -> Result<Google, NetError> {
    let failed = |why: String| NetError::Google(format!("{whose} {}: {why}", file.display()));
    let json = std::fs::read(file).map_err(|error| failed(error.to_string()))?;
    read(&json).map_err(failed)
}

fn of_machine(env: &dyn Fn(&str) -> Option<String>) -> Google {
    let host = env("GCE_METADATA_HOST").unwrap_or_else(|| MACHINE.to_owned());
    let scope = query_escape(SCOPE);
    Google {
        oauth2: OAuth2Config {
            grant_type: GrantType::OfGoogleMachine,
            token_url: format!(
                "http://{host}/computeMetadata/v1/instance/service-accounts/default/token?scopes={scope}"
            ),
            ..OAuth2Config::default()
        },
        quota_project: None,
    }
}

/// Reads a file of credentials.
///
/// # Errors
/// What is missing in it, or is not supported; never what is there.
pub(super) fn read(json: &[u8]) -> Result<Google, String> {
    let json: Value = serde_json::from_slice(json).map_err(|error| format!("is no JSON: {error}"))?;
    let text = |name: &str| {
        let text = json.get(name).and_then(Value::as_str);
        text.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let required = |name: &str| text(name).ok_or_else(|| format!("the credentials have no {name:?}"));
    let secret = |name: &str| required(name).map(Secret::new);
    let token_url = text("token_uri").unwrap_or_else(|| TOKEN_URL.to_owned());
    let oauth2 = match text("type").as_deref() {
        Some("service_account") => OAuth2Config {
            grant_type: GrantType::ServiceAccount,
            client_id: required("client_email")?,
            client_certificate_key: Some(SecretSource::Inline(secret("private_key")?)),
            client_certificate_key_id: text("private_key_id").unwrap_or_default(),
            signature_algorithm: "RS256".to_owned(),
            audience: text("audience").unwrap_or_default(),
            scopes: vec![SCOPE.to_owned()],
            token_url,
            ..OAuth2Config::default()
        },
        Some("authorized_user") => OAuth2Config {
            grant_type: GrantType::RefreshToken,
            client_id: required("client_id")?,
            client_secret: Some(SecretSource::Inline(secret("client_secret")?)),
            refresh_token: Some(secret("refresh_token")?),
            token_url,
            ..OAuth2Config::default()
        },
        Some(
            kind @ ("external_account"
            | "external_account_authorized_user"
            | "impersonated_service_account"
            | "gdch_service_account"),
        ) => {
            return Err(format!(
                "credentials of type {kind:?} are not supported by this version; give it the key of a service account \
                 (\"service_account\") or a user's credentials (\"authorized_user\"), or let it run as the machine's account"
            ));
        }
        Some(kind) => return Err(format!("unknown credential type: {kind:?}")),
        None => return Err("missing 'type' field in credentials".to_owned()),
    };
    Ok(Google {
        oauth2,
        quota_project: text("quota_project_id"),
    })
}

#[cfg(test)]
mod tests;
