use std::path::Path;

use cupola_config::prometheus::DiscoveryConfig;

use super::*;

const INSTANCES: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
  <requestId>r</requestId>
  <reservationSet><item><reservationId>r-1</reservationId><ownerId>123</ownerId><instancesSet>
    <item><instanceId>i-1</instanceId><imageId>ami-1</imageId><instanceState><code>16</code><name>running</name></instanceState>
      <privateDnsName>ip-10-0-0-1.internal</privateDnsName><dnsName>ec2.example</dnsName><instanceType>t3.micro</instanceType>
      <placement><availabilityZone>eu-west-2a</availabilityZone></placement><platform>windows</platform>
      <architecture>x86_64</architecture><instanceLifecycle>spot</instanceLifecycle>
      <vpcId>vpc-1</vpcId><subnetId>subnet-1</subnetId><privateIpAddress>10.0.0.1</privateIpAddress>
      <ipAddress>198.51.100.1</ipAddress>
      <tagSet><item><key>Team/x</key><value>a &amp; b &#x41;<![CDATA[<]]></value></item><item><key>empty</key><value/></item></tagSet>
      <networkInterfaceSet>
        <item><subnetId>subnet-1</subnetId><attachment><deviceIndex>1</deviceIndex></attachment>
          <ipv6AddressesSet><item><ipv6Address>fd00::1</ipv6Address><isPrimaryIpv6>true</isPrimaryIpv6></item>
            <item><ipv6Address>fd00::2</ipv6Address></item></ipv6AddressesSet></item>
        <item><subnetId>subnet-2</subnetId></item><item><subnetId>subnet-1</subnetId></item><item/>
      </networkInterfaceSet></item>
    <item><instanceId>i-2</instanceId><vpcId>vpc-1</vpcId><networkInterfaceSet><item><subnetId>s</subnetId>
      <ipv6AddressesSet><item><ipv6Address>fd00::9</ipv6Address></item></ipv6AddressesSet></item></networkInterfaceSet></item>
    <item><instanceId>gone</instanceId><instanceState><name>terminated</name></instanceState></item>
  </instancesSet></item></reservationSet>
</DescribeInstancesResponse>"#;

fn config(yaml: &str) -> Ec2SdConfig {
    let text = format!("scrape_configs: [{{job_name: a, ec2_sd_configs: [{{{yaml}}}]}}]");
    let mut config = cupola_config::parse_prometheus(&text, Path::new("p.yml")).unwrap();
    match config.scrape_configs.remove(0).discovery.remove(0) {
        DiscoveryConfig::Ec2(config) => *config,
        other => panic!("{other:?}"),
    }
}

#[test]
fn instances_become_targets() {
    let zones = HashMap::from([("eu-west-2a".to_owned(), "euw2-az2".to_owned())]);
    let answer = xml::read(INSTANCES.as_bytes()).unwrap();
    let mut targets = Vec::new();
    instances(&config("port: 9100"), "eu-west-2", Some(&zones), &answer, &mut targets).unwrap();
    let shown: Vec<String> = targets
        .iter()
        .map(|target| target.to_string().replace("__meta_ec2_", "_"))
        .collect();
    assert_eq!(
        shown,
        [
            r#"{__address__="10.0.0.1:9100", _ami="ami-1", _architecture="x86_64", _availability_zone="eu-west-2a", _availability_zone_id="euw2-az2", _default_ipv6_address="fd00::1", _instance_id="i-1", _instance_lifecycle="spot", _instance_state="running", _instance_type="t3.micro", _ipv6_addresses=",fd00::1,fd00::2,", _owner_id="123", _platform="windows", _primary_ipv6_addresses=",,fd00::1,", _primary_subnet_id="subnet-1", _private_dns_name="ip-10-0-0-1.internal", _private_ip="10.0.0.1", _public_dns_name="ec2.example", _public_ip="198.51.100.1", _region="eu-west-2", _subnet_id=",subnet-1,subnet-2,", _tag_Team_x="a & b A<", _vpc_id="vpc-1"}"#,
            r#"{__address__="[fd00::9]:9100", _default_ipv6_address="fd00::9", _instance_id="i-2", _ipv6_addresses=",fd00::9,", _owner_id="123", _region="eu-west-2", _subnet_id=",s,", _vpc_id="vpc-1"}"#,
        ]
    );
}

#[test]
fn the_region_says_where_is_asked() {
    let none = |_: &str| None;
    let env = |name: &str| (name == "AWS_DEFAULT_REGION").then(|| "cn-north-1".to_owned());
    let url = |yaml: &str, env: &dyn Fn(&str) -> Option<String>| Ec2::new(config(yaml), env).url();
    assert_eq!(url("region: eu-west-2", &env), "https://ec2.eu-west-2.amazonaws.com/");
    assert_eq!(url("port: 1", &env), "https://ec2.cn-north-1.amazonaws.com.cn/");
    assert_eq!(url("endpoint: ec2.example", &none), "https://ec2.example/");
    assert_eq!(url("endpoint: 'http://x:1'", &none), "http://x:1");
}

#[test]
fn what_is_no_answer_is_told() {
    for (text, expected) in [
        ("", "XML: there is no element"),
        ("<a><b>", "XML: the document ends within a > b"),
        ("<a>&bomb;</a>", "XML: byte 9: unknown entity \"bomb\""),
        ("<a></b>", "XML: byte 3: "),
        ("</a>", "XML: byte 0: "),
        ("<a>&#xD800;</a>", "XML: byte 11: "),
    ] {
        let error = xml::read(text.as_bytes()).unwrap_err();
        assert!(error.starts_with(expected), "{text}: {error}");
    }
    assert!(xml::read(b"<a>\xff</a>").unwrap_err().starts_with("XML: invalid utf-8"));
    let deep = "<a>".repeat(100_000);
    assert!(
        xml::read(deep.as_bytes())
            .unwrap_err()
            .contains("more than 64 elements in each other")
    );
    // Entities that a document declares for itself are not read.
    let bomb = "<!DOCTYPE a [<!ENTITY b \"xxxx\"><!ENTITY c \"&b;&b;\">]><a>&c;</a>";
    assert!(xml::read(bomb.as_bytes()).unwrap_err().contains("unknown entity \"c\""));
    let page = xml::read(b"<html><body>no</body></html>").unwrap();
    let error = instances(&config("port: 1"), "r", None, &page, &mut Vec::new()).unwrap_err();
    assert_eq!(error, "the answer is a \"html\", no DescribeInstancesResponse");
    assert_eq!(refusal(b" gateway timeout "), "not an answer of EC2: gateway timeout");
}

#[test]
fn no_bytes_break_the_reader() {
    let config = config("port: 80");
    let seeds = [
        INSTANCES.as_bytes().to_vec(),
        b"<a b='c'><!-- d --><?e f?></a>".to_vec(),
    ];
    let words = [
        "<item>",
        "</item>",
        "<![CDATA[",
        "]]>",
        "&amp;",
        "&#1114112;",
        "<!--",
        "<!DOCTYPE",
        "18446744073709551615",
    ];
    cupola_testkit::fuzz(4_000, &seeds, &words, |bytes| {
        if let Ok(answer) = xml::read(bytes) {
            _ = instances(&config, "r", None, &answer, &mut Vec::new());
        }
        refusal(bytes);
    });
}
