//! Where region and keys come from: what Amazon's own libraries look at (aws-sdk-go-v2's default chain and its shared files).

use std::sync::OnceLock;

use cupola_config::common::SigV4Config;

use super::Keys;
use super::sts::Role;
use crate::NetError;

// Profiles that name one another as the source of their keys.
const MOST_PROFILES: usize = 8;

/// Where region and keys come from.
pub(super) struct Source<'a> {
    pub config: &'a SigV4Config,
    pub env: &'a (dyn Fn(&str) -> Option<String> + Sync),
    profile: String,
    // Shared credentials and shared configuration, read once they are needed. One that cannot be read has nothing.
    files: OnceLock<[String; 2]>,
}

/// Whose keys sign in the end: those that are there first, or those of the last of the roles, which are assumed one after the
/// other.
#[derive(Debug)]
pub(super) struct Way {
    pub first: First,
    pub roles: Vec<Role>,
}

/// The keys to begin with.
#[derive(Debug)]
pub(super) enum First {
    /// Are there.
    Keys(Keys),
    /// Are those of a role that a token gets.
    Token(Role),
    /// Are printed by a program, a line for a shell.
    Process { profile: String, command: String },
    /// Are handed out by a service beside us; `missing` says where else keys were looked for.
    Machine { place: Place, missing: Option<NetError> },
}

/// Which service that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The container's where the environment names one, else the machine's.
    Any,
    Container,
    Instance,
}

impl<'a> Source<'a> {
    pub(super) fn new(config: &'a SigV4Config, env: &'a (dyn Fn(&str) -> Option<String> + Sync)) -> Self {
        let profile = match config.profile.as_str() {
            "" => env("AWS_PROFILE").unwrap_or_else(|| "default".to_owned()),
            profile => profile.to_owned(),
        };
        Self {
            config,
            env,
            profile,
            files: OnceLock::new(),
        }
    }

    /// What is configured; the machine is not asked.
    pub(super) fn region(&self) -> Result<String, NetError> {
        let given = Some(self.config.region.clone()).filter(|region| !region.is_empty());
        let found = given
            .or_else(|| (self.env)("AWS_REGION"))
            .or_else(|| (self.env)("AWS_DEFAULT_REGION"))
            .or_else(|| self.field(&self.profile, "region"));
        found.ok_or_else(|| {
            NetError::Sign(format!(
                "there is no region, neither in sigv4.region nor in AWS_REGION nor in the profile {:?}",
                self.profile
            ))
        })
    }

    /// Whose keys sign.
    ///
    /// # Errors
    /// [`NetError::Sign`] tells what is missing, or is not supported, and where.
    pub(super) fn way(&self) -> Result<Way, NetError> {
        let mut way = self.first()?;
        if !self.config.role_arn.is_empty() {
            way.roles.push(Role::Configured {
                arn: self.config.role_arn.clone(),
                external_id: self.config.external_id.clone(),
                session: None,
                seconds: None,
            });
        }
        Ok(way)
    }

    fn first(&self) -> Result<Way, NetError> {
        let config = self.config;
        if let Some(secret) = &config.secret_key {
            return Ok(Way::of(First::Keys(Keys {
                access_key: config.access_key.clone(),
                secret_key: secret.expose().to_owned(),
                session_token: String::new(),
            })));
        }
        if config.profile.is_empty() {
            if let Some(keys) = self.keys_of_env() {
                return Ok(Way::of(First::Keys(keys)));
            }
            // A cluster's service account.
            if let (Some(arn), Some(file)) = ((self.env)("AWS_ROLE_ARN"), (self.env)("AWS_WEB_IDENTITY_TOKEN_FILE")) {
                let session = None;
                return Ok(Way::of(First::Token(Role::OfToken { arn, file, session })));
            }
        }
        self.way_of(&self.profile, &mut Vec::new())
    }

