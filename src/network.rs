//! IP addresses and networks: allow-lists in settings (`10.0.0.0/8`), the addresses of one client,
//! and special ranges.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde::Deserialize;

/// An address, or a network in CIDR notation: `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Network(IpNet);

/// The text is neither an address nor a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an address or a network (10.0.0.0/8)")]
pub struct NotANetwork;

/// A range outside the public Internet (IANA special-purpose address registries).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpecialRange {
    /// Its addresses.
    pub network: Network,
    /// Its usual name.
    pub name: &'static str,
}

impl TryFrom<String> for Network {
    type Error = NotANetwork;

    fn try_from(text: String) -> Result<Self, NotANetwork> {
        let network = text.parse::<IpNet>();
        let network = network.or_else(|_no_length| text.parse::<IpAddr>().map(IpNet::from));
        network.map(Self).map_err(|_invalid| NotANetwork)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Network {
    /// All addresses.
    #[must_use]
    pub fn everything() -> [Self; 2] {
        [Self::v4([0; 4], 0), Self::v6(0, 0, 0)]
    }

    const fn v4(octets: [u8; 4], bits: u8) -> Self {
        let [a, b, c, d] = octets;
        Self(IpNet::new_assert(
            IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            bits,
        ))
    }

    const fn v6(first: u16, last: u16, bits: u8) -> Self {
        let address = Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, last);
        Self(IpNet::new_assert(IpAddr::V6(address), bits))
    }

    /// Whether it contains an address. An IPv4-mapped IPv6 address counts as IPv4.
    #[must_use]
    pub fn has(self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl SpecialRange {
    const fn v4(octets: [u8; 4], bits: u8, name: &'static str) -> Self {
        let network = Network::v4(octets, bits);
        Self { network, name }
    }

    const fn v6(first: u16, last: u16, bits: u8, name: &'static str) -> Self {
        let network = Network::v6(first, last, bits);
        Self { network, name }
    }

    /// The special range of an address; `None` for the public Internet.
    #[must_use]
    pub fn of(address: IpAddr) -> Option<Self> {
        let address = embedded(address.to_canonical());
        let mut ranges = SPECIAL.iter();
        ranges.find(|range| range.network.has(address)).copied()
    }
}

/// Whether a resolved address may be dialled, if these networks are allowed besides the public
/// Internet.
///
/// # Errors
/// The refused range.
pub fn permit(allowed: &[Network], address: IpAddr) -> Result<(), SpecialRange> {
    let address = address.to_canonical();
    let meant = [address, embedded(address)];
    let is_allowed = |network: &Network| meant.iter().any(|address| network.has(*address));
    match SpecialRange::of(address) {
        Some(range) if !allowed.iter().any(is_allowed) => Err(range),
        Some(_) | None => Ok(()),
    }
}

/// The IPv4 address behind an IPv6 address of a translator or tunnel: NAT64 (RFC 6052), 6to4 (RFC
/// 3056), IPv4-compatible (RFC 4291 2.5.5.1).
fn embedded(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let v4 = |high: u16, low: u16| {
        IpAddr::V4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
    };
    match [a, b, c, d, e, f] {
        [0x64, 0xff9b, 0, 0, 0, 0] => v4(g, h),
        [0x2002, high, low, _, _, _] => v4(high, low),
        // `::` and `::1` have ranges of their own.
        [0, 0, 0, 0, 0, 0] if g != 0 => v4(g, h),
        _ => address,
    }
}

/// Ranges to which no public name should resolve.
const SPECIAL: &[SpecialRange] = &[
    SpecialRange::v4([0, 0, 0, 0], 8, "this network"),
    SpecialRange::v4([10, 0, 0, 0], 8, "private"),
    SpecialRange::v4([100, 64, 0, 0], 10, "shared by a carrier"),
    SpecialRange::v4([127, 0, 0, 0], 8, "loopback"),
    SpecialRange::v4([169, 254, 0, 0], 16, "link-local"),
    SpecialRange::v4([172, 16, 0, 0], 12, "private"),
    SpecialRange::v4([192, 0, 0, 0], 24, "protocol assignments"),
    SpecialRange::v4([192, 168, 0, 0], 16, "private"),
    SpecialRange::v4([198, 18, 0, 0], 15, "benchmarking"),
    SpecialRange::v4([224, 0, 0, 0], 4, "multicast"),
    SpecialRange::v4([240, 0, 0, 0], 4, "reserved"),
    SpecialRange::v6(0, 0, 128, "unspecified"),
    SpecialRange::v6(0, 1, 128, "loopback"),
    SpecialRange::v6(0x64, 0, 16, "local translation"),
    SpecialRange::v6(0xfc00, 0, 7, "private"),
    SpecialRange::v6(0xfe80, 0, 10, "link-local"),
    SpecialRange::v6(0xfec0, 0, 10, "site-local"),
    SpecialRange::v6(0xff00, 0, 8, "multicast"),
];

/// The client at an address; an IPv6 client owns its /64.
#[must_use]
pub fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(network.into())
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Result<Network, NotANetwork> {
        Network::try_from(text.to_owned())
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_network_has_what_begins_like_it() {
        for (text, other, has) in [
            ("10.0.0.0/8", "10.255.1.2", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.4", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe80::1", false),
            ("::/0", "10.0.0.1", false),
        ] {
            let network = network(text).expect(text);
            assert_eq!(network.has(address(other)), has, "{text} {other}");
        }
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "::/129",
            "10.0.0.0/-1",
            "proxy",
        ] {
            assert_eq!(network(text), Err(NotANetwork), "{text}");
        }
        assert_eq!(
            network("fd00::/8").expect("a network").to_string(),
            "fd00::/8"
        );
    }

    #[test]
    fn what_leads_into_an_internal_network_is_told_with_its_range() {
        for (text, range) in [
            ("10.1.2.3", "10.0.0.0/8"),
            ("172.31.255.255", "172.16.0.0/12"),
            ("192.168.0.1", "192.168.0.0/16"),
            ("100.127.0.1", "100.64.0.0/10"),
            ("127.8.8.8", "127.0.0.0/8"),
            ("0.1.2.3", "0.0.0.0/8"),
            ("169.254.169.254", "169.254.0.0/16"),
            ("224.0.0.1", "224.0.0.0/4"),
            ("255.255.255.255", "240.0.0.0/4"),
            ("::ffff:169.254.169.254", "169.254.0.0/16"),
            ("64:ff9b::10.0.0.1", "10.0.0.0/8"),
            ("64:ff9b:1::1", "64::/16"),
            ("2002:7f00:1::", "127.0.0.0/8"),
            ("::127.0.0.1", "127.0.0.0/8"),
            ("::1", "::1/128"),
            ("::", "::/128"),
            ("fd00:ec2::254", "fc00::/7"),
            ("fe80::1", "fe80::/10"),
            ("ff02::1", "ff00::/8"),
        ] {
            let found = SpecialRange::of(address(text)).map(|range| range.network.to_string());
            assert_eq!(found.as_deref(), Some(range), "{text}");
        }
        for text in [
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "192.169.0.1",
            "2001:db8::1",
            "64:ff9b::8.8.8.8",
            "2002:808:808::",
            "::ffff:8.8.8.8",
        ] {
            assert_eq!(SpecialRange::of(address(text)), None, "{text}");
        }
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let same = [
            client(address("2001:db8::1")),
            client(address("2001:db8::2")),
        ];
        assert_eq!(same[0], same[1]);
        assert_ne!(same[0], client(address("2001:db8:0:1::1")));
        assert_eq!(client(address("::ffff:10.0.0.1")), address("10.0.0.1"));
    }
}
