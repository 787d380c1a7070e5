//! Where region and keys come from: what Amazon's own libraries look at.

use std::path::Path;

use cupola_config::common::SigV4Config;

use super::Keys;
use super::sts::Role;
use crate::NetError;

/// Where region and keys come from.
pub(super) struct Source<'a> {
    pub config: &'a SigV4Config,
    pub env: &'a (dyn Fn(&str) -> Option<String> + Sync),
    profile: String,
}

impl<'a> Source<'a> {
    pub(super) fn new(config: &'a SigV4Config, env: &'a (dyn Fn(&str) -> Option<String> + Sync)) -> Self {
        let profile = match config.profile.as_str() {
            "" => env("AWS_PROFILE").unwrap_or_else(|| "default".to_owned()),
            profile => profile.to_owned(),
        };
        Self { config, env, profile }
    }

    pub(super) fn region(&self) -> Result<String, NetError> {
        let given = Some(self.config.region.clone()).filter(|region| !region.is_empty());
        let found = given
            .or_else(|| (self.env)("AWS_REGION"))
            .or_else(|| (self.env)("AWS_DEFAULT_REGION"))
            .or_else(|| self.of_profile("region"));
        found.ok_or_else(|| {
            NetError::Sign(format!(
                "there is no region, neither in sigv4.region nor in AWS_REGION nor in the profile {:?}",
                self.profile
            ))
        })
    }

    /// The role that the configuration asks for.
    pub(super) fn role(&self) -> Option<Role> {
        let arn = Some(self.config.role_arn.clone()).filter(|arn| !arn.is_empty())?;
        Some(Role::Configured {
            arn,
            external_id: self.config.external_id.clone(),
        })
    }

    /// The role of a cluster's service account, where there is one and no keys go before it.
    pub(super) fn token(&self) -> Option<Role> {
        let has_keys = (self.env)("AWS_ACCESS_KEY_ID").is_some() && (self.env)("AWS_SECRET_ACCESS_KEY").is_some();
        if has_keys || self.config.secret_key.is_some() || !self.config.profile.is_empty() {
            return None;
        }
        Some(Role::OfToken {
            arn: (self.env)("AWS_ROLE_ARN")?,
            file: (self.env)("AWS_WEB_IDENTITY_TOKEN_FILE")?,
        })
    }

    /// Whether the service at the machine's side may be asked: it hands out keys where no others were named.
    pub(super) fn may_ask_machine(&self) -> bool {
        self.config.profile.is_empty() && self.of_profile("role_arn").is_none()
    }

    /// Keys that are there at once.
    pub(super) fn keys(&self) -> Result<Keys, NetError> {
        if let Some(secret) = &self.config.secret_key {
            return Ok(Keys {
                access_key: self.config.access_key.clone(),
                secret_key: secret.expose().to_owned(),
                session_token: String::new(),
            });
        }
        let has_profile = !self.config.profile.is_empty();
        let of_env = (self.env)("AWS_ACCESS_KEY_ID").zip((self.env)("AWS_SECRET_ACCESS_KEY"));
        if let Some((access_key, secret_key)) = of_env.filter(|_| !has_profile) {
            return Ok(Keys {
                access_key,
                secret_key,
                session_token: (self.env)("AWS_SESSION_TOKEN").unwrap_or_default(),
            });
        }
        let missing = |what: &str| {
            let profile = &self.profile;
            if self.of_profile("role_arn").is_some() {
                return NetError::Sign(format!(
                    "profile {profile:?} assumes a role, which is not supported by this version; give it keys of its own"
                ));
            }
            let places = match has_profile {
                true => "",
                false => ", and there are no keys in sigv4 or in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            };
            NetError::Sign(format!("profile {profile:?} has no {what}{places}"))
        };
        let field = |name: &str| self.of_profile(name).ok_or_else(|| missing(name));
        Ok(Keys {
            access_key: field("aws_access_key_id")?,
            secret_key: field("aws_secret_access_key")?,
            session_token: self.of_profile("aws_session_token").unwrap_or_default(),
        })
    }

    // Of the shared credentials, else of the shared configuration.
    fn of_profile(&self, key: &str) -> Option<String> {
        let path = |variable: &str, name: &str| {
            (self.env)(variable).or_else(|| Some(format!("{}/.aws/{name}", (self.env)("HOME")?)))
        };
        let profile = self.profile.as_str();
        let section = match profile {
            "default" => "default".to_owned(),
            _ => format!("profile {profile}"),
        };
        let of_credentials = path("AWS_SHARED_CREDENTIALS_FILE", "credentials");
        of_credentials
            .and_then(|file| lookup(Path::new(&file), profile, key))
            .or_else(|| lookup(Path::new(&path("AWS_CONFIG_FILE", "config")?), &section, key))
    }
}

// A value of an INI file. A file that cannot be read has none.
fn lookup(file: &Path, section: &str, key: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let mut is_inside = false;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            is_inside = name.trim() == section;
        } else if is_inside
            && let Some((name, value)) = line.split_once('=')
            && name.trim() == key
        {
            return Some(value.trim().to_owned()).filter(|value| !value.is_empty());
        }
    }
    None
}
