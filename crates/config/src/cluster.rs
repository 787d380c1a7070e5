//! The file of `--cluster.tls-config` (Alertmanager 0.34): how the members of a cluster speak TLS to each other.

use std::path::Path;

use crate::common::TlsConfig;
use crate::error::{ConfigError, ConfigErrors, ConfigWarning};
use crate::http::read_tls;
use crate::read::{Reader, Section};
use crate::web::{ClientAuth, WebTls, tls};
use crate::yaml::Node;

/// What the file says: each member is a server for those that connect to it, and a client of those it connects to.
#[derive(Debug, Clone)]
pub struct ClusterTls {
    /// `tls_server_config`, as in a web configuration.
    pub server: WebTls,
    /// `tls_client_config`, as `tls_config` elsewhere; where the section is absent its defaults.
    pub client: TlsConfig,
    /// What has no effect, or another one than may be expected.
    pub warnings: Vec<ConfigWarning>,
    // Where the client's files are named, and the section itself under an empty name; errors without words yet.
    places: Vec<(String, ConfigError)>,
}

impl ClusterTls {
    /// A mistake in a file of `client`, at the place of the configuration that names it.
    #[must_use]
    pub fn client_error(&self, file: &str, message: impl Into<String>) -> ConfigError {
        let place = |name: &str| self.places.iter().find(|(known, _)| known == name);
        let place = place(file).or_else(|| place("")).map(|(_, place)| place.clone());
        ConfigError {
            message: message.into(),
            ..place.unwrap_or_else(|| self.server.cert.error(""))
        }
    }
}

/// Reads the text of such a file; `path` is for messages, and relative paths begin in its folder. Files that it names are
/// not looked for.
///
/// # Errors
/// Every mistake, each with its place.
pub fn parse_cluster_tls(text: &str, path: &Path) -> Result<ClusterTls, ConfigErrors> {
    let reader = Reader::new(path);
    let document = reader.document(text);
    let mut config = match document.root.as_deref() {
        Some(root) => read(&reader, root),
        None if reader.is_clean() => read_section(&reader, &reader.no_section()),
        None => None,
    };
    let warnings = reader.take_warnings();
    if let Some(config) = &mut config {
        config.warnings = warnings;
    }
    reader.result(config)
}

fn read(reader: &Reader<'_>, root: &Node) -> Option<ClusterTls> {
    let section = reader.section(root, "cluster.TLSTransportConfig");
    let config = read_section(reader, &section);
    section.finish();
    config
}

