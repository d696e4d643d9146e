//! Side by side with what else Linux offers: the same policy in nftables and in tc, the same packets.
//!
//! Frames are sent at full speed into each router's stack (`BPF_F_TEST_XDP_LIVE_FRAMES`), and whatever is
//! let through is forwarded over a cable to a host that throws it away. Fairway's program runs before the
//! stack, as in a driver; the others see what a program that does nothing lets pass. All of it happens in
//! the thread that sends, so rates are per second of its processor time, whatever else the machine does.

use anyhow::{Context, Result, ensure};
use aya::programs::ProgramFd;
use fairway_tests::bench::in_force;
use gateway::config::{Config, Forwarding, Side};
use gateway::dataplane::{Engine, ProgramClock};

use crate::figure::{Aim, Figure};
use crate::htb::Classifier;
use crate::measure::{Effort, Spread, Trial, in_turns, processor_time};
use crate::packet::tcp;
use crate::router::{Caps, Router};
use crate::scale::{LARGE, Scale};
use crate::traffic::Generator;

const ROUNDS: usize = 9;
const REPEATS: u32 = 300_000;

pub(crate) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (name, scale) in
        [("1,000 tenants", Scale { tenants: 1_000, networks_each: 1 }), ("100,000 tenants", LARGE)]
    {
        figures.extend(dropping(name, "port 25", scale, scale, Caps::Wide, 25, 10.0, effort)?);
        // Few enough senders for each to be over its cap, however slowly packets are judged.
        let senders = Scale { tenants: 100, networks_each: 1 };
        figures.extend(dropping(name, "over the cap", scale, senders, Caps::Narrow, 443, 6.0, effort)?);
        figures.extend(forwarding(name, scale, effort)?);
        figures.push(forwarding_by_xdp(name, scale, effort)?);
    }
    Ok(figures)
}

/// Fairway's rate of dropping against that of nftables, and the highest that there can be: of a program that
/// looks at nothing.
#[expect(clippy::too_many_arguments, reason = "one case, said in full by each call")]
fn dropping(
    scale_name: &str,
    what: &str,
    scale: Scale,
    senders: Scale,
    caps: Caps,
    port: u16,
    aim: f64,
    effort: Effort,
) -> Result<Vec<Figure>> {
    let config = match caps {
        Caps::Wide => scale.config(),
        Caps::Narrow => scale.config_over_cap(),
    };
    let fairway = Contender::fairway(Router::without_policy()?, &config)?;
    let nftables = Contender::stack(Router::with_nftables(scale, caps)?)?;
    let blind = Contender::dropping(Router::without_policy()?)?;
    let values = turns(&[&fairway, &nftables, &blind], senders, port, effort, |sent, forwarded| {
        // The router speaks for itself, too. Bursts pass, and what the caps allow meanwhile: in nftables a
        // second's worth more than it is told, which is 20 packets of each sender.
        let most = if port == 25 { 8 } else { sent / 20 };
        ensure!(forwarded <= most, "{forwarded} of {sent} packets were not dropped");
        Ok(sent)
    })?;
    let nftables_rate = &values[1];
    let figure = |whose: &str, values: &[f64]| {
        let name = format!("peers/{scale_name}/drops, {what}{whose}");
        Figure::more(name, "packets/s of CPU time", Spread::of(values))
            .beside("nftables", Spread::of(nftables_rate))
    };
    Ok(vec![figure("", &values[0]).aim(Aim::RatioAtLeast(aim)), figure(", unseen", &values[2])])
}

/// Everybody's rate of forwarding against that without any policy.
fn forwarding(scale_name: &str, scale: Scale, effort: Effort) -> Result<Vec<Figure>> {
    let mut contenders = vec![
        ("no policy", Contender::stack(Router::without_policy()?)?),
        ("Fairway", Contender::fairway(Router::without_policy()?, &scale.config())?),
        ("nftables", Contender::stack(Router::with_nftables(scale, Caps::Wide)?)?),
    ];
    // A classful queueing discipline numbers its classes with 16 bits.
    if scale.tenants < u32::from(u16::MAX) {
        for (name, classifier) in
            [("tc (HTB, u32)", Classifier::U32), ("tc (HTB, cls_bpf)", Classifier::ClsBpf)]
        {
            contenders.push((name, Contender::stack(Router::with_htb(scale, classifier)?)?));
        }
    }
    let all: Vec<_> = contenders.iter().map(|(_, contender)| contender).collect();
    let values = turns(&all, scale, 443, effort, |sent, forwarded| {
        ensure!(forwarded > sent / 2, "only {forwarded} of {sent} packets were forwarded");
        Ok(forwarded)
    })?;
    let without = Spread::of(&values[0]);
    let figures = contenders.iter().zip(&values).skip(1).map(|((name, _), values)| {
        let figure = Figure::more(
            format!("peers/{scale_name}/forwarded, {name}"),
            "packets/s of CPU time",
            Spread::of(values),
        )
        .beside("no policy", without);
        if *name == "Fairway" { figure.aim(Aim::RatioAtLeast(0.95)) } else { figure }
    });
    Ok(figures.collect())
}

