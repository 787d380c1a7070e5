//! `ec2_sd_configs`: the instances of Amazon's EC2 (Prometheus 3.14, `discovery/aws`).
//!
//! EC2's query API is asked as Amazon's own libraries ask it: a signed form is posted, XML comes back, page by page.

mod xml;

use std::collections::HashMap;

use bytes::Bytes;
use cupola_config::common::{Auth, HttpClientConfig, Secret, SigV4Config};
use cupola_config::prometheus::{Ec2SdConfig, TargetGroup};
use cupola_model::{Labels, LabelsBuilder, query_escape};
use cupola_net::{Peer, Request, amazon_region};
use http::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method, StatusCode, Uri};
use tracing::debug;

use crate::groups::MAX_BYTES;
use crate::http::AGENT;
use crate::labels::{host_port, sanitized};
use crate::provider::{Look, Updates};
use xml::Element;

const META: &str = "__meta_ec2_";
const VERSION: &str = "2016-11-15";
// EC2 gives up to a thousand instances at once; a list of more pages has no end.
const MOST_PAGES: usize = 10_000;
// An instance has at most 15 network interfaces; what says more is not believed.
const MOST_INTERFACES: usize = 64;

pub(crate) async fn run(config: Ec2SdConfig, updates: Updates) {
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let place = Ec2::new(config, &env);
    updates.refresh(place.config.refresh_interval, place).await;
}

struct Ec2 {
    config: Ec2SdConfig,
    // Empty until the machine that this is has told its own.
    region: String,
    signed: SigV4Config,
    peer: Peer,
    // The IDs of availability zones by their names. An account's do not change while a process runs.
    zones: Option<HashMap<String, String>>,
}

impl Ec2 {
    fn new(config: Ec2SdConfig, env: &dyn Fn(&str) -> Option<String>) -> Self {
        let given = Some(config.region.clone()).filter(|region| !region.is_empty());
        let region = given
            .or_else(|| env("AWS_REGION"))
            .or_else(|| env("AWS_DEFAULT_REGION"));
        let region = region.unwrap_or_default();
        let has_keys = !config.access_key.is_empty() || config.secret_key.is_some();
        let secret_key = config.secret_key.clone();
        let signed = SigV4Config {
            region: region.clone(),
            access_key: config.access_key.clone(),
            secret_key: has_keys.then(|| secret_key.unwrap_or_else(|| Secret::new(String::new()))),
            profile: config.profile.clone(),
            role_arn: config.role_arn.clone(),
            external_id: config.external_id.clone(),
            use_fips_sts_endpoint: false,
            service_name: "ec2".to_owned(),
        };
        let http = HttpClientConfig {
            auth: Some(Auth::SigV4(Box::new(signed.clone()))),
            ..config.http.clone()
        };
        Self {
            region,
            signed,
            peer: Peer::new(&http),
            zones: None,
            config,
        }
    }

    fn url(&self) -> String {
        let region = &self.region;
        let end = if region.starts_with("cn-") { ".cn" } else { "" };
        match self.config.endpoint.as_str() {
            "" => format!("https://ec2.{region}.amazonaws.com{end}/"),
            // Amazon's libraries take a host alone, too.
            endpoint if !endpoint.contains("://") => format!("https://{endpoint}/"),
            endpoint => endpoint.to_owned(),
        }
    }

