//! Ways to authenticate that only remote write has, told in the words of `<http_config>`.

use std::collections::BTreeMap;

use cupola_config::common::{Auth, GrantType, OAuth2Config, ProxyConfig, SecretSource, TlsConfig};
use cupola_config::prometheus::{AzureAdConfig, AzureCredentials, RemoteAuth};
use cupola_model::query_escape;

/// `None` for those that are refused when a configuration is loaded.
pub(super) fn auth_of(auth: &RemoteAuth) -> Option<Auth> {
    match auth {
        RemoteAuth::SigV4(config) => Some(Auth::SigV4(Box::new(config.clone()))),
        RemoteAuth::AzureAd(config) => azure(config),
        RemoteAuth::GoogleIam(_) => None,
    }
}

// OAuth 2 at Microsoft's servers, or at the metadata service that only Azure's machines reach.
fn azure(config: &AzureAdConfig) -> Option<Auth> {
    let (server, scope) = match config.cloud.as_str() {
        "AzureChina" => ("login.chinacloudapi.cn", "https://monitor.azure.cn//.default"),
        "AzureGovernment" => ("login.microsoftonline.us", "https://monitor.azure.us//.default"),
        _ => ("login.microsoftonline.com", "https://monitor.azure.com//.default"),
    };
    let scope = Some(config.scope.as_str())
        .filter(|scope| !scope.is_empty())
        .unwrap_or(scope);
    let of_tenant = |tenant: &str| format!("https://{server}/{tenant}/oauth2/v2.0/token");
    let of_scope = vec![scope.to_owned()];
    let (grant_type, client_id, client_secret, scopes, token_url) = match &config.credentials {
        AzureCredentials::OAuth {
            client_id,
            client_secret,
            tenant_id,
        } => {
            let secret = SecretSource::Inline(client_secret.clone());
            let grant = GrantType::ClientCredentials;
            (grant, client_id.clone(), Some(secret), of_scope, of_tenant(tenant_id))
        }
        AzureCredentials::WorkloadIdentity {
            client_id,
            tenant_id,
            token_file,
        } => {
            let token = SecretSource::File(token_file.clone());
            let grant = GrantType::ClientAssertion;
            (grant, client_id.clone(), Some(token), of_scope, of_tenant(tenant_id))
        }
        AzureCredentials::ManagedIdentity { client_id } => {
            // The older version of the protocol has resources where the newer has scopes.
            let resource = query_escape(scope.strip_suffix("/.default").unwrap_or(scope));
            let mut url = format!(
                "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource={resource}"
            );
            if !client_id.is_empty() {
                url.push_str(&format!("&client_id={}", query_escape(client_id)));
            }
            (GrantType::OfMachine, client_id.clone(), None, Vec::new(), url)
        }
        AzureCredentials::Sdk { .. } => return None,
    };
    Some(Auth::OAuth2(Box::new(OAuth2Config {
        client_id,
        client_secret,
        grant_type,
        client_certificate_key: None,
        client_certificate_key_id: String::new(),
        signature_algorithm: String::new(),
        iss: String::new(),
        audience: String::new(),
        claims: BTreeMap::new(),
        scopes,
        token_url,
        endpoint_params: BTreeMap::new(),
        tls: TlsConfig::default(),
        proxy: ProxyConfig::default(),
    })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupola_config::common::Secret;

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
            let Some(Auth::OAuth2(oauth2)) = auth_of(&RemoteAuth::AzureAd(config)) else {
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
            let Some(Auth::OAuth2(oauth2)) = auth_of(&RemoteAuth::AzureAd(config)) else {
                panic!("no OAuth 2");
            };
            let query = oauth2.token_url.split_once("&resource=").unwrap().1;
            assert_eq!(query, format!("https%3A%2F%2Fmonitor.azure.com%2F{more}"));
        }
        assert_eq!(auth_of(&RemoteAuth::GoogleIam(None)), None);
    }
}
