//! Ways to authenticate that only remote write has, told in the words of `<http_config>`.

use std::collections::BTreeMap;

use cupola_config::common::{Auth, GrantType, OAuth2Config, ProxyConfig, SecretSource, TlsConfig};
use cupola_config::prometheus::{AzureAdConfig, AzureCredentials, RemoteAuth};

/// `None` for those that are refused when a configuration is loaded.
pub(super) fn auth_of(auth: &RemoteAuth) -> Option<Auth> {
    match auth {
        RemoteAuth::SigV4(config) => Some(Auth::SigV4(Box::new(config.clone()))),
        RemoteAuth::AzureAd(config) => azure(config),
        RemoteAuth::GoogleIam(_) => None,
    }
}

// An application's secret is OAuth 2 with client credentials, at Microsoft's servers.
fn azure(config: &AzureAdConfig) -> Option<Auth> {
    let AzureCredentials::OAuth {
        client_id,
        client_secret,
        tenant_id,
    } = &config.credentials
    else {
        return None;
    };
    let (server, scope) = match config.cloud.as_str() {
        "AzureChina" => ("login.chinacloudapi.cn", "https://monitor.azure.cn//.default"),
        "AzureGovernment" => ("login.microsoftonline.us", "https://monitor.azure.us//.default"),
        _ => ("login.microsoftonline.com", "https://monitor.azure.com//.default"),
    };
    let scope = Some(config.scope.as_str())
        .filter(|scope| !scope.is_empty())
        .unwrap_or(scope);
    Some(Auth::OAuth2(Box::new(OAuth2Config {
        client_id: client_id.clone(),
        client_secret: Some(SecretSource::Inline(client_secret.clone())),
        grant_type: GrantType::ClientCredentials,
        client_certificate_key: None,
        client_certificate_key_id: String::new(),
        signature_algorithm: String::new(),
        iss: String::new(),
        audience: String::new(),
        claims: BTreeMap::new(),
        scopes: vec![scope.to_owned()],
        token_url: format!("https://{server}/{tenant_id}/oauth2/v2.0/token"),
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
        assert_eq!(auth_of(&RemoteAuth::GoogleIam(None)), None);
    }
}
