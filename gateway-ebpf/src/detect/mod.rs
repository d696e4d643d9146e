//! Detecting scans, floods and bulk mail by what a source contacts, and who answers (policy rules M4,
//! S1, S2).
//!
//! A *source* is one IPv4 address or one IPv6 /64 of a tenant. A *contact* is a peer and a port that it
//! turned to, of its own accord, for the first time in an hour. Only three things ever move a counter: a
//! new contact, the first answer to one, and the end of an answered one in which its source had said nothing. So
//! neither retransmissions nor the packets of established flows count, and nobody but the source and the
//! peers that it turned to can speak for or against it.
//!
//! | module | |
//! |---|---|
//! | [`hash`] | the keyed hash that nobody outside can steer |
//! | [`contact`] | which contacts were made lately: one word each |
//! | [`credit`] | how fast new contacts may be made: paid back, twice, by answers |
//! | [`sighting`] | which packets say something at all |
//! | [`window`], [`candidate`], [`excess`] | counts: within a time, of one host's ports, beyond a rate |
//! | [`source`], [`place`] | what is known of one source, and where that is kept |
//! | [`rules`] | thresholds, and when they are met |
//! | [`record`] | what the controller is told |
//!
//! All times (`_ns`, and in seconds `_s` and `second`) are on the data plane's coarse clock: jiffies times their length, which cost
//! a packet nothing to read; in a replay, the virtual clock. It began some time before the machine was booted, and stands still while
//! the machine is suspended.
//!
//! The method joins three from the literature: a bounded, approximate connection cache (Weaver,
//! Staniford, Paxson 2004), credit-based connection rate limiting (Schechter, Jung, Berger 2004), and
//! failures by ratio and number as in threshold random walks (Jung, Paxson, Berger, Balakrishnan 2004).
//! The cache also tells new contacts from old, so that distinct hosts are counted, not estimated.

pub mod candidate;
pub mod contact;
pub mod credit;
pub mod excess;
pub mod hash;
pub mod place;
pub mod record;
pub mod rules;
pub mod sighting;
pub mod source;
pub mod window;

/// Slots that tables reserve for kinds; index 0 is never used.
pub const KIND_SLOTS: usize = 16;

/// Slots that tables reserve for measures.
pub const MEASURE_SLOTS: usize = 8;

macro_rules! labelled {
    ($(#[doc = $enum_doc:literal])+ $name:ident {
        $($(#[doc = $doc:literal])+ $variant:ident = $number:literal, $label:literal, $text:literal;)+
    }) => {
        $(#[doc = $enum_doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name {
            $($(#[doc = $doc])+ $variant = $number,)+
        }

        impl $name {
            /// All of them, by ascending number.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The label that metrics, JSON, the config and logs carry.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }

            /// One sentence for people.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The one with this number.
            #[must_use]
            pub const fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

labelled! {
    /// What a source is found to do. Numbers are part of the ABI and never reused.
    Kind {
        /// Remote administration, databases, devices: few servers have business with many of them.
        ScanSensitive = 1, "scan_sensitive", "Many hosts tried on ports of remote administration, databases or devices, and too many of them did not answer.";
        /// One service on many hosts.
        ScanHorizontal = 2, "scan_horizontal", "Many hosts tried on few TCP ports, most of them without an answer, or on service ports, and too many of them without one.";
        /// Many services on many hosts.
        ScanBlock = 3, "scan_block", "Many TCP ports of many hosts tried, most of them without an answer.";
        /// Many services on one host.
        ScanVertical = 4, "scan_vertical", "Many ports of one host tried, and too many of them without an answer.";
        /// Segments that no TCP sends.
        ScanStealth = 5, "scan_stealth", "TCP segments with flags that no honest sender combines (NULL, FIN, XMAS, SYN+FIN), to many hosts or ports.";
        /// Echo requests.
        ScanPing = 6, "scan_ping", "Many hosts pinged, and too many of them without an answer.";
        /// One UDP service on many hosts.
        ScanUdp = 7, "scan_udp", "Many hosts tried on few UDP ports, most of them without an answer, or on service ports, and too many of them without one.";
        /// Connection attempts without connections.
        SynFlood = 8, "syn_flood", "TCP connections asked for at a high rate, and not set up.";
        /// One-way datagrams.
        UdpFlood = 9, "udp_flood", "UDP datagrams at a high rate, without answers.";
        /// Policy rule M4, by hosts.
        BulkMail = 10, "bulk_mail", "Mail sent to many distinct mail hosts.";
        /// Policy rule M4, by connections.
        SmtpRate = 11, "smtp_rate", "Too many new SMTP connections.";
        /// Policy rule S2.
        ListedContact = 12, "listed_contact", "Contact with a network of the drop list.";
        /// Policy rule S3; judged by the controller.
        SuddenRise = 13, "sudden_rise", "Far more traffic than this tenant's usual, while the uplink is loaded.";
    }
}

labelled! {
    /// What is done about it, for a time. Numbers are part of the ABI and never reused.
    Measure {
        /// Report only.
        None = 0, "none", "Nothing is held back.";
        /// All but the walled garden.
        Quarantine = 1, "quarantine", "The source reaches the walled garden and nothing else.";
        /// One new contact a second.
        Slow = 2, "slow", "The source may turn to one new host or port a second.";
        /// No new mail.
        CloseSmtp = 3, "close_smtp", "The source's packets to mail ports are dropped.";
        /// No new TCP connections.
        DropSyn = 4, "drop_syn", "The source opens no TCP connections.";
        /// No UDP.
        DropUdp = 5, "drop_udp", "The source's UDP datagrams are dropped.";
    }
}

/// Whether a detector looks, speaks or acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// It does not look.
    #[default]
    Off = 0,
    /// It reports.
    Watch = 1,
    /// It reports and takes its measure.
    Enforce = 2,
}

impl Kind {
    /// Index of this kind in tables of [`KIND_SLOTS`].
    #[inline(always)]
    #[must_use]
    pub const fn slot(self) -> usize {
        self as usize & (KIND_SLOTS - 1)
    }
}

impl Measure {
    /// Index of this measure in tables of [`MEASURE_SLOTS`].
    #[inline(always)]
    #[must_use]
    pub const fn slot(self) -> usize {
        self as usize & (MEASURE_SLOTS - 1)
    }
}

/// Ports on which a server has business with few others: remote administration, databases, file sharing
/// and devices, as attacked in the wild (telnet and its Mirai variants, TR-069, ADB, Docker, Redis...).
#[inline(always)]
#[must_use]
pub const fn is_sensitive(port: u16) -> bool {
    matches!(
        port,
        22 | 23
            | 81
            | 135
            | 139
            | 445
            | 1433
            | 1521
            | 2222
            | 2323
            | 2375
            | 3306
            | 3389
            | 5432
            | 5555
            | 5900
            | 5985
            | 6379
            | 7547
            | 8291
            | 9200
            | 11211
            | 23231
            | 27017
            | 37215
            | 52869
            | 60023
    )
}

/// Ports of services, which those who turn to them expect to be there: well-known ones (RFC 6335, 6), and
/// sensitive ones above. Peer-to-peer programs, half of whose peers are gone, live on the others. Not so
/// mail, which has detectors of its own, nor ident, which servers ask of clients that seldom have it.
#[inline(always)]
#[must_use]
pub const fn is_service(port: u16) -> bool {
    port < 1_024 && !matches!(port, 25 | 113 | 465 | 587) || is_sensitive(port)
}

const _: () = {
    assert!(Kind::ALL.len() < KIND_SLOTS);
    assert!(Measure::ALL.len() <= MEASURE_SLOTS);
};
