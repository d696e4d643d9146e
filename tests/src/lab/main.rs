//! The lab: tenants, a router and the Internet as network namespaces, Fairway on the router, real programs
//! all around, and a table of what was tried, what was expected and what happened.
//!
//! Ends with an error if anything was not as expected. Leaves nothing behind: what even a crash leaves, the
//! next run removes.

mod mail;
mod report;
mod speed;
mod usage;
mod web;

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use fairway_tests::config::{Config, METRICS};
use fairway_tests::gateway::{self, Gateway};
use fairway_tests::namespace::Namespace;
use fairway_tests::prometheus::{self, Prometheus};
use fairway_tests::topology::{Plan, Topology};

use report::Report;

#[derive(Parser)]
#[command(name = "cargo xtask lab", about = "Polices real traffic between network namespaces")]
struct Arguments {
    /// Keep everything running afterwards, until Enter or Ctrl-C
    #[arg(long)]
    hold: bool,
}

/// What the experiments work with.
struct Lab<'a> {
    topology: &'a Topology,
    gateway: &'a Gateway<'a>,
    prometheus: &'a Prometheus<'a>,
}

fn main() -> ExitCode {
    fairway_tests::run::exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    ctrlc::set_handler(|| {
        eprintln!("\ninterrupted; removing what was made");
        fairway_tests::run::sweep_own();
        // 128 and the number of SIGINT, as shells tell it.
        std::process::exit(130);
    })
    .context("listening to signals")?;

    println!("Building the network: acme, beta, gamma, delta - router - internet");
    let topology = Plan::default().build()?;
    println!("Starting Fairway on the router, and a Prometheus beside it");
    let gateway = Gateway::start(&topology.router, &policy(&topology))?;
    let prometheus = Prometheus::start(&topology.router, METRICS)?;
    let lab = Lab { topology: &topology, gateway: &gateway, prometheus: &prometheus };

    let report = experiment(&lab)?;
    println!("\n{report}\n");
    println!("{}", gateway.call(&["tenants"])?.success()?);
    explain_access(&lab, arguments.hold)?;
    if arguments.hold {
        hold()?;
    }
    match report.failures() {
        0 => println!("All as expected."),
        failures => {
            eprintln!("{failures} not as expected. The gateway's log:\n{}", gateway.log());
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Everybody is held to the ceiling of 10 Mbit/s and has port 25 closed, but for beta's exemption.
fn policy(topology: &Topology) -> Config {
    let mut config = Config::of(topology);
    config.set("fair_use = { ceiling = '10 Mbit/s' }").set("smtp = { default = 'block' }").set_tenant(
        "beta",
        "[[smtp_exemption]]\ndirection = 'both'\nticket = 'LAB-1'\napproved_by = 'lab'\nexpires = 2099-12-31",
    );
    config
}

fn experiment(lab: &Lab<'_>) -> Result<Report> {
    let mut report = Report::default();
    println!("\nMail");
    report.add(mail::experiment(lab)?);
    println!("Web, and forged sources");
    report.add(web::experiment(lab)?);
    println!("Usage");
    report.add(usage::experiment(lab)?);
    println!("Speed");
    report.add(speed::experiment(lab)?);
    Ok(report)
}

fn explain_access(lab: &Lab<'_>, hold: bool) -> Result<()> {
    println!("Metrics, inside the router's namespace: http://{METRICS}/metrics");
    if !hold {
        println!("  (gone when this ends; --hold keeps it)");
        return Ok(());
    }
    let enter = |namespace: &Namespace| format!("nsenter --net=/run/netns/{}", namespace.name());
    let router = enter(&lab.topology.router);
    println!("  {router} curl http://{METRICS}/metrics");
    println!("Prometheus, which scrapes them:\n  {router} curl http://{}/metrics", prometheus::LISTEN);
    println!("The gateway:\n  {} status --socket {}", gateway::binary()?, lab.gateway.socket().display());
    println!("  its configuration: {}", lab.gateway.config_file().display());
    println!("The servers:");
    for host in lab.topology.tenants.iter().map(|tenant| &tenant.host).chain([&lab.topology.internet]) {
        println!("  {} sh   ({}, {})", enter(&host.namespace), host.ipv4, host.ipv6);
    }
    Ok(())
}

/// Returns on Enter; Ctrl-C ends the program by the handler.
fn hold() -> Result<()> {
    if !std::io::stdin().is_terminal() {
        println!("Holding until SIGINT or SIGTERM.");
        loop {
            std::thread::park();
        }
    }
    println!("Holding until Enter or Ctrl-C.");
    std::io::stdin().read_line(&mut String::new()).context("waiting for Enter")?;
    Ok(())
}
