package config

import (
	"encoding/base64"
	"errors"
	"net/netip"
	"strings"
)

const secretPrefix = "whsec_"

// checkSecret says what is wrong with what callbacks are signed with, and shows
// nothing of it.
func (c Callbacks) checkSecret() error {
	text, ok := strings.CutPrefix(c.Secret.Reveal(), secretPrefix)
	key, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(key) < 24 || len(key) > 64 {
		return errors.New(`want "whsec_" and 24 to 64 bytes in base64, as "openssl rand -base64 32" makes them`)
	}
	return nil
}

// Allowed returns the addresses that Allow names. What Validate would report is
// left out.
func (c Callbacks) Allowed() []netip.Prefix {
	var list []netip.Prefix
	for _, text := range c.Allow {
		if p, err := parsePrefix(text); err == nil {
			list = append(list, p)
		}
	}
	return list
}

// parsePrefix reads an address or a range of them.
func parsePrefix(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return a.Prefix(a.BitLen())
	}
	p, err := netip.ParsePrefix(text)
	return p.Masked(), err
}
