//go:build !unix || aix

package http1

import "net"

// newProbe returns a function that takes every connection for sound: here a
// broken one is found when it is used.
func newProbe(net.Conn) func() bool { return func() bool { return true } }
