//! Ways to authenticate that only remote write has, told in the words of `<http_config>`.

use std::path::PathBuf;

use cupola_config::common::{Auth, GrantType, OAuth2Config, Secret, SecretSource};
use cupola_config::prometheus::{AzureAdConfig, AzureCredentials, RemoteAuth};
use cupola_model::query_escape;

/// # Errors
/// What of the environment cannot be used.
pub(super) fn auth_of(auth: &RemoteAuth, env: &dyn Fn(&str) -> Option<String>) -> Result<Auth, String> {
    match auth {
        RemoteAuth::SigV4(config) => Ok(Auth::SigV4(Box::new(config.clone()))),
        RemoteAuth::AzureAd(config) => azure(config, env),
        RemoteAuth::GoogleIam(file) => Ok(Auth::GoogleIam(file.clone())),
    }
}

// OAuth 2 at Microsoft's servers, or at the metadata service that only Azure's machines reach.
fn azure(config: &AzureAdConfig, env: &dyn Fn(&str) -> Option<String>) -> Result<Auth, String> {
    let (server, scope) = match config.cloud.as_str() {
        "AzureChina" => ("login.chinacloudapi.cn", "https://monitor.azure.cn//.default"),
        "AzureGovernment" => ("login.microsoftonline.us", "https://monitor.azure.us//.default"),
        _ => ("login.microsoftonline.com", "https://monitor.azure.com//.default"),
    };
    let scope = Some(config.scope.as_str())
        .filter(|scope| !scope.is_empty())
        .unwrap_or(scope);
    let of_tenant = |tenant: &str| format!("https://{server}/{tenant}/oauth2/v2.0/token");
    let scopes = vec![scope.to_owned()];
    let found;
    let credentials = match &config.credentials {
        AzureCredentials::Sdk { tenant_id } => {
            found = of_environment(tenant_id, env)?;
            &found
        }
        credentials => credentials,
    };
    let oauth2 = match credentials {
        AzureCredentials::OAuth {
            client_id,
            client_secret,
            tenant_id,
        } => OAuth2Config {
            grant_type: GrantType::ClientCredentials,
            client_id: client_id.clone(),
            client_secret: Some(SecretSource::Inline(client_secret.clone())),
            scopes,
            token_url: of_tenant(tenant_id),
            ..OAuth2Config::default()
        },
        AzureCredentials::WorkloadIdentity {
            client_id,
            tenant_id,
            token_file,
        } => OAuth2Config {
            grant_type: GrantType::ClientAssertion,
            client_id: client_id.clone(),
            client_secret: Some(SecretSource::File(token_file.clone())),
            scopes,
            token_url: of_tenant(tenant_id),
            ..OAuth2Config::default()
        },
        AzureCredentials::ManagedIdentity { client_id } => {
            // The older version of the protocol has resources where the newer has scopes.
            let resource = query_escape(scope.strip_suffix("/.default").unwrap_or(scope));
            let mut token_url = format!(
                "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource={resource}"
            );
            if !client_id.is_empty() {
                token_url.push_str(&format!("&client_id={}", query_escape(client_id)));
            }
            OAuth2Config {
                grant_type: GrantType::OfMachine,
                client_id: client_id.clone(),
                token_url,
                ..OAuth2Config::default()
            }
        }
        // The environment leads to one of the others.
        AzureCredentials::Sdk { .. } => return Err("azuread.sdk: the environment names no credentials".to_owned()),
    };
    Ok(Auth::OAuth2(Box::new(oauth2)))
}

const OF_ENVIRONMENT: &str = "environmentcredential";
const OF_WORKLOAD: &str = "workloadidentitycredential";
const OF_MACHINE: &str = "managedidentitycredential";