    // `before` are the profiles that led here. One that leads to itself has only its own keys the second time.
    fn way_of(&self, profile: &str, before: &mut Vec<String>) -> Result<Way, NetError> {
        let (is_again, is_source) = (before.iter().any(|name| name == profile), !before.is_empty());
        let field = |key: &str| self.field(profile, key);
        let once = |key: &str| field(key).filter(|_| !is_again);
        let bad = |why: String| NetError::Sign(format!("profile {profile:?} {why}"));
        if before.len() >= MOST_PROFILES {
            return Err(bad(format!("is the {MOST_PROFILES}th source_profile in a row")));
        }
        let role_arn = once("role_arn");
        for key in ["source_profile", "credential_source", "web_identity_token_file"] {
            if role_arn.is_none() && once(key).is_some() {
                return Err(bad(format!("has {key}, but no role_arn")));
            }
        }
        let own = field("aws_access_key_id").zip(field("aws_secret_access_key"));
        let own = own.map(|(access_key, secret_key)| Keys {
            access_key,
            secret_key,
            session_token: field("aws_session_token").unwrap_or_default(),
        });
        let linked = once("source_profile").filter(|_| !is_source || own.is_none());
        let signs_in = ["sso_session", "sso_account_id", "sso_start_url"];
        let mut way = if let Some(source) = linked {
            before.push(profile.to_owned());
            self.way_of(&source, before)?
        } else if let Some(keys) = own {
            Way::of(First::Keys(keys))
        } else if let Some(kind) = once("credential_source") {
            Way::of(self.named(&kind).map_err(bad)?)
        } else if let Some((file, arn)) = once("web_identity_token_file").zip(role_arn.clone()) {
            let session = field("role_session_name");
            return Ok(Way::of(First::Token(Role::OfToken { arn, file, session })));
        } else if let Some(key) = signs_in.into_iter().find(|key| field(key).is_some()) {
            return Err(bad(format!(
                "signs in ({key}), which is not supported by this version; give it keys, a role or a credential_process"
            )));
        } else if let Some(command) = field("credential_process") {
            Way::of(First::Process {
                profile: profile.to_owned(),
                command,
            })
        } else if role_arn.is_some() {
            return Err(bad(
                "has role_arn, but neither source_profile nor credential_source".to_owned()
            ));
        } else {
            let what = match field("aws_access_key_id") {
                Some(_) => "aws_secret_access_key",
                None => "aws_access_key_id",
            };
            // Who names a profile wants its keys and no others.
            if is_source || !self.config.profile.is_empty() {
                return Err(bad(format!("has no {what}")));
            }
            let missing = bad(format!(
                "has no {what}, and there are no keys in sigv4 or in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            ));
            Way::of(First::Machine {
                place: Place::Any,
                missing: Some(missing),
            })
        };
        if let Some(arn) = role_arn {
            if field("mfa_serial").is_some() {
                return Err(bad(
                    "asks for a second factor (mfa_serial), for which nobody is there".to_owned()
                ));
            }
            way.roles.push(Role::Configured {
                arn,
                external_id: field("external_id").unwrap_or_default(),
                session: field("role_session_name"),
                seconds: field("duration_seconds").and_then(|seconds| seconds.parse().ok()),
            });
        }
        Ok(way)
    }

    // What a profile calls the source of its keys.
    fn named(&self, kind: &str) -> Result<First, String> {
        let (place, missing) = match kind {
            "Environment" => {
                let keys = self.keys_of_env().ok_or(
                    "has the credential_source Environment, but there are no AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
                )?;
                return Ok(First::Keys(keys));
            }
            "Ec2InstanceMetadata" => (Place::Instance, None),
            "EcsContainer" => (Place::Container, None),
            _ => {
                return Err(format!(
                    "has the credential_source {kind:?}; it must be EcsContainer, Ec2InstanceMetadata or Environment"
                ));
            }
        };
        Ok(First::Machine { place, missing })
    }

    fn keys_of_env(&self) -> Option<Keys> {
        Some(Keys {
            access_key: (self.env)("AWS_ACCESS_KEY_ID")?,
            secret_key: (self.env)("AWS_SECRET_ACCESS_KEY")?,
            session_token: (self.env)("AWS_SESSION_TOKEN").unwrap_or_default(),
        })
    }

    // Of the shared credentials, else of the shared configuration.
    fn field(&self, profile: &str, key: &str) -> Option<String> {
        let [credentials, config] = self.files.get_or_init(|| {
            [
                ("AWS_SHARED_CREDENTIALS_FILE", "credentials"),
                ("AWS_CONFIG_FILE", "config"),
            ]
            .map(|(variable, name)| {
                let in_home = || Some(format!("{}/.aws/{name}", (self.env)("HOME")?));
                let file = (self.env)(variable).or_else(in_home);
                file.and_then(|file| std::fs::read_to_string(file).ok())
                    .unwrap_or_default()
            })
        });
        lookup(credentials, |section| section == profile, key).or_else(|| {
            let is_its = |section: &str| match section.strip_prefix("profile ") {
                Some(name) => name.trim() == profile,
                None => section == "default" && profile == "default",
            };
            lookup(config, is_its, key)
        })
    }
}

impl Way {
    fn of(first: First) -> Self {
        Self {
            first,
            roles: Vec::new(),
        }
    }
}

// A value of an INI file.
fn lookup(text: &str, is_section: impl Fn(&str) -> bool, key: &str) -> Option<String> {
    let mut is_inside = false;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            is_inside = is_section(name.trim());
        } else if is_inside
            && let Some((name, value)) = line.split_once('=')
            && name.trim() == key
        {
            return Some(value.trim().to_owned()).filter(|value| !value.is_empty());
        }
    }
    None
}