    async fn ask(&mut self, action: &str, fields: &[(String, String)], max_body: usize) -> Result<Vec<u8>, String> {
        let mut body = format!("Action={action}&Version={VERSION}");
        for (name, value) in fields {
            body.push_str(&format!("&{}={}", query_escape(name), query_escape(value)));
        }
        let url = self.url();
        let uri: Uri = url.parse().map_err(|e| format!("{url:?}: {e}"))?;
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, AGENT);
        let form = HeaderValue::from_static("application/x-www-form-urlencoded; charset=utf-8");
        headers.insert(CONTENT_TYPE, form);
        let request = Request {
            method: Method::POST,
            url: &uri,
            headers,
            body: Bytes::from(body),
            timeout: self.config.refresh_interval,
            max_body,
            gzip: true,
            follow_redirects: false,
        };
        let response = self.peer.send(request).await;
        let response = response.map_err(|e| format!("operation error EC2: {action}, {url}: {e}"))?;
        if response.status == StatusCode::OK {
            return Ok(response.body);
        }
        Err(format!(
            "operation error EC2: {action}, {url}: https response error StatusCode: {}, {}",
            response.status.as_u16(),
            refusal(&response.body)
        ))
    }

    async fn zones(&mut self) -> Result<HashMap<String, String>, String> {
        let body = self.ask("DescribeAvailabilityZones", &[], MAX_BYTES).await?;
        let answer = xml::read(&body)?;
        let all = answer.items("availabilityZoneInfo");
        Ok(all
            .filter_map(|zone| Some((zone.text("zoneName")?.to_owned(), zone.text("zoneId")?.to_owned())))
            .collect())
    }
}

impl Look for Ec2 {
    async fn look(&mut self) -> Result<Vec<TargetGroup>, String> {
        if self.region.is_empty() {
            let region = amazon_region(&self.signed, self.config.refresh_interval).await;
            self.region = region.map_err(|why| format!("EC2 SD configuration requires a region: {why}"))?;
        }
        if self.zones.is_none() {
            // Who may list instances need not be allowed to list zones.
            match self.zones().await {
                Ok(zones) => self.zones = Some(zones),
                Err(error) => debug!(error, "unable to describe availability zones"),
            }
        }
        let mut filters = Vec::new();
        for (index, filter) in self.config.filters.iter().enumerate() {
            let prefix = format!("Filter.{}", index + 1);
            filters.push((format!("{prefix}.Name"), filter.name.clone()));
            for (index, value) in filter.values.iter().enumerate() {
                filters.push((format!("{prefix}.Value.{}", index + 1), value.clone()));
            }
        }
        let (mut fields, mut left, mut targets) = (filters.clone(), MAX_BYTES, Vec::new());
        for _ in 0..MOST_PAGES {
            let failed = |e: String| format!("could not describe instances: {e}");
            let body = self.ask("DescribeInstances", &fields, left).await.map_err(failed)?;
            left = left.saturating_sub(body.len());
            let page = xml::read(&body).map_err(failed)?;
            instances(&self.config, &self.region, self.zones.as_ref(), &page, &mut targets).map_err(failed)?;
            let next = page.text("nextToken").filter(|token| !token.is_empty());
            let Some(next) = next else {
                return Ok(vec![TargetGroup {
                    targets,
                    labels: Labels::empty(),
                    source: self.region.clone(),
                }]);
            };
            fields.clone_from(&filters);
            fields.push(("NextToken".to_owned(), next.to_owned()));
        }
        Err(format!(
            "could not describe instances: there are more than {MOST_PAGES} pages"
        ))
    }
}

// `api error AuthFailure: AWS was not able to …`, or what else stands there.
fn refusal(body: &[u8]) -> String {
    let error = xml::read(body).ok();
    let error = error.as_ref().and_then(|answer| answer.child("Errors")?.child("Error"));
    match error.map(|error| (error.text("Code"), error.text("Message"))) {
        Some((Some(code), message)) => format!("api error {code}: {}", message.unwrap_or_default()),
        _ => {
            let text: String = String::from_utf8_lossy(body).chars().take(300).collect();
            format!("not an answer of EC2: {}", text.trim())
        }
    }
}

// What an answer to DescribeInstances lists.
fn instances(
    config: &Ec2SdConfig,
    region: &str,
    zones: Option<&HashMap<String, String>>,
    answer: &Element,
    targets: &mut Vec<Labels>,
) -> Result<(), String> {
    if answer.name != "DescribeInstancesResponse" {
        return Err(format!(
            "the answer is a {:?}, no DescribeInstancesResponse",
            answer.name
        ));
    }
    for reservation in answer.items("reservationSet") {
        for instance in reservation.items("instancesSet") {
            targets.extend(target(config, region, zones, reservation.text("ownerId"), instance));
        }
    }
    Ok(())
}