// What Azure's own library (azidentity's DefaultAzureCredential) uses of the environment: an application with its secret,
// else a workload identity, else the machine's identity. The developers' tools, which it asks after these, are not asked.
fn of_environment(tenant_id: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<AzureCredentials, String> {
    let only = env("AZURE_TOKEN_CREDENTIALS").unwrap_or_default();
    let only = only.trim().to_ascii_lowercase();
    let is_any = ["", "prod"].contains(&only.as_str());
    if !is_any && ![OF_ENVIRONMENT, OF_WORKLOAD, OF_MACHINE].contains(&only.as_str()) {
        return Err(format!(
            "azuread.sdk: AZURE_TOKEN_CREDENTIALS is {only:?}, which is not supported by this version; it may be prod, \
             EnvironmentCredential, WorkloadIdentityCredential or ManagedIdentityCredential"
        ));
    }
    let may_be = |kind: &str| is_any || only == kind;
    let is_only = |kind: &str| only == kind;
    let missing = |names: &str| {
        Err(format!(
            "azuread.sdk: AZURE_TOKEN_CREDENTIALS is {only:?}, which needs {names}"
        ))
    };
    let (client_id, tenant) = (env("AZURE_CLIENT_ID"), env("AZURE_TENANT_ID"));
    if may_be(OF_ENVIRONMENT) {
        if let (Some(client_id), Some(tenant_id)) = (&client_id, &tenant) {
            if let Some(secret) = env("AZURE_CLIENT_SECRET") {
                return Ok(AzureCredentials::OAuth {
                    client_id: client_id.clone(),
                    client_secret: Secret::new(secret),
                    tenant_id: tenant_id.clone(),
                });
            }
            let others = ["AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_USERNAME"];
            if let Some(name) = others.into_iter().find(|name| env(name).is_some()) {
                return Err(format!(
                    "azuread.sdk: {name} is not supported by this version; give it AZURE_CLIENT_SECRET, \
                     AZURE_FEDERATED_TOKEN_FILE or a managed identity"
                ));
            }
        }
        if is_only(OF_ENVIRONMENT) {
            return missing("AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET");
        }
    }
    if may_be(OF_WORKLOAD) {
        // The configuration's tenant goes before the environment's here, and only here.
        let tenant = Some(tenant_id.to_owned())
            .filter(|tenant| !tenant.is_empty())
            .or(tenant);
        if let (Some(client_id), Some(tenant_id), Some(file)) = (&client_id, tenant, env("AZURE_FEDERATED_TOKEN_FILE"))
        {
            return Ok(AzureCredentials::WorkloadIdentity {
                client_id: client_id.clone(),
                tenant_id,
                token_file: PathBuf::from(file),
            });
        }
        if is_only(OF_WORKLOAD) {
            return missing("AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_FEDERATED_TOKEN_FILE");
        }
    }
    // Azure App Service, Arc and others have services of their own for it.
    if let Some(name) = ["IDENTITY_ENDPOINT", "MSI_ENDPOINT"]
        .into_iter()
        .find(|name| env(name).is_some())
    {
        return Err(format!(
            "azuread.sdk: a managed identity by {name} is not supported by this version, only that of a virtual machine; \
             give it AZURE_CLIENT_SECRET or AZURE_FEDERATED_TOKEN_FILE"
        ));
    }
    Ok(AzureCredentials::ManagedIdentity {
        client_id: client_id.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn an_application_of_azure_asks_its_own_cloud() {
        for (cloud, scope, server, asked) in [
            (
                "AzurePublic",
                "",
                "login.microsoftonline.com",
                "https://monitor.azure.com//.default",
            ),
            (
                "AzureChina",
                "",
                "login.chinacloudapi.cn",
                "https://monitor.azure.cn//.default",
            ),
            (
                "AzureGovernment",
                "api://own/.default",
                "login.microsoftonline.us",
                "api://own/.default",
            ),
        ] {
            let config = AzureAdConfig {
                cloud: cloud.to_owned(),
                scope: scope.to_owned(),
                credentials: AzureCredentials::OAuth {
                    client_id: "app".to_owned(),
                    client_secret: Secret::new("hunter2"),
                    tenant_id: "tenant".to_owned(),
                },
            };
            let Ok(Auth::OAuth2(oauth2)) = auth_of(&RemoteAuth::AzureAd(config), &nothing) else {
                panic!("{cloud}: no OAuth 2");
            };
            assert_eq!(oauth2.token_url, format!("https://{server}/tenant/oauth2/v2.0/token"));
            assert_eq!(oauth2.scopes, [asked]);
        }
        for (client_id, more) in [("", ""), ("id", "&client_id=id")] {
            let config = AzureAdConfig {
                cloud: "AzurePublic".to_owned(),
                scope: String::new(),
                credentials: AzureCredentials::ManagedIdentity {
                    client_id: client_id.to_owned(),
                },
            };
            let Ok(Auth::OAuth2(oauth2)) = auth_of(&RemoteAuth::AzureAd(config), &nothing) else {
                panic!("no OAuth 2");
            };
            let query = oauth2.token_url.split_once("&resource=").unwrap().1;
            assert_eq!(query, format!("https%3A%2F%2Fmonitor.azure.com%2F{more}"));
        }
        let google = auth_of(&RemoteAuth::GoogleIam(None), &nothing);
        assert_eq!(google, Ok(Auth::GoogleIam(None)));
    }

    fn of_sdk(tenant_id: &str, cloud: &str, env: &[(&str, &str)]) -> Result<String, String> {
        let config = AzureAdConfig {
            cloud: cloud.to_owned(),
            scope: String::new(),
            credentials: AzureCredentials::Sdk {
                tenant_id: tenant_id.to_owned(),
            },
        };
        let env = |name: &str| {
            let found = env.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        auth_of(&RemoteAuth::AzureAd(config), &env).map(|auth| match auth {
            Auth::OAuth2(oauth2) => {
                let secret = match &oauth2.client_secret {
                    Some(SecretSource::Inline(secret)) => format!(" secret {}", secret.expose()),
                    Some(SecretSource::File(file)) => format!(" file {}", file.display()),
                    None => String::new(),
                };
                format!(
                    "{:?} {}{secret} {}",
                    oauth2.grant_type, oauth2.client_id, oauth2.token_url
                )
            }
            other => format!("{other:?}"),
        })
    }

    #[test]
    fn azures_library_takes_from_the_environment_what_is_there_first() {
        let app = [("AZURE_TENANT_ID", "t"), ("AZURE_CLIENT_ID", "app")];
        let with = |more: &[(&'static str, &'static str)]| [&app[..], more].concat();
        let secret = ("AZURE_CLIENT_SECRET", "s");
        let file = ("AZURE_FEDERATED_TOKEN_FILE", "/token");
        let only = |kind| ("AZURE_TOKEN_CREDENTIALS", kind);
        let url = "https://login.microsoftonline.com";
        let machine = "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=\
                       https%3A%2F%2Fmonitor.azure.com%2F";
        for (tenant, env, expected) in [
            (
                "",
                with(&[secret, file]),
                format!("ClientCredentials app secret s {url}/t/oauth2/v2.0/token"),
            ),
            // The application of the environment is in the environment's tenant.
            (
                "own",
                with(&[secret]),
                format!("ClientCredentials app secret s {url}/t/oauth2/v2.0/token"),
            ),
            (
                "",
                with(&[file]),
                format!("ClientAssertion app file /token {url}/t/oauth2/v2.0/token"),
            ),
            (
                "own",
                with(&[file]),
                format!("ClientAssertion app file /token {url}/own/oauth2/v2.0/token"),
            ),
            (
                "",
                with(&[secret, file, only("WorkloadIdentityCredential")]),
                format!("ClientAssertion app file /token {url}/t/oauth2/v2.0/token"),
            ),
            ("", vec![secret], format!("OfMachine  {machine}")),
            ("", app.to_vec(), format!("OfMachine app {machine}&client_id=app")),
            (
                "",
                with(&[secret, only("ManagedIdentityCredential")]),
                format!("OfMachine app {machine}&client_id=app"),
            ),
            (
                "",
                with(&[secret, only("prod")]),
                format!("ClientCredentials app secret s {url}/t/oauth2/v2.0/token"),
            ),
        ] {
            assert_eq!(of_sdk(tenant, "AzurePublic", &env), Ok(expected), "{env:?}");
        }
        let of_china = of_sdk("", "AzureChina", &with(&[secret])).unwrap();
        assert!(
            of_china.ends_with("https://login.chinacloudapi.cn/t/oauth2/v2.0/token"),
            "{of_china}"
        );
        for (env, why) in [
            (
                with(&[("AZURE_CLIENT_CERTIFICATE_PATH", "/c.pem")]),
                "AZURE_CLIENT_CERTIFICATE_PATH is not supported",
            ),
            (with(&[("AZURE_USERNAME", "me")]), "AZURE_USERNAME is not supported"),
            (
                vec![("IDENTITY_ENDPOINT", "http://x")],
                "a managed identity by IDENTITY_ENDPOINT is not supported",
            ),
            (
                with(&[secret, only("dev")]),
                "AZURE_TOKEN_CREDENTIALS is \"dev\", which is not supported",
            ),
            (
                vec![only("EnvironmentCredential")],
                "AZURE_TOKEN_CREDENTIALS is \"environmentcredential\", which needs AZURE_TENANT_ID, ",
            ),
            (
                app.iter()
                    .copied()
                    .chain([only("WorkloadIdentityCredential")])
                    .collect(),
                "which needs AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_FEDERATED_TOKEN_FILE",
            ),
        ] {
            let error = of_sdk("", "AzurePublic", &env).unwrap_err();
            assert!(error.starts_with("azuread.sdk: ") && error.contains(why), "{error}");
        }
    }
}