/// Fairway's rate where its programs forward, against that without any policy. Both send to a sink of the kind that the
/// programs need; it has a processor of its own in life, so it does as little as can be done.
fn forwarding_by_xdp(scale_name: &str, scale: Scale, effort: Effort) -> Result<Figure> {
    let router = || Router::without_policy()?.with_sink_that_drops();
    let without = Contender::stack(router()?)?;
    let fairway = Contender::fairway_forwarding(router()?, scale.config())?;
    let values = turns(&[&without, &fairway], scale, 443, effort, |sent, forwarded| {
        ensure!(forwarded > sent / 2, "only {forwarded} of {sent} packets were forwarded");
        Ok(forwarded)
    })?;
    fairway.check_who_forwarded()?;
    let name = format!("peers/{scale_name}/forwarded, Fairway, by XDP");
    let figure = Figure::more(name, "packets/s of CPU time", Spread::of(&values[1]))
        .beside("no policy", Spread::of(&values[0]));
    Ok(figure.aim(Aim::RatioAtLeast(0.95)))
}

/// A router, and the program that its packets meet first.
struct Contender {
    router: Router,
    program: ProgramFd,
    /// What `program` needs.
    engine: Option<Engine>,
}

impl Contender {
    /// Policed by Fairway's program.
    fn fairway(router: Router, config: &Config) -> Result<Self> {
        let mut engine =
            Engine::detached(&in_force(config), ProgramClock::Kernel).context("root, and Linux 5.18")?;
        engine.register(&config.interfaces[0], router.ingress()?)?;
        let program = engine.program_fd(Side::Tenant)?.try_clone()?;
        Ok(Self { router, program, engine: Some(engine) })
    }

    /// Policed by Fairway's program, which forwards as well.
    fn fairway_forwarding(router: Router, mut config: Config) -> Result<Self> {
        config.gateway.forwarding = Forwarding::Xdp;
        let mut engine =
            Engine::detached(&in_force(&config), ProgramClock::Kernel).context("root, and Linux 5.18")?;
        let [ingress, egress] = [&config.interfaces[0], &config.interfaces[1]];
        router.enter(|| {
            engine.register(ingress, router.ingress()?)?;
            Ok(engine.open_egress(egress, router.egress()?)?)
        })?;
        let program = engine.program_fd(Side::Tenant)?.try_clone()?;
        Ok(Self { router, program, engine: Some(engine) })
    }

    /// Holds that the program forwarded what passed, but for the few packets that it leaves to the stack.
    fn check_who_forwarded(&self) -> Result<()> {
        let snapshot = self.engine.as_ref().context("not Fairway")?.snapshot();
        let passed: u64 = snapshot.tenants.iter().map(|tenant| tenant.up.passed.packets).sum();
        let forwarded: u64 = snapshot.interfaces.iter().map(|interface| interface.forwarded.packets).sum();
        ensure!(forwarded > passed - passed / 500, "XDP forwarded {forwarded} of {passed} packets");
        Ok(())
    }

    /// Closed to everything.
    fn dropping(router: Router) -> Result<Self> {
        let program = Generator::load()?.dropping()?;
        Ok(Self { router, program, engine: None })
    }

    /// Policed by its stack alone.
    fn stack(router: Router) -> Result<Self> {
        let program = Generator::load()?.empty()?;
        Ok(Self { router, program, engine: None })
    }
}

/// Lets the contenders take turns; `count` says how many of the packets sent and forwarded count.
fn turns(
    contenders: &[&Contender],
    senders: Scale,
    port: u16,
    effort: Effort,
    count: impl Fn(u64, u64) -> Result<u64>,
) -> Result<Vec<Vec<f64>>> {
    let mut trials: Vec<Trial<'_>> = Vec::new();
    for contender in contenders {
        let mut generator = Generator::load()?;
        let mut frame = tcp(4, 64, port);
        frame[..6].copy_from_slice(&contender.router.ingress_mac()?);
        let count = &count;
        trials.push(Box::new(move || {
            let router = &contender.router;
            let before = router.forwarded()?;
            let ifindex = router.ingress()?;
            let send = || generator.send_live(&frame, senders, &contender.program, REPEATS, ifindex);
            let took = router.enter(|| processor_time(send))?;
            let counted = count(u64::from(REPEATS), router.forwarded()? - before)?;
            Ok(counted as f64 / took.as_secs_f64())
        }));
    }
    in_turns(effort.rounds(ROUNDS), &mut trials)
}