fn read_section(reader: &Reader<'_>, section: &Section<'_>) -> Option<ClusterTls> {
    let pos = section.key_pos("tls_server_config");
    let server = match section.get("tls_server_config") {
        Some(node) => tls::read(reader, pos, node, false),
        // What is no map has been told of.
        None if !reader.is_clean() => None,
        None => {
            let message = "missing 'tls_server_config' entry in the TLS configuration";
            reader.error_hint(pos, message, "it needs cert_file and key_file");
            None
        }
    };
    let client_pos = section.key_pos("tls_client_config");
    let client = section.get("tls_client_config").map(|node| {
        let fields = reader.section(node, "config.plain");
        let named = ["ca_file", "cert_file", "key_file"].into_iter().filter_map(|name| {
            let path = fields.path(name)?;
            Some((
                path.display().to_string(),
                reader.place(fields.key_pos(name), name, None),
            ))
        });
        let named: Vec<_> = named.collect();
        (read_tls(reader, node), named)
    });
    let (client, mut places) = client.unwrap_or_default();
    places.push((String::new(), reader.place(client_pos, "", None)));
    if server.is_none() && reader.is_clean() {
        reader.error(pos, "missing one of cert or cert_file");
    }
    let server = server?;
    if !server.client_auth.is_mandatory() {
        let message =
            "without client_auth_type: RequireAndVerifyClientCert whoever reaches the port can become a member";
        reader.warn(pos, message);
    } else if client.cert.is_none() {
        let message = "members of this configuration refuse each other: it asks for certificates and has none to show";
        reader.warn(
            client_pos,
            format!("{message} (cert_file and key_file of tls_client_config)"),
        );
    }
    if server.client_auth == ClientAuth::RequireAny {
        reader.warn(pos, "client_auth_type takes certificates of any issuer");
    }
    if client.insecure_skip_verify {
        reader.warn(client_pos, "insecure_skip_verify takes whoever answers for a member");
    }
    Some(ClusterTls {
        server,
        client,
        warnings: Vec::new(),
        places,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::{PemSource, Secret, SecretSource};

    const SERVER: &str = "tls_server_config:\n  cert_file: m.crt\n  key_file: m.key\n  client_ca_file: ca.crt\n  \
                          client_auth_type: RequireAndVerifyClientCert\n";
    const CLIENT: &str = "tls_client_config:\n  ca_file: ca.crt\n  cert_file: m.crt\n  key_file: m.key\n";

    fn parse(text: &str) -> Result<ClusterTls, String> {
        parse_cluster_tls(text, Path::new("etc/tls.yml")).map_err(|errors| errors.to_string())
    }

    #[test]
    fn both_sides_are_read_with_the_places_of_their_files() {
        let config = parse(&format!("{SERVER}{CLIENT}  server_name: member\n")).unwrap();
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
        assert_eq!(config.server.cert.path(), Some(Path::new("etc/m.crt")));
        assert_eq!(config.client.ca, Some(PemSource::File("etc/ca.crt".into())));
        assert_eq!(config.client.key, Some(SecretSource::File("etc/m.key".into())));
        assert_eq!(config.client.server_name.as_deref(), Some("member"));
        let told = |file: &str| config.client_error(file, "x").to_string();
        assert_eq!(told("etc/ca.crt"), "etc/tls.yml:7:3: x");
        assert_eq!(told("etc/m.key"), "etc/tls.yml:9:3: x");
        assert_eq!(told("inline"), "etc/tls.yml:6:1: x");
        let inline = parse(&format!("{SERVER}tls_client_config: {{cert: CERT, key: KEY}}\n")).unwrap();
        assert_eq!(inline.client.cert, Some(PemSource::Inline("CERT".to_owned())));
        assert_eq!(inline.client.key, Some(SecretSource::Inline(Secret::new("KEY"))));
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (text, expected) in [
            (
                "",
                "1:1: missing 'tls_server_config' entry in the TLS configuration (it needs cert_file and key_file)",
            ),
            (
                CLIENT,
                "1:1: missing 'tls_server_config' entry in the TLS configuration (it needs cert_file and key_file)",
            ),
            ("tls_server_config: {}\n", "1:1: missing one of cert or cert_file"),
            (
                "tls_server_config: {cert_file: a}\n",
                "1:1: missing one of key or key_file",
            ),
            (
                "tls_server_config: {cert_file: a, key_file: b}\ntls_client_confg: {}\n",
                "2:1: field tls_client_confg not found in type cluster.TLSTransportConfig (did you mean tls_client_config?)",
            ),
            (
                "tls_server_config: {cert_file: a, key_file: b}\ntls_client_config:\n  cert_file: a\n",
                "3:3: exactly one of key or key_file must be configured when a client certificate is configured",
            ),
            ("x\n", "1:1: cannot unmarshal !!str `x` into cluster.TLSTransportConfig"),
        ] {
            let told = parse(text).unwrap_err();
            assert_eq!(told.lines().next(), Some(&*format!("etc/tls.yml:{expected}")), "{text}");
        }
    }

    #[test]
    fn what_protects_nobody_is_told() {
        let warned = |text: &str| {
            let warnings = parse(text).unwrap().warnings;
            warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        let open =
            warned("tls_server_config: {cert_file: a, key_file: b}\ntls_client_config: {insecure_skip_verify: true}\n");
        assert!(open.contains("etc/tls.yml:1:1: without client_auth_type"), "{open}");
        assert!(open.contains("etc/tls.yml:2:1: insecure_skip_verify"), "{open}");
        let deaf = warned(SERVER);
        assert!(deaf.contains("refuse each other"), "{deaf}");
        let any = "tls_server_config: {cert_file: a, key_file: b, client_auth_type: RequireAnyClientCert}\n";
        assert!(warned(&format!("{any}{CLIENT}")).contains("any issuer"));
    }
}
