package webhook

import "net/netip"

// nat64 are IPv4 addresses as a network without IPv4 writes them (RFC 6052,
// section 2.1): the last four bytes.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// global is the part of IPv6 that is given out for use in public (RFC 4291,
// section 2.4, and IANA's registry of IPv6 address space).
var global = netip.MustParsePrefix("2000::/3")

// reserved are the networks that are not for use in public and that netip has no
// word for, by IANA's registries of special-purpose addresses.
var reserved = prefixes(
	"0.0.0.0/8",        // this network; Linux takes it for itself
	"100.64.0.0/10",    // carrier-grade NAT; metadata of Alibaba Cloud
	"192.0.0.0/24",     // protocol assignments; metadata of Oracle Cloud
	"192.0.2.0/24",     // documentation
	"192.88.99.0/24",   // 6to4 relays
	"198.18.0.0/15",    // benchmarks
	"198.51.100.0/24",  // documentation
	"203.0.113.0/24",   // documentation
	"240.0.0.0/4",      // future use, and broadcast
	"168.63.129.16/32", // public by its number, but what every machine in Azure asks for its configuration

	"2001::/23",     // protocol assignments, with Teredo's tunnels
	"2001:db8::/32", // documentation
	"2002::/16",     // 6to4: tunnels to any IPv4 address
	"3fff::/20",     // documentation
)

func prefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// public says whether an address is one of the public Internet. It must not be
// IPv4 mapped into IPv6.
func public(addr netip.Addr) bool {
	if !addr.IsGlobalUnicast() || addr.IsPrivate() || addr.Is6() && !global.Contains(addr) {
		return false
	}
	for _, p := range reserved {
		if p.Contains(addr) {
			return false
		}
	}
	return true
}
