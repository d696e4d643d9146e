//! The endpoint as Prometheus sees it.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;

use crate::fake::{Files, Gateway, exemption, http_get, tenant};

#[test]
fn the_whole_text() {
    let files = Files::new();
    let text = files.gateway_toml("") + "top_tenants = 1\n";
    files.write("gateway.toml", &text);
    files.write("tenants.d/beta.toml", &(tenant("beta", 2) + &exemption("2999-12-31T00:00:00Z")));
    let gateway = Gateway::start(files);
    let digest = gateway.json("status")["config"]["digest"].as_str().unwrap().to_owned();
    let text = gateway.scrape();
    let started = text
        .lines()
        .find_map(|line| line.strip_prefix("fairway_config_last_reload_success_timestamp_seconds "));
    let text = text.replace(&digest, "DIGEST").replace(started.unwrap(), "STARTED");
    let text = text.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    assert_eq!(text, include_str!("metrics.txt"));
}

#[test]
fn every_tenant_is_shown_without_a_limit() {
    let gateway = Gateway::start(Files::new());
    let text = gateway.scrape();
    for sample in [
        "fairway_tenant_packets_total{tenant=\"acme\",direction=\"up\"} 1000",
        "fairway_tenant_bytes_total{tenant=\"beta\",direction=\"down\"} 2900000",
        "fairway_tenant_dropped_packets_total{tenant=\"beta\",direction=\"up\",reason=\"over_cap\"} 40",
        "fairway_tenants 2",
    ] {
        assert!(text.lines().any(|line| line == sample), "{sample} is not in\n{text}");
    }
    assert!(!text.contains("_other"), "{text}");
    assert!(!text.contains("fairway_exemption_next_expiry"), "{text}");
}

#[test]
fn long_answers_arrive_whole() {
    let files = Files::new();
    let tenants: String = (0..2_000_u32)
        .map(|n| {
            let network = format!("10.0.{}.{}/32", n / 256, n % 256);
            tenant(&format!("t{n}"), 3).replace("198.51.100.3/32", &network)
        })
        .collect();
    files.write("tenants.d/many.toml", &tenants);
    let gateway = Gateway::start(files);
    let text = gateway.scrape();
    // Two directions of packets, bytes and caps; two reasons of dropped packets and bytes; three states of the cap.
    assert_eq!(text.lines().filter(|line| line.contains("tenant=\"t")).count(), 2_000 * 13);
    assert!(text.len() > 1_000_000, "more than the pieces that may wait: {}", text.len());
    assert!(
        text.ends_with("fairway_tenant_cap_bytes_per_second{tenant=\"t999\",direction=\"down\"} 1250000\n")
    );
}

#[test]
fn the_endpoint_says_what_it_serves_and_nothing_else() {
    let gateway = Gateway::start(Files::new());
    let (head, _) = http_get(gateway.files.metrics, "/metrics");
    assert!(head.to_lowercase().contains("content-type: text/plain; version=0.0.4"), "{head}");
    let (head, body) = http_get(gateway.files.metrics, "/");
    assert!(head.starts_with("HTTP/1.0 200 ") && body.contains("href=\"/metrics\""), "{head}\n{body}");
    let (head, _) = http_get(gateway.files.metrics, "/v1/status");
    assert!(head.starts_with("HTTP/1.0 404 "), "{head}");
}

#[test]
fn hanging_scrapers_block_neither_the_service_nor_the_endpoint_for_good() {
    let gateway = Gateway::start(Files::new());
    // One more than are served at a time, none of which asks for anything.
    let mut idle: Vec<TcpStream> =
        (0..9).map(|_| TcpStream::connect(gateway.files.metrics).unwrap()).collect();
    assert!(gateway.fairway(&["reload"]).status.success());
    idle[0].set_nonblocking(true).unwrap();
    let open = idle[0].read(&mut [0]).unwrap_err();
    assert_eq!(open.kind(), ErrorKind::WouldBlock, "the reload waited until the scrapers were cut off");
    assert!(gateway.scrape().contains("fairway_tenants 2"));
}