fn target(
    config: &Ec2SdConfig,
    region: &str,
    zones: Option<&HashMap<String, String>>,
    owner: Option<&str>,
    instance: &Element,
) -> Option<Labels> {
    let mut labels = LabelsBuilder::default();
    let mut set = |name: &str, value: &str| _ = labels.set(&format!("{META}{name}"), value);
    for tag in instance.items("tagSet") {
        if let (Some(key), Some(value)) = (tag.text("key"), tag.text("value")) {
            set(&format!("tag_{}", sanitized(key)), value);
        }
    }
    let vpc = instance.text("vpcId");
    let interfaces = || {
        let all = instance.items("networkInterfaceSet").filter(|_| vpc.is_some());
        all.filter(|interface| interface.text("subnetId").is_some())
    };
    let (mut primary, mut ipv6): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for interface in interfaces() {
        let index = interface.child("attachment").and_then(|to| to.text("deviceIndex"));
        let index = index.and_then(|index| index.parse::<usize>().ok());
        let index = index.filter(|index| *index < MOST_INTERFACES);
        for address in interface.items("ipv6AddressesSet") {
            let Some(text) = address.text("ipv6Address") else {
                continue;
            };
            ipv6.push(text);
            if let (Some("true"), Some(index)) = (address.text("isPrimaryIpv6"), index) {
                // The place in the list is the interface's; others in between are empty.
                primary.resize(primary.len().max(index + 1), "");
                if let Some(place) = primary.get_mut(index) {
                    *place = text;
                }
            }
        }
    }
    let default_ipv6 = primary.iter().chain(&ipv6).copied().find(|address| !address.is_empty());
    let private = instance.text("privateIpAddress");
    let address = host_port(private.or(default_ipv6)?, config.port);
    set("region", region);
    for (name, value) in [
        ("instance_id", instance.text("instanceId")),
        ("owner_id", owner),
        ("default_ipv6_address", default_ipv6),
        ("private_ip", private),
        ("private_dns_name", instance.text("privateDnsName")),
        ("platform", instance.text("platform")),
        ("public_ip", instance.text("ipAddress")),
        ("ami", instance.text("imageId")),
        (
            "instance_state",
            instance.child("instanceState").and_then(|s| s.text("name")),
        ),
        ("instance_type", instance.text("instanceType")),
        ("instance_lifecycle", instance.text("instanceLifecycle")),
        ("architecture", instance.text("architecture")),
        ("vpc_id", vpc),
    ] {
        if let Some(value) = value {
            set(name, value);
        }
    }
    if let (Some(_), Some(name)) = (instance.text("ipAddress"), instance.text("dnsName")) {
        set("public_dns_name", name);
    }
    let zone = instance
        .child("placement")
        .and_then(|place| place.text("availabilityZone"));
    if let Some(zone) = zone {
        set("availability_zone", zone);
        if let Some(id) = zones.and_then(|zones| zones.get(zone)) {
            set("availability_zone_id", id);
        }
    }
    let joined = |all: &[&str]| format!(",{},", all.join(","));
    if !primary.is_empty() {
        set("primary_ipv6_addresses", &joined(&primary));
    }
    if !ipv6.is_empty() {
        set("ipv6_addresses", &joined(&ipv6));
    }
    if vpc.is_some() {
        if let Some(subnet) = instance.text("subnetId") {
            set("primary_subnet_id", subnet);
        }
        let mut subnets: Vec<&str> = Vec::new();
        for subnet in interfaces().filter_map(|interface| interface.text("subnetId")) {
            if !subnets.contains(&subnet) {
                subnets.push(subnet);
            }
        }
        set("subnet_id", &joined(&subnets));
    }
    labels.set("__address__", &address);
    Some(labels.build())
}

#[cfg(test)]
mod tests;
